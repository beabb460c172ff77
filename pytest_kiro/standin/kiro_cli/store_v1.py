"""V1's session store: one row of `conversations_v2` in data.sqlite3 is one conversation.

A row is written when the model has answered a request, and not before: a turn that failed without a reply
leaves nothing. What a request's tools answered is written with the next answer.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time

from . import formats
from .failures import Failure
from .names import v1_name
from .places import database
from .plain import Plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .mcp import Servers
    from .protocols import RunningTurn, Session
    from .tools import Call

_TABLES = """
CREATE TABLE IF NOT EXISTS auth_kv (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS conversations_v2 (
    key TEXT NOT NULL, conversation_id TEXT NOT NULL, value TEXT NOT NULL,
    created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, PRIMARY KEY (key, conversation_id)
);
"""
_CANCELLED = "Tool use was cancelled by the user"


def _now() -> int:
    return time.time_ns() // 10**6


def _user(content: dict[str, Any], *, timed: bool) -> dict[str, Any]:
    """A message to the model."""
    seconds, zone = time.strftime("%Y-%m-%dT%H:%M:%S|%z").split("|")
    stamp = f"{seconds}.{time.time_ns() % 10**9:09d}{zone[:3]}:{zone[3:]}"
    system = "macos" if sys.platform == "darwin" else sys.platform
    env = {"operating_system": system, "current_working_directory": os.getcwd(), "environment_variables": []}
    return {
        "additional_context": "",
        "env_context": {"env_state": env},
        "content": content,
        "timestamp": stamp if timed else None,
        "images": None,
    }


class SessionV1(Plain):
    """One conversation, as its row has it."""

    execution = ""

    def __init__(self, value: dict[str, Any], key: str, *, kept: bool, created: int | None = None) -> None:
        self.value = value
        self.key = key
        self.kept = kept
        self.created = _now() if created is None else created
        self.id: str = value["conversation_id"]
        self.history = _said(value)
        self.agent_name: str | None = None
        self.started = _now()
        value["user_turn_metadata"] = {"continuation_id": formats.new_id(), "requests": [], "usage_info": []}

    @property
    def model(self) -> dict[str, Any]:
        """The model that answers."""
        model: dict[str, Any] = self.value["model_info"]
        return model

    def use(self, agent: str, model: dict[str, Any] | None) -> None:
        """Go on with this agent, and with another model if given. V1 does not record the agent."""
        self.value["model_info"] = model or self.value["model_info"]

    def begun_with(self, servers: Servers | None) -> None:
        """Record the tools of servers, which the model may call."""
        tools: dict[str, list[Any]] = {}
        for shown, (server, _) in servers.tools.items() if servers else ():
            tools.setdefault(server.name, []).append({"ToolSpecification": {"name": shown}})
        self.value["tools"] = tools

    def open(self) -> None:
        """Lock nothing: of two writers the last one wins."""

    def prompt(self, text: str) -> None:
        """Record that a turn begins; calls without results, after an interrupt, become cancelled ones."""
        content: dict[str, Any] = {"Prompt": {"prompt": text}}
        uses = self.value["history"] and self.value["history"][-1]["assistant"].get("ToolUse")
        if uses:
            results = [_result(use["id"], [{"Text": _CANCELLED}], "Error") for use in uses["tool_uses"]]
            content = {"CancelledToolUses": {"prompt": text, "tool_use_results": results}}
        self._asks(_user(content, timed=True), len(text))
        self.value["transcript"].append(f"> {text}")

    def _asks(self, message: dict[str, Any], length: int) -> None:
        self.next, self.length, self.started = message, length, _now()

    def answered(self, text: str, calls: list[Call]) -> None:
        """Record the model's answer to one request."""
        message_id = formats.new_id()
        assistant: dict[str, Any] = {"Response": {"message_id": message_id, "content": text}}
        if calls:
            uses = [_use(call) for call in calls]
            assistant = {"ToolUse": {"message_id": message_id, "content": text, "tool_uses": uses}}
        metadata = self._metadata(message_id, text, calls)
        self.value["history"].append({"user": self.next, "assistant": assistant, "request_metadata": metadata})
        self.value["valid_history_range"] = [0, len(self.value["history"])]
        self.value["transcript"].append(f"{text}\n[Tool uses: {', '.join(map(v1_name, calls)) or 'none'}]")
        self.value["user_turn_metadata"]["requests"].append(metadata)
        self._save()

    def _metadata(self, message_id: str, text: str, calls: list[Call]) -> dict[str, Any]:
        return {
            "request_id": formats.new_id(),
            "context_usage_percentage": None,
            "message_id": message_id,
            "request_start_timestamp_ms": self.started,
            "stream_end_timestamp_ms": _now(),
            "time_to_first_chunk": {"secs": 0, "nanos": 1},
            "time_between_chunks": [],
            "user_prompt_length": self.length,
            "response_size": len(text.encode("utf-8", "replace")),
            "chat_conversation_type": "ToolUse" if calls else "NotToolUse",
            "tool_use_ids_and_names": [[call.id, v1_name(call)] for call in calls],
            "model_id": self.model["model_id"],
            "message_meta_tags": [],
            "total_tokens": None,
            "uncached_input_tokens": None,
            "output_tokens": None,
            "cache_read_input_tokens": None,
            "cache_write_input_tokens": None,
        }

    def began(self, call: Call) -> None:
        """Record nothing: V1 has a call when it has its result."""

    def results(self, calls: list[Call]) -> None:
        """Keep the results for the next request."""
        results = [_result(call.id, call.answer, "Error" if call.error else "Success") for call in calls]
        self._asks(_user({"ToolUseResults": {"tool_use_results": results}}, timed=False), 0)

    def finish(self, turn: RunningTurn, end_reason: str, error: str | dict[str, str] | None) -> None:
        """Record what the turn cost, and no more of its end."""
        if turn.metering:
            self.value["user_turn_metadata"]["usage_info"] = [
                {"value": part["value"], "unit": part["unit"], "unit_plural": part["unitPlural"]}
                for part in turn.metering
            ]
            self._save()

    def child(self, prompt: str, agent: str, call_id: str) -> SessionV1:
        """Begin the conversation of a sub-agent, which is not kept."""
        return create(prompt, agent, self.model, kept=False)

    def joined(self, child: Session, text: str) -> None:
        """Record nothing: a child leaves its call's result."""

    def compacted(self, said: list[str]) -> SessionV1:
        """Refuse: V1 goes on under the same id."""
        raise Failure("error: misbehave compaction is for the engines v2 and v3", 2)

    def _save(self) -> None:
        if not self.kept:
            return
        row = (self.key, self.id, formats.dumps(self.value), self.created, _now())
        connection = _connect()
        try:
            with connection:
                connection.execute("INSERT OR REPLACE INTO conversations_v2 VALUES (?, ?, ?, ?, ?)", row)
        finally:
            connection.close()


def _connect() -> sqlite3.Connection:
    os.makedirs(os.path.dirname(database()), exist_ok=True)
    connection = sqlite3.connect(database(), timeout=30)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.executescript(_TABLES)
    return connection


def _use(call: Call) -> dict[str, Any]:
    name = v1_name(call)
    return {"id": call.id, "name": name, "orig_name": name, "args": call.input, "orig_args": call.input}


def _result(call_id: str, content: list[dict[str, Any]], status: str) -> dict[str, Any]:
    return {"tool_use_id": call_id, "content": content, "status": status}


def _said(value: dict[str, Any]) -> list[str]:
    """Return the prompts and the answers of a conversation."""
    said = []
    for entry in value["history"]:
        for content in entry["user"]["content"].values():
            said += [content["prompt"]] if content.get("prompt") else []
        said += [message["content"] for message in entry["assistant"].values()]
    return said


def create(prompt: str, agent: str, model: dict[str, Any], *, kept: bool) -> SessionV1:
    """Begin a conversation for this directory; nothing is written yet."""
    value = {
        "conversation_id": formats.new_id(),
        "next_message": None,
        "history": [],
        "valid_history_range": [0, 0],
        "transcript": [],
        "tools": {},
        "context_manager": None,
        "context_message_length": None,
        "latest_summary": None,
        "model_info": model,
        "file_line_tracker": {},
        "checkpoint_manager": None,
        "mcp_enabled": True,
    }
    return SessionV1(value, os.getcwd(), kept=kept)


def _rows(where: str, argument: str) -> list[tuple[str, str, int, int]]:
    """Read key, value and times of these conversations, newest first."""
    if not os.path.exists(database()):
        return []
    query = f"SELECT key, value, created_at, updated_at FROM conversations_v2 WHERE {where} = ?"
    connection = _connect()
    try:
        return connection.execute(query + " ORDER BY updated_at DESC, rowid DESC", (argument,)).fetchall()
    finally:
        connection.close()


def load(session_id: str, *, kept: bool = True) -> SessionV1:
    """Read the conversation of that id, from whatever directory."""
    for key, value, created, _ in _rows("conversation_id", session_id):
        return SessionV1(formats.loads(value), key, kept=kept, created=created)
    raise Failure(f"Failed to start session: Session not found: {session_id}")


def newest(*, kept: bool) -> SessionV1 | None:
    """Read what `--resume` continues: this directory's newest conversation in which something was said."""
    for key, value, created, _ in _rows("key", os.getcwd()):
        conversation = formats.loads(value)
        if conversation["history"]:
            return SessionV1(conversation, key, kept=kept, created=created)
    return None


def listing() -> str:
    """Write what `--list-sessions` prints."""
    lines = []
    for _, text, _, updated in _rows("key", os.getcwd()):
        value = formats.loads(text)
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(updated // 1000))
        lines.append(f"  {value['conversation_id']}  {when}  {_said(value)[0].strip()[:60]}\n")
    return f"Chat sessions for {os.getcwd()}:\n\n" + ("".join(lines) or "  none\n")


def delete(session_id: str) -> None:
    """Remove a conversation."""
    load(session_id)
    connection = _connect()
    try:
        with connection:
            connection.execute("DELETE FROM conversations_v2 WHERE conversation_id = ?", (session_id,))
    finally:
        connection.close()
