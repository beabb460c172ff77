"""Executes a check apart from the workspace whose contents it judges."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from secrets import token_hex

from pytest_kiro.errors import HIDE_FRAMES, SandboxError
from pytest_kiro.sandbox.protocol import ExecResult, Sandbox
from pytest_kiro.sandbox.script import program
from pytest_kiro.turn.planted import planted

__tracebackhide__ = HIDE_FRAMES
_STAMPS = Path(__file__).with_name("stamps.sh")
#: What changes a file's time although it stays as it is, and what a check may do to its own.
_CHMOD = "chmod"
#: Where programs that look upwards for settings of a project stop: above the check's own, before any of an agent's.
_STOPS = {"pytest.ini": (b"", 0o644), "package.json": (b"{}\n", 0o644)}


def parent(sandbox: Sandbox) -> PurePosixPath:
    """Return the folder in which checks have their own."""
    return PurePosixPath(sandbox.home, ".local/state")  # as launches have, so that its name tells nothing


def execute(
    sandbox: Sandbox,
    files: Mapping[str, tuple[bytes, int]],
    command: str,
    *,
    env: Mapping[str, str],
    timeout: float | None,
) -> ExecResult:
    """Execute a command in a fresh folder with these files only.

    Its HOME is empty. Raises `SandboxError` when the files are others before it begins, or after it has ended.
    """
    base = f"{parent(sandbox)}/{token_hex(8)}"
    folder, home = f"{base}/check", f"{base}/home"
    written = {f"check/{path}": entry for path, entry in files.items()} | _STOPS
    written |= {"check": (b"", stat.S_IFDIR | 0o755), "home": (b"", stat.S_IFDIR | 0o700)}
    try:
        sandbox.write_new({f"{base}/{path}": entry for path, entry in written.items()})
        _compare(sandbox, base, written, "before it began", strict=True)
        stamps = set[str]() if _changes_modes(files, command) else _stamps(sandbox, base)
        variables = {"HOME": home, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONNOUSERSITE": "1", **env}
        result = sandbox.exec(command, cwd=folder, env=variables, timeout=timeout)
        _compare(sandbox, base, written, "while it ran", strict=False)
        # Who alters a file while it is read, and puts it back, cannot put back when it was changed last.
        if touched := stamps and stamps - _stamps(sandbox, base):
            raise _altered({line.split(" ./", 1)[-1] for line in touched}, "while it ran, and put back")
        return result
    finally:
        with suppress(SandboxError):
            sandbox.remove(base)


def _compare(sandbox: Sandbox, base: str, written: Mapping[str, tuple[bytes, int]], when: str, *, strict: bool) -> None:
    """Raise `SandboxError` when a folder's files are not those that were written.

    When it is not `strict`, a check may have written more, but nothing that other programs run by themselves.
    """
    entries = {name.rstrip("/") for name in sandbox.list_files(base)}
    expected = {str(part) for path in written for part in (PurePosixPath(path), *PurePosixPath(path).parents)} - {"."}
    more = entries - expected
    altered = (expected - entries) | (more if strict else set(planted(more)))
    regular = [path for path, (_, mode) in written.items() if stat.S_IFMT(mode) in (0, stat.S_IFREG)]
    if not altered:
        try:
            contents = sandbox.read_files([f"{base}/{path}" for path in regular])
            altered = {path for path in regular if contents[f"{base}/{path}"] != written[path][0]}
        except OSError as error:  # no file any more
            altered = {os.path.relpath(error.filename or base, base)}
    if altered:
        raise _altered(altered, when)


def _stamps(sandbox: Sandbox, base: str) -> set[str]:
    """Return a line on each file, another one once that was changed."""
    return set(sandbox.exec(program(_STAMPS), cwd=base).output.splitlines())


def _changes_modes(files: Mapping[str, tuple[bytes, int]], command: str) -> bool:
    return _CHMOD in command or any(_CHMOD.encode() in data for data, _ in files.values())


def _altered(paths: Collection[str], when: str) -> SandboxError:
    names = ", ".join(sorted(os.path.relpath(path, "check") for path in paths)[:10])
    what = f"the check is not what was seeded, it was altered {when}: {names}"
    return SandboxError(what, advice="see what Kiro left running, or what the check runs of what Kiro wrote")
