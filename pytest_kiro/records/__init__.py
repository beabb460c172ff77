"""Keeps the turns, tests and runs of pytest as values: records."""
