"""Builds a turn from a stream of events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from pytest_kiro.kirocli.evidence import with_end
from pytest_kiro.kirocli.sessions import tools
from pytest_kiro.kirocli.sessions.values import dig, listed, number, total, words
from pytest_kiro.turn.transcript import ToolCall, Transcript

Told = tuple[Literal["text", "thought", "tool_call", "tool_result"], str, ToolCall | None]
_CHUNKS = ("agent_message_chunk", "agent_thought_chunk")


class _Step(NamedTuple):
    """A chunk of text, or a tool call's beginning, by its key. `within` names a sub-agent of V3."""

    session: str
    text: str = ""
    call: str | None = None
    within: str | None = None


class StreamedTurn:
    """The events of one run; they may come twice, and a result may come without its call."""

    def __init__(self) -> None:
        self.engine: str | None = None
        self._steps: list[_Step] = []
        self._calls: dict[str, ToolCall] = {}
        self._live: dict[str, list[tuple[str, Any]]] = {}
        self._agents: dict[str, str] = {}  # V3's name of a sub-agent: the call that started it
        self._first: dict[str, int] = {}  # when each session was first told of, and when last
        self._last: dict[str, int] = {}
        self._count = 0
        self._metered: dict[str, list[Any]] = {}
        self._took: float | None = None
        self._finished: Mapping[str, Any] | None = None
        self._failed: Mapping[str, Any] | None = None

    # -- what comes

    def told(self, kind: str, data: Mapping[str, Any]) -> None:
        """Take in an event that is no update of the session."""
        session = self._session(data)
        if kind == "runStarted":
            self.engine = words(data.get("engine")) or self.engine
        elif kind == "metadata":
            if isinstance(data.get("meteringUsage"), list):
                self._metered[session] = data["meteringUsage"]  # all of the turn so far: the last frame has it whole
            took = number(data.get("turnDurationMs"))
            self._took = self._took if took is None else took / 1000
        elif kind == "runFinished":
            self._finished = data
        elif kind == "runError":
            self._failed = self._failed or data

    def update(self, data: Mapping[str, Any]) -> Iterator[Told]:
        """Take in an update of the session, and return its news."""
        given = data.get("update")
        update: dict[str, Any] = given if isinstance(given, dict) else {}
        session = self._session(data)
        kind, kiro = dig(update, "sessionUpdate"), dig(update, "_meta", "kiro")
        within = words(dig(kiro, "subExecutionId"))
        if kind in _CHUNKS:
            text = "".join(tools.texts(dig(update, "content")))
            if kind == "agent_message_chunk" and text:
                self._steps.append(_Step(session, text, within=within))
            if text:
                yield ("text" if kind == "agent_message_chunk" else "thought"), text, None
        elif kind in ("tool_call", "tool_call_update") and (key := words(dig(update, "toolCallId"))):
            yield from self._tool(key, update, session, within)
        elif kind == "session_info_update" and isinstance(dig(kiro, "promptTurnSummaries"), list):
            self._metered[session] = [
                {"value": dig(entry, "usage"), "unit": dig(entry, "unit")} for entry in kiro["promptTurnSummaries"]
            ]
            took = number(dig(kiro, "elapsedTime"))
            self._took = self._took if took is None else took / 1000

    def _session(self, data: Mapping[str, Any]) -> str:
        session = words(data.get("sessionId"))
        if session is None:
            return next(reversed(self._first), "")
        self._count += 1
        self._first.setdefault(session, self._count)
        self._last[session] = self._count
        return session

    def _tool(self, key: str, update: Mapping[str, Any], session: str, within: str | None) -> Iterator[Told]:
        known = self._calls.get(key)
        kiro = dig(update, "_meta", "kiro")
        call = self._begun(known, update, kiro)
        self._calls[key] = call
        if started := words(dig(kiro, "agentSubtaskId")):
            self._agents[started] = key
        if known is None:
            self._steps.append(_Step(session, call=key, within=within))
            yield "tool_call", words(update.get("title")) or call.raw_name, replace(call, status="unfinished")
        came = list(_came(update))
        if came:
            self._live[key] = came  # of a command that still runs, all that it has printed
        status = update.get("status")
        if status in ("completed", "failed") and call.status == "unfinished":
            ended = tools.ended(call, self._live.pop(key, []), ok=status == "completed")
            self._calls[key] = ended
            yield "tool_result", ended.output, ended

    def _begun(self, known: ToolCall | None, update: Mapping[str, Any], kiro: Any) -> ToolCall:
        """Return the call as it is known now; later updates may add its input, its name, its place."""
        given = update.get("rawInput")
        place = dig((listed(update.get("locations")) or [None])[0], "path")
        if not isinstance(given, dict) and isinstance(place, str):
            given = {"path": place}
        call = tools.begun(
            words(dig(kiro, "toolName")),
            given,
            kind=update.get("kind"),
            title=update.get("title"),
            server=dig(kiro, "mcpServerName"),
        )
        if known is None:
            return call
        named = call if call.name != "unknown" and known.name == "unknown" else known
        return replace(known, name=named.name, raw_name=named.raw_name, input=known.input or call.input)

    # -- what it comes to

    def transcript(self) -> Transcript:
        """Return the turn as far as it has been told."""
        main = self._main()
        ours = [step for step in self._steps if step.within is None and step.session in (*main, "")]
        calls = {step.call: self._calls[step.call] for step in ours if step.call is not None}
        inner: dict[str, list[ToolCall]] = {}
        warnings = []
        for step in self._steps:
            if step.call is not None and step.call not in calls:
                parent = self._parent(step, calls)
                if parent is None:
                    warnings.append(f"{self._calls[step.call]}: no tool call of this turn has started its sub-agent")
                else:
                    inner.setdefault(parent, []).append(self._calls[step.call])
        messages = tuple(_messages(ours))
        transcript = Transcript(
            session_id=main[-1] if main else "",
            messages=messages,
            tool_calls=tools.with_calls(calls, {key: tuple(found) for key, found in inner.items()}),
            credits=total([entry for entries in self._metered.values() for entry in entries], "value"),
            duration=self._took,
            warnings=(*warnings, *self._doubts(messages)),
            proof="runFinished",
        )
        return self._with_end(transcript)

    def _main(self) -> list[str]:
        """Return our sessions in order: auto-compaction goes on in a new one, from which it does not return.

        One from which an older takes over again was a sub-agent's. The last record names the one that is to be resumed.
        """
        first, last = self._first, self._last
        ours = [one for one in first if not any(first[old] < first[one] and last[old] > last[one] for old in first)]
        named = words(dig(self._finished, "sessionId"))
        return ours if named is None else [*(one for one in ours if one != named), named]

    def _parent(self, step: _Step, calls: Mapping[str, ToolCall]) -> str | None:
        """Return the call that started the sub-agent of this step: V3 names it, else it is the one before."""
        named = self._agents.get(step.within or "")
        before = [s.call for s in self._steps[: self._steps.index(step)] if s.call in calls]
        starters = [key for key in before if key is not None and tools.is_agent(calls[key])]
        return named if named in calls else starters[-1] if starters else None

    def _doubts(self, messages: tuple[str, ...]) -> Iterator[str]:
        final = dig(self._finished, "finalText")
        # It has every message without a separator, so it can only be compared; where it is cut, not even that.
        whole = isinstance(final, str) and dig(self._finished, "finalTextTruncated") is not True
        if whole and "".join(str(final).split()) != "".join("".join(messages).split()):
            yield "the stream's last record has another text than the chunks before it"

    def _with_end(self, transcript: Transcript) -> Transcript:
        if self._failed is not None:
            message = words(self._failed.get("message")) or "it said no more"
            stage = words(self._failed.get("stage"))
            return replace(transcript, end_reason="Error", failure=message, stage=stage)
        if self._finished is None:
            return transcript
        # Its status has to be there: an end without one is not what any version has printed.
        status = words(self._finished.get("status"))
        return with_end(transcript, words(self._finished.get("stopReason")), status or "unknown")


def _messages(steps: Iterable[_Step]) -> Iterator[str]:
    """Chunks between tool calls are one message."""
    chunks: list[str] = []
    for step in [*steps, None]:
        if step is not None and step.call is None:
            chunks.append(step.text)
        elif chunks:
            yield "".join(chunks)
            chunks = []


def _came(update: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Read what a tool gave back: its raw output, else what is shown of it."""
    raw = update.get("rawOutput")
    if isinstance(items := dig(raw, "items"), list):
        yield from tools.parts(items)
    elif isinstance(raw, str | dict):
        yield from tools.content(raw)
    elif shown := "".join(tools.texts(update.get("content"))):
        yield "text", shown
