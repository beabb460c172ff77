"""V2's session store.

`<id>.jsonl` has the messages, `<id>.json` the state, `<id>.lock` names the writer.
"""

from __future__ import annotations

import os
import time

from . import formats
from .common import TITLE_LENGTH, summary
from .failures import Failure
from .places import kiro_home
from .plain import Plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .protocols import RunningTurn, Session
    from .tools import Call

#: Where the state has its turns, in a file with an indent of two.
_TURNS, _TURNS_END = '\n      "user_turn_metadatas": [', "\n      ]"
_STRATEGY = {
    "message_pairs_to_exclude": 2,
    "context_window_percent_to_exclude": 2,
    "truncate_large_messages": False,
    "max_message_length": 25000,
}


def folder() -> str:
    """Return the folder of the sessions."""
    return os.path.join(kiro_home(), "sessions", "cli")


class SessionV2(Plain):
    """One conversation on disk."""

    execution = ""

    def __init__(self, state: dict[str, Any], *, kept: bool = True) -> None:
        self.state = state
        self.id: str = state["session_id"]
        self.base = os.path.join(folder(), self.id)
        self.kept = kept
        self.history: list[str] = []
        self.message_ids: list[str] = []
        #: How many turns were read, and their text, which is written as it was: a long one would take its time.
        self.past: tuple[int, str] = (0, "")

    @property
    def agent_name(self) -> str:
        """The agent that answers."""
        return str(self.state["session_state"]["agent_name"])

    @property
    def model(self) -> dict[str, Any]:
        """The model that answers."""
        model: dict[str, Any] = self.state["session_state"]["rts_model_state"]["model_info"]
        return model

    def use(self, agent: str, model: dict[str, Any] | None) -> None:
        """Go on with this agent, and with another model if given."""
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
        if owner is not None:
            raise Failure(f"error: Failed to start session: Session is active in another process (PID {owner})")
        with open(self.base + ".lock", "w", encoding="utf-8") as file:
            file.write(formats.dumps({"pid": os.getpid(), "started_at": formats.timestamp()}))

    def close(self) -> None:
        """Let other processes write."""
        if self.kept:
            os.unlink(self.base + ".lock")

    def _append(self, kind: str, data: dict[str, Any]) -> None:
        line = formats.dumps({"version": "v1", "kind": kind, "data": data})
        if self.kept:
            with open(self.base + ".jsonl", "ab") as file:
                file.write(line.encode("utf-8", "replace") + b"\n")

    def _message(self, kind: str, data: dict[str, Any]) -> None:
        self.message_ids.append(formats.new_id())
        self._append(kind, {"message_id": self.message_ids[-1], **data})

    def prompt(self, text: str) -> None:
        """Record that a turn begins."""
        self.save()
        meta = {"timestamp": int(time.time())}
        self._message("Prompt", {"content": [{"kind": "text", "data": text}], "meta": meta})

    def answered(self, text: str, calls: list[Call]) -> None:
        """Record the model's answer to one request."""
        content = [{"kind": "text", "data": text}, *(call.tool_use() for call in calls)]
        self._message("AssistantMessage", {"content": content})

    def withheld(self, call: Call) -> None:
        """Record a call whose arguments are a note: an answer of its own, to which no result comes."""
        from .odd import note

        self._message("AssistantMessage", {"content": [{"kind": "text", "data": ""}, note(call)]})

    def began(self, call: Call) -> None:
        """Record nothing: V2 has a call when it has its result."""

    def results(self, calls: list[Call]) -> None:
        """Record the results of a request's calls."""
        results = {call.id: call.record() for call in calls if call.kind}
        self._message("ToolResults", {"content": [call.tool_result() for call in calls], "results": results})

    def finish(self, turn: RunningTurn, end_reason: str, error: str | dict[str, str] | None) -> None:
        """Record the end of the turn."""
        self.state["session_state"]["rts_model_state"]["context_usage_percentage"] = turn.context_usage
        self.turns.append(_metadata(turn, end_reason, error, self.message_ids))
        self.save()
        self.close()

    def child(self, prompt: str, agent: str, call_id: str) -> SessionV2:
        """Begin the session of a sub-agent."""
        session = create(prompt, agent, self.model, kept=self.kept)
        keys = ["session_id", "cwd", "created_at", "updated_at", "title", "session_created_reason"]
        first = {key: session.state.pop(key) for key in keys}
        session.state = {**first, "parent_session_id": self.id, **session.state}
        return session

    def joined(self, child: Session, text: str) -> None:
        """Record nothing: V2 has a child's session and its call's result."""

    def compacted(self, said: list[str]) -> SessionV2:
        """Close this session with a summary, and open another that goes on."""
        text = summary([*self.history, *said])
        self._append("Compaction", {"summary": text, "strategy": _STRATEGY, "messages_snapshot": []})
        self.save()
        self.close()
        state = formats.loads(formats.dumps(self.state))
        state["session_id"] = formats.new_id()
        state["created_at"] = formats.timestamp()
        inner = state["session_state"]
        inner["conversation_metadata"]["user_turn_metadatas"] = []
        inner["conversation_metadata"]["summary"] = text
        inner["rts_model_state"]["conversation_id"] = state["session_id"]
        new = SessionV2(state, kept=self.kept)
        new.history = self.history
        new.open()
        new.save()
        return new

    def save(self) -> None:
        """Write the state in one step: a reader never sees half of it."""
        self.state["updated_at"] = formats.timestamp()
        if not self.kept:
            return
        temporary = f"{self.base}.json.{os.getpid()}.tmp"
        with open(temporary, "wb") as file:
            file.write(self._text().encode("utf-8", "replace"))
        os.replace(temporary, self.base + ".json")

    def _text(self) -> str:
        """Write the state as JSON."""
        (count, past), turns = self.past, self.turns
        metadata = self.state["session_state"]["conversation_metadata"]
        metadata["user_turn_metadatas"] = turns[count:]
        head, mark, tail = formats.dumps(self.state, 2).partition(_TURNS)
        metadata["user_turn_metadatas"] = turns
        if count:
            past += "," if len(turns) > count else _TURNS_END[:-1]
        return head + mark + past + tail


def _metadata(
    turn: RunningTurn, end_reason: str, error: str | dict[str, str] | None, message_ids: list[str]
) -> dict[str, Any]:
    """Build one entry of `user_turn_metadatas`."""
    message = {
        "id": formats.new_id(),
        "role": "assistant",
        "content": [{"kind": "text", "data": turn.last_text}],
        "meta": {"timestamp": int(time.time())},
    }
    return {
        "loop_id": {
            "agent_id": {"name": turn.agent["name"], "parent_id": None, "rand": None},
            "rand": int.from_bytes(os.urandom(4), "big"),
        },
        "result": {"Ok": message} if error is None else {"Err": error},
        "message_ids": message_ids,
        "total_request_count": turn.requests,
        "number_of_cycles": turn.cycles,
        "builtin_tool_uses": turn.tools_run,
        "turn_duration": {"secs": turn.elapsed // 10**9, "nanos": turn.elapsed % 10**9},
        "end_reason": end_reason,
        "end_timestamp": formats.timestamp(),
        "input_token_count": 0,
        "output_token_count": 0,
        "context_usage_percentage": turn.context_usage,
        # A mocked run of the real program meters nothing.
        "metering_usage": turn.metering,
    }


def _lock_owner(path: str) -> int | None:
    """Return the process that a lock names, which may be dead: the real program does not look."""
    try:
        return int(formats.loads(formats.read(path))["pid"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise Failure(f'error: Failed to start session: failed to read lock file "{path}"') from None


def create(prompt: str, agent: str, model: dict[str, Any], *, kept: bool) -> SessionV2:
    """Begin a session for this directory; nothing is written yet."""
    session_id, cwd, now = formats.new_id(), os.getcwd(), formats.timestamp()
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
    return SessionV2(state, kept=kept)


def load(session_id: str, *, kept: bool = True) -> SessionV2:
    """Read the session of that id, from any directory, with its messages."""
    try:
        text = formats.read(os.path.join(folder(), session_id + ".json"))
        state = formats.loads(text)
        session = SessionV2(state, kept=kept)
        lines = formats.read(session.base + ".jsonl").split("\n")
        messages = formats.loads(f"[{','.join(filter(None, lines))}]")  # line by line it takes five times as long
    except (OSError, ValueError, KeyError, TypeError):
        raise Failure(f"Failed to start session: Session not found: {session_id}") from None
    past, end, _ = text.partition(_TURNS)[2].partition(_TURNS_END)
    if end and past.startswith("\n"):
        session.past = len(session.turns), past
    summary = state["session_state"]["conversation_metadata"].get("summary")
    session.history += [summary] if summary else []
    session.broken = '"AssistantMessage" "AssistantMessage"' in " ".join(f'"{one["kind"]}"' for one in messages)
    for message in messages:
        if message["kind"] in ("Prompt", "AssistantMessage"):
            parts = message["data"]["content"]
            session.history.append("".join(p["data"] for p in parts if p["kind"] == "text"))
    return session


def here() -> list[dict[str, Any]]:
    """Read the states of this directory's sessions, newest first."""
    try:
        names = [name for name in os.listdir(folder()) if name.endswith(".json")]
    except OSError:
        return []
    paths = sorted((os.path.join(folder(), n) for n in names), key=lambda p: -os.stat(p).st_mtime_ns)
    states = []
    for path in paths:
        try:
            state = formats.loads(formats.read(path))
            if state["cwd"] == os.getcwd():
                states.append(state)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return states


def newest(*, kept: bool) -> SessionV2 | None:
    """Read what `--resume` continues: this directory's newest session in which something was said."""
    for state in here():
        if state.get("parent_session_id") is None and os.path.exists(
            os.path.join(folder(), state["session_id"] + ".jsonl")
        ):
            return load(state["session_id"], kept=kept)
    return None


def listing() -> str:
    """Write what `--list-sessions` prints."""
    lines = [f"  {s['session_id']}  {s['updated_at']}  {s['title'][:60]}\n" for s in here()]
    return f"Chat sessions for {os.getcwd()}:\n\n" + ("".join(lines) or "  none\n")


def delete(session_id: str) -> None:
    """Remove a session's files."""
    session = load(session_id)
    for ending in (".json", ".jsonl", ".lock"):
        if os.path.exists(session.base + ending):
            os.unlink(session.base + ending)
