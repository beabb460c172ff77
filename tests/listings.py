"""What tests ask of the lists of files that a launch record has."""

from __future__ import annotations

from pytest_kiro.terminal.record import LaunchRecord
from pytest_kiro.turn.changes import Changes, Ledger
from pytest_kiro.turn.ignore import Ignore
from pytest_kiro.turn.listing import Listing


def inside(listing: Listing | None) -> dict[str, tuple[bytes, bytes]]:
    """What a list has in its workspace, but for folders."""
    assert listing is not None
    entries = listing.split()[0].entries
    return {name.decode("utf-8", "surrogateescape"): raw for name, raw in entries.items() if raw[0][:1] != b"d"}


def changes(record: LaunchRecord, *ignored: str) -> Changes:
    """What the launched program changed in its workspace."""
    assert record.before is not None
    assert record.after is not None
    before = record.before.split()[0]
    after = before if record.before is record.after else record.after.split()[0]
    return Ledger().record(before, after, Ignore(ignored))
