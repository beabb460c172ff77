"""Lends its terminal to a program, as it is told in one line of JSON; what became of it stands in a file.

Run by test_keyboard.py under a terminal of its own.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from pytest_kiro.errors import PtyClosed
from pytest_kiro.sandbox.leases import acquire
from pytest_kiro.sandbox.local import LocalSandbox
from pytest_kiro.sandbox.protocol import Pty
from pytest_kiro.settings.waits import Waits
from pytest_kiro.terminal import keyboard
from pytest_kiro.terminal.attach import Attached, attach
from pytest_kiro.terminal.launch import Launch

PROGRAM = Path(__file__).with_name("keyboard_program.py")


class Wire:
    """A program's Pty over a wire with a fault, or none.

    `cut`; `stuck` until it is closed; `late` with the end's news.
    """

    size = (66, 33)

    def __init__(self, pty: Pty, fault: str) -> None:
        self._pty, self._fault = pty, fault
        self._closed, self._refused = threading.Event(), threading.Event()
        self.resize, self.wait = pty.resize, pty.wait

    @property
    def started(self) -> bool:
        return not isinstance(self._pty, Attached) or self._pty.started

    def read(self, timeout: float) -> bytes:
        data = self._pty.read(timeout)
        if self._fault == "cut" and b"READY" in data:
            raise OSError("the wire is cut")
        if self._fault == "late" and not data and not self._refused.is_set():
            raise TimeoutError
        return data

    def write(self, data: bytes) -> None:
        if self._fault == "stuck":
            self._closed.wait()
        try:
            self._pty.write(data)
        except PtyClosed:
            self._refused.set()
            raise

    def close(self) -> None:
        self._pty.close()
        self._closed.set()


class Driver:
    def __init__(self, told: dict[str, Any]) -> None:
        self.told, self.folder = told, Path(told["folder"])
        self.waits = Waits(**told.get("waits", {}))

    def run(self) -> None:
        self.folder.joinpath("pid").write_text(str(os.getpid()))
        if self.told.get("before"):  # something is typed first
            os.write(1, b"TYPE NOW")
            with open("/dev/tty", "rb", buffering=0) as tty:
                select.select([tty], [], [], 60)
        for name, what in self.told.get("signals", {}).items():
            handler = signal.SIG_IGN if what == "ignore" else self.on_signal
            signal.signal(getattr(signal, name), handler)
        sandbox = LocalSandbox(acquire("unit"), waits=self.waits)
        try:
            pty = Wire(self.gated(sandbox) if self.told.get("gate") else self.open(sandbox), self.told.get("fault", ""))
            self.note(self.lend(pty))
            pty.close()
        finally:
            sandbox.close()

    def open(self, sandbox: LocalSandbox) -> Pty:
        pty = sandbox.open_pty(size=(66, 33))
        pty.write(f" exec {sys.executable} -I -S {PROGRAM} {self.told['program']}\n".encode())
        return pty

    def gated(self, sandbox: LocalSandbox) -> Pty:
        """A program whose shell waits at a gate before it starts it."""
        gate = f"{sandbox.home}/gate"
        sandbox._shell = ("/bin/sh", "-c", f"mkfifo {gate}; : <{gate}; exec sh -i")
        argv = (sys.executable, "-I", "-S", str(PROGRAM), self.told["program"])
        return attach(sandbox, Launch(argv, sandbox.home, ".l", "0123", stdin=None))

    def lend(self, pty: Wire) -> str:
        if not self.told.get("thread"):
            return self.outcome(pty)
        found: list[str] = []
        thread = threading.Thread(target=lambda: found.append(self.outcome(pty)))
        thread.start()
        thread.join()
        return found[0]

    def outcome(self, pty: Wire) -> str:
        timeout = self.told.get("timeout", 120)
        try:
            return repr(keyboard.lend(pty, show=self.show, tick=self.tick, timeout=timeout, waits=self.waits))
        except BaseException as error:
            return f"{type(error).__name__}: {error}"

    def on_signal(self, number: int, _frame: object) -> None:
        raise RuntimeError(f"signal {number}")

    def show(self, data: bytes) -> bytes:
        if self.told.get("show", "\0").encode() in data:
            raise ValueError("show failed")
        return data.replace(b"secret", b"******")

    def tick(self) -> bytes:
        if self.told.get("tick") == "fails":
            raise ValueError("tick failed")
        return self.told.get("tick", "").encode()

    def note(self, outcome: str) -> None:
        left = [one.name for one in threading.enumerate() if one.name == "kiro-keyboard"]
        result = {"outcome": outcome, "threads": left, "there": keyboard.is_there()}
        part = self.folder / "result.part"
        part.write_text(json.dumps(result))
        part.rename(self.folder / "result")


if __name__ == "__main__":
    Driver(json.loads(sys.argv[1])).run()
