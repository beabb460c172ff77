"""V3's session store.

`session.json` and `messages.jsonl` are in a folder per session, in a folder per workspace.
"""

from __future__ import annotations

import hashlib
import os

from . import agents, formats, models
from .common import TITLE_LENGTH, summary
from .failures import Failure
from .names import v3_input, v3_name
from .plain import Plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .protocols import RunningTurn, Session
    from .tools import Call

_MODES = {agents.DEFAULT: "vibe"}
_AGENTS = {mode: agent for agent, mode in _MODES.items()}
_ENDS = {
    "UserTurnEnd": ("end_turn", "success"),
    "Cancelled": ("cancelled", "aborted"),
    "Error": ("error", "failed"),
    "Refusal": ("refusal", "failed"),
}


def _now() -> str:
    return formats.timestamp(3)


def folder() -> str:
    """Return the folder of this workspace's sessions; V3 does not look at KIRO_HOME."""
    bucket = hashlib.sha256(os.getcwd().encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return os.path.join(os.path.expanduser("~"), ".kiro", "sessions", bucket)


class SessionV3(Plain):
    """One conversation on disk."""

    is_agent = False

    def __init__(self, state: dict[str, Any], *, kept: bool = True) -> None:
        self.state = state
        self.id: str = state["id"]
        self.base = os.path.join(folder(), self.id)
        self.path = os.path.join(self.base, "messages.jsonl")
        self.model = models.find(state["modelId"])
        self.kept = kept
        self.history: list[str] = []
        self.execution = formats.new_id()
        self.ids: list[str] = []
        self.billed: dict[str, float] = {"main": 0, "delegated": 0, "auxiliary": 0}
        self._open: list[str] = []

    @property
    def agent_name(self) -> str:
        """The agent that answers."""
        mode = str(self.state["agentMode"])
        return _AGENTS.get(mode, mode)

    def use(self, agent: str, model: dict[str, Any] | None) -> None:
        """Go on with this agent, and with another model if given."""
        self.state["agentMode"] = _MODES.get(agent, agent)
        self.model = model or self.model
        self.state["modelId"] = self.model["model_id"]

    def add(self, payload_type: str, *, message_id: str | None = None, **payload: Any) -> None:
        """Append a message."""
        self.ids.append(message_id or formats.new_id())
        line = {"id": self.ids[-1], "timestamp": _now(), "payload": {"type": payload_type, **payload}}
        if self.kept:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            with open(self.path, "ab") as file:
                file.write(formats.dumps(line).encode("utf-8", "replace") + b"\n")

    def open(self) -> None:
        """Lock nothing."""

    def prompt(self, text: str) -> None:
        """Record that a turn begins."""
        self._save("running")
        self.add("user", content=text, source="chat", images=[], documents=[])
        self.add("turn_start", executionId=self.execution)
        self._begun = len(self.ids)

    def answered(self, text: str, calls: list[Call]) -> None:
        """Record the model's answer to one request; its calls are added as they begin."""
        if text:
            self.add("assistant", content=text, operationType="Say", executionId=self.execution)

    def began(self, call: Call) -> None:
        """Record a call before it runs, with whether it may."""
        what: dict[str, Any] = {"toolCallId": call.id, "toolName": v3_name(call), "args": v3_input(call)}
        self._open.append(call.id)
        if call.denied:
            self._ask(
                "tool_approval", call.id, call.title, [{"optionId": "reject", "name": "Deny", "kind": "reject_once"}]
            )
            self.add("interaction_resolved", toolCallId=call.id, outcome="selected", selectedOption="reject")
        if call.server:
            what["_meta"] = {"kiro": {"mcpServerName": call.server}}
        status = "denied" if call.denied else "failed" if call.error else "approved"
        self.add("tool_call", **what, status=status, executionId=self.execution)

    def results(self, calls: list[Call]) -> None:
        """Record the results of a request's calls."""
        self._open = []
        for call in calls:
            texts = [text if kind == "Text" else formats.dumps(text) for i in call.answer for kind, text in i.items()]
            done: dict[str, Any] = {
                "content": "\n".join(texts),
                "success": call.error is None,
                "durationMs": call.milliseconds,
            }
            self.add("tool_result", message_id=f"{call.id}-result", toolCallId=call.id, **done)

    def finish(self, turn: RunningTurn, end_reason: str, error: str | dict[str, str] | None) -> None:
        """Record the end of the turn."""
        stop, status = _ENDS[end_reason]
        details = self._leave(end_reason)
        self.add("session_metadata", key="contextUsage", value={"usagePercentage": turn.context_usage})
        if turn.metering:
            self.add("usage_summary", **completion(turn, status), executionId=self.execution)
        context = {"status": status} if error is None else {"status": status, "error": error}
        self.add("session_event", category="session_pause", context=context)
        self.add("turn_end", executionId=self.execution, stopReason=stop, **details)
        if not self.history and not self.is_agent:
            start = {"agentType": self.state["agentMode"], "content": "A system prompt.", "forcedRole": True}
            name = f"session_start_{self.id}_{start['agentType']}"
            self.add("session_start", message_id=name, **start, messageId=formats.new_id())
        self._save("idle")

    def bill(self, parts: dict[str, float]) -> None:
        """Record what the session has billed since its start.

        It has four digits, as the record that is public has.
        """
        for part, more in parts.items():
            self.billed[part] = round(self.billed[part] + more, 4)
        self.add("session_metadata", key="creditSplit", value=dict(self.billed), executionId="")

    def _leave(self, end_reason: str) -> dict[str, Any]:
        """Record what a turn leaves that did not go well; return the details of its end."""
        from .odd import INTERRUPTED, REFUSAL

        for key in self._open:
            done = {"content": INTERRUPTED, "success": False, "durationMs": 0, "executionId": self.execution}
            self.add("tool_result", message_id=f"{key}-result-synthetic", toolCallId=key, **done)
        if end_reason != "Refusal":
            return {}
        meta = {"kiro": {"refusal": REFUSAL}}
        self.add("assistant", content=REFUSAL["explanation"], operationType="Say", _meta=meta)
        return {"stopDetails": {"refusal": REFUSAL}}

    def _ask(self, kind: str, key: str, question: str, options: list[dict[str, str]]) -> None:
        asked = {"interactionType": kind, "toolCallId": key, "question": question, "options": options}
        self.add("pending_interaction", message_id=f"{key}-pending", **asked, executionId=self.execution)

    def asked(self, key: str, question: str) -> None:
        """Record a question to the user, which has no answer yet: a tool call that waits."""
        call = {"toolCallId": key, "toolName": "user_input", "args": {"question": question}, "status": "pending"}
        self.add("tool_call", message_id=f"{key}-call", **call, kind="other", executionId=self.execution)
        self._ask("user_input", key, question, [{"title": "This one"}, {"title": "That one"}])

    def rewound(self) -> None:
        """Record that what the turn did so far is taken back: all from after its start."""
        first = self.ids[self._begun]
        self.add("tombstone", kind="checkpoint_revert", effectiveFromMessageId=first, metadata={})

    def child(self, prompt: str, agent: str, call_id: str) -> SessionV3:
        """Begin the log of a sub-agent, or a node's session."""
        if self.nodes:
            return _node(self, prompt, agent)
        child = SubAgentV3(self)
        self.add("sub_agent_start", subSessionId=child.id, subAgentName=agent, prompt=prompt, toolCallId=call_id)
        return child

    def joined(self, child: Session, text: str) -> None:
        """Record the answer of a sub-agent."""
        if child.workflow:
            return
        self.add("sub_agent_complete", subSessionId=child.id, response=text)

    def compacted(self, said: list[str]) -> SessionV3:
        """End this log with a mark, and begin another from a summary."""
        text = summary([*self.history, *said])
        metadata = {"truncatedMessageCount": len(self.ids), "truncatedAt": _now()}
        self.add("tombstone", kind="summarization", effectiveFromMessageId=self.ids[0], metadata=metadata)
        self._save("idle")
        new = SessionV3({**self.state, "id": f"sess_{formats.new_id()}", "createdAt": _now()}, kept=self.kept)
        new.history, new.model, new.execution = self.history, self.model, self.execution
        new._save("running")
        new.add("assistant", content=text, operationType="Summary")
        return new

    def _save(self, status: str) -> None:
        """Write the state in one step: a reader never sees half of it."""
        self.state.update(lastModifiedAt=_now(), status=status)
        if not self.kept:
            return
        os.makedirs(self.base, exist_ok=True)
        temporary = os.path.join(self.base, f"session.json.{os.getpid()}.tmp")
        with open(temporary, "wb") as file:
            file.write(formats.dumps(self.state, 2).encode("utf-8", "replace"))
        os.replace(temporary, os.path.join(self.base, "session.json"))


class SubAgentV3(SessionV3):
    """The log of a sub-agent, which has no state of its own."""

    is_agent = True

    def __init__(self, parent: SessionV3) -> None:
        super().__init__({**parent.state, "id": formats.new_id()}, kept=parent.kept)
        self.base = parent.base
        self.path = os.path.join(self.base, "sub-executions", f"{self.id}.jsonl")

    def _save(self, status: str) -> None:
        """Write nothing: the state is the parent's."""


def _node(parent: SessionV3, prompt: str, agent: str) -> SessionV3:
    """Begin the session of a workflow's node: it names no parent."""
    workflow = f"wf_{parent.execution[:8]}"
    told: dict[str, Any] = {"workflowId": workflow, "workflowName": "steps", "nodeId": agent}
    told.update(nodePath=[workflow, "steps", agent], type="step")
    node = create(prompt, agent, parent.model, kept=parent.kept)
    node.state["_meta"] = {"kiro": {"workflow": told}}
    node.workflow = told
    return node


def completion(turn: RunningTurn, status: str) -> dict[str, Any]:
    """Sum up what a whole turn cost, not request by request."""
    usage = sum(part["value"] for part in turn.metering)
    cost = {
        "unit": "credit",
        "unitPlural": "credits",
        "usage": usage,
        "usedTools": [v3_name(call) for call in turn.calls],
    }
    return {
        "promptTurnSummaries": [cost] if turn.metering else [],
        "elapsedTime": turn.elapsed // 10**6,
        "status": status,
        "requestIds": [formats.new_id() for _ in range(turn.requests)],
    }


def create(prompt: str, agent: str, model: dict[str, Any], *, kept: bool) -> SessionV3:
    """Begin a session for this directory; nothing is written yet."""
    now = _now()
    state = {
        "schemaVersion": "1.0.0",
        "dataModelVersion": 1,
        "id": f"sess_{formats.new_id()}",
        "title": prompt.strip()[:TITLE_LENGTH],
        "agentMode": _MODES.get(agent, agent),
        "workspacePaths": [os.getcwd()],
        "createdAt": now,
        "lastModifiedAt": now,
        "modelId": model["model_id"],
        "createdReason": "human",
        "status": "idle",
    }
    return SessionV3(state, kept=kept)


def load(session_id: str, *, kept: bool = True) -> SessionV3:
    """Read the session of that id in this directory, with its messages."""
    base = os.path.join(folder(), session_id)
    try:
        session = SessionV3(formats.loads(formats.read(os.path.join(base, "session.json"))), kept=kept)
        lines = formats.read(session.path).splitlines()
    except (OSError, ValueError, KeyError, TypeError):
        raise Failure(f"Failed to start session: Session not found: {session_id}") from None
    for line in lines:
        message = formats.loads(line)
        session.ids.append(message["id"])
        if message["payload"].get("key") == "creditSplit":
            session.billed.update(message["payload"]["value"])
        if message["payload"]["type"] in ("user", "assistant"):
            session.history.append(message["payload"]["content"])
    return session


def _here() -> list[dict[str, Any]]:
    """Read the states of this directory's sessions, newest first."""
    try:
        paths = [os.path.join(folder(), name, "session.json") for name in os.listdir(folder())]
    except OSError:
        return []
    states = []
    for path in sorted(filter(os.path.exists, paths), key=lambda path: -os.stat(path).st_mtime_ns):
        try:
            state = formats.loads(formats.read(path))
        except ValueError:
            continue
        if isinstance(state, dict) and "id" in state:
            states.append(state)
    return states


def newest(*, kept: bool) -> SessionV3 | None:
    """Read what `--resume` continues: this directory's newest session in which something was said."""
    for state in _here():
        if os.path.exists(os.path.join(folder(), state["id"], "messages.jsonl")):
            return load(state["id"], kept=kept)
    return None


def listing() -> str:
    """Write what `--list-sessions` prints."""
    lines = [f"  {s['id']}  {s['lastModifiedAt']}  {s['title'][:60]}\n" for s in _here()]
    return f"Chat sessions for {os.getcwd()}:\n\n" + ("".join(lines) or "  none\n")


def delete(session_id: str) -> None:
    """Remove a session's folder."""
    import shutil  # 9 ms that no turn needs

    shutil.rmtree(load(session_id).base)
