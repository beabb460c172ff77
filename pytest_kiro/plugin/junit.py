"""Adds to a JUnit file turns' costs, and that a script answered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_kiro.records.turns import TurnRecord

_CREDITS = "kiro_credits"


def note(places: Iterable[list[tuple[str, object]]], turns: Sequence[TurnRecord]) -> None:
    """Add to a test's properties who answered, and what its turns cost.

    A wide fixture's turns are no single test's: their cost is in the whole run's.

    >>> from pytest_kiro.records.turns import TurnRecord
    >>> properties = [("kiro_credits", 0.5)]
    >>> note([properties], [TurnRecord(credits=0.25)])
    >>> properties
    [('kiro_credits', 0.75)]
    """
    if not turns:
        return
    from pytest_kiro.records.turns import credits_of

    spent = credits_of([turn for turn in turns if not turn.owner.wide])
    scripted = next((turn for turn in turns if turn.scripted), None)
    for properties in places:
        fresh: dict[str, object] = {}
        if scripted:
            fresh["kiro"] = f"scripted: {'the stand-in' if scripted.stand_in else 'a scenario'} answered"
        if spent is not None:
            fresh[_CREDITS] = round(spent + float(str(dict(properties).get(_CREDITS, 0))), 6)
        properties[:] = [(name, value) for name, value in properties if name not in fresh]
        properties.extend(fresh.items())


def note_run(plugins: Iterable[object], turns: Sequence[TurnRecord]) -> None:
    """Add the whole run's metered cost before the file is written."""
    from pytest_kiro.records.turns import credits_of

    spent = credits_of(turns)
    for plugin in plugins if spent is not None else ():
        if add := getattr(plugin, "add_global_property", None):  # pytest's own JUnit plugin, which has no name
            add(_CREDITS, str(spent))
