"""Lists what a workspace has, in a recording's words."""

from __future__ import annotations

import base64
import os
import shlex
import stat
from collections.abc import Iterator, Mapping, Sequence, Set
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
#: Files whose sizes are asked for in one command.
_AT_ONCE = 300


def present(workspace: Workspace, then: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what a workspace has, by path; what is ignored there is left out.

    Of files whose digest `then`, another manifest, does not have, the size is told.
    """
    if not workspace.made:
        return {}
    folder, ignore, sized = workspace.path, workspace.ignore, _sized(then or {})
    if isinstance(workspace.sandbox, LocalSandbox):
        return dict(_walk(folder, "", ignore, sized))
    return listed(workspace.sandbox, folder, ignore, sized)


def listed(sandbox: Sandbox, folder: str, ignore: Ignore, sized: Set[str] = frozenset()) -> dict[str, str]:
    """Return what a folder of any sandbox has; of files in `sized`, which are few, the size."""
    output = sandbox.exec(program(_PRESENT, present_folder=folder)).check().output
    known = {path: said for path, said in _listed(output) if not is_passed_over(path, ignore)}
    files = [path for path in sized if known.get(path, "").startswith(("file ", "exec "))]
    for some in (files[begin : begin + _AT_ONCE] for begin in range(0, len(files), _AT_ONCE)):
        for path, size in zip(some, _sizes(sandbox, folder, some), strict=True):
            known[path] = entry("file", executable=known[path].startswith("exec"), size=size)
    return known


def _sizes(sandbox: Sandbox, folder: str, paths: Sequence[str]) -> Iterator[int]:
    command = f'for path in {shlex.join(f"./{path}" for path in paths)}; do wc -c <"$path"; done'
    return map(int, sandbox.exec(command, cwd=folder).check().output.split())


def _walk(folder: str, above: str, ignore: Ignore, sized: Set[str]) -> Iterator[tuple[str, str]]:
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
            inside = dict(_walk(one.path, f"{path}/", ignore, sized))
            yield from inside.items() if inside or any(Path(one.path).iterdir()) else [(path, entry("folder"))]
        elif not is_passed_over(path, ignore):
            yield path, _entry(one, by_size=path in sized)


def _entry(one: os.DirEntry[str], *, by_size: bool) -> str:
    if one.is_symlink():
        return entry("link", target=os.readlink(one.path))  # noqa: PTH115 - a Path would tidy up where it leads
    status = one.stat(follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode):
        return entry("other")
    digest = "" if by_size or status.st_size > _LARGEST else sha256(Path(one.path).read_bytes()).hexdigest()
    return entry("file", executable=bool(status.st_mode & stat.S_IXUSR), digest=digest, size=status.st_size)


def _sized(manifest: Mapping[str, str]) -> Set[str]:
    """Return the files of which a manifest has no digest: large ones, those beyond 256 MiB, odd names."""
    return {path for path, said in manifest.items() if said.startswith(("file ~", "exec ~"))}


def _listed(output: str) -> Iterator[tuple[str, str]]:
    """Read what present.sh says: kind, word, path."""
    fields = iter(base64.b64decode(output).decode("utf-8", "surrogateescape").split("\0")[:-1])
    for kind, word, path in zip(fields, fields, fields, strict=True):
        match kind:
            case "file" | "exec":
                size = int(word.removeprefix("~")) if word.startswith("~") else 0
                digest = "" if size else word
                yield path, entry("file", executable=kind == "exec", digest=digest, size=size)
            case "link":
                yield path, entry("link", target=word)
            case "folder" | "other":
                yield path, entry(kind)
