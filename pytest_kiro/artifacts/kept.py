"""Writes the artifacts of one test or wide fixture: a folder with an index, and one for each conversation."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_kiro.artifacts.cast import Cast, lines_of
from pytest_kiro.artifacts.folder import Folder
from pytest_kiro.artifacts.leavings import Left, all_in, left_in
from pytest_kiro.artifacts.transcript import broken_off_text, executed_text, turn_text
from pytest_kiro.errors import KiroError
from pytest_kiro.records.folders import DIFF, EXECUTED, FAILURE, TEST
from pytest_kiro.records.phases import PhaseRecord
from pytest_kiro.records.plain import clean
from pytest_kiro.secrecy.redaction import Secrets
from pytest_kiro.secrecy.visible import visible
from pytest_kiro.terminal.text import plain_text

if TYPE_CHECKING:
    from pytest_kiro.agent.bench import Conversing, Owner
    from pytest_kiro.turn.turn import Turn

#: Lines that a report shows of a turn that was broken off.
_LINES = 20


@dataclass
class _Asked:
    """One prompt: its files, and what came of it."""

    number: int
    name: str
    prompt: str
    cast: Cast
    latest: float = 0.0
    started: float = field(default_factory=time.time)
    ended: float | None = None
    turn: Turn | None = None
    retried: bool = False

    @property
    def status(self) -> str:
        if self.turn is not None:
            return self.turn.status
        return "unfinished" if self.ended is None else "broken off"

    def to_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "prompt": self.prompt,
            "started": iso(self.started),
            "status": self.status,
            "summary": self.turn.summary if self.turn else f"turn {self.number} was broken off",
            "retried": self.retried,
            "turn": f"{self.name}.json" if self.turn else None,
            "cast": f"{self.name}.cast",
        }


@dataclass
class _Conversation:
    """The files of one conversation."""

    number: int
    asked: list[_Asked] = field(default_factory=list)
    left: Left = field(default_factory=Left)
    written: dict[str, str | None] = field(default_factory=lambda: dict.fromkeys(("transcript", "diff", "executed")))

    @property
    def folder(self) -> str:
        return f"conversation-{self.number}"

    @property
    def broken_off(self) -> bool:
        """Whether its last turn was."""
        return bool(self.asked) and self.asked[-1].status == "broken off"

    def to_json(self, workspace: str) -> dict[str, Any]:
        return {
            "folder": self.folder,
            "number": self.number,
            "workspace": workspace,
            "turns": [one.to_json() for one in self.asked],
            **self.written,
            "files": sorted(self.left.files),
        }


class Kept:
    """The artifacts of one owner: an attempt of a test, or an instance of a wide fixture."""

    def __init__(self, folder: Folder, owner: Owner, attempt: int, worker: str, secrets: Secrets) -> None:
        self.folder, self.owner = folder, owner
        self._attempt, self._worker, self._secrets = attempt, worker, secrets
        self._started = time.time()
        self._conversations: dict[Conversing, _Conversation] = {}
        self._failures = ""
        self._seen: object = None
        self.fixtures: Sequence[Kept] = ()
        #: Whether some test has failed that these are of.
        self.wanted = False

    # -- while turns run

    def started(self, conversation: Conversing, prompt: str) -> None:
        number = self.owner.conversations.index(conversation) + 1
        place = self._conversations.setdefault(conversation, _Conversation(number))
        turn, again = len(conversation.turns) + 1, 0 if conversation.turns else len(conversation.retried)
        if again:
            place.asked[-1].retried = True
        name = f"turn-{turn}{f'-again-{again}' if again else ''}"
        title = f"{self._secrets(self.owner.name)}: turn {turn}"
        size = conversation.bench.settings.terminal
        cast = Cast(self.folder, f"{place.folder}/{name}.cast", size=size, title=title)
        place.asked.append(_Asked(turn, name, self._secrets(prompt), cast))
        self.tell([], finished=False)

    def received(self, conversation: Conversing, data: bytes, at: float) -> None:
        if asked := self._open(conversation):
            asked.latest = at
            if not conversation.bench.streams:
                asked.cast.add(at, data)

    def printed(self, conversation: Conversing, text: str) -> None:
        """Take the text that people see of events."""
        if conversation.bench.streams and (asked := self._open(conversation)):
            asked.cast.add(asked.latest, text.replace("\n", "\r\n"))

    def ended(self, conversation: Conversing, turn: Turn | None) -> None:
        """Write a turn; None for one that was broken off."""
        asked = self._open(conversation)
        if asked is None:
            return
        asked.ended, asked.turn = time.time(), turn
        asked.cast.close(self._secrets)
        if turn is not None:
            value = {**turn.to_json(), "raw": ""}  # its bytes are in the cast
            self._write_json(f"{self._conversations[conversation].folder}/{asked.name}.json", value)

    def _open(self, conversation: Conversing) -> _Asked | None:
        place = self._conversations.get(conversation)
        return place.asked[-1] if place and place.asked and place.asked[-1].ended is None else None

    # -- when the owner has failed, or ended

    def fetch(self) -> None:
        """Write what stands in the sandbox; a second time only if something came since."""
        places = {one: place for one, place in self._conversations.items() if one.turns or place.broken_off}
        seen = [(len(one.turns), len(one.workspace.executed), place.broken_off) for one, place in places.items()]
        if seen == self._seen:
            return
        self._seen = seen
        for conversation, place in places.items():
            look = all_in if place.broken_off else left_in
            before, place.left = place.left, look(conversation.workspace)
            for name in {*before.files} - {*place.left.files}:
                self.folder.forget(f"{place.folder}/files/{name}")
            for name, data in place.left.files.items():
                self._leave(place, name, data)
            if place.left.diff:
                self._write(f"{place.folder}/{DIFF}", place.left.diff)
                place.written["diff"] = DIFF

    def fail(self, text: str) -> None:
        """Write what is said of a failure; that of an earlier phase stays."""
        self._failures += text
        self._write(FAILURE, self._failures)

    def tell(self, phases: Sequence[PhaseRecord], outcome: str = "", *, finished: bool = True) -> None:
        """Write the index; when its owner has ended, what people read too."""
        if finished:
            self._note_executed()
            for conversation in self._conversations:
                self._describe(conversation)
        places = sorted(self._conversations.items(), key=lambda one: one[1].number)
        self._write_json(
            TEST,
            {
                "format": "pytest-kiro-artifacts-test",
                "version": 1,
                "nodeid": self.owner.name,
                "wide": self.owner.wide,
                "attempt": self._attempt,
                "trial": self.owner.trial,
                "variant": self.owner.variant,
                "worker": self._worker,
                "started": iso(self._started),
                "outcome": outcome or ("" if self.owner.wide else "unfinished"),
                "phases": [{"name": one.name, "outcome": one.outcome, "duration": one.duration} for one in phases],
                "conversations": [place.to_json(self.workspace(conversation)) for conversation, place in places],
                "fixtures": [f"../{fixture.folder.path.name}" for fixture in self.fixtures],
                "left_out": [note for _, place in places for note in place.left.left_out],
            },
        )

    def workspace(self, conversation: Conversing) -> str:
        """Return the path of a workspace that stays in the sandbox."""
        with suppress(KiroError):
            return str(conversation.workspace.for_launch()[0]) if self.owner.stays and conversation.turns else ""
        return ""

    def broken_off(self) -> str:
        """Return what a broken-off turn had printed last; empty without one."""
        for place in self._conversations.values():
            for asked in place.asked[-1:] if place.broken_off else ():
                lines = visible(_shown_by(self.folder.path / place.folder / f"{asked.name}.cast")).rstrip().splitlines()
                title = f"turn {asked.number} had printed {len(lines)} line{'s' * (len(lines) != 1)}"
                more = f", of which these are the last {_LINES}" if len(lines) > _LINES else ""
                return "\n".join([f"{title}{more}:", *(f"| {line}".rstrip() for line in lines[-_LINES:])])
        return ""

    def _note_executed(self) -> None:
        """Take conversations in that had commands, but no turn."""
        for conversation, workspace in self.owner.workspaces.items():
            if workspace.executed and conversation not in self._conversations:
                number = self.owner.conversations.index(conversation) + 1
                self._conversations[conversation] = _Conversation(number)
                began = workspace.executed_at[0] - workspace.executed[0].duration
                self._started = min(self._started, began)

    def _describe(self, conversation: Conversing) -> None:
        """Write a conversation's transcript, and what was executed in its workspace."""
        place, texts = self._conversations[conversation], list[str]()
        for asked in place.asked:
            if asked.turn is not None:
                texts.append(turn_text(asked.turn))
            else:
                texts.append(broken_off_text(asked.number, asked.prompt, _shown_by(self.folder.path / asked.cast.name)))
        if workspace := self.owner.workspaces.get(conversation):
            executed = list(zip(workspace.executed, workspace.executed_at, strict=True))
            texts.append(executed_text(result for result, _ in executed))
            if executed:
                ends = [asked.ended or 0.0 for asked in place.asked if not asked.retried]
                told = [
                    {
                        "command": result.command,
                        "exit_code": result.exit_code,
                        "output": result.output,
                        "duration": result.duration,
                        "began": iso(at - result.duration),
                        "after_turn": sum(end <= at for end in ends),
                    }
                    for result, at in executed
                ]
                self._write_json(f"{place.folder}/{EXECUTED}", told)
                place.written["executed"] = EXECUTED
        self._write(f"{place.folder}/transcript.txt", "\n".join(filter(None, texts)))
        place.written["transcript"] = "transcript.txt"

    def _leave(self, place: _Conversation, name: str, data: bytes) -> None:
        try:
            self.folder.write(f"{place.folder}/files/{self._secrets(name)}", self._secrets.data(data))
        except (OSError, ValueError) as error:
            place.left.lack(name, f"it could not be written, {getattr(error, 'strerror', None) or error}")

    def _write(self, name: str, text: str) -> None:
        self.folder.write(name, self._secrets(text).encode("utf-8", "replace"))

    def _write_json(self, name: str, value: object) -> None:
        text = json.dumps(clean(self._secrets.within(value)), ensure_ascii=False, indent=1)
        self.folder.write(name, text.encode("utf-8", "replace") + b"\n")


def iso(seconds: float) -> str:
    """Return a time since the epoch in words."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _shown_by(cast: Path) -> str:
    """Return the text that a cast shows."""
    return plain_text("".join(json.loads(line)[2] for line in lines_of(cast)[1:]).encode("utf-8", "replace"))
