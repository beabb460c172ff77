"""`python -m pytest_kiro sandboxes`: what this project has in Daytona, and an end to it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pytest_kiro.errors import KiroError

if TYPE_CHECKING:
    from pytest_kiro.sandbox.daytona.client import Client
    from pytest_kiro.sandbox.daytona.labels import Found

_TIMEOUT = 300.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code: 0, 1 for what failed, 2 for a wrong command line."""
    parser = argparse.ArgumentParser(prog="python -m pytest_kiro", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    sandboxes = commands.add_parser(
        "sandboxes",
        help="list this project's sandboxes in Daytona, or delete them",
        description="Lists every sandbox that pytest-kiro made in the organisation of DAYTONA_API_KEY.",
    )
    sandboxes.add_argument(
        "--delete",
        nargs="*",
        metavar="ID",
        help="delete these, by id or name; without one: all of yours that are not kept, running evals included",
    )
    options = parser.parse_args(argv)
    try:
        code = _sandboxes(options.delete)
        sys.stdout.flush()
    except KiroError as error:
        _complain(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read it has seen enough, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter's own flush complains
        return 1
    return code


def _sandboxes(delete: Sequence[str] | None) -> int:
    from pytest_kiro.sandbox.daytona import fleet
    from pytest_kiro.sandbox.daytona.client import Client

    client = Client()
    try:
        found = client.run(fleet.find(client), _TIMEOUT)
        if delete is None:
            _say(table(found, datetime.now(UTC)))
            return 0
        return _delete(client, found, delete)
    finally:
        client.close()


def _delete(client: Client, found: Sequence[Found], wanted: Sequence[str]) -> int:
    """Delete those that are named, or all of one's own that are not kept."""
    from pytest_kiro.sandbox.daytona import fleet, labels

    mine = labels.owner()
    if wanted:
        chosen = [one for one in found if one.id in wanted or one.name in wanted]
    else:
        chosen = [one for one in found if one.owner == mine and not one.keep]
    failed = client.run(fleet.delete_all(client, [one.id for one in chosen]), _TIMEOUT)
    for one in chosen:
        if one.id in failed:
            _complain(f"{one.name}: {failed[one.id]}")
        else:
            _say(f"{one.name}: deleted")
    unknown = set(wanted) - {word for one in chosen for word in (one.id, one.name)}
    for word in sorted(unknown):
        _complain(
            f"{word}: no sandbox of pytest-kiro's has this id or name; python -m pytest_kiro sandboxes lists them"
        )
    if not chosen and not unknown:
        _say(f"nothing to delete: {mine} has no sandbox that is not kept")
    return 1 if failed or unknown else 0


def table(found: Sequence[Found], now: datetime) -> str:
    """Show sandboxes, oldest first."""
    if not found:
        return "no sandboxes"
    rows = [("ID", "NAME", "STATE", "AGE", "OWNER", "")]
    for one in sorted(found, key=lambda one: one.created or now):
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
    minutes = max(now - created, timedelta()) // timedelta(minutes=1)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours:02} h"
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _complain(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
