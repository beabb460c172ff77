"""What V2's state file says of a turn, and how its session is compacted."""

from __future__ import annotations

import os
import time

from . import store, text_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .turn import Turn

_STRATEGY = {
    "message_pairs_to_exclude": 2,
    "context_window_percent_to_exclude": 2,
    "truncate_large_messages": False,
    "max_message_length": 25000,
}


def metadata(turn: Turn, end_reason: str, error: str | dict[str, str] | None, message_ids: list[str]) -> dict[str, Any]:
    """One entry of `user_turn_metadatas`."""
    message = {
        "id": store.new_id(),
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
        "end_timestamp": store.timestamp(),
        "input_token_count": 0,
        "output_token_count": 0,
        "context_usage_percentage": turn.context_usage,
        # A mocked run of the real program meters nothing.
        "metering_usage": turn.metering,
    }


def summary(messages: list[str]) -> str:
    """What is left of a conversation that is compacted: the beginning of every message."""
    return "## CONVERSATION SUMMARY\n" + "\n".join(f"- {text.strip()[:500]}" for text in messages if text.strip())


def compacted(old: store.Session, said: list[str]) -> store.Session:
    """Close a session with a summary, and open another that goes on."""
    text = summary([*old.history, *said])
    old._append("Compaction", {"summary": text, "strategy": _STRATEGY, "messages_snapshot": []})
    old.save()
    old.close()
    state = text_json.loads(text_json.dumps(old.state))
    state["session_id"] = store.new_id()
    state["created_at"] = store.timestamp()
    inner = state["session_state"]
    inner["conversation_metadata"]["user_turn_metadatas"] = []
    inner["conversation_metadata"]["summary"] = text
    inner["rts_model_state"]["conversation_id"] = state["session_id"]
    new = store.Session(state, kept=old.kept)
    new.history = old.history
    new.open()
    new.save()
    return new
