"""V3's store: `session.json` and `messages.jsonl` in a folder per session, in a folder per workspace."""

from __future__ import annotations

import os
import time

from . import agents, models, store_turns, text_json
from .failures import Failure
from .names import v3_name
from .store import TITLE_LENGTH, new_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .tools import Call
    from .turn import Turn

_MODES = {agents.DEFAULT: "vibe"}
_AGENTS = {mode: agent for agent, mode in _MODES.items()}
_ENDS = {"UserTurnEnd": ("end_turn", "success"), "Cancelled": ("cancelled", "cancelled"), "Error": ("error", "failed")}


def timestamp() -> str:
    """Now, in UTC, to the millisecond."""
    milliseconds = time.time_ns() // 10**6
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds // 1000))
    return f"{seconds}.{milliseconds % 1000:03d}Z"


def folder() -> str:
    """Where this workspace's sessions are; V3 does not look at KIRO_HOME."""
    import hashlib

    bucket = hashlib.sha256(os.getcwd().encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return os.path.join(os.path.expanduser("~"), ".kiro", "sessions", bucket)


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


class Log:
    """A file of messages: a session's, or a sub-agent's."""

    def __init__(self, path: str, model: dict[str, Any], *, kept: bool) -> None:
        self.path = path
        self.kept = kept
        self.model = model
        self.history: list[str] = []
        self.execution = new_id()
        self.ids: list[str] = []

    def add(self, payload_type: str, *, message_id: str | None = None, **payload: Any) -> None:
        """Append a message."""
        self.ids.append(message_id or new_id())
        line = {"id": self.ids[-1], "timestamp": timestamp(), "payload": {"type": payload_type, **payload}}
        if self.kept:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            with open(self.path, "ab") as file:
                file.write(text_json.dumps(line).encode("utf-8", "replace") + b"\n")

    def open(self) -> None:
        """Nothing locks it."""

    def prompt(self, text: str) -> None:
        """A turn begins."""
        self.add("user", content=text, source="chat", images=[], documents=[])
        self.add("turn_start", executionId=self.execution)

    def answered(self, text: str, calls: list[Call]) -> None:
        """The model answered a request; its calls are added as they begin."""
        if text:
            self.add("assistant", content=text, operationType="Say", executionId=self.execution)

    def began(self, call: Call) -> None:
        """A call may run, or may not."""
        what: dict[str, Any] = {"toolCallId": call.id, "toolName": v3_name(call), "args": call.input}
        status = "denied" if call.denied else "failed" if call.error else "approved"
        self.add("tool_call", **what, status=status, executionId=self.execution)

    def results(self, calls: list[Call]) -> None:
        """The calls of a request ended."""
        for call in calls:
            texts = [text if kind == "Text" else text_json.dumps(text) for i in call.answer for kind, text in i.items()]
            done: dict[str, Any] = {
                "content": "\n".join(texts),
                "success": call.error is None,
                "durationMs": call.milliseconds,
            }
            self.add("tool_result", message_id=f"{call.id}-result", toolCallId=call.id, **done)

    def finish(self, turn: Turn, end_reason: str, error: str | dict[str, str] | None) -> None:
        """The turn ended."""
        stop, status = _ENDS[end_reason]
        self.add("session_metadata", key="contextUsage", value={"usagePercentage": turn.context_usage})
        if turn.metering:
            self.add("usage_summary", **completion(turn, status), executionId=self.execution)
        context = {"status": status} if error is None else {"status": status, "error": error}
        self.add("session_event", category="session_pause", context=context)
        self.add("turn_end", executionId=self.execution, stopReason=stop)


def completion(turn: Turn, status: str) -> dict[str, Any]:
    """What a whole turn cost: one sum, not one per request."""
    usage = sum(part["value"] for part in turn.metering)
    summary = {
        "unit": "credit",
        "unitPlural": "credits",
        "usage": usage,
        "usedTools": [v3_name(call) for call in turn.calls],
    }
    return {
        "promptTurnSummaries": [summary] if turn.metering else [],
        "elapsedTime": turn.elapsed // 10**6,
        "status": status,
        "requestIds": [new_id() for _ in range(turn.requests)],
    }


class Session(Log):
    """One conversation on disk."""

    def __init__(self, state: dict[str, Any], *, kept: bool = True) -> None:
        self.state = state
        self.id: str = state["id"]
        self.base = os.path.join(folder(), self.id)
        super().__init__(os.path.join(self.base, "messages.jsonl"), models.find(state["modelId"]), kept=kept)

    @property
    def agent_name(self) -> str:
        """The agent that answers here."""
        mode = str(self.state["agentMode"])
        return _AGENTS.get(mode, mode)

    def use(self, agent: str, model: dict[str, Any] | None) -> None:
        """Go on with this agent, and with another model if there is one."""
        self.state["agentMode"] = _MODES.get(agent, agent)
        self.model = model or self.model
        self.state["modelId"] = self.model["model_id"]

    def prompt(self, text: str) -> None:
        """A turn begins."""
        self._save("running")
        super().prompt(text)

    def finish(self, turn: Turn, end_reason: str, error: str | dict[str, str] | None) -> None:
        """The turn ended."""
        super().finish(turn, end_reason, error)
        self._save("idle")

    def child(self, prompt: str, agent: str, call_id: str) -> Log:
        """The log of a sub-agent, beside this session's."""
        name = new_id()
        self.add("sub_agent_start", subSessionId=name, subAgentName=agent, prompt=prompt, toolCallId=call_id)
        return Log(os.path.join(self.base, "sub-executions", f"{name}.jsonl"), self.model, kept=self.kept)

    def joined(self, child: Log, text: str) -> None:
        """A sub-agent ended."""
        name = os.path.basename(child.path)[: -len(".jsonl")]
        self.add("sub_agent_complete", subSessionId=name, response=text)

    def compacted(self, said: list[str]) -> Session:
        """End this log with a mark, and begin another that goes on from a summary."""
        text = store_turns.summary([*self.history, *said])
        metadata = {"truncatedMessageCount": len(self.ids), "truncatedAt": timestamp()}
        self.add("tombstone", kind="summarization", effectiveFromMessageId=self.ids[0], metadata=metadata)
        self._save("idle")
        new = Session({**self.state, "id": f"sess_{new_id()}", "createdAt": timestamp()}, kept=self.kept)
        new.history, new.model, new.execution = self.history, self.model, self.execution
        new._save("running")
        new.add("assistant", content=text, operationType="Summary")
        return new

    def _save(self, status: str) -> None:
        """Write the state so that a reader sees the old one or the new one, never half of it."""
        self.state.update(lastModifiedAt=timestamp(), status=status)
        if not self.kept:
            return
        os.makedirs(self.base, exist_ok=True)
        temporary = os.path.join(self.base, f"session.json.{os.getpid()}.tmp")
        with open(temporary, "wb") as file:
            file.write(text_json.dumps(self.state, 2).encode("utf-8", "replace"))
        os.replace(temporary, os.path.join(self.base, "session.json"))


def create(prompt: str, agent: str, model: dict[str, Any], *, kept: bool) -> Session:
    """A session for this directory; nothing is written yet."""
    now = timestamp()
    state = {
        "schemaVersion": "1.0.0",
        "dataModelVersion": 1,
        "id": f"sess_{new_id()}",
        "title": prompt.strip()[:TITLE_LENGTH],
        "agentMode": _MODES.get(agent, agent),
        "workspacePaths": [os.getcwd()],
        "createdAt": now,
        "lastModifiedAt": now,
        "modelId": model["model_id"],
        "createdReason": "human",
        "status": "idle",
    }
    return Session(state, kept=kept)


def load(session_id: str, *, kept: bool = True) -> Session:
    """The session of that id, if it is of this directory, with what was said in it."""
    base = os.path.join(folder(), session_id)
    try:
        session = Session(text_json.loads(_read(os.path.join(base, "session.json"))), kept=kept)
        lines = _read(session.path).splitlines()
    except (OSError, ValueError, KeyError, TypeError):
        raise Failure(f"Failed to start session: Session not found: {session_id}") from None
    for line in lines:
        message = text_json.loads(line)
        session.ids.append(message["id"])
        if message["payload"]["type"] in ("user", "assistant"):
            session.history.append(message["payload"]["content"])
    return session


def _here() -> list[dict[str, Any]]:
    """The states of this directory's sessions, newest first."""
    try:
        paths = [os.path.join(folder(), name, "session.json") for name in os.listdir(folder())]
    except OSError:
        return []
    found = []
    for path in sorted(filter(os.path.exists, paths), key=lambda path: -os.stat(path).st_mtime_ns):
        try:
            state = text_json.loads(_read(path))
        except ValueError:
            continue
        if isinstance(state, dict) and "id" in state:
            found.append(state)
    return found


def newest(*, kept: bool) -> Session | None:
    """What `--resume` continues: this directory's newest session in which something was said."""
    for state in _here():
        if os.path.exists(os.path.join(folder(), state["id"], "messages.jsonl")):
            return load(state["id"], kept=kept)
    return None


def listing() -> str:
    """What `--list-sessions` prints."""
    lines = [f"  {s['id']}  {s['lastModifiedAt']}  {s['title'][:60]}\n" for s in _here()]
    return f"Chat sessions for {os.getcwd()}:\n\n" + ("".join(lines) or "  none\n")


def delete(session_id: str) -> None:
    """Remove a session's folder."""
    import shutil

    shutil.rmtree(load(session_id).base)
