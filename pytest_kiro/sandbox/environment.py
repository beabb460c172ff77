"""Makes the environment of a local sandbox: a short list of the harness's variables, and no key ever."""

from __future__ import annotations

import os
import sys
from pathlib import Path

#: All that a sandbox sees of the harness's environment (docs/sandboxes.md); PATH comes with it, see `_path`.
INHERITED = ("LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "TZ", "USER")


def make(home: str, tmp: str) -> dict[str, str]:
    """Return the environment of a sandbox with this HOME and temporary folder."""
    env = {name: os.environ[name] for name in INHERITED if name in os.environ}
    if not any(name in env for name in ("LANG", "LC_ALL", "LC_CTYPE")):
        env["LC_CTYPE"] = "C.UTF-8"
    return {**env, "HOME": home, "PATH": _path(home), "SHELL": "/bin/sh", "TMPDIR": tmp}


def _path(home: str) -> str:
    """Return the PATH of a sandbox: its own programs, this Python's, then the harness's."""
    return os.pathsep.join([f"{home}/.local/bin", str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
