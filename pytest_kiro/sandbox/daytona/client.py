"""Runs the SDK's async client on a loop thread of its own.

Its sync client is out of the question under pytest: on the main thread it takes SIGALRM away from pytest-timeout,
and its terminals drop early bytes and can keep the interpreter from ending (docs/daytona.md).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import re
import threading
import time
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_kiro.errors import SandboxError, SandboxTimeout, SettingsError
from pytest_kiro.sandbox.daytona import faults
from pytest_kiro.sandbox.ready import LONGEST_WAIT
from pytest_kiro.settings.table import Secret
from pytest_kiro.settings.waits import DaytonaWaits

if TYPE_CHECKING:
    from aiohttp import ClientSession
    from daytona import AsyncDaytona

T = TypeVar("T")
#: What the SDK would read from a `.env` of the working directory unless it is set.
_SHIELDED = (
    *("DAYTONA_TARGET", "DAYTONA_ORGANIZATION_ID", "DAYTONA_JWT_TOKEN", "DAYTONA_OTEL_ENABLED"),
    *("DAYTONA_EXPERIMENTAL_OTEL_ENABLED", "DAYTONA_USE_DEPRECATED_POLLING", "DAYTONA_HAPPY_EYEBALLS_DELAY"),
)
_ENVIRON = threading.Lock()
#: Attempts to reach an address that has never answered.
_FIRST_ATTEMPTS = 3


class Client:
    """Calls Daytona: each call is bounded, retried, and explained when it fails.

    Keys and addresses are read from `environ` only. The first call imports the SDK and starts the thread.
    """

    def __init__(
        self,
        environ: Mapping[str, str] = os.environ,
        *,
        waits: DaytonaWaits | None = None,
        on_rate_limit: Callable[[float], None] = lambda seconds: None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._environ, self._on_rate_limit, self.pause = environ, on_rate_limit, pause
        self.waits = waits or DaytonaWaits()
        #: Whether Daytona ever answered, if only with a refusal: its address is right, and there is a network.
        self.answered = False
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._sdk: AsyncDaytona | None = None
        self._http: ClientSession | None = None

    @property
    def sdk(self) -> AsyncDaytona:
        """The SDK's client, made at first use."""
        with self._lock:
            if self._sdk is None:
                self._sdk = self._make()
            return self._sdk

    @property
    def http(self) -> ClientSession:
        """The connections of terminals' links, made at first use; on the loop only."""
        if self._http is None:
            from aiohttp import ClientSession, TCPConnector

            headers = {"Authorization": f"Bearer {self._environ.get('DAYTONA_API_KEY', '')}"}
            # As the SDK's: proxies of the environment count, and a terminal holds a connection for life.
            self._http = ClientSession(connector=TCPConnector(limit=0), headers=headers, trust_env=True)
        return self._http

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop of all calls, started at first use."""
        with self._lock:
            if self._loop is None:
                self._loop = loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_serve, args=(loop,), name="kiro-daytona", daemon=True)
                self._thread.start()
            return self._loop

    def wait_for(self, work: Coroutine[Any, Any, T], timeout: float) -> T:
        """Wait for a coroutine that runs on the loop; however this is left, it does not go on.

        `timeout` is for a loop that hangs: the work has deadlines of its own.
        """
        timeout += self.waits.slack
        future, deadline = asyncio.run_coroutine_threadsafe(work, self.loop), time.monotonic() + timeout
        try:
            while True:
                try:
                    return future.result(min(LONGEST_WAIT, max(0.0, deadline - time.monotonic())))
                except concurrent.futures.TimeoutError:
                    if future.done():
                        return future.result()  # or the work's own
                if time.monotonic() >= deadline:
                    raise SandboxTimeout(f"Daytona's client did not come back within {timeout:g} s")
        finally:
            future.cancel()

    async def ask(
        self, what: str, call: Callable[[], Awaitable[T]], *, timeout: float | None = None, safe: bool = False
    ) -> T:
        """Make one request; `safe` when carrying it out twice does no harm.

        `timeout` (default `waits.request`) bounds all its attempts. Raises `SandboxError` saying what was asked.
        """
        timeout = self.waits.request if timeout is None else timeout
        deadline, attempt = time.monotonic() + timeout, 0
        while True:
            try:
                answer = await asyncio.wait_for(call(), max(0.0, deadline - time.monotonic()))
            except Exception as error:
                status = faults.status_of(error)
                self.answered = self.answered or status is not None
                pause = faults.pause_before_retry(error, attempt, safe=safe, waits=self.waits)
                if not self.answered and attempt >= _FIRST_ATTEMPTS and faults.is_unreachable(error):
                    pause = None  # a wrong address does not get right
                if pause is None or time.monotonic() + pause >= deadline:
                    faults.explain(error, what, timeout)
                if status == 429:
                    self._on_rate_limit(pause)
            else:
                self.answered = True
                return answer
            attempt += 1
            await self.pause(pause)

    def close(self) -> None:
        """Close the connections and end the thread; idempotent."""
        with self._lock:
            loop, thread, sdk, http = self._loop, self._thread, self._sdk, self._http
            self._loop = self._thread = self._sdk = self._http = None
        if loop is None or thread is None:
            return
        closing: list[Coroutine[Any, Any, None]] = []
        if http is not None:
            closing.append(http.close())
        if sdk is not None:
            closing.append(sdk.close())  # type: ignore[no-untyped-call] # the SDK has no types for it
        for one in closing:
            with suppress(Exception):  # it is all being thrown away
                asyncio.run_coroutine_threadsafe(one, loop).result(self.waits.slack)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(self.waits.slack)

    def _make(self) -> AsyncDaytona:
        key = self._environ.get("DAYTONA_API_KEY", "")
        url = self._environ.get("DAYTONA_API_URL") or "https://app.daytona.io/api"
        if not key:
            what = "--kiro-sandbox=daytona needs DAYTONA_API_KEY in the environment"
            advice = (
                "make one in Daytona's dashboard, or use --kiro-sandbox=local (a .env file is not read; uv run "
                "--env-file .env does)"
            )
            raise SandboxError(what, advice=advice)
        if not re.fullmatch(r"[!-~]+", key):  # a secret that was pasted with its line end, most often
            what = "DAYTONA_API_KEY has blanks, line ends or strange characters in it"
            raise SettingsError(what, advice="set it anew")
        if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", url):
            raise SettingsError(f"DAYTONA_API_URL={url!r} is not right", advice="wanted: an http or https address")
        with _shielded():
            from daytona import AsyncDaytona, DaytonaConfig, DaytonaError

            config = DaytonaConfig(
                api_key=Secret(key),
                api_url=url.rstrip("/"),
                target=self._environ.get("DAYTONA_TARGET") or None,
                connection_pool_maxsize=None,  # a terminal holds a connection for life
            )
            try:
                return AsyncDaytona(config)
            except DaytonaError as error:
                what = f"Daytona's client cannot be made: {error}"
                raise SettingsError(what, advice="look at your DAYTONA_ variables") from error


@contextmanager
def _shielded() -> Iterator[None]:
    """Keep the SDK from a `.env` in the working directory: another key and target, and real money.

    It parses the file at construction, and an absent variable is taken from there; an empty one is not.
    """
    with _ENVIRON, warnings.catch_warnings():
        # It reports a file that names another API address: true, harmless, and an error under -W error.
        warnings.filterwarnings("ignore", message=".*was ignored", category=UserWarning)
        # A variable that is set was decided on.
        warnings.filterwarnings("ignore", message="Polling-only mode", category=DeprecationWarning)
        absent = [name for name in _SHIELDED if name not in os.environ]
        os.environ.update(dict.fromkeys(absent, ""))
        try:
            yield
        finally:
            for name in absent:
                os.environ.pop(name, None)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    # The SDK reads what it uploads on another thread; one is enough, and the default would be several.
    executor = concurrent.futures.ThreadPoolExecutor(1, "kiro-daytona-files")
    loop.set_default_executor(executor)
    try:
        loop.run_forever()
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(loop.shutdown_asyncgens())
        executor.shutdown(wait=False, cancel_futures=True)
        loop.close()
