"""Takes unified diffs apart, line by line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_KINDS = {"+": "add", "-": "del", "@": "hunk", "\\": "note"}
#: Lines that are shown of one file's diff.
LINES = 400


@dataclass(frozen=True)
class FileDiff:
    """One file's diff: what was added and removed, and its lines with their kinds."""

    path: str
    word: str
    added: int
    removed: int
    lines: tuple[tuple[str, str], ...]
    left_out: int = 0


def files_of(diffs: Mapping[str, str], first: str = "") -> list[FileDiff]:
    """Return diffs file by file; files that the text `first` names come first.

    >>> (file,) = files_of({"a.py": "--- a/a.py\\n+++ b/a.py\\n@@ -1 +1 @@\\n-one\\n+two"})
    >>> file.added, file.removed, file.lines[1]
    (1, 1, ('del', '-one'))
    """
    ordered = sorted(diffs, key=lambda path: (path.rpartition("/")[2] not in first, path))
    return [_file(path, diffs[path]) for path in ordered]


def _file(path: str, text: str) -> FileDiff:
    lines = text.splitlines()
    word = "modified"
    if lines[:1] and lines[0].startswith("--- "):
        word = "added" if lines[0] == "--- /dev/null" else "deleted" if lines[1:2] == ["+++ /dev/null"] else word
        lines = lines[2:]
    marked = [(_KINDS.get(line[:1], "same"), line) for line in lines]
    kinds = [kind for kind, _ in marked]
    kept = tuple(marked[:LINES])
    return FileDiff(path, word, kinds.count("add"), kinds.count("del"), kept, len(marked) - len(kept))


def split(diff: str) -> dict[str, str]:
    """Return a diff of several files by their paths.

    >>> split("--- /dev/null\\n+++ b/a.py\\n@@ -0,0 +1 @@\\n+one\\n")
    {'a.py': '--- /dev/null\\n+++ b/a.py\\n@@ -0,0 +1 @@\\n+one'}
    """
    files: dict[str, list[str]] = {}
    path = ""
    lines = diff.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("--- ") and lines[number + 1 : number + 2] and lines[number + 1].startswith("+++ "):
            new, old = lines[number + 1][4:], line[4:]
            path = (old if new == "/dev/null" else new).split("\t")[0]
            path = path[2:] if path[:2] in ("a/", "b/") else path
            files[path] = []
        if path:
            files[path].append(line)
    return {path: "\n".join(own) for path, own in files.items()}
