"""Finds the player that reports hold, and draws a last screen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from pytest_kiro.terminal.text import plain_text

#: The package of the extra `report` that carries asciinema's player 3.x, and where in it.
_PACKAGE, _FOLDER = "mkdocs_asciinema_player", "assets"


@dataclass(frozen=True)
class Assets:
    """What a page holds for playback, beside what is ours."""

    script: str = field(repr=False)
    style: str = field(repr=False)
    #: The terminal is emulated in WebAssembly, which a policy has to allow among its sources of scripts.
    csp: str = "'wasm-unsafe-eval'"


def player_assets() -> Assets | None:
    """Return asciinema's player as it is installed, None where it is not."""
    try:
        folder = files(_PACKAGE) / _FOLDER
        script = (folder / "asciinema-player.min.js").read_text(encoding="utf-8")
        style = (folder / "asciinema-player.css").read_text(encoding="utf-8")
    except (ModuleNotFoundError, OSError):
        return None
    # Text that ends its own element would end the page's as well; it holds none, and no later one may.
    if "</script" in script.lower() or "</style" in style.lower():
        return None
    return Assets(script, style)


def last_screen(cast: Mapping[str, Any]) -> str:
    """Return the last lines of a cast, for whoever cannot play it."""
    width, height = max(1, int(cast["width"])), max(1, int(cast["height"]))
    printed = "".join(event[2] for event in cast["events"] if event[1] == "o")
    rows = list[str]()
    for line in plain_text(printed.encode("utf-8", "replace")).rstrip().split("\n"):
        rows += [line[start : start + width].rstrip() for start in range(0, len(line), width)] or [""]
    return "\n".join(rows[-height:])
