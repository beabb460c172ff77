"""Types what pytest-xdist tells a process; xdist need not be installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pytest


class Node(Protocol):
    """A worker, as the controller sees it."""

    config: pytest.Config
    workerinput: dict[str, Any]


def worker_input(config: pytest.Config) -> dict[str, Any] | None:
    """Return what a worker was told at its start; None elsewhere."""
    return getattr(config, "workerinput", None)


def worker_output(node: Node) -> dict[str, Any]:
    """Return what a worker said at its end; nothing if it died."""
    return getattr(node, "workeroutput", None) or {}


def tell_controller(config: pytest.Config, name: str, value: object) -> None:
    """Tell the controller something at this worker's end; elsewhere do nothing.

    What a worker prints is not shown, so it tells usage errors too.
    """
    output: dict[str, Any] | None = getattr(config, "workeroutput", None)
    if output is not None:
        output[name] = value


def is_controller(config: pytest.Config) -> bool:
    """Whether this process runs no tests itself, but has workers that do."""
    return config.pluginmanager.hasplugin("dsession")
