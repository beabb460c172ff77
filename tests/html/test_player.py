"""Playback of the terminal in a real browser: asciinema's player with our controls, under a report's policy."""

from __future__ import annotations

import itertools
import json
import random
import textwrap
from pathlib import Path
from typing import Any

import pytest
from browser import Page
from casts import MARKS, ROWS, TURN, cast_of, emulated, mounted, shows, write_page
from helpers import run_python

from pytest_kiro.report.html.player import last_screen, player_assets

TOLD = "document.querySelector('.kp-told').textContent"
LABEL = "document.querySelector('.kp-bar button').getAttribute('aria-label')"
#: What is copied of the screen from within one row to within the next but one.
COPIED = """(() => {
    const row = (number) => document.querySelectorAll(".ap-line")[number].querySelector("span").firstChild;
    const event = new ClipboardEvent("copy", {clipboardData: new DataTransfer(), bubbles: true, cancelable: true});
    const last = [...document.querySelectorAll(".ap-line")].findIndex((row) => row.textContent.startsWith("line 30"));
    getSelection().setBaseAndExtent(row(last - 2), 5, row(last), 4);
    document.querySelector(".ap-term-text").dispatchEvent(event);
    return event.defaultPrevented && event.clipboardData.getData("text/plain");
})()"""


def test_playback_shows_what_an_emulator_shows(page: Page, tmp_path: Path) -> None:
    """At its end, at each moment that one can jump to, and after it was played to the end."""
    mounted(page, tmp_path, TURN, MARKS)
    shows(page, emulated(TURN))
    for number, mark in enumerate(MARKS, start=1):
        page.click(f".kp-marks li:nth-child({number}) button")
        shows(page, emulated(TURN, mark["at"]))
        assert page.evaluate("player.time()") == mark["at"]
        assert page.evaluate("document.querySelector('[aria-current=true]').textContent").endswith(mark["label"])
    page.evaluate("times.length = 0; player.seek(0)")
    page.click(".kp-bar button")  # where idle time is skipped, 64 seconds take 6, and less than one at eight times
    page.until(f"{LABEL} === 'Pause'")
    page.press(">")
    page.press(">")
    page.press(">")
    page.until(f"{LABEL} === 'Play'", 30)
    shows(page, emulated(TURN))
    times = page.evaluate("times")
    assert times == sorted(times)
    assert times[-1] == page.evaluate("player.time()") == page.evaluate("player.duration") == 64.0
    assert (page.errors, page.requests) == ([], [(tmp_path / "page.html").as_uri()])


def test_idle_time_is_skipped_or_not(page: Page, tmp_path: Path) -> None:
    mounted(page, tmp_path, TURN, MARKS)
    page.evaluate("player.seek(2.2)")
    page.click(".kp-bar button")
    page.until("player.time() > 62", 20)  # after two seconds
    page.click(".kp-bar input[type=checkbox]")
    page.evaluate("player.pause()")
    page.evaluate("player.seek(10)")
    page.click(".kp-bar button")
    page.until("player.time() > 10.5", 20)
    page.press("Space")
    assert 10.5 < page.until(f"{LABEL} === 'Play' && player.time()") < 60
    assert page.errors == []


def test_keys(page: Page, tmp_path: Path) -> None:
    """They work while the focus is in the player, and what is around it does not hear of them."""
    mounted(page, tmp_path, TURN, MARKS)
    page.evaluate("window.heard = []; addEventListener('keydown', (event) => heard.push(event.key)); 0")
    page.press("Home")
    assert page.evaluate("player.time()") == 64
    page.evaluate("document.querySelector('.kp-track input').focus()")
    for key, seconds in (
        ("Home", 0), ("ArrowRight", 5), ("ArrowRight", 10), ("ArrowLeft", 5), ("]", 62.2), ("]", 64), ("[", 62.2),
        ("[", 2.1), ("[", 0), ("End", 64),
    ):  # fmt: skip
        page.press(key)
        assert page.until("player.time()" if seconds else "player.time() === 0") in (seconds, True), key
    page.press("/")
    page.write("i")
    page.press("i")
    assert page.evaluate("document.activeElement.value") == "ii"
    page.press("Escape")
    page.press("i")
    assert page.evaluate("document.querySelector('input[type=checkbox]').checked") is False
    page.press("<")
    assert page.evaluate("document.querySelector('select').value") == "0.5"
    assert page.evaluate("heard") == ["Home"]
    assert page.errors == []


def test_text_is_found_and_selected(page: Page, tmp_path: Path) -> None:
    """In all that was ever printed, what scrolled out and what was cut in two included; a spinner counts once."""
    mounted(page, tmp_path, TURN, MARKS)
    page.click("input[type=search]")
    for query, told, at in (
        ("THINKING", "1 of 1", 0.0), ("passed", "1 of 1", 62.2), ("line 3", "1 of 11", 62.33), ("漢字", "1 of 1", 62.2),
        ("is not there", "not found", 62.2), ("(", "not found", 62.2), ("1m", "not found", 62.2),
    ):  # fmt: skip
        page.evaluate("document.querySelector('input[type=search]').select()")
        page.write(query)
        page.until(f"{TOLD} === {json.dumps(told)}")
        assert page.until(f"Math.abs(player.time() - {at}) < 1e-6 && [player.time()]"), query
    page.evaluate("document.querySelector('input[type=search]').select()")
    page.write("line 3")
    for expected in ("2 of 11", "3 of 11"):
        page.press("Enter")
        page.until(f"{TOLD} === '{expected}'")
    page.press("Enter", shift=True)
    page.until(f"{TOLD} === '2 of 11'")
    page.until("[...(CSS.highlights.get('kp-found') ?? [])].map(String).join() === 'line 3'")
    page.until("[...document.querySelectorAll('.ap-line')].some((row) => row.textContent.startsWith('line 30'))")
    assert page.evaluate(COPIED) == "28 of the log\nline 29 of the log\nline"
    assert page.errors == []


def test_a_turn_that_printed_little_is_drawn_small(page: Page, tmp_path: Path) -> None:
    """As high as what it has written on, where nothing moves the cursor to another row."""
    long = "\x1b[?25l" + "x" * 200 + "\r\n" + "\t" * 15 + "end of it\r\n" + "漢" * 50 + "\r\n"
    for text, rows in (
        ("a\r\nb", 6), (long, 8), ("a\r\n" * 17, 18), ("a\r\n" * 40, 24), ("a\x1b[Ab", 24),
        ("a\x1b[5;5Hb", 24), ("a\x1bMb", 24), ("a\x1b[3;5rb", 24), ("a\x1b[1;31mb" + "\r x" * 500, 6),
    ):  # fmt: skip
        cast = cast_of([(0, text)])
        mounted(page, tmp_path, cast)
        shows(page, emulated(cast)[:rows])
    mounted(page, tmp_path, cast_of([(0, "a\x1b[?1049hb")]))  # which that emulator does not know
    shows(page, [" b", *[""] * 23])


def test_a_screen_reader_is_told(page: Page, tmp_path: Path) -> None:
    mounted(page, tmp_path, TURN | {"note": "The middle is left out: <b>9 kB</b>"}, MARKS)
    roles = page.roles()
    for told in (
        ("group", "Playback of the terminal"), ("group", "Screen, 80 × 24"), ("button", "Play"), ("slider", "Position"),
        ("combobox", "Speed"), ("checkbox", "Skip idle time"), ("searchbox", "Find in the output"), ("status", ""),
        ("list", "Moments of the turn"), ("button", "write donut.js, at 0:02"),
        ("StaticText", "The middle is left out: <b>9 kB</b>"), ("StaticText", "the end"),
    ):  # fmt: skip
        assert told in [(role, name.strip()) for role, name in roles]
    assert page.evaluate("document.querySelector('.kp-track input').ariaValueText") == "1:04 / 1:04, assert turn.ok"


def test_where_nothing_can_be_played_the_last_screen_is_read(page: Page, tmp_path: Path) -> None:
    """Without scripts, without the package of the extra, and where a policy forbids WebAssembly."""
    screen, shown = last_screen(TURN), "document.querySelector('#player pre').textContent"
    assert screen.splitlines()[-2:] == ["line 39 of the log", "heretherecutthe end"]
    assets = player_assets()
    page.open(write_page(tmp_path / "a.html", TURN, MARKS, assets), scripts=False)
    assert page.evaluate(shown) == screen
    page.open(write_page(tmp_path / "b.html", TURN, MARKS, None))
    assert "pytest-kiro[report]" in page.evaluate("document.querySelector('.kp-note').textContent")
    assert page.evaluate(f"player.seek(3), player.play(), player.destroy(), {shown}") == screen
    page.open(write_page(tmp_path / "c.html", TURN, MARKS, assets, csp=""))
    page.until("document.querySelector('.kp-note')?.textContent.includes('WebAssembly')")
    assert page.evaluate(shown) == screen


HOSTILE = [
    "</script><script>document.title='run'</script><img src=x onerror=\"document.title='run'\">",
    "\x1b]0;title\x07\x1b]8;;javascript:document.title='run'\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]52;c;cnVu\x07\x1bP+q544e\x1b\\\x1b_Gf=100;AAAA\x1b\\\x1b[c\x1b[6n\x1b[5i",
    "\x1b[999999999;999999999H\x1b[2147483647A\x1b[4294967296b\x1b[8;9999;9999t\x1b[99999999L\x1b[99999999X",
    "\x1b[1;1r\x1b[0;0r\x1b[5;2r\x1b[?6h\x1b[?1049h\x1b[?1049h\x1b[?1049l\x1b#8\x1bc\x1b[!p",
    "\x00\x01\x07\x08\x0b\x0e\x0f\x18\x1a\x7f\x80\x9b31m\x9d0;x\x9c\ufeff\ufffd\ufffe\U0010ffff\u202e\u200d\u0301",
    "e" + "\u0301" * 500 + "漢" * 200 + "\U0001f468\u200d\U0001f469\u200d\U0001f467" * 50,
    "\x1b[" + ";".join(["1"] * 5000) + "m\x1b[38;2;999;999;999;48;5;999mx",
    "\x1b]" + "x" * 100_000,
    "\x1b[?" + "9" * 1000,
]


def test_hostile_bytes(page: Page, tmp_path: Path) -> None:
    """Nothing runs and nothing breaks, in what is printed, in labels, and in the cast itself."""
    chance = random.Random(15)
    alphabet = [
        "\x1b",
        "\x1b[",
        "\x1b]",
        ";",
        "?",
        "9",
        "1",
        "m",
        "H",
        "J",
        "K",
        "r",
        "h",
        "l",
        "\r",
        "\n",
        "\t",
        "漢",
        "a",
    ]
    noise = ["".join(chance.choices(alphabet, k=400)) for _ in range(30)]
    events = [(number / 10, text) for number, text in enumerate(itertools.chain(*zip(HOSTILE * 3, noise, strict=True)))]
    cast = cast_of([*events, (10.0, "\x1bc\x1b[?1049l\x1bcthe end")], note=HOSTILE[0])
    marks = [{"at": at, "label": label, "kind": label} for at, label in zip((-1, 3, 1e99), HOSTILE, strict=False)]
    mounted(page, tmp_path, cast, marks)
    page.until(f"{ROWS}[0] === 'the end'")
    page.evaluate("player.seek(0)")
    for key in (">", ">", ">", "i", "i", "Space"):
        page.evaluate("document.querySelector('.kp-track input').focus()")
        page.press(key)
    page.until(f"player.time() === 10 && {LABEL} === 'Play'", 60)
    page.until(f"{ROWS}[0] === 'the end'")
    assert page.evaluate("[document.title, document.querySelectorAll('#player :is(script, img, a, b)').length]") == [
        "",
        0,
    ]
    assert (page.errors, len(page.requests)) == ([], 1)


@pytest.mark.parametrize("width", [0, -1, 10**9, None, "80"])
def test_a_cast_that_is_none(page: Page, tmp_path: Path, width: Any) -> None:
    """Whatever stands in it, the player is there, and shows what can be shown."""
    odd = [[1, "i", "typed"], [None, "o", "x"], [2], "x", None, [3, "o", 5], [4, "o", "shown"], [2, "o", ", later"]]
    cast: dict[str, Any] = {"width": width, "height": width, "events": odd}
    assets = player_assets()
    page.open(write_page(tmp_path / "page.html", cast_of([]), [], assets))
    assert page.evaluate("player.destroy(), document.getElementById('player').innerHTML") == "<pre></pre>"
    page.evaluate(f"window.player = mountPlayer(document.getElementById('player'), {json.dumps(cast)}, undefined); 0")
    page.until(f"{ROWS}[0] === 'shown, later'")
    assert page.evaluate("player.duration") == 4
    assert page.errors == []


def test_the_last_screen_is_of_lines_as_wide_as_the_terminal() -> None:
    assert (
        last_screen(cast_of([(0, "a\r\n\x1b[31mb"), (1, "bb\x1b[0mb"), (2, "cc\r\n"), (3, "x\ry\r\n\n")], 4, 3))
        == "bbbb\ncc\ny"
    )
    assert last_screen(cast_of([])) == ""


def test_a_player_that_is_missing_or_would_end_its_element_is_left_out(tmp_path: Path) -> None:
    """Then a report has neither the player nor its word in the policy."""
    source = """
        import sys
        sys.path.insert(0, sys.argv[1])
        if sys.argv[2:]:
            sys.path.insert(0, sys.argv[2])
        else:
            sys.modules["mkdocs_asciinema_player"] = None
        import runs
        from pytest_kiro.report.html.player import player_assets
        from pytest_kiro.report.html.rendering import report
        page = report(*runs.sample())
        print(player_assets(), "wasm-unsafe-eval" in page, "AsciinemaPlayer=" in page, "mountPlayer" in page)
    """
    folder = tmp_path / "mkdocs_asciinema_player/assets"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "asciinema-player.css").write_text("p {}")
    (folder / "asciinema-player.min.js").write_text("var AsciinemaPlayer='</SCRIPT>'")
    for args in ((), (str(tmp_path),)):
        told = run_python(textwrap.dedent(source), str(Path(__file__).parent), *args)
        assert told.split() == ["None", "False", "False", "True"]
