"""Whole pytest processes, timed from outside."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path


def seconds(folder: Path, *arguments: str) -> float:
    """Time one pytest process over a folder; it must succeed."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments, str(folder)]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    elapsed = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{command} failed:\n{done.stdout}{done.stderr}")
    return elapsed
