"""What must never be written: found in every form, in any cut of any text, in any value; nothing else is changed."""

from __future__ import annotations

import base64
import html
import json
import shlex
import threading
from copy import copy
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus, urlencode
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_kiro.secrecy.redaction import SHORTEST, Secrets
from pytest_kiro.secrecy.spellings import forms

KEY = "ksk_0123456789abcdef"
AWKWARD = 'ksk_"it\'s"\\ <ü&/+>\t=%'


def hiding(*values: str) -> Secrets:
    secrets = Secrets()
    for number, value in enumerate(values):
        secrets.add(value, f"S{number}")
    return secrets


# -- texts


@pytest.mark.parametrize("secret", [KEY, AWKWARD])
@pytest.mark.parametrize(
    "write",
    [
        str,
        repr,
        ascii,
        lambda text: repr(text.encode()),
        lambda text: repr(f"both ' and \" {text}"),
        lambda text: repr(f"one ' {text}"),
        lambda text: repr(f'one " {text}'),
        json.dumps,
        lambda text: json.dumps(text, ensure_ascii=False),
        lambda text: json.dumps({"output": json.dumps({"key": text})}),
        lambda text: repr({"output": json.dumps({"key": text})}),
        lambda text: repr([repr(text)]),
        quote,
        quote_plus,
        lambda text: quote(text, safe=""),
        lambda text: urlencode({"key": text, "more": "x"}),
        html.escape,
        lambda text: html.escape(text, quote=False),
        lambda text: ElementTree.tostring(ElementTree.Element("a", key=text), encoding="unicode"),
        shlex.quote,
        lambda text: base64.b64encode(text.encode()).decode(),
        lambda text: base64.b64encode(f"user:{text}".encode()).decode(),
        lambda text: base64.urlsafe_b64encode(f"a{text}b".encode()).decode(),
        lambda text: base64.b64encode(f"ab{text}".encode()).decode(),
        lambda text: text.encode().hex(),
        lambda text: text.encode().hex().upper(),
    ],
)
def test_a_secret_is_found_in_all_forms(secret: str, write: Any) -> None:
    text = write(secret)
    found = hiding(secret)(f"before {text} after")
    assert found.startswith("before ")
    assert found.endswith(" after")
    assert "[S0]" in found
    # Of its beginning and end, Base64 mixes up to a byte with what stands beside.
    assert len(found) <= len("before [S0] after") + len(text) - len(secret) + 8
    assert hiding(secret).data(text.encode()) == hiding(secret)(text).encode()


def test_lines_of_a_secret_are_found_wherever_they_are_put() -> None:
    lines = ["-----BEGIN PRIVATE KEY-----", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC", "BKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"]
    secrets = hiding("\n".join(lines) + "\n")
    assert secrets("\n".join(lines)) == "[S0]"
    assert secrets("\r\n".join(f"E   {line}" for line in lines)) == "E   [S0]\r\nE   [S0]\r\nE   [S0]"


@pytest.mark.parametrize("within", ["\x1b[31m", "\x1b]0;title\x07", "\x9b1m", "\x07", "\b", "\x1b\x18"])
def test_a_secret_is_found_around_what_a_terminal_obeys(within: str) -> None:
    secrets, written = hiding(KEY), within.join(KEY)
    assert secrets(f"\x1b[1mé {written}\x1b[0m {KEY}.") == "\x1b[1mé [S0]\x1b[0m [S0]."
    assert secrets.data(b"\xff" + written.encode() + b" \xc3") == b"\xff[S0] \xc3"
    assert secrets(clean := f"\x1b[31m{KEY[:12]}{within}\x1b[0m") == clean
    assert secrets.within({"a": [written]}) == {"a": ["[S0]"]}


def test_forms_that_begin_alike_are_told_apart() -> None:
    secrets = hiding("same-beginning-1", "same-beginning-22", "same-beg")
    assert secrets("same-beginning-22 same-beginning-1 same-beginnin") == "[S1] [S0] [S2]innin"
    stream = secrets.stream()
    assert stream.feed(b"a same-beginning-") == b"a "
    assert stream.feed(b"22 b same-be", final=True) == b"[S1] b same-be"


def test_blanks_around_a_secret_are_none_of_it() -> None:
    assert hiding(f" {KEY}\n")(f"<{KEY}>") == "<[S0]>"


@pytest.mark.parametrize("short", ["", "1234567", "  1234567  ", " " * 20])
def test_a_short_one_takes_no_words_away(short: str) -> None:
    secrets = hiding(short)
    assert not secrets.any
    assert secrets("1234567 words" + " " * 30) == "1234567 words" + " " * 30


def test_of_two_that_overlap_nothing_is_left() -> None:
    secrets = hiding("abcdefgh-ijkl", "ijkl-mnopqrst", "abcdefgh")
    assert secrets("<abcdefgh-ijkl-mnopqrst>") == "<[S0]>"
    assert secrets("<abcdefgh-mnop>") == "<[S2]-mnop>"
    assert hiding("aaaaaaaa")("a" * 1000 + "b") == "[S0]b"


def test_what_is_left_of_one_beside_a_cut() -> None:
    secrets = hiding(KEY)
    assert secrets.torn(f"env: {KEY[:9]}...{KEY[-9:]} and {KEY[:6]}…") == "env: [S0]...[S0] and [S0]…"
    assert secrets.torn(f"{KEY} ... {KEY[:5]}... done") == f"[S0] ... {KEY[:5]}... done"
    assert secrets.torn(f"{KEY[:12]} is no cut") == f"{KEY[:12]} is no cut"
    assert secrets.torn("...") == "..."


def test_the_names_are_shown_and_the_secrets_never() -> None:
    secrets = Secrets.of({"KIRO_API_KEY": KEY, "DAYTONA_API_KEY": "dtn_0123", "HOME": "/home/somebody"})
    assert secrets(f"{KEY} dtn_0123 /home/somebody") == "[KIRO_API_KEY] [DAYTONA_API_KEY] /home/somebody"
    assert repr(secrets) == "<Secrets: 2 hidden>"
    secrets.add(KEY, "another name")
    assert secrets(KEY) == "[KIRO_API_KEY]"


@pytest.mark.parametrize(
    ("value", "name", "message"),
    [
        (KEY.encode(), "key", "a secret of the type bytes cannot be hidden; wanted: a text"),
        (None, "key", "a secret of the type NoneType cannot be hidden; wanted: a text"),
        (KEY, "", "a secret cannot be named ''; wanted: letters, digits, blanks and _ . -"),
        (KEY, 'a "quote"', "a secret cannot be named 'a \"quote\"'; wanted: letters, digits"),
    ],
)
def test_what_is_none_is_refused_without_showing_it(value: Any, name: str, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        Secrets().add(value, name)
    assert str(caught.value).startswith(message)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("odd", ["\udc80\udcff in an environment", "\ud800 alone in a text", "nul \0 in the middle"])
def test_odd_ones(odd: str) -> None:
    assert hiding(odd)(f"<{odd}>") == "<[S0]>"
    assert hiding(odd)(f"<{odd!r}>") == "<'[S0]'>"


def test_one_may_be_added_at_any_time_by_any_thread() -> None:
    secrets, values = Secrets(), [f"secret-{number:04}" for number in range(400)]
    stream = secrets.stream()

    def add(start: int) -> None:
        for value in values[start::4]:
            secrets.add(value, "s")
            assert secrets(value) == "[s]"

    threads = [threading.Thread(target=add, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert secrets(" ".join(values)) == " ".join(["[s]"] * 400)
    assert stream.feed(values[7].encode()) == b"[s]"


# -- values


@dataclass(frozen=True)
class Point:
    name: str
    more: Any = ()


class Pair(NamedTuple):
    left: Any
    right: Any


def test_values() -> None:
    secrets = hiding(KEY)
    value = {KEY: [KEY.encode(), (KEY, 1), {f"<{KEY}>"}], "p": Point(KEY, Pair(None, [Point("a", KEY)]))}
    assert secrets.within(value) == {
        "[S0]": [b"[S0]", ("[S0]", 1), {"<[S0]>"}],
        "p": Point("[S0]", Pair(None, [Point("a", "[S0]")])),
    }
    assert KEY in value  # what was given is not changed
    for clean in (value["p"].more.left, [1, ("a", {"b": Point("c")})], Point, object()):
        assert secrets.within(clean) is clean


def test_a_value_that_is_nested_deeper_than_anybody_reads() -> None:
    secrets = hiding(KEY)
    nested: Any = KEY
    for _ in range(200):
        nested = [nested]
    assert KEY not in repr(secrets.within(nested))
    for _ in range(100_000):
        nested = [nested]
    assert secrets.within(nested) is nested  # nobody can write it either
    while nested and isinstance(nested, list):  # one by one, since freeing it at once is as deep
        nested = nested[0]


# -- streams


TOKENS = ["abcdefgh", "abcdefghabcx", "hhhhhhhh", "ghabcdefg", 'a"b\\cdefg', "üabcdefü"]
PIECES = [*TOKENS, *(token[:3] for token in TOKENS), *(token[-4:] for token in TOKENS), "h", "\n", "é"]


@st.composite
def cut_texts(draw: st.DrawFn) -> tuple[list[str], bytes, list[bytes]]:
    tokens = draw(st.lists(st.sampled_from(TOKENS), min_size=1, max_size=4, unique=True))
    data = "".join(draw(st.lists(st.sampled_from(PIECES), max_size=20))).encode()
    places = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    return tokens, data, [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


@settings(max_examples=150)
@given(cut_texts())
def test_any_cut_of_any_text_is_redacted_as_the_whole(given_: tuple[list[str], bytes, list[bytes]]) -> None:
    tokens, data, chunks = given_
    secrets = hiding(*tokens)
    stream, out, fed = secrets.stream(), b"", b""
    longest = max(len(form.encode()) for token in tokens for form in forms(token))
    for chunk in chunks:
        out, fed = out + stream.feed(chunk), fed + chunk
        assert len(copy(stream).release()) < longest
    out += stream.feed(b"", final=True)
    assert out == secrets.data(data)
    assert not any(token.encode() in out for token in tokens)
    assert not stream.waits
    assert stream.feed(b"more", final=True) == b"more"


@settings(max_examples=200)
@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=8))
def test_where_no_secret_is_every_byte_comes_through(data: bytes, cuts: list[int]) -> None:
    stream, places = hiding(KEY, AWKWARD).stream(), sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    out = [stream.feed(data[a:b]) for a, b in pairwise(places)]
    assert b"".join([*out, stream.feed(b"", final=True)]) == data


@pytest.mark.parametrize("size", range(1, len(KEY)))
def test_what_is_let_go_is_the_beginning_only(size: int) -> None:
    data, stream = KEY.encode(), hiding(KEY).stream()
    assert stream.feed(b"a " + data[:size]) == b"a "
    assert stream.waits is (size < SHORTEST)
    assert stream.release() == (data[:size] if size < SHORTEST else b"")
    assert not stream.waits
    assert stream.release() == b""
    assert stream.feed(data[size:] + b" z") == b"[S0] z"
    assert stream.feed(data, final=True) == b"[S0]"


def test_a_beginning_is_held_back_behind_what_looked_like_one() -> None:
    secret = "abcdefgh-abcdefgh-abcdefgh-x"
    stream = hiding(secret).stream()
    assert stream.feed(b"abcdefgh!abcdefgh-abc") == b"abcdefgh!"
    assert stream.feed(secret[len("abcdefgh-abc") :].encode()) == b"[S0]"


def test_what_is_let_go_is_no_secret_after_all() -> None:
    stream = hiding(KEY).stream()
    assert stream.feed(b"a ksk_0") + stream.release() + stream.feed(b"9 ksk_") == b"a ksk_09 "
    assert stream.feed(b"", final=True) == b"ksk_"


def test_text_in_chunks() -> None:
    stream = hiding("üabcdefü").stream()
    told = [stream.text(part, final=part == "ü z") for part in ("é üab", "cdef", "ü z")]
    assert told == ["é ", "", "[S0] z"]


def test_text_that_is_none_comes_back_as_it_is() -> None:
    odd = "a \ud83d b \udc80 c \ude00"
    assert hiding(KEY).stream().text(odd, final=True) == odd
    assert hiding("\udca9abcdefgh").stream().text("éabcdefgh", final=True) == "\N{REPLACEMENT CHARACTER}[S0]"


def test_without_secrets_the_very_bytes_come_back() -> None:
    data = b"x" * 1000
    assert Secrets().data(data) is data
    assert Secrets().stream().feed(data) == data
