"""Asks before a chat what its settings do not answer yet. Upgrades agent files for V3.

The texts are those of its binary (2.28.0) and of its public sources.
"""

from __future__ import annotations

import os

from . import formats, out
from .places import kiro_home, settings_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ENGINE, UPGRADE = "chat.agentEngine", "chat.enableAutoAgentUpgrade"
EASE_IN = "CLI 3.0 is becoming the default experience."
CLASSIC = (
    "Classic is being deprecated with the Kiro CLI 3.0 release in October. 3.0 runs in the terminal UI and also brings "
    "cloud sessions, tangents, specs, global hooks, and more."
)
OLD_AGENTS = (
    "You're on Kiro 3.0 — thanks for giving it a try.\n"
    "Your agent configs are still in the 2.0 format. Upgrade them to run on 3.0? They'll keep working in 2.0."
)


def engine(named: str, kinds: dict[str, Any]) -> str:
    """Offer V3 to a chat of another engine, as a rollout does; return the engine that answers."""
    if "first_run" not in kinds or not _asks():
        return named
    if named == "v1":  # which no setting keeps from asking
        chosen = _choose(CLASSIC, ["Switch to 3.0 and upgrade my agent configs", "Remind me later"])
    elif named == "v2" and ENGINE not in settings():
        chosen = _choose(EASE_IN, ["Switch to 3.0 and upgrade my configs", "Remind me later", "Don't ask again"])
    else:
        return named
    if chosen in (0, 2):
        _save(ENGINE, "v3" if chosen == 0 else named)
    return "v3" if chosen == 0 else named


def agents(*, interactive: bool) -> None:
    """Upgrade agent files to the format of V3 where that is wanted; ask once in a chat."""
    old = _old_agents()
    wanted = settings().get(UPGRADE)
    if old and wanted is None and interactive and _asks():
        chosen = _choose(OLD_AGENTS, ["Enable auto-upgrade", "Not now — I'll do it later"])
        if chosen is not None:
            wanted = chosen == 0
            _save(UPGRADE, wanted)
    if wanted is True:
        for path, agent in old.items():
            os.rename(path, path + ".bak")
            _write(path, {**agent, "permissions": {"rules": []}})


def settings() -> dict[str, Any]:
    """Read what `kiro-cli settings` has kept."""
    try:
        value = formats.loads(formats.read(settings_file()))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _asks() -> bool:
    return os.isatty(0) and os.isatty(2)


def _choose(text: str, rows: list[str]) -> int | None:
    import textwrap  # which no turn needs

    from . import keys

    width = min(keys.columns(), 80)
    shown = "\n".join(line for part in text.split("\n") for line in textwrap.wrap(part, width))
    out.write(2, f"{shown}\n\n")
    return keys.choose("", rows)


def _old_agents() -> dict[str, dict[str, Any]]:
    """Read the agent files without V3's permissions, by path."""
    found = {}
    for folder in (os.path.join(".kiro", "agents"), os.path.join(kiro_home(), "agents")):
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            path = os.path.join(folder, name)
            try:
                agent = formats.loads(formats.read(path)) if name.endswith(".json") else None
            except (OSError, ValueError):
                continue
            if isinstance(agent, dict) and "permissions" not in agent:
                found[path] = agent
    return found


def _save(name: str, value: object) -> None:
    _write(settings_file(), {**settings(), name: value})


def _write(path: str, value: dict[str, Any]) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(formats.dumps(value, 2) + "\n")
