"""Writes eval files with their scenarios, runs pytest on them, and looks for what a run must not leave."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import subprocess
import sys
import textwrap
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pexpect
import pytest
import zygote

from pytest_kiro import standin
from pytest_kiro.plugin import WAITS
from pytest_kiro.settings.waits import Waits

# Imported late by evals; pytester forgets what a run in this process has imported, but not what was there before. A
# template of jinja looks its classes up by import: of another jinja than its own, they are not the same.
for name in (*zygote.OURS, "jinja2"):
    importlib.import_module(name)
DEADLINE = 180.0
#: A reply that only a conversation in which "the word is …" was said can give.
RECALL = r"{recall:word is (\w+)|unknown}"
STAND_IN = standin.STAND_IN / "__main__.py"
#: Plugins of the outer environment that an inner run is faster or calmer without, and one that lets it wait less.
QUIET = ("-p", "no:randomly", "-p", "no:hypothesispytest", "-W", "error", "-p", "quick_waits")
INNER = Path(__file__).parents[1] / "inner"

Turn = str | Sequence[Sequence[Any]] | Mapping[str, Any]


def call(name: str, **args: Any) -> dict[str, Any]:
    """A tool call of a scenario."""
    return {"name": name, "args": args}


def shell(command: str) -> dict[str, Any]:
    return call("shell", command=command)


def write(path: str, content: str) -> dict[str, Any]:
    return call("write", command="create", path=path, content=content)


def turn(*requests: Sequence[Any], **keys: Any) -> dict[str, Any]:
    """A turn with more than one text: its requests, `misbehave`, `conversation`."""
    return {**({"requests": list(requests)} if requests else {}), **keys}


def toml(tables: Mapping[str, Sequence[Turn]]) -> str:
    """A scenario file: table name to turns, of which a plain text is the shortest form."""
    lines = []
    for name, turns in tables.items():
        for entry in turns:
            keys = {"requests": [[entry]]} if isinstance(entry, str) else entry
            keys = keys if isinstance(keys, Mapping) else {"requests": keys}
            lines.append(f"[[{json.dumps(name)}.turn]]")
            lines += [f"{key} = {_value(value)}" for key, value in keys.items()]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_value(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def wait_until(condition: Callable[[], Any], what: str, deadline: float = DEADLINE) -> Any:
    """Return the condition's first true value; fail when none came in time."""
    end = time.monotonic() + deadline
    while not (value := condition()):
        if time.monotonic() > end:
            pytest.fail(f"waited {deadline:g} s for {what}")
        select.select([], [], [], 0.01)
    return value


class Waiting:
    """A plugin of runs in this process, by which they wait as long as a test says."""

    def __init__(self, waits: Waits) -> None:
        self.waits = waits

    @pytest.hookimpl(tryfirst=True)  # the product's own, which reads it, is the last
    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[WAITS] = self.waits


class Evals:
    """A folder of evals with a temporary directory of its own.

    What is run apart from these tests is a fork of a zygote; with `forks = False` it is a program that is started.
    """

    #: What the zygote has imported, pytest apart.
    preloaded: tuple[str, ...] = ()

    #: How long runs in this process wait, if a test says so; else it is as `quick_waits` says.
    waits: Waits | None = None

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp: Path) -> None:
        self.pytester, self.path, self.tmp = pytester, pytester.path, tmp
        self.forks = True
        monkeypatch.setattr(pytester, "popen", self._popen)
        for name in list(os.environ):
            if name.startswith(("PYTEST_KIRO_", "KIRO_", "DAYTONA_", "GITHUB_")) or name in ("NO_COLOR", "CI"):
                monkeypatch.delenv(name)
        monkeypatch.setenv("TMPDIR", str(tmp))
        monkeypatch.setenv("XDG_DATA_HOME", str(pytester.path / "data"))  # a developer's saved login is not ours
        monkeypatch.setattr("tempfile.tempdir", str(tmp))
        monkeypatch.setenv("PYTHONPATH", str(INNER), prepend=os.pathsep)
        # Evals note what happened here, whatever process they run in.
        monkeypatch.setenv("STORY", str(tmp / "story"))

    def write(self, name: str, source: str, tables: Mapping[str, Sequence[Turn]] | None = None) -> Path:
        """Write a Python file, and its scenario if it has turns."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        before = file.stat().st_mtime if file.exists() else 0.0
        file.write_text(textwrap.dedent(source).lstrip("\n"), encoding="utf-8")
        # Byte code is of a second and of so many bytes: written anew within it, the earlier source would be executed.
        os.utime(file, (later := max(time.time(), before + 1), later))
        if tables is not None:
            scenario = file.parent / "scenarios" / f"{file.stem}.toml"
            scenario.parent.mkdir(exist_ok=True)
            scenario.write_text(toml(tables), encoding="utf-8")
        return file

    def run(self, *args: str | os.PathLike[str]) -> pytest.RunResult:
        """Run pytest here in this process: quick, and safe for what touches neither terminal nor signals."""
        if any(str(arg).startswith("-n") for arg in args):
            return self.process(*args)  # a worker gets the path that was there when xdist was imported
        # rerunfailures leaves a socket open in each run, and a process may have many of them.
        plugins = [Waiting(self.waits)] if self.waits else []
        return self.pytester.runpytest_inprocess(*QUIET, "-p", "no:rerunfailures", *args, plugins=plugins)

    def process(self, *args: str | os.PathLike[str], randomly: bool = False) -> pytest.RunResult:
        """Run pytest here in a process of its own."""
        quiet = QUIET[2:] if randomly else QUIET
        return self.pytester.runpytest_subprocess(*quiet, *args, timeout=DEADLINE)

    def _popen(self, command: Sequence[str], stdout: Any, stderr: Any, **options: Any) -> Any:
        """What pytester starts processes by."""
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH")]))}
        parent = self.zygote(env)
        if parent is None or tuple(command[:2]) != (sys.executable, "-mpytest"):
            return type(self.pytester).popen(self.pytester, command, stdout=stdout, stderr=stderr, **options)
        with open(os.devnull) as nothing:
            files = {"stdin": nothing.fileno(), "stdout": stdout.fileno(), "stderr": stderr.fileno()}
            return parent.fork("pytest", command[2:], cwd=os.getcwd(), env=env, **files)

    def zygote(self, env: Mapping[str, str] = os.environ) -> zygote.Zygote | None:
        """Of whom a fork is what a fresh interpreter with this environment would be, if it may be a fork."""
        parent = zygote.zygote(*self.preloaded) if self.forks else None
        return parent if parent and parent.suits(env) else None

    def detached(self, module: str, *args: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        """Run a module here where no terminal is, also when these tests have one."""
        return zygote.run(
            module,
            args,
            cwd=self.path,
            env={**os.environ, **env},
            timeout=DEADLINE,
            stdin=stdin,
            warnings=["error"],
            preloaded=self.preloaded,
            forks=self.forks,
        )

    def passes(self, source: str, tables: Mapping[str, Sequence[Turn]], *args: str) -> pytest.RunResult:
        """Run one file of evals that all pass."""
        self.write("test_it.py", source, tables)
        result = self.run(*args)
        outcomes = result.parseoutcomes()
        assert set(outcomes) <= {"passed", "warnings"}, result.stdout.str()
        assert outcomes["passed"], result.stdout.str()
        return result

    def start(
        self,
        *args: str | os.PathLike[str],
        size: tuple[int, int] = (80, 24),
        env: Mapping[str, str] | None = None,
    ) -> pexpect.spawn[str]:
        """Start pytest here in a terminal of its own, of so many columns and lines."""
        command, env = ["-m", "pytest", *QUIET, *map(str, args)], dict(os.environ if env is None else env)
        if parent := self.zygote(env):
            return zygote.Terminal(parent, "pytest", command[2:], cwd=self.path, timeout=DEADLINE, size=size, env=env)
        with warnings.catch_warnings():  # of a fork beside threads; the child calls exec at once
            warnings.simplefilter("ignore", DeprecationWarning)
            options: dict[str, Any] = {"cwd": str(self.path), "env": env, "timeout": DEADLINE, "encoding": "utf-8"}
            return pexpect.spawn(sys.executable, command, dimensions=size[::-1], **options)

    def ends(self, child: pexpect.spawn[str]) -> tuple[int | None, str]:
        """Wait for the end; return the exit status (minus the number of a signal) and all that was printed."""
        child.expect(pexpect.EOF)
        child.close()
        status = child.exitstatus if child.signalstatus is None else -child.signalstatus
        return status, child.before

    @property
    def stage(self) -> Path:
        """A file that an eval makes when it has come as far as the test wants."""
        return self.tmp / "stage"

    def reaches_its_stage(self) -> None:
        wait_until(self.stage.exists, "the eval to reach its stage")

    @property
    def story(self) -> list[str]:
        """What `note` wrote down, a line each."""
        file = self.tmp / "story"
        return file.read_text().splitlines() if file.exists() else []

    def note(self) -> None:
        """Give the evals a function `note` to tell a story with: `from note import note`."""
        text = "import os\ndef note(*words):\n    with open(os.environ['STORY'], 'a') as file:\n        "
        self.pytester.makepyfile(note=text + "print(*words, file=file)\n")
        self.pytester.syspathinsert()

    @property
    def sandboxes(self) -> list[Path]:
        """The local sandboxes and their locks that are there now."""
        return sorted((self.tmp / f"sandboxes-{os.getuid()}").glob("*"))

    @property
    def processes(self) -> list[int]:
        """The processes whose environment points into this temporary directory, ourselves excepted."""
        mark = f"={self.tmp}/sandboxes-".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*") if sys.platform.startswith("linux") else ():
            with contextlib.suppress(OSError):
                if int(entry.name) != os.getpid() and mark in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
        return found

    def nothing_is_left(self) -> None:
        assert self.processes == []
        assert self.sandboxes == []


def program(evals: Evals, text: str, *, mode: int = 0o755, name: str = "bin/kiro-cli") -> Path:
    file = evals.path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(mode)
    return file


def stand_in(*before: str) -> str:
    return "\n".join([*before, f'exec {sys.executable} -I -S {STAND_IN} "$@"'])
