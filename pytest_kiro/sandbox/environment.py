"""Makes the environment of a local sandbox, without a key."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

from pytest_kiro.sandbox import files

#: All that a sandbox sees of the harness's environment (docs/sandboxes.md); PATH comes with it, see `_path`.
INHERITED = ("LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "TZ", "USER")


def make(home: str, tmp: str, tools: Path) -> dict[str, str]:
    """Return the environment of a sandbox, and make its folder of `tools`."""
    env = {name: os.environ[name] for name in INHERITED if name in os.environ}
    if not any(name in env for name in ("LANG", "LC_ALL", "LC_CTYPE")):
        env["LC_CTYPE"] = "C.UTF-8"
    provide_tools(tools)
    return {
        **env,
        "HOME": home,
        "PATH": _path(home, tools),
        "PIP_REQUIRE_VIRTUALENV": "1",
        "SHELL": "/bin/sh",
        "TMPDIR": tmp,
    }


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
