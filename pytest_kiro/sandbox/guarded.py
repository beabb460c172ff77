"""Keeps writes below a guarded folder from being led elsewhere (contract S16)."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from pytest_kiro.errors import SandboxError
from pytest_kiro.sandbox.script import program

_CLEAR = Path(__file__).parent / "clear.sh"


def not_ours(folder: str) -> SandboxError:
    """Return the error for a guarded folder that is none any more."""
    what = f"{folder} is no folder of ours any more: it was removed, or a link or file stands in its place"
    return SandboxError(what, advice="see what Kiro, or a command, did to it")


def root_of(path: str, home: str, roots: Iterable[str]) -> str:
    """Return the innermost guarded folder that a path is in, or is; "" for none."""
    # Texts: of 2,000 files, paths took half a second.
    whole = f"{os.path.normpath(path if path.startswith('/') else f'{home}/{path}')}/"
    return max((root for root in roots if whole.startswith(f"{root.rstrip('/')}/")), key=len, default="")


def clearing(files: Mapping[str, tuple[bytes, int]], home: str, roots: Iterable[str]) -> str:
    """Return the command that clears the way for files; "" when nothing can be in it.

    It makes links and folders at once.
    """
    words: list[str] = []
    for path, (data, mode) in files.items():
        root = root_of(path, home, roots)
        kind = "link" if stat.S_ISLNK(mode) else "folder" if stat.S_ISDIR(mode) else "file"
        if root or kind != "file":
            whole = os.path.normpath(PurePosixPath(home) / path)
            words += [root, os.path.relpath(whole, root or "/"), kind, os.fsdecode(data) if kind == "link" else ""]
    return program(_CLEAR, names=shlex.join(words)) if words else ""
