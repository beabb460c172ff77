"""Says in V2's words how a turn of ACP's engines ended."""

from __future__ import annotations

from typing import Any

from pytest_kiro.kirocli.sessions.values import words

#: ACP's stop reasons, and the words that V3 has beside them.
_REASONS = {
    "cancelled": "Cancelled",
    "canceled": "Cancelled",
    "aborted": "Cancelled",
    "interrupted": "Cancelled",
    "rejected": "ToolUseRejected",
    "tool_use_rejected": "ToolUseRejected",
    "denied": "ToolUseRejected",
    "rewind": "Rewind",
}
_FINE = ("success", "succeeded", "completed")


def end_reason(stop: Any, status: Any) -> tuple[str, str | None]:
    """Return the reason and, of a bad end, what was said.

    Either may be missing, and neither may contradict. Which of the two has to be there is the caller's to say, by
    another word in its place.

    >>> end_reason("end_turn", "success"), end_reason("end_turn", "error"), end_reason(None, "cancelled")
    (('UserTurnEnd', None), ('Error', 'error, end_turn'), ('Cancelled', 'cancelled'))
    """
    stop, status = words(stop), words(status)
    said = ", ".join(word for word in (status, stop) if word)
    if said and stop in ("end_turn", None) and status in (*_FINE, None):
        return "UserTurnEnd", None
    for word in (status, stop):
        if word and word in _REASONS:
            return _REASONS[word], said
    return "Error", said or "it ended without saying how"
