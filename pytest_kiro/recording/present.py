"""Lists what a workspace has, in a recording's words."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from pytest_kiro.agent.workspace import Workspace
from pytest_kiro.recording.manifest import entry, is_passed_over
from pytest_kiro.sandbox.local import LocalSandbox
from pytest_kiro.sandbox.protocol import Sandbox
from pytest_kiro.sandbox.script import program
from pytest_kiro.turn.ignore import Ignore

_PRESENT = Path(__file__).with_name("present.sh")
#: Bytes of a file whose content counts; list.sh has the same.
_LARGEST = 16385 * 512 - 512


def present(workspace: Workspace) -> dict[str, str]:
    """Return what a workspace has, by path; what is ignored there is left out."""
    if not workspace.made:
        return {}
    folder, ignore = workspace.path, workspace.ignore
    if isinstance(workspace.sandbox, LocalSandbox):
        return dict(_walk(folder, "", ignore))
    return listed(workspace.sandbox, folder, ignore)


def listed(sandbox: Sandbox, folder: str, ignore: Ignore) -> dict[str, str]:
    """Return what a folder of any sandbox has, in one request."""
    output = sandbox.exec(program(_PRESENT, present_folder=folder)).check().output
    return {path: said for path, said in _listed(output) if not is_passed_over(path, ignore)}


def _walk(folder: str, above: str, ignore: Ignore) -> Iterator[tuple[str, str]]:
    try:
        with os.scandir(folder) as entries:
            known = sorted(entries, key=lambda one: one.name)
    except PermissionError:
        return
    for one in known:
        path = f"{above}{one.name}"
        if one.is_dir(follow_symlinks=False):
            if is_passed_over(f"{path}/", ignore):
                continue
            inside = dict(_walk(one.path, f"{path}/", ignore))
            yield from inside.items() if inside or any(Path(one.path).iterdir()) else [(path, entry("folder"))]
        elif not is_passed_over(path, ignore):
            yield path, _entry(one)


def _entry(one: os.DirEntry[str]) -> str:
    if one.is_symlink():
        return entry("link", target=os.readlink(one.path))  # noqa: PTH115 - a Path would tidy up where it leads
    status = one.stat(follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode):
        return entry("other")
    digest = "" if status.st_size > _LARGEST else sha256(Path(one.path).read_bytes()).hexdigest()
    return entry("file", executable=bool(status.st_mode & stat.S_IXUSR), digest=digest, size=status.st_size)


def _listed(output: str) -> Iterator[tuple[str, str]]:
    """Read what present.sh says: kind, word, path; a name with a newline is none of them."""
    for line in output.splitlines():
        match line.split("\t", 2):
            case ["file" | "exec" as kind, word, path]:
                size = int(word.removeprefix("~")) if word.startswith("~") else 0
                digest = "" if size else word
                yield path, entry("file", executable=kind == "exec", digest=digest, size=size)
            case ["link", target, path]:
                yield path, entry("link", target=target)
            case ["folder" | "other" as kind, _, path]:
                yield path, entry(kind)
