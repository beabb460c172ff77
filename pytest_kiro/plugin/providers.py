"""Chooses the provider of a run's sandboxes among the registered ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pytest_kiro.errors import SettingsError
from pytest_kiro.run.keeper import Registered
from pytest_kiro.settings.table import did_you_mean

if TYPE_CHECKING:
    import pytest

    from pytest_kiro.sandbox.protocol import Provider
    from pytest_kiro.settings.table import Settings


def chosen_provider(config: pytest.Config, name: str) -> Registered:
    """Return the provider of that name; `SettingsError` when none is registered, or two are."""
    known: dict[str, Registered] = {}

    def register(name: str, make: Callable[[Settings], Provider], *, isolated: bool = True) -> None:
        if name in known:
            raise SettingsError(f"two plugins register a sandbox provider named {name!r}", advice="rename one of them")
        known[name] = Registered(make, isolated)

    config.hook.pytest_kiro_register_providers(register=register)
    if name not in known:
        names = f"known: {', '.join(sorted(known))}"
        raise SettingsError(
            f"--kiro-sandbox={name}: no such provider{did_you_mean(name, list(known))}",
            advice=f"{names}; others come from plugins and the rootdir's conftest.py",
        )
    return known[name]
