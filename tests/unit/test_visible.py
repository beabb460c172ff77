"""What may be shown: nothing in it controls a terminal or a build's log, wherever it was cut; all of it is readable."""

from __future__ import annotations

import re
import sys
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_kiro.errors import KiroError
from pytest_kiro.secrecy.visible import Visible, apparent, escaped, visible
from pytest_kiro.turn.calls import ToolCalls
from pytest_kiro.turn.changes import Changes, Paths
from pytest_kiro.turn.transcript import ToolCall

PIECES = [
    *(
        "\x1b",
        "\x1b[",
        "\x1b]",
        "\x1bP",
        "\x1b]52;c;QUFB",
        "\x1b[31m",
        "\x1b[8m",
        "\x9b",
        "\x9d",
        "\x90",
        "\x9c",
        "\x1b\\",
    ),
    *(
        "\x07",
        "\x18",
        "\b",
        "\0",
        "\x7f",
        "\x85",
        "\v",
        "\r",
        "\n",
        "\r\n",
        "\t",
        " ",
        ":",
        "::",
        "::error::",
        "#",
        "##[",
        "[",
    ),
    *("##vso", "##teamcity[", "\u202e", "\u200d", "\ufe0f", "\u2028", "\ud83d", "é", "👨", "ab", "m", ";", "2J"),
]
TEXT = st.lists(st.one_of(st.sampled_from(PIECES), st.characters())).map("".join)
COMMAND = re.compile(r"^\s*::|##\[|##vso\[|##teamcity\[", re.MULTILINE | re.IGNORECASE)


def is_harmless(text: str) -> bool:
    controls = [c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") and c not in "\n\t"]
    return not controls and not COMMAND.search(text) and "\u202e" not in text


@given(TEXT)
@example("\x1b\x1b[31m[0m")
@example("a\x1b\x07]0;x")
@example("#\x07#[")
@example(":\x1b[m:")
@example("\u202e\u200d")
@example(" \u2028\ufe0f\u200d")
def test_what_is_shown_is_harmless_and_stays_as_it_is(text: str) -> None:
    shown = visible(text)
    assert is_harmless(shown)
    assert visible(shown) == shown


@given(TEXT, st.lists(st.integers(0, 60), max_size=12))
def test_any_cut_shows_the_same(text: str, cuts: list[int]) -> None:
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    whole, parts = Visible(), Visible()
    assert "".join(parts.feed(text[a:b]) for a, b in pairwise(places)) == whole.feed(text)


@given(TEXT)
def test_of_what_pytest_colours_only_colours_stay(text: str) -> None:
    shown = visible(text, colours=True)
    assert is_harmless(re.sub(r"\x1b\[[0-9;]*m", "", shown).replace("::", "").replace("##", ""))
    assert "\x1b[8m" not in shown


@given(TEXT)
def test_an_exact_text_differs_where_the_texts_do(text: str) -> None:
    assert is_harmless(shown := visible(text, exact=True))
    assert shown.count("\\x1b") == text.count("\x1b")


@given(TEXT)
def test_what_a_terminal_shows_is_what_is_left(text: str) -> None:
    text = text.replace("\v", "\n").replace("\f", "\n")
    assert visible("".join(text[start:end] for start, end in apparent(text))) == visible(text)


def test_all_that_has_no_shape_is_named() -> None:
    formats = {chr(i) for i in range(sys.maxunicode + 1) if unicodedata.category(chr(i)) == "Cf"}
    shown = {character for character in formats if visible(f"a{character}") == f"a{character}"}
    # Signs that stand before numbers and verses, which are seen.
    assert {hex(ord(character)) for character in shown} == {
        *("0x600", "0x601", "0x602", "0x603", "0x604", "0x605", "0x6dd", "0x70f", "0x890", "0x891", "0x8e2"),
        *("0x110bd", "0x110cd"),
    }


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("café 日本 🍩\tx\n", "café 日本 🍩\tx\n"),
        (
            "👨\u200d💻 ❤\ufe0f\u200d🔥 #\ufe0f\u20e3 می\u200cخواهم",
            "👨\u200d💻 ❤\ufe0f\u200d🔥 #\ufe0f\u20e3 می\u200cخواهم",
        ),
        ("pay\u200dpal\ufe0f\ufe0f", "pay<U+200D>pal\ufe0f<U+FE0F>"),
        ("\u202egnp.exe \u2066x\u2069 \U000e0041", "<U+202E>gnp.exe <U+2066>x<U+2069> <U+E0041>"),
        ("one\rtwo\r\nthree", "one\ntwo\nthree"),
        (" ::error::x\nstd::x a[::2]\n\u3000::set-output::", " : :error::x\nstd::x a[::2]\n\u3000: :set-output::"),
        ("x ##[error]y ##VSO[task] ##teamcity[a # ##", "x ## [error]y ##VSO [task] ##teamcity [a # ##"),
    ],
)
def test_what_people_read(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_what_is_compared_is_exact() -> None:
    text = "a\r\n\x1b[2Jb\x9b1m \x1b[31mc"
    assert visible(text, exact=True) == r"a\r" "\n" r"\x1b[2Jb\x9b1m \x1b[31mc"
    assert visible(text, exact=True, colours=True) == r"a\r" "\n" r"\x1b[2Jb\x9b1m " "\x1b[31mc"


def test_names_are_shown_as_they_are() -> None:
    name = "a\x1b[2J\u202eb\n\udc80"
    assert escaped(name) == r"a\x1b[2J\u202eb\n\udc80"
    assert escaped("größe 🍩") == "größe 🍩"
    call = ToolCall(name, name, {"path": name}, "", "completed")
    values = [call, ToolCalls([call]), ToolCalls().used(name), Changes(added=frozenset({name})), Paths({name})]
    assert [value for value in map(repr, values) if not value.isprintable()] == []


def test_errors_control_nothing() -> None:
    error = KiroError("no \x1b[2J", advice="see \x9b1m", output="a\x1b]0;x\x07b\r\n::error::c")
    assert str(error) == "no \n  | ab\n  | : :error::c\nsee "
