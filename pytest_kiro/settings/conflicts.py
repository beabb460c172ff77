"""Refuses settings that contradict each other, or that would be ignored."""

from __future__ import annotations

from pytest_kiro.errors import SettingsError
from pytest_kiro.settings.rows import TABLE
from pytest_kiro.settings.table import Settings

#: What is only of a device login.
_ONLY_OF_DEVICE = ("login_args", "login_timeout", "open_browser")
#: What only these providers have; with another one it would be accepted and ignored.
_ONLY_OF = {"snapshot": ("daytona",), "max_sandboxes": ("daytona",)}


def check(settings: Settings) -> None:
    """Raise `SettingsError` for settings that contradict each other.

    A project's ini file speaks for the provider that it means; a command line and an environment for this run.
    """
    if settings.output == "stream-json" and settings.engine == "v1":
        raise SettingsError(
            f"{settings.origins['output']}: stream-json is not supported on engine v1",
            advice="use --kiro-engine=v2 or v3, or --kiro-output=text",
        )
    for row in TABLE:
        origin = settings.origins[row.name]
        if origin not in (row.option, row.variable):
            continue
        if row.name in _ONLY_OF_DEVICE and settings.login not in ("auto", "device"):
            raise SettingsError(
                f"{origin} is for a device login, but --kiro-login={settings.login} asks nobody",
                advice="leave it out, or use --kiro-login=device",
            )
        providers = _ONLY_OF.get(row.name)
        if providers and settings.sandbox not in providers:
            raise SettingsError(
                f"{origin} is for --kiro-sandbox={' or '.join(providers)}, but this run's is {settings.sandbox}, which "
                "would ignore it",
                advice="leave it out, or choose that sandbox",
            )
