"""Says what was in a workspace before a turn (R4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pytest_kiro.recording.text import cut_digest
from pytest_kiro.turn.ignore import Ignore
from pytest_kiro.turn.listing import Listing

#: Folders in which no contents are looked at; `list.sh` has the same.
UNREAD = frozenset(
    (
        *(".git", "__pycache__", ".pytest_cache", "node_modules", ".venv", "venv", ".mypy_cache", ".ruff_cache"),
        *(".tox", ".nox", "target"),
    )
)


def entry(
    kind: Literal["file", "link", "folder", "other"],
    *,
    executable: bool = False,
    digest: str = "",
    size: int = 0,
    target: str = "",
) -> str:
    """Return what a manifest says of a path.

    Of a mode only the owner's `x` counts, since a umask makes the rest; `folder` is one that is empty; `digest` is a
    whole one, and where it is not known, as of a large file, the size counts.

    >>> entry("file", executable=True, digest="0" * 64), entry("file", size=9_000_000), entry("link", target="../a")
    ('exec 00000000000000000000000000000000', 'file ~9000000', 'link ../a')
    """
    match kind:
        case "file":
            return f"{'exec' if executable else 'file'} {cut_digest(digest) or f'~{size}'}"
        case "link":
            return f"link {target}"
    return kind


def is_passed_over(path: str, ignore: Ignore) -> bool:
    """Whether a manifest leaves a path out."""
    return ignore(path) or not UNREAD.isdisjoint(path.rstrip("/").split("/"))


def of_listing(listing: Listing, ignore: Ignore) -> dict[str, str]:
    """Return the manifest of a workspace whose files a machine has listed."""
    manifest = {}
    for raw_path, (numbers, target) in listing.entries.items():
        path = raw_path.decode("utf-8", "surrogateescape")
        kind, mode, size, _ = numbers.decode("ascii", "replace").split(" ", 3)
        if (kind == "d" and raw_path in listing.parents) or is_passed_over(f"{path}/" if kind == "d" else path, ignore):
            continue
        match kind:
            case "f":
                digest = listing.digests.get(raw_path, "")
                manifest[path] = entry("file", executable=bool(int(mode, 8) & 0o100), digest=digest, size=int(size))
            case "l":
                manifest[path] = entry("link", target=target.decode("utf-8", "surrogateescape"))
            case _:
                manifest[path] = entry("folder" if kind == "d" else "other")
    return manifest


def differing(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the paths at which two manifests say other things, sorted.

    A link counts as the same where a machine has not said where it leads.
    """
    return sorted(path for path in before.keys() | now.keys() if _is_other(before.get(path, ""), now.get(path, "")))


def _is_other(was: str, now: str) -> bool:
    untold = "link " in (was, now) and was[:5] == now[:5]
    return was != now and not untold
