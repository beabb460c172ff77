"""V2's session store: `<id>.jsonl` has the messages, `<id>.json` the state, `<id>.lock` names the writer."""

from __future__ import annotations

import os
import time

from . import text_json
from .failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .tools import Call
    from .turn import Turn

TITLE_LENGTH = 200


def new_id() -> str:
    """A random UUID (version 4)."""
    raw = bytearray(os.urandom(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def timestamp() -> str:
    """Now, in UTC, as the state file writes it."""
    nanoseconds = time.time_ns()
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(nanoseconds // 10**9))
    return f"{seconds}.{nanoseconds % 10**9 // 1000:06d}Z"


def folder() -> str:
    """Where the sessions are."""
    home = os.environ.get("KIRO_HOME") or os.path.join(os.path.expanduser("~"), ".kiro")
    return os.path.join(home, "sessions", "cli")


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


class Session:
    """One conversation on disk."""

    def __init__(self, state: dict[str, Any], *, kept: bool = True) -> None:
        self.state = state
        self.id: str = state["session_id"]
        self.base = os.path.join(folder(), self.id)
        self.kept = kept
        self.history: list[str] = []
        self.message_ids: list[str] = []

    @property
    def agent_name(self) -> str:
        """The agent that answers here."""
        return str(self.state["session_state"]["agent_name"])

    @property
    def model(self) -> dict[str, Any]:
        """The model that answers here."""
        model: dict[str, Any] = self.state["session_state"]["rts_model_state"]["model_info"]
        return model

    def use(self, agent: str, model: dict[str, Any] | None) -> None:
        """Go on with this agent, and with another model if there is one."""
        self.state["session_state"]["agent_name"] = agent
        if model:
            self.state["session_state"]["rts_model_state"]["model_info"] = model

    @property
    def turns(self) -> list[dict[str, Any]]:
        """The metadata of every turn, oldest first."""
        metadata = self.state["session_state"]["conversation_metadata"]
        turns: list[dict[str, Any]] = metadata["user_turn_metadatas"]
        return turns

    def open(self) -> None:
        """Become the writer of this session."""
        if not self.kept:
            return
        os.makedirs(folder(), exist_ok=True)
        owner = _lock_owner(self.base + ".lock")
        if owner:
            raise Failure(f"error: Failed to start session: Session is active in another process (PID {owner})")
        with open(self.base + ".lock", "w", encoding="utf-8") as file:
            file.write(text_json.dumps({"pid": os.getpid(), "started_at": timestamp()}))

    def close(self) -> None:
        """Let others write."""
        if self.kept:
            os.unlink(self.base + ".lock")

    def _append(self, kind: str, data: dict[str, Any]) -> None:
        line = text_json.dumps({"version": "v1", "kind": kind, "data": data})
        if self.kept:
            with open(self.base + ".jsonl", "ab") as file:
                file.write(line.encode("utf-8", "replace") + b"\n")

    def _message(self, kind: str, data: dict[str, Any]) -> None:
        self.message_ids.append(new_id())
        self._append(kind, {"message_id": self.message_ids[-1], **data})

    def prompt(self, text: str) -> None:
        """A turn begins."""
        self.save()
        meta = {"timestamp": int(time.time())}
        self._message("Prompt", {"content": [{"kind": "text", "data": text}], "meta": meta})

    def answered(self, text: str, calls: list[Call]) -> None:
        """The model answered a request."""
        content = [{"kind": "text", "data": text}, *(call.tool_use() for call in calls)]
        self._message("AssistantMessage", {"content": content})

    def began(self, call: Call) -> None:
        """V2 records nothing of a call before its result."""

    def results(self, calls: list[Call]) -> None:
        """The calls of a request ended."""
        results = {call.id: call.record() for call in calls if call.kind}
        self._message("ToolResults", {"content": [call.tool_result() for call in calls], "results": results})

    def finish(self, turn: Turn, end_reason: str, error: str | dict[str, str] | None) -> None:
        """The turn ended."""
        from . import store_turns

        self.state["session_state"]["rts_model_state"]["context_usage_percentage"] = turn.context_usage
        self.turns.append(store_turns.metadata(turn, end_reason, error, self.message_ids))
        self.save()
        self.close()

    def child(self, prompt: str, agent: str, call_id: str) -> Session:
        """The session of a sub-agent."""
        session = create(prompt, agent, self.model, kept=self.kept)
        keys = ["session_id", "cwd", "created_at", "updated_at", "title", "session_created_reason"]
        first = {key: session.state.pop(key) for key in keys}
        session.state = {**first, "parent_session_id": self.id, **session.state}
        return session

    def joined(self, child: Session, text: str) -> None:
        """V2 records nothing of a child but its session and its call's result."""

    def compacted(self, said: list[str]) -> Session:
        """Close this session with a summary, and open another that goes on."""
        from . import store_turns

        return store_turns.compacted(self, said)

    def save(self) -> None:
        """Write the state so that a reader sees the old one or the new one, never half of it."""
        self.state["updated_at"] = timestamp()
        if not self.kept:
            return
        temporary = f"{self.base}.json.{os.getpid()}.tmp"
        with open(temporary, "wb") as file:
            file.write(text_json.dumps(self.state, 2).encode("utf-8", "replace"))
        os.replace(temporary, self.base + ".json")


def _lock_owner(path: str) -> int | None:
    """The process that holds a lock, if it is alive."""
    try:
        pid = int(text_json.loads(_read(path))["pid"])
        os.kill(pid, 0)
    except PermissionError:
        return pid
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid


def create(prompt: str, agent: str, model: dict[str, Any], *, kept: bool) -> Session:
    """A session for this directory; nothing is written yet."""
    session_id, cwd, now = new_id(), os.getcwd(), timestamp()
    state = {
        "session_id": session_id,
        "cwd": cwd,
        "created_at": now,
        "updated_at": now,
        "title": prompt.strip()[:TITLE_LENGTH],
        "session_created_reason": "subagent",
        "session_state": {
            "version": "v1",
            "conversation_metadata": {
                "user_turn_metadatas": [],
                "user_turn_start_request": None,
                "last_request": None,
            },
            "rts_model_state": {
                "conversation_id": session_id,
                "model_info": model,
                "context_usage_percentage": 0.0,
            },
            "permissions": {
                "filesystem": {
                    "allowed_read_paths": [cwd],
                    "allowed_write_paths": [],
                    "denied_read_paths": [],
                    "denied_write_paths": [],
                },
                "trusted_tools": [],
                "denied_tools": [],
                "allowed_commands": [],
            },
            "agent_name": agent,
        },
    }
    return Session(state, kept=kept)


def load(session_id: str, *, kept: bool = True) -> Session:
    """The session of that id, from whatever directory, with what was said in it."""
    try:
        state = text_json.loads(_read(os.path.join(folder(), session_id + ".json")))
        session = Session(state, kept=kept)
        lines = _read(session.base + ".jsonl").splitlines()
    except (OSError, ValueError, KeyError, TypeError):
        raise Failure(f"Failed to start session: Session not found: {session_id}") from None
    summary = state["session_state"]["conversation_metadata"].get("summary")
    session.history += [summary] if summary else []
    for line in lines:
        message = text_json.loads(line)
        if message["kind"] in ("Prompt", "AssistantMessage"):
            parts = message["data"]["content"]
            session.history.append("".join(p["data"] for p in parts if p["kind"] == "text"))
    return session


def here() -> list[dict[str, Any]]:
    """The states of this directory's sessions, newest first."""
    try:
        names = [name for name in os.listdir(folder()) if name.endswith(".json")]
    except OSError:
        return []
    paths = sorted((os.path.join(folder(), n) for n in names), key=lambda p: -os.stat(p).st_mtime_ns)
    found = []
    for path in paths:
        try:
            state = text_json.loads(_read(path))
            if state["cwd"] == os.getcwd():
                found.append(state)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def newest(*, kept: bool) -> Session | None:
    """What `--resume` continues: this directory's newest session in which something was said."""
    for state in here():
        if state.get("parent_session_id") is None and os.path.exists(
            os.path.join(folder(), state["session_id"] + ".jsonl")
        ):
            return load(state["session_id"], kept=kept)
    return None


def listing() -> str:
    """What `--list-sessions` prints."""
    lines = [f"  {s['session_id']}  {s['updated_at']}  {s['title'][:60]}\n" for s in here()]
    return f"Chat sessions for {os.getcwd()}:\n\n" + ("".join(lines) or "  none\n")


def delete(session_id: str) -> None:
    """Remove a session's files."""
    session = load(session_id)
    for ending in (".json", ".jsonl", ".lock"):
        if os.path.exists(session.base + ending):
            os.unlink(session.base + ending)
