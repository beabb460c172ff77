"""What adds turns up: of which files contents are looked at again."""

from __future__ import annotations

from pytest_kiro.turn.changes import Ledger
from pytest_kiro.turn.ignore import Ignore
from pytest_kiro.turn.listing import Listing


def listing(time: float, **files: tuple[str, str]) -> Listing:
    """A list with the change time and the digest of each file; an empty digest is one that was not made."""
    entries = {name.encode(): (f"f 644 5 1 {changed} 7".encode(), b"") for name, (changed, _) in files.items()}
    return Listing(entries, time, {name.encode(): digest for name, (_, digest) in files.items() if digest})


def test_only_what_changed_since_the_last_list_is_looked_at_again() -> None:
    ledger = Ledger()
    assert ledger.since == ""
    ledger.record(
        listing(90, kept=("1", "aa"), touched=("1", "bb"), other=("1", "cc")),
        listing(100, kept=("1", ""), touched=("2", "bb"), other=("1", "")),
        Ignore(),
    )
    assert ledger.since == "98"  # a machine's file system may be late
    # The next turn's first list has no digests: they are known, as long as nothing about the file is another.
    changes = ledger.record(
        listing(110, kept=("1", ""), touched=("2", ""), other=("1", "")),
        listing(120, kept=("3", "aa"), touched=("2", ""), other=("3", "dd")),
        Ignore(),
    )
    assert changes.paths == {"other"}
    assert ledger.since == "118"
