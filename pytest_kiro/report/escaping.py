"""Puts texts of agents into Markdown: as code that nothing in it can end.

So none of it is Markdown, HTML, or a command to the log of a build.
"""

from __future__ import annotations

import re

from pytest_kiro.secrecy.visible import escaped, visible

_TICKS = re.compile("`+")


def code(text: str, *, cell: bool = False) -> str:
    """Return a text as code within a line; `cell` is for a table.

    >>> print(code("a`b | <c>"), code("a|b", cell=True))
    ``a`b | <c>`` `a\\|b`
    """
    shown = escaped(" ".join(visible(text).split())) or " "
    ticks = "`" * (_longest(shown) + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{ticks}{pad}{shown.replace('|', chr(92) + '|') if cell else shown}{pad}{ticks}"


def block(text: str, language: str = "") -> str:
    """Return a text as a block that none of its lines ends.

    >>> print(block("one\\n```\\n::error::two"))
    ````
    one
    ```
    : :error::two
    ````
    """
    shown = visible(text.strip("\n"))
    fence = "`" * max(3, _longest(shown) + 1)
    return f"{fence}{language}\n{shown}\n{fence}"


def link(target: str) -> str:
    """Return a relative path as a link.

    >>> link("kiro-results/a b (1)")
    '[`kiro-results/a b (1)`](<kiro-results/a b (1)>)'
    """
    if re.search(r"[<>\\]", target) or not target.isprintable():
        return code(target)
    return f"[{code(target)}](<{target}>)"


def _longest(text: str) -> int:
    return max((len(run[0]) for run in _TICKS.finditer(text)), default=0)
