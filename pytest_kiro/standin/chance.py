"""Draws one of a turn's alternatives, the same in every run."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from pytest_kiro.standin.scenario_file import ScenarioTurn


def draw(turns: Iterable[ScenarioTurn], *key: object) -> list[ScenarioTurn]:
    """Choose one of each group of alternatives.

    A group ends with the first that names no chance.

    `key` says for whom it is: the seed, the test, the conversation, the trial. Each group is drawn for itself.
    """
    drawn: list[ScenarioTurn] = []
    alternatives: list[ScenarioTurn] = []
    for entry in turns:
        alternatives.append(entry)
        if entry.chance is None:
            share = _share(*key, len(drawn)) if len(alternatives) > 1 else 0.0  # of one there is nothing to draw
            drawn.append(_one_of(alternatives, share))
            alternatives = []
    return drawn


def _one_of(alternatives: list[ScenarioTurn], share: float) -> ScenarioTurn:
    for entry in alternatives[:-1]:
        share -= entry.chance or 0.0
        if share < 0:
            return entry
    return alternatives[-1]


def _share(*key: object) -> float:
    """Return a number from 0 to 1 that is uniform over keys; no two Pythons differ in it."""
    digest = sha256("\0".join(map(str, key)).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
