"""Forks the stand-in from a process that has loaded it, so that a start costs no interpreter.

Each fork is a process of its own: its environment, directory, descriptors, exit code and death by a signal are real.
That the program can be started as it is in a sandbox, and what it loads then, has tests of its own.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path


def main(folder: str) -> None:
    """Load the stand-in, and fork for each line of stdin."""
    sys.path.insert(0, folder)
    for file in sorted(Path(folder, "kiro_cli").glob("*.py")):
        if file.stem not in ("__init__", "__main__", "protocols"):
            importlib.import_module(f"kiro_cli.{file.stem}")
    gc.collect()
    gc.freeze()
    while line := sys.stdin.buffer.readline():
        job = json.loads(line)
        if (pid := os.fork()) == 0:
            _become(job)
            _run(job["argv"])
        _tell(pid)
        _tell(os.waitpid(pid, 0)[1])


def _tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _run(argv: Sequence[str]) -> None:
    """End as the program does; all that it loaded need not be torn down, which costs more than the rest."""
    try:
        sys.modules["kiro_cli.app"].main(argv)
    except SystemExit as end:
        if "coverage" in sys.modules:  # which writes at the end what it has measured
            raise
        os._exit(end.code if isinstance(end.code, int) else 1)


def _become(job: Mapping[str, str]) -> None:
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        descriptor = os.open(job[name], os.O_RDWR)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])


class Forks:
    """The process that forks; one run at a time."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, __file__, str(folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(
        self, argv: Sequence[str], *, stdin: bytes, env: Mapping[str, str], cwd: Path, scratch: Path, timeout: float
    ) -> tuple[int, bytes, bytes]:
        """Run to the end: exit code, stdout, stderr. Negative is a signal, as `subprocess` has it."""
        files = {name: scratch / name for name in ("stdin", "stdout", "stderr")}
        for name, file in files.items():
            file.write_bytes(stdin if name == "stdin" else b"")
        job = {"argv": list(argv), "env": dict(env), "cwd": str(cwd), **{n: str(file) for n, file in files.items()}}
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(job).encode() + b"\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        deadline = threading.Timer(timeout, _kill, [pid])
        deadline.start()
        try:
            status = int(self._process.stdout.readline())
            if not deadline.is_alive():
                raise subprocess.TimeoutExpired(list(argv), timeout)
        finally:
            deadline.cancel()
        return os.waitstatus_to_exitcode(status), files["stdout"].read_bytes(), files["stderr"].read_bytes()

    def close(self) -> None:
        with self._process:  # which closes its stdin, its end
            pass


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1])
