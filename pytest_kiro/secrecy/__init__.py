"""Keeps secrets out of what is shown and written."""
