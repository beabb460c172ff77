"""Pages that hold nothing but the player, under the policy of a report, and what an emulator shows of a cast."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from pathlib import Path
from typing import Any

import pyte
from browser import Page

import pytest_kiro.report.html.player as player
from pytest_kiro.report.html.player import Assets, last_screen, player_assets

FOLDER = Path(player.__file__).parent / "page"
#: The rows of the screen as they are drawn, without what is blank at their ends.
ROWS = "[...document.querySelectorAll('.ap-line')].map(row => row.textContent.trimEnd())"


def cast_of(events: list[tuple[float, str]], width: int = 80, height: int = 24, **more: Any) -> dict[str, Any]:
    return {"width": width, "height": height, "events": [[at, "o", text] for at, text in events], **more}


#: What a turn prints: a spinner, colours, an answer that scrolls, and silence while a tool works.
TURN = cast_of(
    [
        *((0.1 * step, f"\r\x1b[36m{'⠋⠙⠹⠸'[step % 4]}\x1b[0m Thinking...") for step in range(20)),
        (2.0, "\r\x1b[2K\x1b[1m> I write donut.js\x1b[0m\r\n"),
        (2.1, "\x1b[32mcreated\x1b[0m donut.js\r\n"),
        (62.1, "npm test: 1 pass\x1b[3"),
        (62.2, "1med, häßlich, 漢字 🎉\x1b[0m\r\n"),
        *((62.3 + 0.01 * line, f"line {line} of the log\r\n") for line in range(40)),
        (63.0, "\x1b[5;10Hhere\x1b[K\x1b[20;1Hthere\x1b[1J\x1b[7;3H\x1b[2Pcut\x1b[24;1H"),
        (64.0, "the end"),
    ]
)
MARKS = [
    {"at": 2.1, "label": "write donut.js", "kind": "call"},
    {"at": 62.2, "label": "shell npm test", "kind": "call"},
    {"at": 64.0, "label": "assert turn.ok", "kind": "assert"},
]


def write_page(
    file: Path, cast: dict[str, Any], markers: list[dict[str, Any]], assets: Assets | None, csp: str | None = None
) -> Path:
    """Write a page as a report has it; without `assets` as where the extra is not installed."""
    mount = (
        f"window.times = []; const div = document.getElementById('player');"
        f"div.addEventListener('time', (event) => times.push(event.detail));"
        f"window.player = mountPlayer(div, {_island(cast)}, {_island(markers)});"
    )
    scripts = [*([assets.script] if assets else []), (FOLDER / "player.js").read_text(), mount]
    styles = [*([assets.style] if assets else []), (FOLDER / "player.css").read_text()]
    allowed = (assets.csp if assets else "") if csp is None else csp
    policy = (
        f"default-src 'none'; style-src {' '.join(map(_digest, styles))};"
        f" script-src {' '.join(map(_digest, scripts))} {allowed}"
    )
    head = "".join(f"<style>{style}</style>" for style in styles)
    foot = "".join(f"<script>{script}</script>" for script in scripts)
    file.write_text(
        f"""<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="{policy}">{head}
<div id="player"><pre>{html.escape(last_screen(cast))}</pre></div>{foot}""",
        encoding="utf-8",
    )
    return file


def mounted(page: Page, folder: Path, cast: dict[str, Any], markers: list[dict[str, Any]] | None = None) -> Page:
    """Open a page with the player, once it has drawn the end."""
    assets = player_assets()
    assert assets, "the test group has the package"
    page.open(write_page(folder / "page.html", cast, markers or [], assets))
    page.until(f"{ROWS}.some(row => row)")
    return page


def emulated(cast: dict[str, Any], until: float = 1e9) -> list[str]:
    """Return the rows that pyte shows after what was printed until a time."""
    screen = pyte.Screen(cast["width"], cast["height"])
    stream = pyte.Stream(screen)
    for at, _, text in cast["events"]:
        if at <= until:
            stream.feed(text)
    return [row.rstrip() for row in screen.display]


def shows(page: Page, rows: list[str], number: int = 0) -> None:
    """Wait until a player shows these rows."""
    drawn = ROWS.replace("document", f"(document.querySelectorAll('.kp')[{number}] ?? document)")
    wanted = json.dumps(json.dumps(rows, ensure_ascii=False, separators=(",", ":")))
    try:
        page.until(f"JSON.stringify({drawn}) === {wanted}", 30)
    except AssertionError:
        assert page.evaluate(drawn) == rows


def _island(value: object) -> str:
    return json.dumps(value).replace("<", "\\u003c")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
