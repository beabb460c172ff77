"""Reads ini keys in TOML's own types: numbers, booleans, lists."""

from __future__ import annotations

import tomllib
import warnings
from collections.abc import Mapping

import pytest


def value(config: pytest.Config, name: str) -> object:
    """Return what an ini key says: a text, or a number, a boolean or a list of TOML's.

    pytest takes our keys for texts: it refuses anything else in `[tool.pytest]`, and warns of a list elsewhere.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found: object = config.getini(name)
    except (TypeError, ValueError, Warning, pytest.UsageError) as error:
        found = _tables(config).get(name)
        if found is None:
            raise pytest.UsageError(f"ini key {name}: {error}") from None
    return found


def _tables(config: pytest.Config) -> Mapping[str, object]:
    """Return the keys of pytest's own file, as they are written."""
    if config.inipath is None or config.inipath.suffix != ".toml":
        return {}
    document = tomllib.loads(config.inipath.read_text(encoding="utf-8"))
    table = document.get("pytest") or document.get("tool", {}).get("pytest", {})
    return {**table, **table.get("ini_options", {})}
