"""What `configure` takes: the emulator's knobs that are not faults of single requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

Check = Callable[[Any], bool]

SHELLS = ("zsh", "bash", "sh")
PTY_EXITS = ("both", "control", "close", "d190", "late", "abort", "none")


def is_number(value: Any) -> bool:
    """A number of seconds: not negative, and not a bool, which Python counts among the ints."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def one_of(*words: str) -> Check:
    return lambda value: value in words


def or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def is_folder(value: Any) -> bool:
    return isinstance(value, str) and Path(value).is_absolute() and Path(value).is_dir()


@dataclass
class Settings:
    """The knobs and their defaults; the package's docstring says what each does."""

    latency: float = 0.0
    shell: str = "auto"
    memory_quota: int | None = None
    cpu_quota: int | None = None
    disk_quota: int | None = None
    max_sandboxes: int | None = None
    rate_limit: int | None = None
    creating_polls: int = 0
    destroying_polls: int = 0
    build_polls: int = 1
    activate_polls: int = 1
    build_fails: str | None = None
    snapshot_home: str | None = None
    toolbox_url: bool = True
    pty_exit: str = "both"
    subprotocol: bool = False
    shell_delay: float = 0.0
    slow_client_grace: float = 5.0
    start_error: bool = False
    disk_full: bool = False

    def change(self, values: Mapping[str, Any]) -> None:
        """Set these knobs, or none of them; ValueError names what is wrong and what would be right."""
        known = {field.name for field in fields(self)}
        for name, value in values.items():
            if name not in known:
                raise ValueError(f"configure: there is no {name!r}; known: {', '.join(sorted(known))}")
            if not CHECKS[name](value):
                raise ValueError(f"configure: {name}={value!r} is not {WANTED[name]}")
        for name, value in values.items():
            setattr(self, name, value)


_SECONDS, _COUNT, _LIMIT = "a number of seconds", "a whole number, not negative", "a whole number or None"
_KINDS: dict[str, tuple[Check, str]] = {
    "latency": (is_number, _SECONDS),
    "shell": (one_of("auto", *SHELLS), f"auto, {', '.join(SHELLS)}"),
    "memory_quota": (or_none(is_count), _LIMIT),
    "cpu_quota": (or_none(is_count), _LIMIT),
    "disk_quota": (or_none(is_count), _LIMIT),
    "max_sandboxes": (or_none(is_count), _LIMIT),
    "rate_limit": (or_none(is_count), _LIMIT),
    "creating_polls": (is_count, _COUNT),
    "destroying_polls": (is_count, _COUNT),
    "build_polls": (is_count, _COUNT),
    "activate_polls": (is_count, _COUNT),
    "build_fails": (or_none(is_text), "the reason or None"),
    "snapshot_home": (or_none(is_folder), "the absolute path of a folder that is there, or None"),
    "toolbox_url": (is_flag, "True or False"),
    "pty_exit": (one_of(*PTY_EXITS), ", ".join(PTY_EXITS)),
    "subprotocol": (is_flag, "True or False"),
    "shell_delay": (is_number, _SECONDS),
    "slow_client_grace": (is_number, _SECONDS),
    "start_error": (is_flag, "True or False"),
    "disk_full": (is_flag, "True or False"),
}
CHECKS = {name: check for name, (check, _) in _KINDS.items()}
WANTED = {name: wanted for name, (_, wanted) in _KINDS.items()}
