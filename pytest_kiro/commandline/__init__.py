"""`python -m pytest_kiro COMMAND`: what one does beside running evals."""

import sys


def say(text: str, end: str = "\n") -> None:
    """Print what was asked for."""
    sys.stdout.write(f"{text}{end}")
    sys.stdout.flush()


def complain(text: str) -> None:
    """Print what went wrong, or goes on."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
