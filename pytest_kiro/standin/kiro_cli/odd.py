"""Writes shapes that kiro-cli is known to leave, and no scenario has.

See docs/fidelity.md for their sources.
"""

from __future__ import annotations

from . import formats, misbehave
from .failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .protocols import Screen, Session
    from .tools import Call

NOTE = "SYSTEM NOTE: the actual tool use arguments were too complicated to be generated"
INTERRUPTED = "This tool was interrupted before it reported a result, so it may or may not have taken effect."
BROKEN = "error: Internal error: invalid conversation history received"
QUESTION = "Which of the two do you mean?"
REFUSAL = {"category": "violence", "explanation": "The answer was ended by a content filter."}
_ASIDES = ("Review changes", "Shall I go on?", "Conversation summary")


def begun(kinds: dict[str, Any], session: Session) -> None:
    """Refuse a history that is none; let sub-agents be what they are asked to be."""
    if session.broken:
        raise Failure(BROKEN)
    session.nodes = "sessions" in kinds


def withheld(kinds: dict[str, Any], calls: list[Call], requests: int) -> Call | None:
    """Take out the call of the first request that becomes a note."""
    return calls.pop() if "withheld" in kinds and requests == 1 and calls else None


def note(call: Call) -> dict[str, Any]:
    """Write such a call, as V2 does."""
    return {"kind": "toolUse", "data": {"toolUseId": call.id, "name": call.name, "input": {"key": NOTE}}}


def after_the_text(kinds: dict[str, Any], session: Session, screen: Screen, requests: int) -> str:
    """Do what comes after the text of a request; return how the turn ends by it, if it does."""
    if requests != 1:
        if requests == 2 and "rewinds" in kinds:
            session.rewound()
        return ""
    if "asides" in kinds:
        for title in _ASIDES:
            screen.word(f"aside_{formats.new_id()}", title)
    if "asks" in kinds:
        key = f"tooluse_{formats.new_id()}"
        session.asked(key, QUESTION)
        screen.word(key, QUESTION, "user_input")
        misbehave.wait(misbehave.number(kinds["asks"], 0))
        raise Failure("error: the agent asked a question, and no user is there to answer it", reason="Cancelled")
    return "Refusal" if "filtered" in kinds else ""
