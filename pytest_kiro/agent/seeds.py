"""Reads what an eval puts into a workspace: a folder of its own, or a mapping."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from pytest_kiro.errors import HIDE_FRAMES, SettingsError

__tracebackhide__ = HIDE_FRAMES
#: Left behind by the machine on which a seed was edited, and never meant.
_NOT_SEEDED = frozenset({"__pycache__", ".DS_Store"})


def files_of(source: object, origin: Path) -> Mapping[str, tuple[bytes, int]]:
    """Return the files of a mapping or folder: bytes and mode.

    They are by relative path; a relative folder starts at `origin`.
    """
    if isinstance(source, Mapping):
        for path, content in source.items():
            if not isinstance(path, str) or not isinstance(content, str | bytes):
                raise TypeError(f"seed {{{path!r}: {content!r:.40}}} is not right; wanted: paths, with str or bytes")
            parts = PurePosixPath(path)
            if not path or parts.is_absolute() or ".." in parts.parts or "\0" in path:
                raise ValueError(f"seed path {path!r}: a relative path inside the workspace is wanted")
        return {path: (c.encode() if isinstance(c, str) else c, 0o644) for path, c in source.items()}
    if not isinstance(source, str | os.PathLike):
        raise TypeError(f"seed {source!r} is not right; wanted: the name of a folder, or a dict of paths and contents")
    folder = origin / source
    if not folder.is_dir():
        beside = sorted(p.name for p in folder.parent.iterdir()) if folder.parent.is_dir() else []
        what = f"workspace {os.fspath(source)!r}: there is no folder {folder}"
        raise SettingsError(what, advice=f"{folder.parent} has: {', '.join(beside) or 'nothing, or is not there'}")
    return _read_seed(folder)


def _read_seed(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return a folder's files, links and empty folders, as `Sandbox.write_files` takes them."""
    files: dict[str, tuple[bytes, int]] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        name = relative.as_posix()
        if not _NOT_SEEDED.isdisjoint(relative.parts):
            continue
        if path.is_symlink():
            # Not resolve(): before Python 3.13 it raises at a link that leads to itself.
            target = Path(os.path.realpath(path))
            if not target.is_relative_to(folder.resolve()) or path.readlink().is_absolute():
                raise SettingsError(
                    f"seed {folder}: the link {name} leads to {path.readlink()}, which is not in it",
                    advice="copy that into the seed",
                )
            files[name] = (os.fsencode(path.readlink()), stat.S_IFLNK)
        elif path.is_file():
            files[name] = (path.read_bytes(), path.stat().st_mode & 0o777)
        elif not path.is_dir():
            raise SettingsError(
                f"seed {folder}: {name} is neither a file nor a folder (a pipe, socket or device)",
                advice="leave it out",
            )
        elif not any(path.iterdir()):  # others are made with what is in them
            files[name] = (b"", stat.S_IFDIR | 0o755)
    return files
