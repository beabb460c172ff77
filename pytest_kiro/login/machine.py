"""Reads the login that kiro-cli has stored outside of any sandbox.

It is that of this user, on this machine.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pytest_kiro.errors import HIDE_FRAMES, LoginError
from pytest_kiro.kirocli import commands
from pytest_kiro.kirocli.install import Installation
from pytest_kiro.kirocli.sessions import sqlite
from pytest_kiro.login import credentials
from pytest_kiro.login.credentials import Credentials

__tracebackhide__ = HIDE_FRAMES

_DATA_FOLDER, _USED = "XDG_DATA_HOME", ("HOME", "XDG_DATA_HOME")
_LOG_IN = "log in with kiro-cli login first; or save another login: python -m pytest_kiro login"


def places(environ: Mapping[str, str], platform: str = sys.platform) -> list[Path]:
    """Return where kiro-cli's data file may be, the likeliest first.

    >>> [str(place) for place in places({"HOME": "/h"}, "darwin")][0]
    '/h/Library/Application Support/kiro-cli/data.sqlite3'
    """
    home = Path(environ.get("HOME") or Path.home())
    found = [home / commands.DATABASE]
    *_, folder, name = found[0].parts
    if moved := environ.get(_DATA_FOLDER):
        found.insert(0, Path(moved, folder, name))
    if platform == "darwin":
        found.insert(0, home / "Library" / "Application Support" / folder / name)
    return list(dict.fromkeys(found))


def place(environ: Mapping[str, str]) -> Path:
    """Return the data file of this machine's kiro-cli; `LoginError` when there is none."""
    looked = places(environ)
    for one in looked:
        if one.is_file():
            return one
    what = f"kiro-cli has stored nothing on this machine; looked for {' and '.join(map(str, looked))}"
    raise LoginError(what, advice=_LOG_IN)


def surroundings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by which kiro-cli finds its data file."""
    return {"HOME": str(Path.home()), **{name: environ[name] for name in _USED if environ.get(name)}}


def take(file: Path, cli: Installation) -> Credentials:
    """Return the login in a data file; `LoginError` without one.

    The conversations beside it are left out. The file is only read, as it is at this moment, whoever has it open.
    """
    wal = b""
    try:
        with suppress(FileNotFoundError):  # first: what moves from it into the file meanwhile is then in both
            wal = Path(f"{file}-wal").read_bytes()
        data = sqlite.with_wal(file.read_bytes(), wal)
    except OSError as error:
        raise LoginError(f"{file} cannot be read: {error}", advice="look at that file, and whose it is") from None
    taken = credentials.read(data, version=cli.version, scripted=cli.scripted, name=str(file))
    if taken is None:
        raise LoginError(f"there is no login in {file}", advice=_LOG_IN)
    return taken
