"""`python -m pytest_kiro COMMAND`: what one does beside running evals."""

import sys

from pytest_kiro.secrecy.visible import visible


def say(text: str, end: str = "\n") -> None:
    """Print what was asked for."""
    sys.stdout.write(visible(f"{text}{end}"))
    sys.stdout.flush()


def complain(text: str) -> None:
    """Print what went wrong, or goes on."""
    sys.stderr.write(visible(f"{text}\n"))
    sys.stderr.flush()
