"""`sandboxes`: lists and deletes this project's sandboxes in Daytona."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta

from pytest_kiro.commandline import complain, say
from pytest_kiro.sandbox.daytona import fleet, labels
from pytest_kiro.sandbox.daytona.client import Client
from pytest_kiro.sandbox.daytona.labels import OurSandbox

_TIMEOUT = 300.0


def run(delete: Sequence[str] | None) -> int:
    """List this project's sandboxes, or delete some. Without names, all of the user's own are deleted."""
    with closing(Client()) as client:
        sandboxes = client.wait_for(fleet.find(client), _TIMEOUT)
        if delete is None:
            say(table(sandboxes, datetime.now(UTC)))
            return 0
        return _delete(client, sandboxes, delete)


def _delete(client: Client, sandboxes: Sequence[OurSandbox], wanted: Sequence[str]) -> int:
    """Delete the named sandboxes. Without names, all of the user's own that are not kept."""
    mine = labels.owner()
    if wanted:
        chosen = [one for one in sandboxes if one.id in wanted or one.name in wanted]
    else:
        chosen = [one for one in sandboxes if one.owner == mine and not one.keep]
    failed = client.wait_for(fleet.delete_all(client, [one.id for one in chosen]), _TIMEOUT)
    for one in chosen:
        if one.id in failed:
            complain(f"{one.name}: {failed[one.id]}")
        else:
            say(f"{one.name}: deleted")
    unknown = set(wanted) - {word for one in chosen for word in (one.id, one.name)}
    for word in sorted(unknown):
        complain(f"{word}: no sandbox of pytest-kiro's has this id or name; python -m pytest_kiro sandboxes lists them")
    if not chosen and not unknown:
        say(f"nothing to delete: {mine} has no sandbox that is not kept")
    return 1 if failed or unknown else 0


def table(sandboxes: Sequence[OurSandbox], now: datetime) -> str:
    """Show sandboxes, oldest first."""
    if not sandboxes:
        return "no sandboxes"
    rows = [("ID", "NAME", "STATE", "AGE", "OWNER", "")]
    for one in sorted(sandboxes, key=lambda one: one.created or now):
        over = one.expires is not None and one.expires < now
        note = "kept" if one.keep else "past its time" if over else ""
        rows.append((one.id, one.name, one.state, age(one.created, now), one.owner, note))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def age(created: datetime | None, now: datetime) -> str:
    """Say how old something is.

    >>> age(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 2, 5, tzinfo=UTC))
    '2 h 05 min'
    """
    if created is None:
        return "?"
    hours, minutes = divmod(max(now - created, timedelta()) // timedelta(minutes=1), 60)
    if days := hours // 24:
        return f"{days} d {hours % 24:02} h"
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"
