"""Reads the parts of V3's records: calls and their outputs, questions, reverts, agents."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from pytest_kiro.kirocli.sessions import tools
from pytest_kiro.kirocli.sessions.log import Record
from pytest_kiro.kirocli.sessions.values import dig, dump, words
from pytest_kiro.turn.transcript import ToolCall
from pytest_kiro.turn.warnings import Warnings

#: Messages in the user's name that begin no turn.
_WITHIN = ("steer", "hook")
#: The folder of a session that has large results, with files at any depth.
OUTPUTS = "tool-outputs"
_OUTPUT = re.compile(rf"{OUTPUTS}/([^\s/\"'<>|]+)")
#: Characters of a sentence that are kept.
_SENTENCE = 500


class Started(NamedTuple):
    """A sub-agent as its parent's records have it: its name, what it was asked, and what it answered."""

    name: str = ""
    prompt: str = ""
    answers: tuple[str, ...] = ()
    where: str = ""
    at: float | None = None


def effective(records: Sequence[Record], session: Container[str], warnings: Warnings) -> Sequence[Record]:
    """Return the records of a turn that a revert has left.

    A `checkpoint_revert` takes back what was recorded from the message on that it names; `session` are the ids of all
    messages. A `summarization` takes nothing back: what it names is only not sent to the model any more.
    """
    kept: list[tuple[int, Record]] = []
    places: dict[str, int] = {}
    for place, record in enumerate(records):
        if record.kind != "tombstone" or record.data.get("kind") != "checkpoint_revert":
            kept.append((place, record))
            if record.id is not None:
                places.setdefault(record.id, place)
            continue
        named = words(record.data.get("effectiveFromMessageId")) or ""
        if named not in session:
            warnings.add(f"{record.where}: it takes back a message that is not there: {named[:80]}")
            continue
        while kept and kept[-1][0] >= places.get(named, 0):
            kept.pop()
    return [record for _, record in kept]


def identity(record: Record) -> tuple[str | None, str]:
    """Return what a copy of a record has as well."""
    return record.id, dump(record.data)


def unanswered(records: Iterable[Record]) -> Record | None:
    """Return the first question, or approval, without an answer."""
    pending: dict[str, Record] = {}
    for record in records:
        key = words(record.data.get("toolCallId")) or ""
        answered = record.kind == "tool_result" and record.data.get("success") is True
        if record.kind == "pending_interaction":
            pending.setdefault(key, record)
        elif record.kind == "interaction_resolved" or answered or record.data.get("status") == "denied":
            pending.pop(key, None)
    return next(iter(pending.values()), None)


def question(record: Record) -> str:
    """Return what was asked, in one line."""
    return " ".join((words(record.data.get("question")) or "a question without a text").split())[:_SENTENCE]


def waiting(records: Iterable[Record]) -> Iterator[str]:
    """Yield a warning for a question without an answer."""
    if (asked := unanswered(records)) is not None:
        yield f"{asked.where}: it asked, and has no answer: {question(asked)}"


def troubles(records: Iterable[Record]) -> Iterator[str]:
    """Yield what a turn's records say of what went wrong."""
    for record in records:
        data = record.data
        texts = {
            "error": (data.get("message"),),
            "turn_end": [dig(data, "stopDetails", "refusal", word) for word in ("category", "explanation")],
            "session_event": (dig(data, "context", "error"), dig(data, "context", "error", "message")),
            "session_metadata": [
                told for told in (data.get("value"), dig(data, "value", "message")) if data.get("key") == "displayError"
            ],
        }.get(record.kind, ())
        yield from (text[:_SENTENCE] for text in texts if isinstance(text, str) and text)


def started(records: Iterable[Record]) -> dict[str, Started]:
    """Return the sub-agents that records tell of, by their ids."""
    told: dict[str, Started] = {}
    for record in records:
        name = words(record.data.get("subSessionId")) if record.kind.startswith("sub_agent_") else None
        if name is None:
            continue
        known = told.get(name, Started(where=record.where, at=record.at))
        if answer := words(record.data.get("response")):
            known = known._replace(answers=(*known.answers, answer))
        told[name] = known._replace(
            name=known.name or words(record.data.get("subAgentName")) or "",
            prompt=known.prompt or words(record.data.get("prompt")) or "",
        )
    return told


class Outputs:
    """The results that are in files of their own."""

    def __init__(self, paths: Sequence[PurePosixPath], files: Mapping[str, bytes]) -> None:
        self._paths, self._files = paths, files
        self._taken: dict[PurePosixPath, str] = {}

    def whole(self, content: Any, key: str, where: str) -> Any:
        """Return what stands in the file that a content names.

        It may be named by its call. A file is one result's, `where` that is: else many that name the largest would be
        read as many times.
        """
        if not self._paths or not isinstance(content, str):
            return content
        names = (name.rstrip(".,;:)]}") for name in _OUTPUT.findall(content))
        path = next((self._by_name[name] for name in names if name in self._by_name), self._by_stem.get(key))
        if path is None or self._taken.setdefault(path, where) != where:
            return content
        return self._files[str(path)].decode("utf-8", "replace")

    @cached_property
    def _by_name(self) -> Mapping[str, PurePosixPath]:
        return {path.name: path for path in reversed(self._paths)}

    @cached_property
    def _by_stem(self) -> Mapping[str, PurePosixPath]:
        return {path.stem: path for path in reversed(self._paths)}


def called(known: ToolCall | None, data: Mapping[str, Any], *, rejected: bool) -> ToolCall:
    """Return a call from its record. Records are rewritten as the call proceeds; a result may have come first."""
    call = tools.begun_by_acp(data.get("toolName"), data.get("args"), data)
    if known is not None and known.status != "unfinished":
        call = replace(known, name=call.name, raw_name=call.raw_name, input=call.input)
    status = data.get("status")
    if status == "denied" or rejected:
        return replace(call, status="denied")
    if status in ("completed", "failed") and call.status == "unfinished":
        return replace(call, status=status)
    return call


def is_within(data: Mapping[str, Any]) -> bool:
    """Whether a message in the user's name begins no turn: what is added, or told by a workflow."""
    told = data.get("kind"), dig(data, "_meta", "kiro", "notification")
    return data.get("source") in _WITHIN or any(told)


def is_rejected(data: Mapping[str, Any]) -> bool:
    return "reject" in str(data.get("selectedOption")) or data.get("outcome") == "cancelled"


def between(first: Record, last: Record) -> float | None:
    return last.at - first.at if first.at is not None and last.at is not None and last.at >= first.at else None
