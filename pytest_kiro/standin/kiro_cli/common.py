"""What sessions of several engines have in common."""

from __future__ import annotations

TITLE_LENGTH = 200
"""So many characters of a prompt are a session's title."""


class Uncounted:
    """A session that keeps no count of what it has billed."""

    def bill(self, parts: dict[str, float]) -> None:
        """Record nothing."""


def summary(messages: list[str]) -> str:
    """Shorten a conversation to the beginning of every message."""
    return "## CONVERSATION SUMMARY\n" + "\n".join(f"- {text.strip()[:500]}" for text in messages if text.strip())
