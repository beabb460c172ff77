"""What a JUnit file says beside the outcomes: that a script answered, and what turns cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytest_kiro.records.turns import credits_of

_CREDITS = "kiro_credits"


def note(places: Iterable[list[tuple[str, object]]], turns: Sequence[Mapping[str, Any]]) -> None:
    """Put what a test's turns tell into its properties, adding to what its earlier phases cost.

    A wide fixture's turns are no single test's: their cost is in the whole run's.

    >>> properties = [("kiro_credits", 0.5)]
    >>> note([properties], [{"scripted": False, "fixture": None, "credits": 0.25}])
    >>> properties
    [('kiro_credits', 0.75)]
    """
    spent = credits_of([turn for turn in turns if not turn["fixture"]])
    scripted = next((turn for turn in turns if turn["scripted"]), None)
    for properties in places:
        fresh: dict[str, object] = {}
        if scripted:
            fresh["kiro"] = f"scripted: {'the stand-in' if scripted['stand_in'] else 'a scenario'} answered"
        if spent is not None:
            fresh[_CREDITS] = round(spent + float(str(dict(properties).get(_CREDITS, 0))), 6)
        properties[:] = [(name, value) for name, value in properties if name not in fresh]
        properties.extend(fresh.items())


def note_run(plugins: Iterable[object], turns: Sequence[Mapping[str, Any]]) -> None:
    """Put what the whole run cost into the file, before it is written, where anything was metered."""
    spent = credits_of(turns)
    for plugin in plugins if spent is not None else ():
        if add := getattr(plugin, "add_global_property", None):  # pytest's own JUnit plugin, which has no name
            add(_CREDITS, str(spent))
