"""Recordings: turns that are kept on disk, and replayed without Kiro (contract R)."""
