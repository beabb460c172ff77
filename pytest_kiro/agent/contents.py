"""Reads what stands in a workspace, whatever has become of it."""

from __future__ import annotations

import os
from collections.abc import Iterable

from pytest_kiro.errors import SandboxError
from pytest_kiro.sandbox.bounds import LONGEST_PATH, READ_AT_ONCE, too_much
from pytest_kiro.sandbox.protocol import Sandbox


def is_reachable(path: str) -> bool:
    """Whether programs can open a path by its name.

    An agent can nest folders deeper than a path may be long.
    """
    return len(os.fsencode(path)) <= LONGEST_PATH


def read_present(
    sandbox: Sandbox, folder: str, names: Iterable[str], closed: list[str] | None = None
) -> dict[str, bytes]:
    """Return files of a folder by their names; what is no file, or is gone by now, is left out.

    `closed` takes the names of those that nobody may read; without it there is a `PermissionError`. `SandboxError` for
    what is too large, or lies too deep.
    """
    paths = {f"{folder}/{name}": name for name in names}
    if deep := [name for path, name in paths.items() if not is_reachable(path)]:
        count = "1 file lies" if len(deep) == 1 else f"{len(deep)} files lie"
        what = f"{count} too deep to be opened, the first in {deep[0][:60]}…"
        raise SandboxError(what, advice="look at them in the sandbox, by exec and cd")
    try:
        contents = sandbox.read_files(paths)
    except OSError:  # which one it is, is found out one by one
        contents, size = {}, 0
        for path in paths:
            try:
                contents[path] = sandbox.read_file(path)
            except PermissionError:
                if closed is None:
                    raise
                closed.append(paths[path])
                continue
            except OSError:
                continue
            size += len(contents[path])
            if size > READ_AT_ONCE:
                raise too_much(folder) from None
    return {paths[path]: data for path, data in contents.items()}
