"""Pages of odd runs, and where things stand on a page: no browser is needed to tell."""

from __future__ import annotations

import base64
import gzip
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import runs

from pytest_kiro.records import tests as test_records
from pytest_kiro.records.phases import PhaseRecord
from pytest_kiro.records.tests import CollectionError, Outcome
from pytest_kiro.records.turns import FixtureReference, ToolCallRecord, TurnRecord
from pytest_kiro.report.html.evidence import CAST, Cast, Evidence, Executed, TurnEvidence, shortened
from pytest_kiro.report.html.rendering import report
from pytest_kiro.report.html.stored import evidence_in, run_in
from pytest_kiro.report.html.timeline import call_times
from pytest_kiro.secrecy.redaction import Secrets

OUTCOMES: tuple[Outcome, ...] = (
    "passed", "failed", "error", "skipped", "xfailed", "xpassed", "rerun", "not needed", "unfinished",
)  # fmt: skip


def odd(name: str, outcome: Outcome, **more: Any) -> test_records.TestRecord:
    values: dict[str, Any] = {
        "infrastructure": False,
        "worker": "main",
        "attempts": 1,
        "duration": 0.0,
        "credits": None,
    }
    return test_records.TestRecord(
        **{"nodeid": f"test_odd.py::{name}", "outcome": outcome, "phases": (), "turns": (), **values, **more}
    )


def failed(name: Any, **more: Any) -> tuple[PhaseRecord, ...]:
    return (PhaseRecord(name=name, outcome="failed", **more),)


def headline(page: str) -> str:
    found = re.search(r"<h1>.*</span> (.*)</h1>", page)
    assert found
    return unescape(found[1])


def test_every_outcome_and_every_hole_has_a_page() -> None:
    """Of what was broken off, crashed or lost little is known; that is no reason to show nothing."""
    tests = [odd(outcome, outcome, phases=failed("call") if outcome == "failed" else ()) for outcome in OUTCOMES]
    tests += [
        odd("broken_off", "unfinished", turns=(TurnRecord(prompt="Begin."),)),
        odd("crash", "failed", phases=failed("crash", message="worker 'gw0' crashed")),
        odd("setup", "error", phases=failed("setup", fault="world")),
        odd("fixture", "passed", fixtures=(FixtureReference(name="fixture:gone", worker="gw9", number=1),)),
    ]
    holes = Evidence(
        diffs={"empty": ""},
        executed=[Executed(command="never ended", exit_code=None)],
        turns={(1, 0): TurnEvidence(cast=Cast())},
    )
    run = runs.run_of(tuple(tests))
    page = report(run, {test.nodeid: holes for test in tests}, run, "itself")
    assert (
        headline(page) == "1 failed, 1 error, 2 lost to infrastructure, 2 incomplete, 6 passed, 1 skipped of 13 evals"
    )
    assert page.count('<article class="trial"') >= 13
    assert "a turn that was broken off" in page.lower()
    assert "Nothing: every eval ended as it had before." in page


def test_a_run_of_nothing() -> None:
    empty = runs.run_of((), exit_status=5)
    assert headline(report(empty, {})) == "nothing was run"
    assert '<section class="verdict incomplete"' in report(empty, {}), "it is no green one"
    facts = {**vars(empty.run), "collection_errors": (CollectionError(nodeid="test_a.py", message="no <module>"),)}
    broken = type(empty)(**{**vars(empty), "run": type(empty.run)(**facts)})
    page = report(broken, {})
    assert headline(page) == "1 file could not be collected"
    assert "no &lt;module&gt;" in page


def test_no_markup_has_a_style_or_a_handler() -> None:
    """The page's policy would refuse it, and a reader could not tell ours from an agent's."""
    run, evidence = runs.sample()
    page = re.sub(r"<(style|script)[^>]*>.*?</\1>", "", report(run, evidence, run, "itself"), flags=re.DOTALL)
    assert re.findall(r"<[a-z][^>]*\s(?:style|on[a-z]+)=", page) == []
    assert re.findall(r"(?:src|href|action|data)=[\"']?(?!#)[a-z]*:?//", page) == [], "nothing leads outside"
    assert set(re.findall(r"<(link|img|iframe|object|embed|base|audio|video)", page)) == set()


def test_our_own_script_is_small() -> None:
    page = Path(report.__code__.co_filename).parent / "page"
    assert sum((page / name).stat().st_size for name in ("script.js", "player.js")) < 60_000


def test_secrets_are_in_no_page() -> None:
    run, evidence = runs.sample(text=lambda words: f"hunter2-hunter2 {words}")
    secrets = Secrets()
    secrets.add("hunter2-hunter2", "WORD")
    kept = {
        name: Evidence(traceback=one.traceback, diffs=one.diffs, executed=one.executed)
        for name, one in evidence.items()
    }
    page = report(run, kept, run, "itself", secrets=secrets)
    packed = re.findall(r'data-packed="[^"]*">([^<]*)<', page)
    unpacked = [gzip.decompress(base64.b64decode(text)).decode() for text in packed]
    assert "[WORD]" in unpacked[0]
    assert "hunter2" not in page + "".join(unpacked)


def test_where_calls_stand_on_the_axis() -> None:
    calls = [
        ToolCallRecord(name=name, raw_name=name, status="completed", input=given)
        for name, given in (
            ("read", {"path": "/w/README.md"}),
            ("shell", {"command": "make test"}),
            ("grep", {"pattern": "never shown"}),
            ("shell", {"command": "make test"}),
        )
    ]
    events = ((1.0, "\x1b[1mReading README.md\x1b[0m"), (4.0, "ma"), (5.0, "ke test"), (9.0, "make test again"))
    assert call_times(calls, Cast(events=events), 12.0) == [(1.0, True), (4.0, True), (6.5, False), (9.0, True)]
    assert call_times(calls[:3], None, 8.0) == [(2.0, False), (4.0, False), (6.0, False)], (
        "evenly, and said to be unsure"
    )
    assert call_times([], None, 8.0) == []


def test_a_long_terminal_loses_its_middle() -> None:
    cast = shortened(Cast(events=tuple((float(n), "x" * 1000) for n in range(1000))), "turn-1.cast")
    assert sum(len(data) for _, data in cast.events) == CAST
    assert (cast.events[0][0], cast.events[-1][0]) == (0.0, 999.0)
    assert cast.note == "800000 characters of its middle are left out here; turn-1.cast has them"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"nodeid": 3, "conversations": [{"folder": "conversation-1", "turns": [{}]}, 7]}']
)
def test_a_folder_that_was_cut_is_read_as_far_as_it_goes(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "test_a"
    folder.mkdir()
    (folder / "test.json").write_text(content)
    (folder / "failure.txt").write_bytes(b"E   assert \xff")
    (folder / "conversation-1").mkdir()
    (folder / "conversation-1" / "executed.json").write_text('[{"command": "ls')
    assert evidence_in(folder).traceback == "E   assert \N{REPLACEMENT CHARACTER}"
    if "nodeid" in content:
        assert "3" in report(*run_in(tmp_path))
