"""Reads which model answered from a stream of events: V2 may move a turn to another one (2.27.1)."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_kiro.kirocli.sessions.values import words
from pytest_kiro.turn.transcript import Fallback


@dataclass(frozen=True)
class _Move:
    session: str
    before: str | None
    after: str | None
    cause: str
    promoted: bool


class Models:
    """What the events of one run say of models."""

    def __init__(self) -> None:
        self._moves: list[_Move] = []
        self._retries: list[str] = []

    def hear(self, session: str, kind: Any, update: Mapping[str, Any]) -> None:
        """Take in an update, if it is of a model."""
        if kind == "retry_warning":
            model = words(update.get("modelId"))
            short = f", as {model} had no capacity" if model and update.get("capacity") is True else ""
            self._retries.append(f"{short}: {words(update.get('message')) or 'it did not say why'}")
        elif kind == "model_fallback":
            before, after = words(update.get("from")), words(update.get("to"))
            cause = words(update.get("cause")) or "unknown"
            self._moves.append(_Move(session, before, after, cause, update.get("promoted") is True))

    def fallback(self, ours: Container[str]) -> Fallback | None:
        """Return the latest move, None without any; one of our own sessions' comes first."""
        moves = [move for move in self._moves if move.session in ours] or self._moves
        if not moves:
            return None
        latest = moves[-1]
        return Fallback(latest.cause, latest.after, own=latest.session in ours)

    def warnings(self, ours: Container[str]) -> Iterator[str]:
        """Yield what a reader should know."""
        if self._retries:
            count = len(self._retries)
            yield f"kiro-cli asked its service again {count} time{'s' * (count > 1)}{self._retries[-1]}"
        for move in dict.fromkeys(self._moves):  # events may come twice
            who = "the turn" if move.session in ours else "an agent of the turn"
            after = move.after or "another one, which it does not name"
            session = ", and the session with it" if move.promoted else ""
            yield f"kiro-cli moved {who} from {move.before or 'its model'} to {after} ({move.cause}){session}"
