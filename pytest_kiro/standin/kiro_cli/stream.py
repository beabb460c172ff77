"""Shows a turn as JSON Lines on stdout: `--output-format stream-json`, for V2 and V3.

Everything else (warnings, denials, a spinner) is on stderr.
"""

from __future__ import annotations

from . import formats, names, out
from .screen import DENIED, NoScreen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .protocols import RunningTurn, Session
    from .tools import Call

NOT_ON_V1 = "--output-format stream-json is not supported on the v1 engine. Pass --agent-engine v2 (or v3)."
MAX_FINAL_TEXT = 1_000_000
"""A `finalText` is cut after so many characters."""


def error(session_id: str | None, stage: str, message: str) -> bool:
    """Print the last event of a run that did not go well."""
    data = {"sessionId": session_id, "stage": stage, "message": message}
    return out.write(1, formats.dumps({"type": "runError", "data": data}) + "\n")


class Stream(NoScreen):
    """Prints the events of one turn."""

    failure_code = 1

    def __init__(self, engine: str, kinds: dict[str, Any]) -> None:
        self.engine = engine
        self.kinds = kinds
        self.turn: RunningTurn | None = None
        self.final = ""
        self.truncated = False

    def started(self) -> None:
        """Print the first event: no session is known yet."""
        self._emit("runStarted", payloadSchema="acp", acpProtocolVersion=1, engine=self.engine)

    @property
    def _session_id(self) -> str | None:
        return self.turn.session.id if self.turn else None

    def _emit(self, kind: str, **data: Any) -> bool:
        line = formats.dumps({"type": kind, "data": data}) + "\n"
        if "split_utf8" in self.kinds:
            from . import misbehave

            return misbehave.cut(self.kinds, line)
        return out.write(1, line)

    def _update(self, update: str, **content: Any) -> bool:
        return self._emit("sessionUpdate", sessionId=self._session_id, update={"sessionUpdate": update, **content})

    def _info(self, kind: str, **content: Any) -> None:
        if self.engine == "v3":
            self._update("session_info_update", _meta={"kiro": {"kind": kind, **content}})

    def begin(self, turn: RunningTurn) -> None:
        """The turn starts."""
        self.turn = turn
        if self.engine == "v2":
            self._emit("metadata", sessionId=self._session_id, contextUsagePercentage=turn.context_usage)
            return
        self._update("available_commands_update", availableCommands=[])
        self._update("config_option_update", configOptions=[{"id": "model", "value": turn.session.model["model_id"]}])
        self._info("turn_start", executionId=turn.session.execution)

    def say(self, text: str) -> None:
        """One chunk of the assistant's text comes; a slow one has a chunk for each character."""
        pieces: list[str] | str = [text] if text else []
        if "slow" in self.kinds:
            pieces = text
        for piece in pieces:
            self._chunk(piece)
            if "slow" in self.kinds:
                from . import misbehave

                misbehave.wait(misbehave.number(self.kinds["slow"], 0.01))

    def _chunk(self, text: str) -> bool:
        room = MAX_FINAL_TEXT - len(self.final)
        self.final += text[:room]
        self.truncated = self.truncated or len(text) > room
        return self._update("agent_message_chunk", content={"type": "text", "text": text})

    def spill(self, data: bytes) -> bool:
        """Print what is no part of the turn; drawings are no events."""
        text = data.decode("utf-8", "replace")
        return out.write(2, text) if "\x1b" in text else self._chunk(text)

    def aside(self, kind: str, content: dict[str, Any]) -> None:
        """Something is told that only events have."""
        self._update(kind, **content)

    def call(self, call: Call) -> None:
        """A tool call is announced."""
        content: dict[str, Any] = {"toolCallId": call.id, "title": self._title(call), **self._of(call)}
        where = names.locations(call)
        if where and content["kind"] != "other":
            content["locations"] = where
        kiro: dict[str, Any] = {"toolName": call.name if call.server else call.tool or call.name}
        if self.engine == "v3":
            kiro = {"toolName": None, "toolOrigin": "default"}
            disclosed = names.disclosed(call)
            if disclosed:
                kiro["disclosedContext"] = disclosed
        if call.server:
            kiro["mcpServerName"] = call.server
            kiro.update({"toolId": call.name} if self.engine == "v3" else {})
        self._update("tool_call", **content, _meta={"kiro": kiro})

    def _of(self, call: Call) -> dict[str, Any]:
        if self.engine == "v3" and names.disclosed(call):
            return {"kind": "other", "rawInput": names.v3_input(call)}
        return {"kind": names.acp_kind(call), "rawInput": call.input}

    def word(self, key: str, title: str, tool: str | None = None) -> None:
        """A word to the user comes as a tool call does; V3 names its own tools by an id."""
        given = {"rawInput": {"question": title}, "status": "pending"} if tool else {}
        kiro = {"toolName": None, "toolOrigin": "default", **({"toolId": tool} if tool else {})}
        self._update("tool_call", toolCallId=key, title=title, kind="other", **given, _meta={"kiro": kiro})

    def child(self, session: Session) -> Stream:
        """Return what tells of a sub-agent, under its own session."""
        return ChildStream(self.engine, self.kinds, session)

    def _title(self, call: Call) -> str:
        return names.v3_title(call) if self.engine == "v3" else call.title

    def denied(self, call: Call) -> None:
        """A call may not run, and there is no terminal to ask."""
        out.write(2, DENIED + "\n")

    def live(self, call: Call) -> Callable[[bytes], object]:
        """Return the function that takes a command's output by lines; each update has only what is new."""
        rest = b""

        def take(data: bytes) -> None:
            nonlocal rest
            lines, newline, rest = (rest + data).rpartition(b"\n")
            if newline:
                text = (lines + newline).decode("utf-8", "replace")
                content = [{"type": "content", "content": {"type": "text", "text": text}}]
                self._update("tool_call_update", toolCallId=call.id, status="in_progress", content=content)

        return take

    def ran(self, call: Call) -> None:
        """A tool call ended."""
        self._update(
            "tool_call_update",
            toolCallId=call.id,
            status="failed" if call.error else "completed",
            title=self._title(call),
            **self._of(call),
            rawOutput={"items": call.answer},
        )

    def _ended(self, turn: RunningTurn, status: str, stop: str) -> None:
        """Print what it cost, and the last event."""
        if self.engine == "v2":
            usage = {"contextUsagePercentage": turn.context_usage}
            metering = {"meteringUsage": turn.metering} if turn.metering else {}
            took = turn.elapsed // 10**6
            self._emit("metadata", sessionId=self._session_id, **usage, **metering, turnDurationMs=took)
        else:
            from .store_v3 import completion

            self._info("context_usage", contextUsage={"usagePercentage": turn.context_usage})
            self._info("turn_completion", **completion(turn, status))
            self._info("turn_end", executionId=turn.session.execution, stopReason=stop)
        if "no_end" not in self.kinds:
            final = {"finalText": self.final, "finalTextTruncated": self.truncated}
            self._emit("runFinished", sessionId=self._session_id, status=status, stopReason=stop, **final)

    def end(self, turn: RunningTurn) -> None:
        """The turn went well, or was ended by the content filter."""
        if turn.ended == "Refusal":
            self._ended(turn, "failed" if self.engine == "v3" else "success", "refusal")
        else:
            self._ended(turn, "success", "end_turn")

    def cancelled(self, turn: RunningTurn) -> None:
        """The turn was interrupted."""
        self._ended(turn, "cancelled", "cancelled")

    def refused(self, turn: RunningTurn, text: str) -> None:
        """The service did not answer."""
        error(self._session_id, "prompt", text)

    def failed(self, turn: RunningTurn | None, text: str) -> bool:
        """The command failed, before the turn or in it."""
        return error(self._session_id, "prompt" if turn else "init", text) or True


class ChildStream(Stream):
    """Prints the events of a sub-agent, under its own session; a workflow's node says which it is."""

    def __init__(self, engine: str, kinds: dict[str, Any], session: Session) -> None:
        super().__init__(engine, kinds)
        self._session = session

    @property
    def _session_id(self) -> str | None:
        return self._session.id

    def _update(self, update: str, **content: Any) -> bool:
        if self._session.workflow and update.startswith("tool_call"):
            kiro = content.get("_meta", {}).get("kiro", {})
            content["_meta"] = {"kiro": {**kiro, "workflow": self._session.workflow}}
        return super()._update(update, **content)
