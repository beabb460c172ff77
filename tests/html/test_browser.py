"""What the other tests here believe of the browser."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from browser import BrowserError, Page, program

HOSTILE = """<!doctype html><meta charset="utf-8"><title>t</title><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src *; script-src 'unsafe-inline'">
<p id="p" style="color: red">text</p><button>Press</button><input>
<img src="http://example.invalid/a.png">
<script>
  document.querySelector("button").onclick = () => { document.title = "clicked"; };
  document.onkeydown = (event) => { console.log("key", event.key, event.code, event.shiftKey); };
  console.log("dark", matchMedia("(prefers-color-scheme: dark)").matches, innerWidth);
  setTimeout(() => { throw new Error("planted"); });
  if (location.hash) alert("hello");
</script>"""


def test_what_a_page_does_is_seen(page: Page, tmp_path: Path) -> None:
    """Requests that leave the file, refusals, exceptions, dialogs: a test that asks for none would find them."""
    file = tmp_path / "a page.html"
    file.write_text(HOSTILE)
    page.open(file, width=400, dark=True, fragment="#x")
    assert page.requests == [file.as_uri(), "http://example.invalid/a.png"]
    assert page.console == ["dark True 400"]
    errors = "\n".join(page.errors)
    assert "Error: planted" in errors
    assert "a dialog: hello" in errors
    assert "Content Security Policy" in errors  # of the style
    page.click("button")
    assert page.evaluate("document.title") == "clicked"
    page.press("ArrowRight")
    page.press("?", shift=True)
    page.press("Space")
    assert page.console[1:] == ["key ArrowRight ArrowRight False", "key ?  True", "key   Space False"]
    page.click("input")
    page.write("häß")
    page.press("x")
    assert page.evaluate("document.querySelector('input').value") == "häßx"
    assert ("button", "Press") in page.roles()
    assert page.until("document.querySelector('input')", 1) == {}  # which Python takes for false
    with pytest.raises(BrowserError, match="not true within 0 s: false"):
        page.until("false", 0.1)
    with pytest.raises(BrowserError, match="nothing to click on"):
        page.click("#none")


def test_a_page_is_seen_without_scripts_too_and_is_kept(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(HOSTILE)
    page.open(file, scripts=False)
    assert page.evaluate("document.body.innerText.includes('text')")
    assert page.console == []
    assert page.screenshot(tmp_path / "a.png", whole=True).read_bytes().startswith(b"\x89PNG")
    assert page.pdf(tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


def test_the_browser_ends_with_whoever_started_it(tmp_path: Path) -> None:
    """A killed test leaves no process behind: its end of the pipe is closed then."""
    chromium = program()
    if chromium is None:
        pytest.skip("told by the fixture of the others")
    driver = textwrap.dedent(f"""
        import pathlib, sys, time
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import browser
        with browser.running({chromium!r}, pathlib.Path({str(tmp_path)!r})) as started:
            print(started._process.pid, flush=True)
            time.sleep(600)
    """)
    with subprocess.Popen([sys.executable, "-c", driver], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        group = int(process.stdout.readline())
        process.kill()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and _lives(group):
        time.sleep(0.05)
    assert not _lives(group)


def _lives(group: int) -> bool:
    """Tell whether a process of the group is there that is no zombie."""
    listed = subprocess.run(["ps", "-A", "-o", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
    return any(line.split()[0] == str(group) and "Z" not in line.split()[1] for line in listed.splitlines())
