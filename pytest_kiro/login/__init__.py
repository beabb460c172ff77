"""Logs kiro-cli in, and keeps one login for all workers."""
