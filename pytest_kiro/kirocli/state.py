"""Prepares and reads what kiro-cli keeps in a HOME."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from pytest_kiro.kirocli.commands import Engine
from pytest_kiro.sandbox.script import program
from pytest_kiro.turn.provenance import Memory

_UNLOCK, _MEMORY = (Path(__file__).with_name(name) for name in ("unlock.sh", "memory.sh"))
#: kiro-cli's settings, below HOME and, as a layer of its own, below a workspace.
_SETTINGS = ".kiro/settings/cli.json"
_MODE, _MOVED = "memory.mode", "KIRO_HOME"
#: Variables that have names of features in them.
_SWITCHES = ("KIRO_ROLLOUT_FEATURES", "KIRO_ENABLED_FEATURES")
#: What `memory.mode` says; `memory.enabled` is what it replaces, where kiro-cli's roll-out has not come so far.
_MODES = {False: "disabled", True: "read_write"}


def unlocking(
    engine: Engine, session_id: str | None, env: Mapping[str, str], workspace: str, home: str, *, alone: bool
) -> str:
    """Return commands that remove a dead process's lock of a session.

    There are none for an engine that was not seen to lock. `home` is the program's HOME; `alone` is whether only one
    test's sessions are in it.
    """
    if not engine.locks or session_id is None or "/" in session_id:
        return ""
    lock = PurePosixPath(home, engine.stores_for(env, workspace)[0], f"{session_id}.lock")
    return program(_UNLOCK, unlock_file=str(lock), unlock_alone=alone)


def remembering(engine: Engine, env: Mapping[str, str], home: str, *, memory: bool, alone: bool) -> str:
    """Return commands that switch kiro-cli's memory in its settings.

    There are none where it has no memory, or keeps its settings elsewhere. `alone` is whether `home` is one test's.
    """
    if not engine.remembers or _MOVED in env:
        return ""
    settings = {_MODE: _MODES[memory], "memory.reflection": memory, "memory.enabled": memory}
    text = json.dumps(settings, separators=(",", ":"))
    return program(_MEMORY, memory_file=f"{home}/{_SETTINGS}", memory_settings=text[1:-1], memory_own=memory and alone)


def settings_files(engine: Engine, workspace: str) -> tuple[str, ...]:
    """Return the files that `memory_of` reads, relative to HOME or absolute."""
    return (_SETTINGS, f"{workspace}/{_SETTINGS}") if engine.remembers else ()


def memory_of(
    engine: Engine,
    env: Mapping[str, str],
    files: Mapping[str, bytes] | None,
    places: tuple[str, ...],
    *,
    memory: bool,
    alone: bool,
) -> tuple[Memory, str]:
    """Return whether kiro-cli had a memory, and a doubt about it.

    `files` are what the turn brought back, None when that is lost; `places` the absolute paths of `settings_files`;
    `memory` what was asked for, `alone` whether HOME is one test's.
    """
    if not engine.remembers:
        return "off", f"memory=True: engine {engine.name} has no memory" if memory else ""
    if files is None:
        return "unknown", ""
    unknown = "whether kiro-cli took memories from one session to the next is not known:"
    if _MOVED in env:
        return "unknown", f"{unknown} {_MOVED} moves its settings"
    for number, place in enumerate(places):
        mode = _of(files.get(place, b""), _MODE)
        if mode != _MODES[memory] and (mode is not None or number == 0):
            said = "does not say it" if mode is None else f"says {json.dumps(mode)[:80]}"
            return "unknown", f"{unknown} {_MODE} should be {_MODES[memory]}, and {place} {said}"
    if memory and not alone:
        return "on", "memory=True with --kiro-home=shared: it had what other tests remember as well"
    return ("on" if memory else "off"), ""


# -- what answers


def package_files(engine: Engine, version: str) -> tuple[str, ...]:
    """Return patterns, from HOME, of the files that tell its agent's version.

    Since 2.10 each version of kiro-cli has unpacked a folder of its own.
    """
    unpacked, own = ".local/share/kiro-cli/kas", re.sub(r"[^\w.+-]", "?", version)
    inner = f"node_modules/{engine.package}/package.json"
    return (f"{unpacked}/{own}-*/{inner}", f"{unpacked}/{inner}") if engine.package else ()


def package_version(engine: Engine, files: Mapping[str, bytes]) -> str | None:
    """Return the version of an engine's agent, None where nothing says it."""
    found = sorted(path for path in files if path.endswith(f"/node_modules/{engine.package}/package.json"))
    for path in found if engine.package else ():
        version = _of(files[path], "version")
        if isinstance(version, str) and re.fullmatch(r"[\w.+-]{1,60}", version):
            return version
    return None


def switched(machine: str, env: Mapping[str, str], stored: Iterable[str]) -> tuple[str, ...]:
    """Return the features that the environment or a roll-out has switched, sorted.

    `machine` is what its own environment says, `stored` what a session does.

    >>> switched(" ", {"KIRO_ROLLOUT_FEATURES": "workflows,voice", "KIRO_FEATURE_CASCADE_CONFIG": "x"}, ["fta"])
    ('cascade_config=x', 'fta', 'voice', 'workflows')
    """
    names = re.split(r"[\s,;]+", " ".join([machine, *(env.get(name, "") for name in _SWITCHES)]))
    for variable, value in env.items():
        if found := re.fullmatch(r"KIRO_FEATURE_(\w+?)(?:_ENABLED)?", variable):
            names.append(found[1].lower() if value.lower() in ("true", "1") else f"{found[1].lower()}={value}")
    return tuple(sorted({*filter(None, names), *stored}))


def _of(data: bytes, key: str) -> object:
    """Return what a JSON object has at a key."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return content.get(key) if isinstance(content, dict) else None
