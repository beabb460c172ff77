"""Adds properties to JUnit files, which every CI server reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kiro.records.turns import TurnRecord, credits_of

if TYPE_CHECKING:
    from pytest_kiro.records.tests import ScoreRecord, TestRecord

_CREDITS, _PROVENANCE, _SCORE = "kiro_credits", "kiro_provenance", "kiro_score_"


def note(
    places: Iterable[list[tuple[str, object]]], turns: Sequence[TurnRecord], looked_at: Iterable[TurnRecord] = ()
) -> None:
    """Add to a test's properties what answered, and what its turns cost.

    Turns that it only `looked_at` count as answers as well.

    A wide fixture's turns are no single test's: their cost is in the whole run's.

    >>> properties = [("kiro_credits", 0.5)]
    >>> note([properties], [TurnRecord(credits=0.25)])
    >>> properties
    [('kiro_credits', 0.75)]
    """
    spent = credits_of([turn for turn in turns if not turn.owner.wide])
    everything = [*turns, *looked_at]
    scripted = next((turn for turn in everything if turn.scripted), None)
    answered = [turn.provenance.described for turn in everything if turn.number]  # one that goes on is carried again
    for properties in places:
        fresh: dict[str, object] = {}
        if scripted:
            fresh["kiro"] = f"scripted: {'the stand-in' if scripted.stand_in else 'a scenario'} answered"
        if days := sorted({turn.provenance.recorded for turn in everything if turn.provenance.recorded}):
            fresh["kiro"] = "; ".join([*map(str, fresh.values()), f"replayed: recorded {', '.join(days)}"])
        if answered:
            before = str(dict(properties).get(_PROVENANCE, ""))
            fresh[_PROVENANCE] = "; ".join(dict.fromkeys([*filter(None, before.split("; ")), *answered]))
        if spent is not None:
            fresh[_CREDITS] = round(spent + float(str(dict(properties).get(_CREDITS, 0))), 6)
        properties[:] = [(name, value) for name, value in properties if name not in fresh]
        properties.extend(fresh.items())


def note_scores(places: Iterable[list[tuple[str, object]]], scores: Mapping[str, ScoreRecord]) -> None:
    """Add to a test's properties the numbers that it gave to itself."""
    fresh = {f"{_SCORE}{name}": score.value for name, score in scores.items()}
    for properties in places:
        properties[:] = [(name, value) for name, value in properties if not name.startswith(_SCORE)]
        properties.extend(fresh.items())


def note_run(plugins: Iterable[object], turns: Sequence[TurnRecord]) -> None:
    """Add the whole run's metered cost before the file is written."""
    spent = credits_of(turns)
    for plugin in plugins:
        add = getattr(plugin, "add_global_property", None)  # of pytest's own JUnit plugin, which has no name
        if add and spent is not None:
            add(_CREDITS, str(spent))


def explain(plugins: Iterable[object], tests: Iterable[TestRecord]) -> None:
    """Add to the written file what Kiro did in failed tests.

    It is their output there: of sections pytest's own plugin takes only what was captured.
    """
    files = [getattr(plugin, "logfile", "") for plugin in plugins if hasattr(plugin, "add_global_property")]
    said = {_address(test.nodeid): text for test in tests if (text := _explained(test))} if files else {}
    for file in (Path(name) for name in files if said and Path(name).is_file()):
        from xml.etree import ElementTree  # only where something failed

        try:
            tree = ElementTree.parse(file)
            for case in tree.iter("testcase"):
                found = said.get((case.get("classname", ""), case.get("name", "")), "")
                if found and any(case.find(word) is not None for word in ("failure", "error")):
                    out = case.find("system-out")
                    if out is None:
                        out = ElementTree.Element("system-out")
                        last = case.find("system-err")  # which comes behind it
                        case.insert(len(case) if last is None else list(case).index(last), out)
                    out.text = "\n".join(filter(None, (out.text, found)))
            tree.write(file, encoding="utf-8", xml_declaration=True)
        except (OSError, ElementTree.ParseError):
            continue  # it is no file of which that can be told


def _explained(test: TestRecord) -> str:
    texts = (phase.explained for phase in test.phases if phase.outcome == "failed")
    return "\n".join(filter(None, texts)).translate({0xFFFE: None, 0xFFFF: None})  # which XML forbids


def _address(nodeid: str) -> tuple[str, str]:
    """Return a test's class and name in the file.

    >>> _address("evals/test_a.py::TestB::test_c[x/y.py]")
    ('evals.test_a.TestB', 'test_c[x/y.py]')
    """
    path, bracket, parameters = nodeid.partition("[")
    file, *names = path.split("::")
    name = names.pop() if names else ""
    return ".".join([file.removesuffix(".py").replace("/", "."), *names]), f"{name}{bracket}{parameters}"
