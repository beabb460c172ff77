"""Limits what is read of a sandbox."""

from __future__ import annotations

from pytest_kiro.errors import SandboxError

#: Bytes of a file, or of files that are asked for together, that are read at once: all of it is kept in memory.
READ_AT_ONCE = 1024**3
#: Bytes of a path that a kernel takes (Linux: 4,096, with the zero at the end; macOS takes fewer).
LONGEST_PATH = 4095


def too_much(what: str) -> SandboxError:
    """Return the error for files that are too large to be read."""
    text = f"{what}: more than {READ_AT_ONCE // 1024**3} GiB, which is not read at once"
    return SandboxError(text, advice="look at them in the sandbox, by exec")
