"""A trial's page with its terminal in it: what leads to a moment, and what a moment leads to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import runs
from browser import Page
from casts import TURN, emulated, shows

from pytest_kiro.report.html.evidence import Cast, Evidence
from pytest_kiro.report.html.rendering import report

NAME = "evals/test_shop.py::test_price"
LABEL = "document.querySelector('#view .kp-bar button').getAttribute('aria-label')"
CLOCKS = "[...document.querySelectorAll('#view .kp-time')].map(one => one.textContent)"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A report of two trials, both of which have the terminal of a turn."""
    tests = tuple(runs.trial(NAME, number, 2, seed=number, ok=False) for number in (1, 2))
    events = tuple((at, text) for at, _, text in TURN["events"])
    cast = Cast(width=TURN["width"], height=TURN["height"], events=events)
    known: dict[str, Evidence] = {}
    for test in tests:
        evidence = runs.evidence(1, ok=False)
        turns = {key: replace(turn, cast=cast) for key, turn in evidence.turns.items()}
        known[test.nodeid] = replace(evidence, turns=turns)
    path = tmp_path / "report.html"
    path.write_text(report(runs.run_of(tests), known), encoding="utf-8")
    return path


def trial_of(page: Page, file: Path, number: int = 0) -> str:
    found: str = page.open(file).evaluate(f"document.querySelectorAll('article.trial')[{number}].dataset.id")
    return found


def test_a_trials_terminal_is_played(page: Page, file: Path) -> None:
    """To its end, which is an emulator's; the timeline goes along, and leads back to a moment, which has an address."""
    trial = trial_of(page, file)
    page.open(file, fragment=f"#t={trial}")
    shows(page, emulated(TURN))
    cursor = "Number(document.querySelector('#view .timeline .cursor').getAttribute('x1'))"
    page.evaluate("document.querySelector('#view .kp-track input').focus()")
    page.press("Home")
    page.until(f"{CLOCKS}[0].startsWith('0:00')")
    began = page.evaluate(cursor)
    for key in (">", ">", ">", "Space"):
        page.press(key)
    page.until(f"{LABEL} === 'Pause'")
    page.until(f"{LABEL} === 'Play'")
    shows(page, emulated(TURN))
    assert page.evaluate(CLOCKS) == ["1:04 / 1:04"]
    assert page.evaluate(cursor) > began
    assert page.evaluate("location.hash") == f"#t={trial}"  # no key in the player was the page's as well

    click = "dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true}))"
    page.evaluate(f"document.querySelector('#view .timeline a[data-at]').{click}")
    address: str = page.until("location.hash.includes('at=') && location.hash")
    at = float(address.rpartition("at=")[2])
    shows(page, emulated(TURN, at))
    assert (page.errors, page.requests[1:]) == ([], page.requests[1:2])

    page.open(file, fragment=f"#t={trial}&turn=1&at=2.1")
    shows(page, emulated(TURN, 2.1))
    assert page.evaluate(CLOCKS) == ["0:02 / 1:04"]
    page.evaluate("document.querySelector('#view .kp-bar button').focus()")
    page.press("Escape")
    page.until("document.body.dataset.view === 'all'")
    assert page.evaluate("document.querySelectorAll('#view .kp').length") == 0
    assert page.errors == []


def test_two_terminals_beside_each_other(page: Page, file: Path) -> None:
    """Each has its own time, and a link leads the one that it names."""
    one, other = trial_of(page, file), trial_of(page, file, 1)
    page.open(file, width=1400, fragment=f"#t={one}&with={other}")
    for number in (0, 1):
        shows(page, emulated(TURN), number)
    page.click("#view .sides > :nth-child(2) .kp-bar button")
    page.until(f"{CLOCKS}[1].startsWith('0:0')")
    assert page.evaluate(CLOCKS)[0] == "1:04 / 1:04"
    page.press("Space")
    page.open(file, width=1400, fragment=f"#t={other}&with={one}&turn=1&at=2")
    shows(page, emulated(TURN, 2), 0)
    shows(page, emulated(TURN), 1)
    assert page.errors == []


def test_without_scripts_the_last_screen_is_read(page: Page, file: Path) -> None:
    page.open(file, scripts=False)
    screens: list[Any] = page.evaluate("[...document.querySelectorAll('.player > pre')].map(one => one.textContent)")
    assert [screen.splitlines()[-2] for screen in screens] == ["line 39 of the log"] * 2
