"""Builds a turn from a stream of events."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from pytest_kiro.kirocli.events_agents import Agents, Group, Key, Step, messages, told_before
from pytest_kiro.kirocli.events_models import Models
from pytest_kiro.kirocli.evidence import UNANSWERED, with_end
from pytest_kiro.kirocli.sessions import tools
from pytest_kiro.kirocli.sessions.values import dig, listed, number, total, words
from pytest_kiro.turn.transcript import ToolCall, Transcript
from pytest_kiro.turn.warnings import Warnings

News = tuple[Literal["text", "thought", "tool_call", "tool_result", "finished", "error"], str, ToolCall | None]
_CHUNKS = ("agent_message_chunk", "agent_thought_chunk")
_CALLS = ("tool_call", "tool_call_update")


class StreamedTurn:
    """The events of one run; they may come twice, and a result may come without its call."""

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._calls: dict[Key, ToolCall] = {}
        self._keys: dict[str, Key] = {}  # of each call's id, which two sessions may both have, the latest
        self._live: dict[Key, list[tuple[str, Any]]] = {}
        self._agents, self._models = Agents(), Models()
        self._odd = Warnings()
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
        group = session, words(dig(kiro, "subExecutionId"))
        self._agents.heard(group, kiro)
        self._models.hear(session, kind, update)
        if kind in _CHUNKS:
            text = "".join(tools.texts(update.get("content")))
            if kind == "agent_message_chunk" and text:
                self._steps.append(Step(group, text))
            if text:
                yield ("text" if kind == "agent_message_chunk" else "thought"), text, None
        elif kind in _CALLS:
            name = words(update.get("toolCallId"))
            if name is None:
                self._odd.add(f"a {kind} without an id: {words(update.get('title')) or 'and without a title'}")
            elif tools.is_aside(name, update):
                self._odd.add(f"no tool call, but a word to the user: {words(update.get('title'))}")
            else:
                yield from self._tool(self._key(session, name, kind), group, update)
        elif kind == "session_info_update" and isinstance(entries := dig(kiro, "promptTurnSummaries"), list):
            self._meter(session, entries, "usage", kiro.get("elapsedTime"))

    def _key(self, session: str, name: str, kind: Any) -> Key:
        """Return a call's key; its update may come in the session that goes on after a compaction, or in none."""
        key = session, name
        if kind == "tool_call_update" and key not in self._calls:
            key = self._keys.get(name, key)
        self._keys[name] = key
        return key

    def _meter(self, session: str, entries: Any, key: str, milliseconds: Any) -> None:
        """Take in what the turn has cost so far: the last frame has it whole."""
        if isinstance(entries, list):
            self._metered[session] = [{"value": dig(entry, key), "unit": dig(entry, "unit")} for entry in entries]
        if (took := number(milliseconds)) is not None:
            self._took = took / 1000

    def _tool(self, key: Key, group: Group, update: Mapping[str, Any]) -> Iterator[News]:
        known = self._calls.get(key)
        call = self._calls[key] = self._begun(known, update)
        self._agents.began(key, group, call, dig(update, "_meta", "kiro"))
        if known is None:
            self._steps.append(Step(group, call=key))
            yield "tool_call", words(update.get("title")) or call.raw_name, replace(call, status="unfinished")
        if came := list(_came(update)):
            self._live[key] = came  # of a command that still runs, all that it has printed
        status = update.get("status")
        if status in ("completed", "failed") and call.status == "unfinished":
            ended = tools.ended(call, self._live.pop(key, []), ok=status == "completed")
            self._calls[key] = ended
            self._agents.ended(key)
            yield "tool_result", ended.output, ended

    def _begun(self, known: ToolCall | None, update: Mapping[str, Any]) -> ToolCall:
        """Return the call as it is known now; later updates may add its input, its name, its place."""
        given = update.get("rawInput")
        place = dig(next(iter(listed(update.get("locations"))), None), "path")
        if not isinstance(given, dict) and isinstance(place, str):
            given = {"path": place}
        call = tools.begun_by_acp(tools.raw_name(update), given, update)
        if known is None:
            return call
        named = call if call.name != "unknown" and known.name == "unknown" else known
        return replace(known, name=named.name, raw_name=named.raw_name, input=known.input or call.input)

    # -- what it comes to

    def transcript(self) -> Transcript:
        """Return the turn as far as it has been told."""
        main = self._main()
        known = {*main, ""}
        own = [step for step in self._steps if step.group[1] is None and step.group[0] in known]
        ours, before = tuple(messages(own)), told_before(own)
        made = {key: replace(call, after=before.get(key)) for key, call in self._calls.items()}
        calls, agents, unclear = self._agents.placed(self._steps, made, known)
        warnings = Warnings([*self._doubts(ours), *self._odd, *unclear, *self._models.warnings(known)])
        fallback = self._models.fallback(known)
        metered = [entry for entries in self._metered.values() for entry in entries]
        credits = total(metered, "value", "the event stream", warnings)
        transcript = Transcript(
            session_id=main[-1] if main else "",
            messages=ours,
            tool_calls=calls,
            agents=agents,
            model=fallback.model if fallback and fallback.own else None,
            fallback=fallback,
            duration=self._took,
            warnings=tuple(warnings),
            proof="runFinished",
        )
        return self._with_end(transcript.charged(credits, "stream"))

    def _main(self) -> list[str]:
        """Return our sessions in order: auto-compaction goes on in a new one, from which it does not return.

        One from which an older takes over again was a sub-agent's. The last record names the one that is to be resumed.
        """
        latest = itertools.accumulate(self._last.values(), max)
        ours = [one for one, last in zip(self._last, latest, strict=True) if self._last[one] == last]
        own = [one for one in ours if not self._agents.is_child(one)] or ours[:1]
        named = words(dig(self._finished, "sessionId"))
        return own if named is None else [*(one for one in own if one != named), named]

    def _doubts(self, ours: tuple[str, ...]) -> Iterator[str]:
        final = dig(self._finished, "finalText")
        # It has every message without a separator, so it can only be compared; where it is cut, not even that.
        whole = isinstance(final, str) and dig(self._finished, "finalTextTruncated") is not True
        if whole and "".join(str(final).split()) != "".join("".join(ours).split()):
            yield "the stream's last record has another text than the chunks before it"

    def _with_end(self, transcript: Transcript) -> Transcript:
        if self._failed is not None:
            message = words(self._failed.get("message")) or "it said no more"
            stage = words(self._failed.get("stage"))
            reason = "Cancelled" if stage == "interrupted" else "Error"  # V3, since 2.21.1
            return replace(transcript, end_reason=reason, failure=message, stage=stage)
        if self._finished is None:
            return transcript
        # Its status has to be there: an end without one is not what any version has printed.
        status = words(self._finished.get("status"))
        transcript = with_end(transcript, words(self._finished.get("stopReason")), status or "unknown")
        asked = (call for call in transcript.tool_calls if call.name == "user_input" and call.status == "unfinished")
        if transcript.end_reason == "Cancelled" and (call := next(asked, None)):
            question = words(call.input.get("question")) or "a question without a text"
            return replace(transcript, end_reason=UNANSWERED, failure=question)
        return transcript


def _came(update: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Read what a tool gave back: its raw output, else what is shown of it."""
    raw = update.get("rawOutput")
    if isinstance(items := dig(raw, "items"), list):
        yield from tools.parts(items)
    elif isinstance(raw, str | dict):
        yield from tools.content(raw)
    elif shown := "".join(tools.texts(update.get("content"))):
        yield "text", shown
