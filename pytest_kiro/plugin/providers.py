"""Chooses the provider of a run's sandboxes among the registered ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pytest_kiro.errors import SettingsError
from pytest_kiro.run.keeper import Registered, built_in
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


def register_built_in(register: Callable[..., None]) -> None:
    """Offer our own providers."""

    def snapshot_lines(settings: Settings) -> Sequence[str]:
        from pytest_kiro.kirocli import official

        return official.snapshot_lines(settings)

    for name, (make, isolated) in built_in(snapshot_lines).items():
        register(name, make, isolated=isolated)
