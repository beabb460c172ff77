"""What `pip install pytest-kiro` costs a user: megabytes, packages, and milliseconds of each pytest run.

Two fresh environments are made, one with pytest alone and one with the plugin; both need a package index.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from pathlib import Path

from pairs import PAIRS, table

ROOT = Path(__file__).parent.parent
OURS = "kiro"
#: What pyproject names beside pytest, and how it is imported.
DEPENDENCIES = {
    "daytona": "from daytona import Daytona",
    "pexpect": "import pexpect",
    "filelock": "import filelock",
    "pluggy": "import pluggy",
}
#: Asked in an environment: each distribution's bytes and requirements, and the plugins of pytest.
_WHAT_IS_THERE = """
import json, re, importlib.metadata as m
told = {}
for one in m.distributions():
    files = [file for file in one.files or () if file.suffix != ".pyc"]
    name = re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower()
    needs = [re.sub(r"[-_.]+", "-", re.match(r"[\\w.-]+", need)[0]).lower() for need in one.requires or ()
             if "extra ==" not in need]
    size = sum(file.locate().stat().st_size for file in files if file.locate().is_file())
    told[name] = {"bytes": size, "needs": needs}
plugins = {one.name: one.dist.metadata["Name"] for one in m.entry_points(group="pytest11")}
print(json.dumps({"packages": told, "plugins": plugins}))
"""


class Environment:
    """A fresh virtual environment with some packages."""

    def __init__(self, folder: Path, *packages: str) -> None:
        venv.create(folder, with_pip=True)
        self.python = str(folder / "bin" / "python")
        subprocess.run([self.python, "-m", "pip", "install", "--quiet", *packages], check=True)
        asked = subprocess.run([self.python, "-c", _WHAT_IS_THERE], check=True, capture_output=True, text=True)
        told = json.loads(asked.stdout)
        self.packages, self.plugins = told["packages"], told["plugins"]

    def run(self, folder: Path, *words: str) -> tuple[float, float]:
        """Return the seconds that a command takes, and those of the processor."""
        env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run([self.python, *words], cwd=folder, env=env, capture_output=True, text=True, check=False)
        elapsed, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            sys.exit(f"{words} failed:\n{done.stdout}{done.stderr}")
        return elapsed, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def megabytes(self, packages: set[str]) -> float:
        return float(sum(self.packages[name]["bytes"] for name in packages)) / 1e6

    def closure(self, *names: str, without: frozenset[str] = frozenset()) -> set[str]:
        """Return these packages and all that they need; `without` are not gone through."""
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name in self.packages and name not in found | without:
                found.add(name)
                waiting += self.packages[name]["needs"]
        return found


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheels = folder / "dist"
        bare = Environment(folder / "bare", "pytest")
        # Its pip: an environment that uv has made has none.
        subprocess.run([bare.python, "-m", "pip", "wheel", "-q", "--no-deps", "-w", wheels, ROOT], check=True)
        full = Environment(folder / "full", *map(str, wheels.glob("*.whl")))
        print(f"\n{time.strftime('%Y-%m-%d')}, Python {sys.version.split()[0]}, medians of {PAIRS} pairs")
        _sizes(bare, full)
        _start_up(bare, full, folder)
        _imports(full, folder)


def _sizes(bare: Environment, full: Environment) -> None:
    came = full.packages.keys() - bare.packages.keys()
    rows = [("all", f"{len(came):3} packages {full.megabytes(came):7.1f} MB")]
    rest = full.closure("pytest-kiro", without=frozenset({"daytona"})) - bare.packages.keys()
    rows.append(("without Daytona's SDK", f"{len(rest):3} packages {full.megabytes(rest):7.1f} MB"))
    for name in ("pytest-kiro", *DEPENDENCIES):
        own = full.closure(name, without=frozenset(DEPENDENCIES.keys() - {name})) - bare.packages.keys()
        own = {name} if name == "pytest-kiro" else own
        rows.append((f"  {name}", f"{len(own):3} packages {full.megabytes(own):7.1f} MB"))
    table("what comes along, beside bare pytest", rows)


def _start_up(bare: Environment, full: Environment, folder: Path) -> None:
    """Compare one trivial test in both environments, with plugins switched off one by one."""
    tests = folder / "tests"
    tests.mkdir()
    (tests / "test_trivial.py").write_text("def test_trivial():\n    assert True\n")
    pytest = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
    others = sorted(full.plugins.keys() - {OURS})
    off = {name: ("-p", f"no:{name}") for name in full.plugins}
    cases = {"all plugins": (), f"without {OURS}": off[OURS]}
    cases |= {f"without {name}": off[name] for name in others}
    cases |= {f"{OURS} alone": tuple(word for name in others for word in off[name])}
    cases |= {"none of them": tuple(word for words in off.values() for word in words)}
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for number in range(PAIRS + 1):  # the first of each compiles, and is not counted
        for name, words in cases.items():
            with_, without = full.run(tests, *pytest, *words), bare.run(tests, *pytest)
            if number:
                figures[name].append((with_[0] - without[0], with_[1] - without[1]))
    rows = [
        (name, f"{_median(own, 0):6.0f} ms, of the processor {_median(own, 1):6.0f} ms")
        for name, own in figures.items()
    ]
    table("one trivial test, beside bare pytest", rows)
    ours = [
        (one[place] - none[place]) * 1000
        for one, none in zip(figures[f"{OURS} alone"], figures["none of them"], strict=True)
        for place in (1,)
    ]
    table("ours", [("of the processor", f"{statistics.median(ours):.0f} ms (target: at most 15)")])


def _imports(full: Environment, folder: Path) -> None:
    """Compare a process that imports one with one that does not."""
    rows = []
    for name, statement in DEPENDENCIES.items():
        pairs = [(full.run(folder, "-c", statement)[1], full.run(folder, "-c", "pass")[1]) for _ in range(PAIRS + 1)]
        rows.append((name, f"{statistics.median(one - none for one, none in pairs[1:]) * 1000:6.0f} ms"))
    table("importing one, of the processor", rows)


def _median(figures: Sequence[tuple[float, float]], place: int) -> float:
    return statistics.median(one[place] for one in figures) * 1000


if __name__ == "__main__":
    main()
