"""Run all benchmarks, one after the other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

for name in (
    "startup",
    "install",
    "collection",
    "turns",
    "turns_in_bubblewrap",
    "throughput",
    "trials",
    "recordings",
    "replay",
    "remote",
    "evals_in_daytona",
):
    subprocess.run([sys.executable, str(Path(__file__).with_name(f"{name}.py"))], check=True)
