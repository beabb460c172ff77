"""Terminal bytes to text: the same result wherever the chunks are cut, and bounded memory."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_kiro.terminal.text import Kept, Lines, Plain, fold

#: What a terminal's stream is made of, whole and broken.
PIECES = [
    *(b"\x1b[31m", b"\x1b[0m", b"\x1b[?25l", b"\x1b[38;2;1;2;3m", b"\x1b[2K", b"\x1b[1 q"),
    *(
        b"\x1b]0;title\x07",
        b"\x1b]8;;http://x\x1b\\",
        b"\x1bPdcs\x1b\\",
        b"\x1b_apc\x1b\\",
        b"\x1b(B",
        b"\x1b=",
        b"\x1bM",
    ),
    *(b"\x1b", b"\x1b[", b"\x1b]", b"\x1b]0;", b"\x1bP", b"\x1b[3", b"\x1b\x1b", b"\x07", b"\\", b"[0m", b"m", b";"),
    *(b"\r", b"\n", b"\r\n", b"\r\r\n", b"\b", b"\0", b" "),
    *("é".encode(), "日本".encode(), "🍩".encode(), b"\xff", b"\xc3", b"\xf0\x9f", b"plain text"),
]
STREAM = st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=6))).map(b"".join)


def whole(data: bytes) -> str:
    return Plain().text(data, final=True)


def fed(chunks: list[bytes]) -> str:
    plain = Plain()
    return "".join([*(plain.text(chunk) for chunk in chunks), plain.text(b"", final=True)])


@given(STREAM)
@example(b"\x1b\x1b[31m[0m")
@example(b"a\r\r\rb")
@example(b"a\r\x1b[0m\r\nb")
@example(b"\x1b]0;\r\n\x1b[31m")
def test_every_cut_in_two_gives_the_same(data: bytes) -> None:
    expected = whole(data)
    for cut in range(len(data) + 1):
        assert fed([data[:cut], data[cut:]]) == expected


@given(STREAM, st.integers(1, 7))
def test_any_chunks_give_the_same(data: bytes, size: int) -> None:
    assert fed([data[i : i + size] for i in range(0, len(data), size)]) == whole(data)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x1b[1;31mred\x1b[0m", "red"),
        (b"\x1b[38;5;141m> \x1b[0mHi\x1b[?25h", "> Hi"),
        (b"\x1b]0;title\x07a\x1b]8;;http://x/\x1b\\link\x1b]8;;\x1b\\b", "alinkb"),
        (b"\x1bPq#0;2\x1b\\x\x1b^pm\x1b\\y\x1bXsos\x1b\\z", "xyz"),
        (b"\x1b(Ba\x1b=b\x1bMc\x1b7d\x1bce", "abcde"),
        (b"one\r\ntwo\r\r\nthree\r\r\r\n", "one\ntwo\nthree\n"),
        (b"10 %\r99 %\r\rdone", "10 %\r99 %\rdone"),
        ("é日🍩".encode(), "é日🍩"),
        (b"a\xffb\xc3", "a�b�"),
        (b"\x1b[31", ""),
        (b"tail\x1b]never ends", "tail"),
        (b"tail\x1b]ends with\nits line", "tail\nits line"),
        (b"\x1b[3\nnot one", "\nnot one"),
        (b"a\b\0\x07\x7f\x0eb\x0bc\x0cd", "ab\nc\nd"),
        ("\x9b31mred\x9d0;title\x9c \x90q\x9cend\x85".encode(), "red end"),
        (b"", ""),
    ],
)
def test_what_a_person_would_have_read(data: bytes, text: str) -> None:
    assert whole(data) == text
    assert fed([data[i : i + 1] for i in range(len(data))]) == text


def test_what_is_certain_is_told_at_once() -> None:
    plain = Plain()
    assert plain.text(b"abc\x1b[3") == "abc"
    assert plain.text(b"1mdef\xf0\x9f") == "def"
    assert plain.text(b"\x8d\xa9\r") == "🍩"
    assert plain.text(b"\nend") == "\nend"


@pytest.mark.parametrize(
    ("sequence", "shown"),
    [
        (b"\x1b[" + b"1;" * 50_000 + b"m", ""),
        (b"\x1b]52;c;" + b"QUFB" * 30_000 + b"\x07", ""),
        (b"\x1bPq" + b"#0~~@@vv" * 15_000 + b"\x1b\\", ""),
        (b"\x1b" + b" " * 100_000 + b"F", ""),
        (b"\x1b\x1b]52;c;QUFB\x07]52;c;QUFB\x07", "]52;c;QUFB"),
        (b"\x1b\x18]52;c;QUFB\x07", "]52;c;QUFB"),
        (b"\x1b]0;\x1b[31m1;2m", "1;2m"),
    ],
    ids=["CSI", "OSC", "DCS", "character set", "within another", "given up", "broken off"],
)
@pytest.mark.parametrize("size", [1, 7, 4096, 1_000_000])
def test_a_sequence_is_taken_out_however_long_it_is(sequence: bytes, shown: str, size: int) -> None:
    data = b"before " + sequence + b"after"
    assert fed([data[i : i + size] for i in range(0, len(data), size)]) == f"before {shown}after"


@pytest.mark.parametrize(
    ("begin", "data"),
    [
        *((b"", data) for data in (b"\r", b"\x1b[", b"\x1b]", b"\xf0", b"\x1b[1;")),
        (b"", b"%099d\r" % 0),  # chunks that end where a line end may be cut
        (b"\x1b[", b"1;"),  # one sequence that goes on and on
        (b"\x1b]0;", b"x"),
        (b"\x1bP", b"x"),
    ],
    ids=lambda data: repr(data[:6]),
)
def test_memory_is_bounded_whatever_comes(begin: bytes, data: bytes) -> None:
    plain, chunk = Plain(), data * (5_000 // len(data))
    plain.text(begin)
    tracemalloc.start()
    for _ in range(60):
        plain.text(chunk)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 150_000, "300 kB came in"


# -- fold


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("", ""),
        ("a\nb", "a\nb"),
        ("10 %\r99 %\rdone\n", "done\n"),
        ("a\rb\nc\rd", "b\nd"),
        ("done\r", "done"),
        ("a\rdone\r\nnext", "done\nnext"),
        ("\rstart", "start"),
    ],
)
def test_a_lone_cr_starts_its_line_over(text: str, folded: str) -> None:
    assert fold(text) == folded


@given(st.lists(st.sampled_from(["a", "bc", "\r", "\n", "\r\n"])).map("".join))
def test_folding_twice_is_folding_once(text: str) -> None:
    folded = fold(text)
    assert "\r" not in folded
    assert fold(folded) == folded
    assert folded.count("\n") == text.count("\n")


def test_a_long_line_is_folded_in_no_time() -> None:
    """The time grows with the text and not with its square."""
    text = "spinner\rdone\n" + "x" * 2_000_000
    started = time.monotonic()
    assert fold(text) == "done\n" + "x" * 2_000_000
    assert time.monotonic() - started < 60


# -- Lines


@pytest.mark.parametrize(
    ("chunks", "shown"),
    [
        (["10 %", "\r99 %", "\rdone\nne", "xt"], ["10 %", "", "\ndone\nne", "xt"]),
        (["\r|", "\r/", "\rdone\n"], ["", "", "done\n"]),
        (["abc\r", "\n"], ["abc", "\n"]),
        (["spins\r", "\r\n"], ["spins", "\n"]),
        (["x\r" + "y" * 70_000, "z\n"], ["y" * 70_000, "z\n"]),
    ],
)
def test_a_line_that_starts_over_is_shown_at_its_end(chunks: list[str], shown: list[str]) -> None:
    lines, whole = Lines(), Lines(whole=True)
    assert [lines.feed(chunk) for chunk in chunks] == shown
    assert "\r" not in "".join(map(whole.feed, chunks))


@given(st.lists(st.sampled_from(["a", "bc", "\r", "\n", "\r\n"])))
def test_whole_lines_are_those_of_the_folded_text(chunks: list[str]) -> None:
    lines = Lines(whole=True)
    assert "".join(map(lines.feed, [*chunks, "\n"])) == fold("".join(chunks) + "\n")


# -- Kept


@given(st.lists(st.text(max_size=9)), st.integers(2, 30))
def test_kept_has_the_start_and_the_end(parts: list[str], cap: int) -> None:
    kept, text, half = Kept("", cap), "".join(parts), cap // 2
    for part in parts:
        kept.add(part)
    if len(text) <= 2 * half:
        assert (kept.join("…"), kept.dropped) == (text, 0)
    else:
        assert kept.join("…") == f"{text[:half]}…{text[-half:]}"
        assert kept.dropped == len(text) - 2 * half


def test_kept_is_joined_anew_after_more_came() -> None:
    kept = Kept(b"", 6)
    assert kept.join(b"..") == b""
    kept.add(b"ab")
    assert kept.join(b"..") == b"ab"
    kept.add(b"cdefgh")
    assert kept.join(b"..") == b"abc..fgh"
    assert kept.join(b"..") == b"abc..fgh"


@pytest.mark.parametrize("size", [100, 4096, 26_214, 300_000])
def test_keeps_memory_is_what_is_kept(size: int) -> None:
    cap, part = 100_000, b"x" * size
    kept = Kept(b"", cap)
    tracemalloc.start()
    for _ in range(max(2, 1_000_000 // size)):
        kept.add(part[: size - 1] + b"y")
    size_now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size_now < 2.5 * cap
    assert peak < 2.5 * cap + 3 * size, "1 MB came in"
    assert len(kept.join(b"")) == cap
