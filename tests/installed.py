"""Reads once what is installed: each run of pytest asks every package for its plugins, and some for their versions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.metadata import Distribution, PathDistribution


def read_once() -> None:
    """Let this process, and its forks, remember what the files of a package say."""
    for name in ("entry_points", "files", "metadata"):
        getter = getattr(Distribution, name).fget
        setattr(PathDistribution, name, property(_remembered(getter)))


def _remembered(getter: Callable[[PathDistribution], object]) -> Callable[[PathDistribution], object]:
    known: dict[str, object] = {}

    @functools.wraps(getter)
    def get(package: PathDistribution) -> object:
        place = str(package._path)
        if place not in known:
            known[place] = getter(package)
        return known[place]

    return get
