"""Makes the environment of a sandbox of this machine, without a key."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

from pytest_kiro.sandbox import files

#: All that a sandbox sees of the harness's environment (docs/sandboxes.md); PATH comes with it, see `_path`.
INHERITED = ("LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "TZ", "USER")


def make(home: str, tmp: str, tools: Path) -> dict[str, str]:
    """Return a local sandbox's environment, and make its folder of `tools`."""
    provide_tools(tools)
    return {**inherited(), "HOME": home, "PATH": _path(home, tools), "TMPDIR": tmp}


def inherited() -> dict[str, str]:
    """Return what is the same in all sandboxes of this machine."""
    env = {name: os.environ[name] for name in INHERITED if name in os.environ}
    if not any(name in env for name in ("LANG", "LC_ALL", "LC_CTYPE")):
        env["LC_CTYPE"] = "C.UTF-8"
    return {**env, "PIP_REQUIRE_VIRTUALENV": "1", "SHELL": "/bin/sh"}


def provide_tools(tools: Path) -> None:
    """Make the folder of tools, unless it is as it was."""
    wanted = dict.fromkeys(("python", "python3"), base_interpreter())
    with suppress(OSError):
        if {entry.name: str(entry.readlink()) for entry in tools.iterdir()} == wanted and not tools.is_symlink():
            return
    files.remove(tools)
    tools.mkdir()
    for name, target in wanted.items():
        (tools / name).symlink_to(target)


def provide_folder(folder: Path) -> None:
    """Make the folder of temporary files, unless it can be used."""
    with suppress(OSError):
        if stat.S_ISDIR(mode := folder.lstat().st_mode):
            if mode & 0o700 != 0o700:
                folder.chmod(0o700)
            return
    files.remove(folder)
    folder.mkdir(parents=True)


def _path(home: str, tools: Path) -> str:
    """Return PATH: a Python, the developer's folders, its own last.

    pytest's virtual environment is not among them: Kiro would install into it, and read its plugins (issue 11).
    """
    prefixes = {sys.prefix, os.environ.get("VIRTUAL_ENV", sys.prefix)} - {sys.base_prefix}
    own = {str(Path(prefix) / "bin") for prefix in prefixes}
    inherited = [entry for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if entry not in own]
    return os.pathsep.join([str(tools), *inherited, f"{home}/.local/bin"])


@cache
def base_interpreter() -> str:
    """Return a Python that is not the virtual environment's."""
    candidates = (getattr(sys, "_base_executable", None), sys.executable, shutil.which("python3", path=os.defpath))
    # Whoever has dropped root's rights may not execute root's own.
    return next((path for path in candidates if path and os.access(path, os.X_OK)), sys.executable)
