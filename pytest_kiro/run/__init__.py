"""Owns a run's sandboxes, its budget, and its signals."""
