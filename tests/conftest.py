"""Gives every test its tier, and puts two folders on the path: this one, and `inner`, for plugins of inner runs."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import installed
import pytest
import tiers
import zygote

# A background job of a script begins with these ignored, and so would every program that these tests interrupt.
for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)
# Images of CI jobs set it; then each inner process would compile anew whatever was installed without byte code.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# No test speaks TLS, and each client of Daytona's SDK would read the system's certificates twice: 50 ms.
os.environ["SSL_CERT_FILE"] = os.devnull
sys.path.insert(1, str(Path(__file__).parent / "inner"))
installed.read_once()
# A loaded machine would miss the one, and be told by the other that it is slow.
hypothesis.settings.register_profile("tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("tests")


@pytest.fixture(scope="session", autouse=True)
def _zygotes() -> Iterator[None]:
    """End those that have forked inner runs."""
    yield
    zygote.close_zygotes()


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Let a worker that has nothing to do take over from one that has."""
    if getattr(config.option, "dist", None) in ("no", "load") and getattr(config.option, "numprocesses", None):
        config.option.dist = "worksteal"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep thousands of tests out of each garbage collection to come: a tenth of all CPU."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by `tiers`, before `-m` is looked at; the longest come first."""
    here = Path(__file__).parent
    ours = {item: item.path.relative_to(here) for item in items if item.path.is_relative_to(here)}
    for item, path in ours.items():
        where = f"{path.as_posix()}::{item.nodeid.partition('::')[2]}"
        tiers.FILES.add(path.as_posix())
        if tiers.in_matrix(where):
            tiers.OF_MATRIX.add(where)
            item.add_marker("matrix")
        elif tiers.tier(where) == tiers.FAST:
            item.add_marker("fast")
        if path.as_posix() in tiers.ANY_PYTEST:
            item.add_marker("any_pytest")
    items.sort(key=lambda item: tiers.order(ours[item].as_posix()) if item in ours else -1)
