"""Builds a turn from a stream of events."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from pytest_kiro.kirocli.evidence import with_end
from pytest_kiro.kirocli.sessions import tools
from pytest_kiro.kirocli.sessions.values import dig, listed, number, total, words
from pytest_kiro.turn.transcript import ToolCall, Transcript
from pytest_kiro.turn.warnings import Warnings

News = tuple[Literal["text", "thought", "tool_call", "tool_result", "finished", "error"], str, ToolCall | None]
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
        self._steps: list[_Step] = []
        self._calls: dict[str, ToolCall] = {}
        self._live: dict[str, list[tuple[str, Any]]] = {}
        self._agents: dict[str, str] = {}  # V3's name of a sub-agent: the call that started it
        self._told = 0
        self._last: dict[str, int] = {}  # when each session was last told of, in the order in which they began
        self._metered: dict[str, list[Any]] = {}
        self._took: float | None = None
        self._finished: Mapping[str, Any] | None = None
        self._failed: Mapping[str, Any] | None = None

    # -- what comes

    def take(self, kind: str, data: Mapping[str, Any]) -> Iterator[News]:
        """Take in an event, and return its news."""
        session = words(data.get("sessionId"))
        if session is None:
            session = next(reversed(self._last), "")
        else:
            self._told += 1
            self._last[session] = self._told
        if kind == "sessionUpdate":
            update = data.get("update")
            yield from self._update(update if isinstance(update, dict) else {}, session)
        elif kind == "metadata":
            self._meter(session, data.get("meteringUsage"), "value", data.get("turnDurationMs"))
        elif kind == "runFinished":
            self._finished = data
            yield "finished", "", None
        elif kind == "runError":
            self._failed = self._failed or data
            yield "error", words(data.get("message")) or "", None

    def _update(self, update: Mapping[str, Any], session: str) -> Iterator[News]:
        kind, kiro = update.get("sessionUpdate"), dig(update, "_meta", "kiro")
        within = words(dig(kiro, "subExecutionId"))
        if kind in _CHUNKS:
            text = "".join(tools.texts(update.get("content")))
            if kind == "agent_message_chunk" and text:
                self._steps.append(_Step(session, text, within=within))
            if text:
                yield ("text" if kind == "agent_message_chunk" else "thought"), text, None
        elif kind in ("tool_call", "tool_call_update") and (key := words(update.get("toolCallId"))):
            yield from self._tool(key, update, session, within)
        elif kind == "session_info_update" and isinstance(entries := dig(kiro, "promptTurnSummaries"), list):
            self._meter(session, entries, "usage", kiro.get("elapsedTime"))

    def _meter(self, session: str, entries: Any, key: str, milliseconds: Any) -> None:
        """Take in what the turn has cost so far: the last frame has it whole."""
        if isinstance(entries, list):
            self._metered[session] = [{"value": dig(entry, key), "unit": dig(entry, "unit")} for entry in entries]
        if (took := number(milliseconds)) is not None:
            self._took = took / 1000

    def _tool(self, key: str, update: Mapping[str, Any], session: str, within: str | None) -> Iterator[News]:
        known = self._calls.get(key)
        call = self._calls[key] = self._begun(known, update)
        if started := words(dig(update, "_meta", "kiro", "agentSubtaskId")):
            self._agents[started] = key
        if known is None:
            self._steps.append(_Step(session, call=key, within=within))
            yield "tool_call", words(update.get("title")) or call.raw_name, replace(call, status="unfinished")
        if came := list(_came(update)):
            self._live[key] = came  # of a command that still runs, all that it has printed
        status = update.get("status")
        if status in ("completed", "failed") and call.status == "unfinished":
            ended = tools.ended(call, self._live.pop(key, []), ok=status == "completed")
            self._calls[key] = ended
            yield "tool_result", ended.output, ended

    def _begun(self, known: ToolCall | None, update: Mapping[str, Any]) -> ToolCall:
        """Return the call as it is known now; later updates may add its input, its name, its place."""
        given = update.get("rawInput")
        place = dig(next(iter(listed(update.get("locations"))), None), "path")
        if not isinstance(given, dict) and isinstance(place, str):
            given = {"path": place}
        call = tools.begun_by_acp(dig(update, "_meta", "kiro", "toolName"), given, update)
        if known is None:
            return call
        named = call if call.name != "unknown" and known.name == "unknown" else known
        return replace(known, name=named.name, raw_name=named.raw_name, input=known.input or call.input)

    # -- what it comes to

    def transcript(self) -> Transcript:
        """Return the turn as far as it has been told."""
        main = self._main()
        known = {*main, ""}
        ours = [step for step in self._steps if step.within is None and step.session in known]
        calls = {step.call: self._calls[step.call] for step in ours if step.call is not None}
        inner, unclear = self._inner(calls)
        messages = tuple(_messages(ours))
        transcript = Transcript(
            session_id=main[-1] if main else "",
            messages=messages,
            tool_calls=tools.with_calls(calls, inner),
            credits=total([entry for entries in self._metered.values() for entry in entries], "value"),
            duration=self._took,
            warnings=tuple(Warnings([*self._doubts(messages), *unclear])),
            proof="runFinished",
        )
        return self._with_end(transcript)

    def _main(self) -> list[str]:
        """Return our sessions in order: auto-compaction goes on in a new one, from which it does not return.

        One from which an older takes over again was a sub-agent's. The last record names the one that is to be resumed.
        """
        latest = itertools.accumulate(self._last.values(), max)
        ours = [one for one, last in zip(self._last, latest, strict=True) if self._last[one] == last]
        named = words(dig(self._finished, "sessionId"))
        return ours if named is None else [*(one for one in ours if one != named), named]

    def _inner(self, calls: Mapping[str, ToolCall]) -> tuple[Mapping[str, Sequence[ToolCall]], Warnings]:
        """Return the sub-agents' calls by the call that started them: V3 names it, else it is the one before."""
        inner: dict[str, list[ToolCall]] = defaultdict(list)
        warnings = Warnings()
        starter = None
        for step in self._steps:
            if step.call is None:
                continue
            if step.call in calls:
                starter = step.call if tools.is_agent(calls[step.call]) else starter
            else:
                named = self._agents.get(step.within or "")
                if parent := named if named in calls else starter:
                    inner[parent].append(self._calls[step.call])
                else:
                    warnings.add(f"{self._calls[step.call]}: no tool call of this turn has started its sub-agent")
        return inner, warnings

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
    for is_text, chunks in itertools.groupby(steps, key=lambda step: step.call is None):
        if is_text:
            yield "".join(step.text for step in chunks)


def _came(update: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Read what a tool gave back: its raw output, else what is shown of it."""
    raw = update.get("rawOutput")
    if isinstance(items := dig(raw, "items"), list):
        yield from tools.parts(items)
    elif isinstance(raw, str | dict):
        yield from tools.content(raw)
    elif shown := "".join(tools.texts(update.get("content"))):
        yield "text", shown
