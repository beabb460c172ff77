"""Compares what a page shows of an output with the output; `[...]` stands for lines that are left out."""

from __future__ import annotations

import re
from collections.abc import Sequence

LEFT_OUT = "[...]"
_VARYING = r"platform |rootdir: |configfile: |plugins: |hypothesis |Using |cachedir: "


def without_what_varies(output: str) -> list[str]:
    """Lines that are not empty, without what another machine, another day or another width would alter."""
    lines = [line.rstrip() for line in output.splitlines() if not re.match(_VARYING, line)]
    lines = [re.sub(r"(?<=kiro-results/)\d{8}-\d{6}-\w+", "run", line) for line in lines]
    return [
        re.sub(r" in [\d.]+s( \([\d:]+\))?|=+|\s+\[ *\d+%\]|\b[\d.]+ s\b", "", line).strip()
        for line in lines
        if line.strip()
    ]


def check(shown: str, output: str) -> None:
    """Fail where the page shows something else; what stands between two `[...]` must follow without a gap."""
    expected, said = without_what_varies(shown), without_what_varies(output)
    if LEFT_OUT not in expected:
        assert expected == said
        return
    parts: list[list[str]] = [[]]
    for line in expected:
        if line == LEFT_OUT:
            parts.append([])
        else:
            parts[-1].append(line)
    assert said[: len(parts[0])] == parts[0]
    last = said[-len(parts[-1]) :] if parts[-1] else []
    assert last == parts[-1]
    begin = 0
    for part in parts:
        begin = _after(part, said, begin)


def _after(part: Sequence[str], said: Sequence[str], begin: int) -> int:
    """Where an output goes on behind a part of it."""
    for place in range(begin, len(said) - len(part) + 1):
        if list(said[place : place + len(part)]) == list(part):
            return place + len(part)
    raise AssertionError("\n".join(["the page shows", *part, "--- which is not in", *said[begin:]]))
