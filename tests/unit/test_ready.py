"""Waits that a signal ends, also one that woke nobody."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

from pytest_kiro.sandbox.daytona.client import Client
from pytest_kiro.sandbox.ready import ready

IsStopped = Callable[[Callable[[], object]], bool]


class Stopped(Exception):
    """What a handler raises."""


@pytest.fixture
def stopped() -> Iterator[IsStopped]:
    """Return what says whether a wait of a minute is ended by a signal that another thread gets.

    Python's handler runs in this one, whose system call goes on.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped

    def is_stopped(wait: Callable[[], object]) -> bool:
        heard, late = threading.Event(), threading.Event()

        def send() -> None:
            time.sleep(0.1)  # until the other one waits
            signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
            if not heard.wait(15):
                late.set()
                os.kill(os.getpid(), signal.SIGUSR1)

        sender = threading.Thread(target=send)
        sender.start()
        with pytest.raises(Stopped):
            wait()
        heard.set()
        sender.join()
        return not late.is_set()

    before = signal.signal(signal.SIGUSR1, stop)
    yield is_stopped
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("many", [False, True], ids=["select", "poll"])
def test_a_signal_that_woke_nobody_ends_a_wait(stopped: IsStopped, many: bool) -> None:
    read, write = os.pipe()
    descriptor = os.dup2(read, 1500) if many else read
    try:
        assert stopped(lambda: ready(60, reading=(descriptor,)))
        os.write(write, b"x")
        assert ready(60, reading=(descriptor,))
    finally:
        for one in {read, write, descriptor}:
            os.close(one)


def test_a_signal_that_woke_nobody_ends_a_wait_for_daytona(stopped: IsStopped) -> None:
    client = Client({})
    try:
        assert stopped(lambda: client.wait_for(asyncio.sleep(60), 60))
        assert client.wait_for(asyncio.sleep(0.7, "longer than one wait"), 60)

        async def late() -> None:
            await asyncio.sleep(0.7)
            raise TimeoutError("its own")

        with pytest.raises(TimeoutError, match="its own"):
            client.wait_for(late(), 60)
    finally:
        client.close()


@pytest.mark.parametrize("timeout", [0.0, 0.05, 0.7])
def test_nothing_is_waited_for_longer_than_asked(timeout: float) -> None:
    read, write = os.pipe()
    started = time.monotonic()
    assert not ready(timeout, reading=(read,))
    assert time.monotonic() - started >= timeout
    os.close(read)
    os.close(write)
