"""What turns changed in files, as a unified diff: pure, bytes in and text out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

#: Bytes of a file that are compared; a larger one is only named.
LARGEST = 256 * 1024


def unified(paths: Iterable[str], before: Mapping[str, bytes | None], after: Mapping[str, bytes]) -> str:
    """Return the diff of these paths.

    `before` has None for what was not there, and lacks what is not known; `after` lacks what is gone.

    >>> print(unified(["a"], {"a": b"one\\n"}, {"a": b"two\\n"}), end="")
    --- a/a
    +++ b/a
    @@ -1 +1 @@
    -one
    +two
    """
    return "".join(_one(path, before.get(path, _UNKNOWN), after.get(path)) for path in sorted(paths))


_UNKNOWN = b"\0unknown"


def _one(path: str, was: bytes | None, now: bytes | None) -> str:
    names = ("/dev/null" if was is None else f"a/{path}", "/dev/null" if now is None else f"b/{path}")
    if was is _UNKNOWN:
        return f"--- {names[0]}\n+++ {names[1]}\n(what it was before is not known: no seed has put it there)\n"
    sides = [side or b"" for side in (was, now)]
    if any(len(side) > LARGEST or b"\0" in side for side in sides):
        sizes = " to ".join(f"{len(side)} bytes" for side in sides)
        return f"--- {names[0]}\n+++ {names[1]}\n(binary, or larger than {LARGEST // 1024} KiB: {sizes})\n"
    old, new = (side.decode("utf-8", "replace").splitlines(keepends=True) for side in sides)
    lines = difflib.unified_diff(old, new, *names)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
