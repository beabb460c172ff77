"""Takes secrets out of chunks, each of which has its time."""

from __future__ import annotations

from pytest_kiro.secrecy.redaction import Secrets

#: Seconds, and what came then.
Chunk = tuple[float, bytes]


def without_secrets(chunks: tuple[Chunk, ...], secrets: Secrets) -> tuple[Chunk, ...]:
    """Return chunks without secrets; those from the first to the last with one become one chunk."""
    whole = b"".join(data for _, data in chunks)
    clean = secrets.data(whole)
    if clean == whole:
        return chunks
    first, size = 0, 0
    while clean.startswith(chunks[first][1], size):
        first, size = first + 1, size + len(chunks[first][1])
    last, until = len(chunks), len(clean)
    while last > first and until - len(chunks[last - 1][1]) >= size and clean[:until].endswith(chunks[last - 1][1]):
        last, until = last - 1, until - len(chunks[last - 1][1])
    return (*chunks[:first], (chunks[first][0], clean[size:until]), *chunks[last:])
