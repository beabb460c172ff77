"""Makes short digests of what a test gives to Kiro."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

_LENGTH = 16


def digest(*texts: str) -> str:
    """Return a digest of texts; empty where all are.

    >>> digest("one", "two") == digest("onetwo"), digest("")
    (False, '')
    """
    if not any(texts):
        return ""
    return sha256(b"\0".join(text.encode("utf-8", "surrogatepass") for text in texts)).hexdigest()[:_LENGTH]


def digest_of_files(files: Mapping[str, tuple[bytes, int]]) -> str:
    """Return a digest of files by path, with their contents and modes."""
    return digest(*(f"{path} {mode:o} {sha256(data).hexdigest()}" for path, (data, mode) in sorted(files.items())))
