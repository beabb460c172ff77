"""A turn of the stand-in's, from pytest to the browser: what was recorded of its terminal is what is played."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import pytest
import zygote
from browser import Page
from casts import emulated, mounted, shows

from pytest_kiro.report.html.evidence import read_cast

SOURCE = """
def test_it(kiro):
    turn = kiro.run("Show what the terminal must bear.")
    assert "donut.js" in turn.changes.added
"""
#: What Kiro says: U+2028 and U+0085 end a line for some who read lines.
SAID = "I run it: \u2028\x85</script><img src=x onerror=alert(1)> häßlich 漢字 🎉"
THEN = "It has printed all of it. Lines:\n" + "".join(f"- line {line} of many\n" for line in range(40)) + "The end."
SCENARIO = f"""[[test_it.turn]]
requests = [
    [{json.dumps(SAID, ensure_ascii=False)}, {{ name = "shell", args = {{ command = "seq 3" }} }}],
    [{json.dumps(THEN)}],
]
"""


@pytest.mark.parametrize("engine", ["v2", "v3"])
def test_what_was_recorded_is_played(page: Page, tmp_path: Path, engine: str) -> None:
    """Asciinema reads the cast that a failed test left, and the browser shows what an emulator shows."""
    asciicast = pytest.importorskip("asciinema.asciicast", reason="the group test has it")
    cast = _cast_of_a_run(tmp_path, engine)
    with asciicast.open_from_url(str(cast)) as read:
        header = read.v2_header
        events = list(read.events("o"))
    assert header["version"] == 2
    assert [at for at, *_ in events] == sorted(at for at, *_ in events)
    printed = "".join(text for _, _, text in events)
    assert "\u2028\x85" in printed
    ours = read_cast(cast)
    assert ours
    assert [[at, "o", text] for at, text in ours.events] == events
    # What stands behind such a character, pyte leaves out.
    events = [[at, "o", text.replace("\u2028\x85", "")] for at, _, text in events]
    shown = {"width": header["width"], "height": header["height"], "events": events}
    mounted(page, tmp_path, shown)
    shows(page, emulated(shown))
    assert "The end." in "\n".join(emulated(shown))
    for at in itertools.islice(dict.fromkeys(at for at, *_ in events), 0, None, max(1, len(events) // 5)):
        page.evaluate(f"player.seek({at})")
        shows(page, emulated(shown, at))
    assert page.evaluate("[document.title, document.querySelectorAll('#player :is(img, b, a)').length]") == ["", 0]
    assert (page.errors, len(page.requests)) == ([], 1)
    _is_in_the_report(page, tmp_path / "report.html", emulated(shown))


def _is_in_the_report(page: Page, report: Path, rows: list[str]) -> None:
    """Follow the first link to a failed trial, play its terminal, and find the words that were printed."""
    page.open(report)
    page.evaluate("location.hash = `#t=${document.querySelector('article.trial').dataset.id}`; 0")
    shows(page, rows)
    page.evaluate("document.querySelector('#view .kp input[type=search]').focus()")
    page.write("line 7 of many")
    page.until("document.querySelector('#view .kp-told').textContent === '1 of 1'")
    page.evaluate("document.querySelector('#view .kp-bar button').focus()")
    page.press("End")
    shows(page, rows)
    assert page.evaluate("(({value, max}) => value === max)(document.querySelector('#view .kp-track input'))")
    page.press("Space")
    page.until("document.querySelector('#view .kp-time').textContent.startsWith('0.0 s /')")
    page.until("document.querySelector('#view .kp-bar button').title === 'Play'")
    shows(page, rows)
    assert page.evaluate("document.querySelector('#view .kp-marks').textContent").count("seq 3") == 1
    assert page.evaluate("document.querySelectorAll('#view :is(img, b)').length") == 0
    assert (page.errors, page.requests[1:]) == ([], [report.as_uri()])


def _cast_of_a_run(folder: Path, engine: str) -> Path:
    """Run a failing eval, and return the cast that it left."""
    (folder / "scenarios").mkdir()
    (folder / "test_it.py").write_text(SOURCE)
    (folder / "scenarios/test_it.toml").write_text(SCENARIO, encoding="utf-8")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "KIRO_", "CI"))}
    args = ["-p", "no:cacheprovider", "-p", "no:randomly", "--kiro-cli=scripted", f"--kiro-engine={engine}"]
    args += [f"--kiro-report={folder / 'report.html'}"]
    done = zygote.run("pytest", args, cwd=folder, env=env, timeout=120)
    assert "1 failed" in done.stdout, done.stdout + done.stderr
    (cast,) = folder.glob("kiro-results/latest/*/*/turn-1.cast")
    return cast
