"""Drives a real browser: Chromium without a window, by its debugging pipe; it ends when the pipe does."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

#: Debian's smallest first: it has no window, which nothing here needs.
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
#: A loaded machine may take this long for one answer; a browser that hangs takes for ever.
PATIENCE = 60.0
#: The last two lines save processes that pages of our own do not need.
_FLAGS = """
    --headless=new --no-sandbox --remote-debugging-pipe --no-first-run --no-default-browser-check --disable-gpu
    --disable-dev-shm-usage --disable-background-networking --disable-component-update --disable-sync
    --disable-extensions --disable-default-apps --disable-breakpad --mute-audio --hide-scrollbars
    --force-color-profile=srgb --font-render-hinting=none
    --renderer-process-limit=1 --in-process-gpu --disable-site-isolation-trials
    --disable-features=IsolateOrigins,site-per-process,SpareRendererForSitePerProcess,BackForwardCache"""
#: Names of hosts lead nowhere, so that a page cannot reach one even if it tries.
_OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND"
#: Chromium speaks by the descriptors 3 and 4; the shell puts ours there.
_ON_3_AND_4 = 'in=$1 out=$2; shift 2; exec "$@" 3<"/dev/fd/$in" 4>"/dev/fd/$out"'
_KEYS = {"Enter": "\r", "Space": " ", "Tab": "\t"}
_SHIFT = 8


class BrowserError(AssertionError):
    """Tells what the browser would not do."""


def program() -> str | None:
    """Name the first browser that is installed."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class Browser:
    """Is one running Chromium; its pages share nothing but the process."""

    def __init__(self, process: subprocess.Popen[bytes], commands: int, answers: int) -> None:
        self._process, self._commands, self._answers = process, commands, answers
        self._read, self._number = b"", 0
        self._pages: dict[str, Page] = {}

    def call(self, method: str, params: dict[str, Any] | None = None, session: str | None = None) -> dict[str, Any]:
        """Send one command and return its result; what pages tell meanwhile is given to them."""
        number, deadline = self.tell(method, params, session), time.monotonic() + PATIENCE
        while True:
            answer = self._receive(deadline, method)
            if answer.get("id") == number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result
            if page := self._pages.get(answer.get("sessionId", "")):
                page.told(answer.get("method", ""), answer.get("params", {}))

    def tell(self, method: str, params: dict[str, Any] | None = None, session: str | None = None) -> int:
        """Send one command, and give the number that its answer will have."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params or {}}
        self._send(json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        return self._number

    def page(self) -> Page:
        """Open an empty page with a profile of its own."""
        context = self.call("Target.createBrowserContext", {"disposeOnDetach": True})["browserContextId"]
        target = self.call("Target.createTarget", {"url": "about:blank", "browserContextId": context})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        page = self._pages[session] = Page(self, session, context)
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.call(f"{domain}.enable")
        return page

    def close_page(self, page: Page) -> None:
        """Close a page and forget what it said."""
        del self._pages[page.session]
        self.call("Target.disposeBrowserContext", {"browserContextId": page.context})

    def _send(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._commands, data) :]
        except BrokenPipeError as error:
            raise BrowserError(f"the browser has ended, with status {self._process.poll()}") from error

    def _receive(self, deadline: float, method: str) -> dict[str, Any]:
        while b"\0" not in self._read:
            if not select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise BrowserError(f"{method} had no answer within {PATIENCE:.0f} s")
            if not (data := os.read(self._answers, 1 << 20)):
                raise BrowserError(f"the browser ended at {method}, with status {self._process.poll()}")
            self._read += data
        message, _, self._read = self._read.partition(b"\0")
        parsed: dict[str, Any] = json.loads(message)
        return parsed


class Page:
    """Is one page: opened, asked, typed into and looked at."""

    def __init__(self, browser: Browser, session: str, context: str) -> None:
        self._browser, self.session, self.context = browser, session, context
        self._requests: list[str] = []
        self._console: list[str] = []
        self._errors: list[str] = []

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command of the DevTools protocol to this page."""
        return self._browser.call(method, params, self.session)

    def told(self, method: str, params: dict[str, Any]) -> None:
        """Keep what tests ask for, of what the browser tells by itself."""
        if method == "Network.requestWillBeSent":
            self._requests.append(params["request"]["url"])
        elif method == "Runtime.consoleAPICalled":
            said = " ".join(str(arg.get("value", arg.get("description"))) for arg in params["args"])
            self._console.append(said)
            if params["type"] in ("error", "assert"):
                self._errors.append(said)
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self._errors.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self._errors.append(params["entry"]["text"])
        elif method == "Page.javascriptDialogOpening":
            # Nothing of ours opens one, and until it is answered the page would stand still.
            self._errors.append(f"a dialog: {params['message']}")
            self._browser.tell("Page.handleJavaScriptDialog", {"accept": False}, self.session)

    def open(
        self,
        where: Path | str,
        *,
        width: int = 1280,
        height: int = 800,
        dark: bool = False,
        scripts: bool = True,
        fragment: str = "",
    ) -> Page:
        """Load a file, or an address, and wait until it is loaded; `scripts=False` as where a policy forbids them."""
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.looks(width=width, height=height, dark=dark)
        self.call("Page.navigate", url="about:blank")  # another fragment alone would load nothing
        url = (where.resolve().as_uri() if isinstance(where, Path) else where) + fragment
        if failed := self.call("Page.navigate", url=url).get("errorText"):
            raise BrowserError(f"{url}: {failed}")
        self.until("document.readyState === 'complete'")
        return self

    def looks(self, *, width: int = 1280, height: int = 800, dark: bool = False, media: str = "") -> None:
        """Give the page another size, scheme of colours, or medium (`print`)."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression of JavaScript; a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if details := answer.get("exceptionDetails"):
            raise BrowserError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    def until(self, expression: str, seconds: float = PATIENCE) -> Any:
        """Wait until JavaScript takes an expression for true, and return its value."""
        deadline = time.monotonic() + seconds
        while True:
            true, value = self.evaluate(
                f"(async () => {{ const value = await ({expression}); return [!!value, value]; }})()"
            )
            if true:
                return value
            if time.monotonic() > deadline:
                raise BrowserError(f"not true within {seconds:.0f} s: {expression}; errors: {self._errors}")
            time.sleep(0.02)

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press a key by its name: `ArrowRight`, `Enter`, `Space`, or the character that it types."""
        text = _KEYS.get(key, key if len(key) == 1 else "")
        event = {"key": text if key == "Space" else key, "code": key if len(key) > 1 else ""}
        event |= {"windowsVirtualKeyCode": _VIRTUAL.get(key, ord(key.upper()) if len(key) == 1 else 0)}
        down = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
        for what in (down, {"type": "keyUp"}):
            self.call("Input.dispatchKeyEvent", **event, **what, modifiers=_SHIFT if shift else 0)

    def write(self, text: str) -> None:
        """Type a text into what has the focus."""
        self.call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """Click the middle of the first element that a selector of CSS finds."""
        x, y = self.evaluate(
            f"(() => {{ const found = document.querySelector({json.dumps(selector)});"
            "if (!found) throw new Error('nothing to click on');"
            "found.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const box = found.getBoundingClientRect();"
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self, path: Path, *, whole: bool = False) -> Path:
        """Save what is seen as a PNG; `whole` is the page from top to bottom."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole, **self._clip(whole))
        path.write_bytes(base64.b64decode(shot["data"]))
        return path

    def _clip(self, whole: bool) -> dict[str, Any]:
        if not whole:
            return {}
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}

    def pdf(self, path: Path) -> Path:
        """Print the page into a PDF."""
        path.write_bytes(base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"]))
        return path

    def roles(self) -> list[tuple[str, str]]:
        """List role and name of all that a screen reader is told."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node.get("ignored")
        ]

    @property
    def requests(self) -> list[str]:
        """List all addresses that the page has asked for, itself first."""
        self.evaluate("0")
        return [url for url in self._requests if not url.startswith(("data:", "about:"))]

    @property
    def console(self) -> list[str]:
        """List what scripts have said to the console."""
        self.evaluate("0")
        return list(self._console)

    @property
    def errors(self) -> list[str]:
        """List exceptions that nobody caught, refusals by a policy, dialogs, and what was logged as an error."""
        self.evaluate("0")
        return list(self._errors)


_VIRTUAL = {
    "Backspace": 8, "Tab": 9, "Enter": 13, "Escape": 27, "Space": 32, "PageUp": 33, "PageDown": 34, "End": 35,
    "Home": 36, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Delete": 46,
}  # fmt: skip


@contextmanager
def running(chromium: str, folder: Path) -> Iterator[Browser]:
    """Start a browser whose profile is in `folder`, and kill all of it afterwards."""
    flags = [*_FLAGS.split(), _OFFLINE, f"--user-data-dir={folder / 'profile'}"]
    commands_in, commands = os.pipe()
    answers, answers_out = os.pipe()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["/bin/sh", "-c", _ON_3_AND_4, "sh", str(commands_in), str(answers_out), chromium, *flags],
            pass_fds=(commands_in, answers_out),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": str(folder)},
            start_new_session=True,
        )
    os.close(commands_in)
    os.close(answers_out)
    try:
        browser = Browser(process, commands, answers)
        try:
            browser.call("Browser.getVersion")
        except BrowserError as error:
            said = (folder / "log").read_text(errors="replace")[-2000:]
            raise BrowserError(f"{chromium} did not start: {error}\n{said}") from error
        yield browser
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(commands)
        os.close(answers)
