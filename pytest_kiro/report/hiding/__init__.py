"""Keeps secrets out of what pytest itself writes: reports, screen, log file, JUnit file."""
