"""Says at the start of a run what answers, and where."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from pytest_kiro.kirocli.commands import KNOWN_VERSIONS, is_unknown
from pytest_kiro.turn.causes import Cause

if TYPE_CHECKING:
    from pytest_kiro.settings.table import Settings


def header(settings: Settings, cli: str, engine: str, *, isolated: bool) -> str:
    """Return the line; `isolated` is whether Kiro is kept away from this machine."""
    # A replay takes local in the place of Daytona.
    instead = " (a replay needs no daytona)" if settings.origins.get("sandbox") == "replay" else ""
    parts = [f"kiro: sandbox {settings.sandbox}{instead}"]
    if settings.replies == "recording":
        parts.append("recordings answer: Kiro is not asked")
    elif cli == "scripted":
        parts.append("kiro-cli scripted: the stand-in answers, Kiro is not asked")
    else:
        of_path = not isolated or (settings.sandbox == "bubblewrap" and settings.cli_version is None)
        where = f" ({shutil.which('kiro-cli') or 'not on your PATH'})" if cli == "official" and of_path else ""
        parts.append(f"kiro-cli {cli}{where}")
        if settings.cli_version and is_unknown(settings.cli_version):
            parts.append(unknown_cli(settings.cli_version))
        if settings.replies == "scenario":
            parts.append("replies scripted: no model is asked")
        if not isolated:
            parts.append("not isolated: Kiro works on this machine")
    if (engine, settings.output) != ("v2", "text"):
        parts.append(f"engine {engine}, {settings.output}")
    return ", ".join(parts)


def unknown_cli(version: str) -> str:
    """Say that a kiro-cli is newer than those that are known.

    >>> unknown_cli("3.2.0")
    'kiro-cli 3.2.0 is newer than what is known (2.5 to 2.29); a turn that cannot be read has the cause unknown CLI'
    """
    known = f"newer than what is known ({KNOWN_VERSIONS})"
    return f"kiro-cli {version} is {known}; a turn that cannot be read has the cause {Cause.UNKNOWN_CLI}"
