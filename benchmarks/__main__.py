"""Run all benchmarks, one after the other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

for name in ("startup", "collection", "turns", "throughput", "remote", "evals_in_daytona"):
    subprocess.run([sys.executable, str(Path(__file__).with_name(f"{name}.py"))], check=True)
