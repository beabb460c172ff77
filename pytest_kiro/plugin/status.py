"""Says which turns are under way: on a terminal, elsewhere now and then.

The line stands below the cursor, which stays where pytest left it, and is erased before pytest writes. So nothing that
others write begins in a wrong place.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_kiro.plugin.progress import let_pass_first, uncaptured
from pytest_kiro.plugin.stream import Stream
from pytest_kiro.report.status import UnderWay, doing, parts_of, status_line
from pytest_kiro.sandbox.runs import folder_of

if TYPE_CHECKING:
    from pytest_kiro.agent.bench import Conversing, Observer
    from pytest_kiro.plugin.state import State
    from pytest_kiro.turn.turn import Turn

#: The name of a worker's file in the run's folder, before the worker's.
TURNS_FILE = "turns-"
#: Erase from the cursor to the screen's end; make room below, and come back; keep the cursor; go down; come back.
_ERASE, _ROOM, _KEEP, _DOWN, _BACK = "\x1b[J", "\x1bD\x1b[A", "\x1b7", "\x1b[B\r", "\x1b8"


def live(state: State) -> Observer:
    """Return what tells people of turns while they are under way."""
    if Stream.is_wanted(state.config, state.settings):
        return Stream(state.config, state.secrets, prefixed=state.is_worker)
    watch = Watch(state)
    state.config.pluginmanager.register(watch, "kiro-status")
    return watch


class StatusLine:
    """The line on a terminal; whoever uses it holds its lock."""

    def __init__(self, descriptor: int, encoding: str) -> None:
        self.lock = threading.RLock()
        self._descriptor, self._encoding, self._shown = descriptor, encoding, ""

    @classmethod
    def on_terminal(cls, config: pytest.Config) -> StatusLine | None:
        """Return one on pytest's terminal, where it writes alone."""
        terminal = config.pluginmanager.getplugin("terminalreporter")
        if terminal is None or os.environ.get("TERM", "dumb") == "dumb" or config.getoption("capture", "no") == "no":
            return None
        with uncaptured(config):
            if sys.__stdout__ is None or not sys.__stdout__.isatty():
                return None
            line = cls(os.dup(sys.__stdout__.fileno()), sys.__stdout__.encoding or "utf-8")

        def erased(msg: str) -> str:
            line.show("")
            return msg

        let_pass_first(config, erased)
        return line

    def show(self, text: str) -> None:
        """Show another text; none for an empty one. A terminal that is gone is no error."""
        with self.lock, suppress(OSError):
            if text != self._shown:
                self._shown = text
                drawn = f"{_ROOM}{_KEEP}{_DOWN}{text}{_BACK}" if text else ""
                os.write(self._descriptor, f"{_ERASE}{drawn}".encode(self._encoding, "replace"))

    @property
    def width(self) -> int:
        """How many columns there are now."""
        with suppress(OSError):
            return os.get_terminal_size(self._descriptor).columns or 80
        return 80

    def close(self) -> None:
        """Erase it, and let go of the terminal; idempotent."""
        with self.lock:
            self.show("")
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._descriptor = -1


class _Watched:
    """A turn that is under way."""

    def __init__(self, conversation: Conversing) -> None:
        from pytest_kiro.kirocli.layout import Layout  # not before a turn: editors collect at every save

        bench, owner = conversation.bench, conversation.owner
        self.began, self.told = time.monotonic(), 0
        self.calls, self.doing = 0, ""
        number = owner.conversations.index(conversation) + 1
        several = f"conversation {number}, " if len(owner.conversations) > 1 else ""
        self.name, self.turn = owner.name, f"{several}turn {len(conversation.turns) + 1}"
        self._layout = Layout("v2" if bench.streams else bench.engine.name)

    def printed(self, text: str) -> None:
        for event in self._layout.events(text):
            if event.kind == "tool_call" and event.call is not None:
                self.calls, self.doing = self.calls + 1, doing(event.call)
            elif event.kind == "tool_result":
                self.doing = ""

    @property
    def under_way(self) -> UnderWay:
        return UnderWay(self.name, self.turn, time.monotonic() - self.began, self.calls, self.doing)


class Watch:
    """Watches the turns of this process, on a controller its workers'."""

    def __init__(self, state: State) -> None:
        self._state, self._config, self._waits = state, state.config, state.settings.waits
        self._turns: dict[Conversing, _Watched] = {}
        self._line: StatusLine | None = None
        self._lock: Any = threading.RLock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._paused = False
        worker: dict[str, Any] = getattr(state.config, "workerinput", {})
        self._file: Path | None = None
        if worker.get("kiro_shows_turns"):
            self._file = folder_of(state.run_id) / f"{TURNS_FILE}{state.worker}"
        elif not state.is_worker:
            self._line = StatusLine.on_terminal(state.config)
        if self._line is not None:
            self._lock = self._line.lock
            state.shows_turns = True
            if state.is_controller:
                self._begin()

    # -- what it is told

    def started(self, conversation: Conversing, prompt: str) -> None:
        with self._lock:
            self._turns[conversation] = _Watched(conversation)
            self._begin()

    def received(self, conversation: Conversing, data: bytes, at: float) -> None:
        pass

    def printed(self, conversation: Conversing, text: str) -> None:
        with self._lock:
            if watched := self._turns.get(conversation):
                watched.printed(text)

    def broken_off(self, conversation: Conversing) -> None:
        with self._lock:
            self._turns.pop(conversation, None)
            self._tick()

    def finished(self, conversation: Conversing, turn: Turn) -> None:
        self.broken_off(conversation)

    def pytest_enter_pdb(self) -> None:
        with self._lock:
            self._paused = True
            self._tick()

    def pytest_leave_pdb(self) -> None:
        self._paused = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Show nothing any more: what is still under way was given up."""
        self._ended.set()
        with self._lock:
            self._turns.clear()
            self._tick()
            if self._line is not None:
                self._line.close()
            self._line = None

    # -- what it says

    def _begin(self) -> None:
        if self._thread is None and not self._ended.is_set():
            self._thread = threading.Thread(target=self._run, name="kiro-status", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(self._waits.status_tick):
            with self._lock:
                if not (self._turns or self._state.is_controller):
                    self._thread = None
                    return
                self._tick()

    def _tick(self) -> None:
        """Say what is to be said now; never at the cost of a run."""
        with suppress(Exception):
            turns = [watched.under_way for watched in self._turns.values()]
            shown = [turn for turn in turns if turn.seconds >= self._waits.status_after]
            if self._file is not None:
                _write(self._file, shown)
            elif self._line is not None:
                shown += self._of_workers()
                text = status_line(shown, self._line.width) if shown and not self._paused else ""
                self._line.show(text)
            elif not self._paused:
                self._tell()

    def _tell(self) -> None:
        """Say of long turns that they are under way."""
        for watched in self._turns.values():
            first, again = self._waits.long_turn
            if time.monotonic() - watched.began >= first + watched.told * again:
                watched.told += 1
                self._state.progress.between(f"kiro: {', '.join(parts_of(watched.under_way))}")

    def _of_workers(self) -> Iterator[UnderWay]:
        for file in folder_of(self._state.run_id).glob(f"{TURNS_FILE}*[0-9]") if self._state.is_controller else ():
            with suppress(OSError, ValueError, TypeError):
                told = json.loads(file.read_text(encoding="utf-8"))
                yield from (UnderWay(**one) for one in told)


def _write(file: Path, turns: list[UnderWay]) -> None:
    """Let the controller know; there is no file where nothing is under way."""
    if not turns:
        file.unlink(missing_ok=True)
        return
    file.parent.mkdir(mode=0o700, exist_ok=True)
    part = file.with_name(f"{file.name}.part")
    part.write_text(json.dumps([asdict(turn) for turn in turns]), encoding="utf-8")
    part.replace(file)
