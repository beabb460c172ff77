"""Lists what users can name: classes with their members, options, fixtures, markers and hooks.

`python tests/house/surface.py >tests/house/data/surface.txt` writes the list anew, when it is to change.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from types import FunctionType, ModuleType

import pytest_kiro


def names() -> Iterator[str]:
    """Yield a line on each public name, and on each member that it has of its own."""
    for name in sorted(pytest_kiro.__all__):
        value = getattr(pytest_kiro, name)
        if isinstance(value, FunctionType):
            yield f"{name}{inspect.signature(value)}"
            continue
        yield f"class {name}({', '.join(base.__name__ for base in value.__bases__)})"
        yield from (f"  {name}.{line}" for line in sorted(_members(value)))


def _members(value: type) -> Iterator[str]:
    if issubclass(value, enum.Enum):
        yield from (f"{member.name} = {member.value!r}" for member in value)
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            if not field.name.startswith("_"):
                yield f"{field.name}: {field.type}"
    for member, defined in vars(value).items():
        function = getattr(defined, "__func__", getattr(defined, "fget", defined))
        if member.startswith("_") or not isinstance(function, FunctionType):
            continue
        signature = inspect.signature(function)
        # A field may become a property, and the other way round: it is read alike.
        yield f"{member}: {signature.return_annotation}" if isinstance(defined, property) else f"{member}{signature}"


def hooks(hookspecs: ModuleType) -> Iterator[str]:
    """Yield a line on each hook of ours."""
    for name, function in sorted(vars(hookspecs).items()):
        if name.startswith("pytest_kiro_"):
            yield f"{name}{inspect.signature(function)}"


def pytest_says(*argv: str) -> str:
    """Return what a pytest with our plugin alone prints, outside of any project."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *argv],
            cwd=folder,
            env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "pytest_kiro.plugin"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    return done.stdout


def options() -> Iterator[str]:
    """Yield a line on each option, as `--help` tells it, and on each ini key."""
    text = pytest_says("--help")
    for entry in re.split(r"\n  (?=\S)", text):
        if entry.startswith(("--kiro", "kiro_")):
            # Since 9.2 pytest has a name for a key that TOML may say in its own types.
            yield " ".join(entry.partition("\n\n")[0].split()).replace("(string | int | float | bool)", "(string)")


def fixtures() -> Iterator[str]:
    """Yield a line on each fixture: its scope, and what it says of itself."""
    for entry in re.split(r"\n(?=\S)", pytest_says("--fixtures")):
        if entry.startswith("kiro"):
            yield re.sub(r" -- \S+:\d+", ":", " ".join(entry.partition("\n\n")[0].split()))


def markers() -> Iterator[str]:
    """Yield a line on each marker."""
    for line in pytest_says("--markers").splitlines():
        if line.startswith("@pytest.mark.kiro"):
            yield line


def surface() -> str:
    """Return all of it as one text."""
    from pytest_kiro.plugin import hookspecs

    parts = {
        "names": names(),
        "hooks": hooks(hookspecs),
        "options": options(),
        "fixtures": fixtures(),
        "markers": markers(),
    }
    return "\n".join(f"# {title}\n" + "".join(f"{line}\n" for line in lines) for title, lines in parts.items())


if __name__ == "__main__":
    sys.stdout.write(surface())
