"""What a diff says of two texts, and that it is done with them."""

from __future__ import annotations

import difflib

from hypothesis import given
from hypothesis import strategies as st

from pytest_kiro.turn.diff import unified

LINES = st.lists(st.sampled_from(["a\n", "b\n", "c\r\n", "\n", "ü\n", "+\n"]), max_size=30)


@given(LINES, LINES, st.sampled_from(["", "end"]))
def test_it_is_the_one_that_everybody_knows(old: list[str], new: list[str], end: str) -> None:
    was, now = [*old, *[end][: len(end)]], new
    known = difflib.unified_diff(was, now, "a/x", "b/x")
    whole = "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in known)
    assert unified({"x"}, {"x": "".join(was).encode()}, {"x": "".join(now).encode()}) == {"x": whole}


def test_of_a_large_text_with_changes_everywhere_the_beginning_is_compared() -> None:
    """In full it would take minutes: each line that is the same in both would be looked for among all the others."""
    old, new = ([line for n in range(5000) for line in (f"{n}:\n", f"{n * step}\n")] for step in (2, 3))
    diff = unified({"x"}, {"x": "".join(old).encode()}, {"x": "".join(new).encode()})["x"]
    body = [line for line in diff.splitlines(keepends=True)[2:] if not line.startswith("@@ ")]
    assert [line[1:] for line in body if line[0] != "+"] == old
    assert [line[1:] for line in body if line[0] != "-"] == new
    assert {" 0:\n", " 20:\n", "-4999:\n", "+4999:\n"} <= {*body}
