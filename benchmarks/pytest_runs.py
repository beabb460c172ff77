"""Whole pytest processes, timed from outside; other plugins stay out, since their noise is larger than our figure."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

_OTHERS = [
    word for plugin in entry_points(group="pytest11") if plugin.name != "kiro" for word in ("-p", f"no:{plugin.name}")
]


def seconds(folder: Path, *arguments: str, cached: bool = True) -> float:
    """Time one pytest process over a folder; it must succeed. Without `cached` there is no byte code of anything."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *_OTHERS, *arguments, str(folder)]
    # With it, every run would compile every module anew, and that would be what is measured.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    if not cached:
        env |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": str(folder / "nothing")}
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    elapsed = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{command} failed:\n{done.stdout}{done.stderr}")
    return elapsed
