"""`Emulator`: starts an emulator in a process of its own, and steers it; standard library only."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

_START_TIMEOUT = 30.0
_STOP_TIMEOUT = 15.0
_PROGRAM = "emulator"
_NOT_ITS_OWN = ("COV_", "COVERAGE_", "PYTHONWARNINGS", "PYTEST_")


class EmulatorError(Exception):
    """The emulator did not start, does not answer, or found a bug in itself."""


class Emulator:
    """An emulated Daytona; a context manager.

    `url` and `key` are what a client is given; `expired_key` and `key_without_delete` are what their names say;
    `host_root` is the folder on this machine in which each sandbox has one.
    """

    def __init__(self, *, root: str | Path | None = None, **settings: Any) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._root, self.host_root = root, ""
        self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
            [sys.executable, "-m", _PROGRAM, "--handle", *(["--root", str(root)] if root else [])],
            cwd=Path(__file__).parents[1],
            # The tests' coverage and warnings are not its own.
            env={name: value for name, value in os.environ.items() if not name.startswith(_NOT_ITS_OWN)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,  # Ctrl-C is for the tests, which then close it
        )
        try:
            said = self._first_line()
            self._connect(f"http://127.0.0.1:{said['port']}/api", said["key"], said["root"])
            if settings:
                self.configure(**settings)
        except BaseException:
            self.close()
            raise

    @classmethod
    def at(cls, url: str, key: str) -> Emulator:
        """Return a handle on an emulator that runs already; closing it leaves the emulator alone."""
        handle = cls.__new__(cls)
        handle._process, handle._errors = None, tempfile.TemporaryFile()  # noqa: SIM115 - likewise
        handle._connect(url, key, "")
        try:
            handle.host_root = handle._ask("status")["root"]
        except BaseException:
            handle.close()
            raise
        return handle

    def _connect(self, url: str, key: str, root: str) -> None:
        self.url, self.key, self.host_root = url, key, root
        self.expired_key, self.key_without_delete = f"{key}-expired", f"{key}-no-delete"
        self._steering = url.removesuffix("/api") + "/emulator/"
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def _first_line(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        deadline, line = time.monotonic() + _START_TIMEOUT, b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(deadline - time.monotonic()):
                    raise EmulatorError(f"the emulator was not ready after {_START_TIMEOUT:g} s\n{self._said()}")
                if not (data := os.read(self._process.stdout.fileno(), 4096)):
                    raise EmulatorError(f"the emulator ended before it was ready\n{self._said()}")
                line += data
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _said(self) -> str:
        self._errors.seek(0)
        return self._errors.read()[-4000:].decode(errors="replace")

    @property
    def pid(self) -> int | None:
        """The emulator's process, when this handle started it."""
        return self._process.pid if self._process else None

    # -- steering

    def configure(self, **settings: Any) -> dict[str, Any]:
        """Set knobs and return all of them; `ValueError` for one that is not there or cannot have that value."""
        return dict(self._ask("configure", **settings))

    def fault(
        self,
        route: str,
        *,
        times: int | None = 1,
        after: int = 0,
        sandbox: str | None = None,
        duration: float | None = None,
        **actions: Any,
    ) -> None:
        """Answer `times` requests of a route differently (None: all), after `after` that pass.

        `sandbox` (id or name) and `duration` (seconds on the emulator's clock) narrow it; `ValueError` for what
        is not there.
        """
        self._ask("fault", route=route, times=times, after=after, sandbox=sandbox, duration=duration, **actions)

    def reset(self) -> None:
        """Begin anew: knobs and clock as at the start, no rules, sandboxes, snapshots of one's own, or log."""
        self._ask("reset")

    def clear_faults(self) -> None:
        """Forget all rules."""
        self._ask("clear_faults")

    def log(self, route: str | None = None, *, headers: bool = False) -> list[dict[str, Any]]:
        """Return the requests so far, or those of one route.

        Each has method, route, path, query, started and ended (seconds of `time.monotonic`, None while it runs),
        status (0: torn without an answer), sandbox, body (of JSON requests).
        """
        entries = self._ask("log", headers=headers)
        return [entry for entry in entries if route in (None, entry["route"])]

    def reset_log(self) -> None:
        """Forget the requests so far."""
        self._ask("reset_log")

    def sandboxes(self, *, destroyed: bool = False) -> list[dict[str, Any]]:
        """Return the sandboxes that are there, with their folders and processes; or also those that were."""
        return list(self._ask("sandboxes", destroyed=destroyed))

    def snapshots(self, *, general: bool = False) -> list[dict[str, Any]]:
        """Return the snapshots that were made, with their Dockerfiles; or also those everybody has."""
        return list(self._ask("snapshots", general=general))

    def put_snapshot(self, name: str, *, state: str = "active", **fields: Any) -> dict[str, Any]:
        """Make a snapshot, or change one: state, dockerfile, home, error_reason, cpu, memory, disk.

        `home` is a folder; its content is in the home of every sandbox that is created from the snapshot.
        """
        return dict(self._ask("put_snapshot", name=name, state=state, **fields))

    def kill_sandbox(self, sandbox: str, *, state: str = "destroyed") -> None:
        """Let a machine die at once: processes, links and all; it is then `destroyed`, or in state `error`."""
        self._ask("kill_sandbox", sandbox=sandbox, state=state)

    def advance(self, seconds: float) -> float:
        """Move the emulator's clock forward, let happen what is due, and return its time."""
        return float(self._ask("advance", seconds=seconds))

    def now(self) -> float:
        """Return the time on the emulator's clock, in seconds since the epoch."""
        return float(self._ask("status")["now"])

    def crashes(self) -> list[str]:
        """Return the tracebacks of the emulator's own bugs; leaving the `with` raises if there are any."""
        return list(self._ask("status")["crashes"])

    def _ask(self, verb: str, **order: Any) -> Any:
        request = urllib.request.Request(
            self._steering + verb,
            data=json.dumps(order).encode(),
            headers={"Authorization": f"Bearer {self.key}", "Connection": "close"},
        )
        try:
            with self._opener.open(request, timeout=60) as response:
                return json.loads(response.read())["answer"]
        except urllib.error.HTTPError as error:
            with error:
                said = json.loads(error.read()).get("error", "")
            if error.code == 400:
                raise ValueError(said) from None
            raise EmulatorError(f"{verb}: HTTP {error.code}: {said}\n{self._said()}") from None
        except OSError as error:
            raise EmulatorError(f"{verb}: the emulator does not answer: {error}\n{self._said()}") from error

    # -- the end

    def close(self) -> None:
        """End the emulator and everything in it; more than once is no harm."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            try:
                process.wait(_STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                if self._root is None:
                    shutil.rmtree(self.host_root, ignore_errors=True)
                raise EmulatorError(f"the emulator did not end within {_STOP_TIMEOUT:g} s\n{self._said()}") from None
            finally:
                process.stdout.close()
                self._errors.close()
        self._errors.close()

    def __enter__(self) -> Emulator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            crashes = self.crashes() if self._process is not None else []
        except EmulatorError as lost:
            crashes = [str(lost)]
        self.close()
        if crashes:
            said = "the emulator has bugs\n" + "\n".join(crashes)
            if error is None:
                raise EmulatorError(said)
            error.add_note(said)
