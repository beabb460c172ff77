"""Reads what sessions of V3 have billed: `creditSplit`, which counts from a session's start, or turns' summaries.

The start of a session and compaction are billed as `auxiliary`, which no summary has, and may be told between two
turns. kiro-cli 3.5.0 wrote the first records of this kind; no files of older versions have them.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from pytest_kiro.kirocli.sessions.log import Record
from pytest_kiro.kirocli.sessions.v3_parts import identity
from pytest_kiro.kirocli.sessions.values import credits, dump, listed, total
from pytest_kiro.turn.amounts import MOST, added, exact
from pytest_kiro.turn.warnings import Warnings

Identity = tuple[str | None, str]
_ZERO = Decimal(0)
#: Credits that a float's rounding may leave; no request is that cheap.
_REST = Decimal("1e-9")


class Split(NamedTuple):
    """What a session has billed: for its own work, for that of agents, and for what is no turn's."""

    main: Decimal = _ZERO
    delegated: Decimal = _ZERO
    auxiliary: Decimal = _ZERO

    @property
    def total(self) -> Decimal:
        """All of it."""
        return added(self)

    @property
    def work(self) -> Decimal:
        """What turns' summaries have as well."""
        return added((self.main, self.delegated))

    def since(self, before: Split) -> Split:
        """Return what came since an earlier one."""
        return Split(*(added((now, -then)) for now, then in zip(self, before, strict=True)))


class Splits:
    """The splits in a log, but for those that cannot be: each is a warning.

    `copied` are records that another session has as well: a fork begins with them.
    """

    def __init__(self, records: Iterable[Record], copied: Container[Identity], warnings: Warnings) -> None:
        self._own: list[tuple[int, Split]] = []
        #: What the session was begun with.
        self.given = Split()
        for index, record in enumerate(records):
            if not _is_split(record):
                continue
            split, copy = _split(record, self.now), not self._own and identity(record) in copied
            if split is not None and not (self._own or copy) and min(split.since(self.given)) < 0:
                self.given = Split()  # it counts from its own start
            if split is None or split.total > MOST or min(split.since(self.now)) < 0:
                told = dump(record.data.get("value"))[:120]
                warnings.add(f"{record.where}: a creditSplit that cannot be, and that is left out: {told}")
            elif copy:
                self.given = split
            else:
                self._own.append((index, split))

    def __bool__(self) -> bool:
        return bool(self._own)

    @property
    def now(self) -> Split:
        """The newest one."""
        return self._own[-1][1] if self._own else self.given

    def before(self, index: int) -> Split:
        """Return the newest one before a place in the log."""
        return next((split for at, split in reversed(self._own) if at < index), self.given)

    def told_since(self, index: int) -> bool:
        """Whether there is one from a place in the log on."""
        return bool(self._own) and self._own[-1][0] >= index


def _is_split(record: Record) -> bool:
    return record.kind == "session_metadata" and record.data.get("key") == "creditSplit"


def _split(record: Record, before: Split) -> Split | None:
    """Return the split that a record has; a part that it does not name is as it was."""
    value = record.data.get("value")
    if not isinstance(value, dict) or not value.keys() & set(Split._fields):
        return None
    parts = [credits(value[name]) if name in value else then for name, then in zip(Split._fields, before, strict=True)]
    known = [part for part in parts if part is not None]
    return Split(*known) if len(known) == len(parts) else None


class Summaries:
    """Turns' summaries, by execution: each has the whole turn's, so a repeated one replaces it."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._used = {
            str(record.data.get("executionId")): record for record in records if record.kind == "usage_summary"
        }

    def all(self, key: str) -> list[object]:
        """Return what each says under a key."""
        return [record.data.get(key) for record in self._used.values()]

    def credits(self, warnings: Warnings, *, without: Container[str] = ()) -> Decimal | None:
        """Return what they add up to, None where nothing was metered."""
        told = [
            total(listed(record.data.get("promptTurnSummaries")), "usage", record.where, warnings)
            for execution, record in self._used.items()
            if execution not in without
        ]
        known = [amount for amount in told if amount is not None]
        return added(known) if known else None

    @property
    def executions(self) -> Container[str]:
        """The ids of what they sum up."""
        return self._used.keys()


@dataclass(frozen=True)
class Log:
    """A session's log; the turn begins in it at `first`."""

    records: Sequence[Record]
    first: int = 0


@dataclass(frozen=True)
class Bill:
    """What a turn costs; `source` is the record that says so.

    `counted` is what its session has charged to turns by now, as the session counts.
    """

    credits: float | None
    source: str
    counted: Decimal


def bill(
    logs: Sequence[Log],
    turn: Sequence[Record],
    agents: Iterable[Sequence[Record]],
    counted: Decimal | None,
    warnings: Warnings,
) -> Bill:
    """Return what a turn costs.

    The turns of a conversation add up to what its sessions say.

    `logs` are those of the sessions that it went through, `agents` those of sessions that it began. `counted` is what
    earlier turns were charged of its first session, None where nobody kept count.

    What agents' sessions say counts where it is more than what was delegated: a session may count them, or not (no
    files were seen).
    """
    summaries = Summaries(turn)
    summed = summaries.credits(warnings)
    splits, copied = _splits(logs, warnings)
    grown = [one.now.since(one.before(log.first)) for one, log in zip(splits, logs, strict=True)]
    begin = splits[0].before(logs[0].first).total
    if counted is None:  # a session that was not ours has a past
        counted = begin if _has_past(logs[0]) else splits[0].given.total
    work, spent = added(one.work for one in grown), added(one.total for one in grown)
    late = summed is not None and summed > work and not (work and all(splits))
    owed = added((counted, -begin))
    if owed < _REST or (not late and 2 * work > added((owed, 2 * (summed or _ZERO)))):
        spent = max(_ZERO, added((spent, -owed)))
    elif work and not late:
        warnings.add(f"{logs[0].records[-1].where}: its creditSplit lacks {owed} credits of earlier turns")
        counted = begin
    if late:
        spent = added((spent, summed or _ZERO, -work))
    delegated = _of_agents(agents, turn[0].at, copied, summaries, warnings)
    shared = added(one.delegated for one in grown)
    beyond = max(_ZERO, added((delegated or _ZERO, -shared)))
    if beyond and shared:
        who = "agents' sessions", "the one that began them"
        warnings.add(f"{who[0]} say {delegated} credits, and {who[1]} {shared}: the larger counts")
    if not (late or owed < 0 or summed is not None or delegated is not None) and not any(
        one.told_since(log.first) for one, log in zip(splits, logs, strict=True)
    ):
        return Bill(None, "", counted)
    credits = float(added((spent, beyond)))
    # What is lost where a float is rounded is the next turn's.
    own = added((exact(credits), -beyond))
    if len(logs) > 1:  # what the older ones have is settled
        counted = added((splits[-1].given.total, *(-one.total for one in grown[:-1])))
    return Bill(credits, "session" if any(splits) and not late else "summaries", added((counted, own)))


def _splits(logs: Iterable[Log], warnings: Warnings) -> tuple[list[Splits], set[Identity]]:
    """Return the splits of each log; and records that may be copied."""
    splits, known = [], set[Identity]()
    for log in logs:
        splits.append(Splits(log.records, known, warnings))
        known.update(identity(record) for record in log.records if _is_split(record))
    return splits, known


def _has_past(log: Log) -> bool:
    return any(record.kind == "turn_end" for record in log.records[: log.first])


def _of_agents(
    agents: Iterable[Sequence[Record]],
    since: float | None,
    copied: Container[Identity],
    ours: Summaries,
    warnings: Warnings,
) -> Decimal | None:
    """Return what agents' sessions say that they have billed since a time."""
    amounts: list[Decimal] = []
    for records in agents:
        first = next((at for at, record in enumerate(records) if (record.at or math.inf) >= (since or 0)), len(records))
        if splits := Splits(records, copied, warnings):
            amounts.append(splits.now.since(splits.before(first)).total)
        elif (amount := Summaries(records[first:]).credits(warnings, without=ours.executions)) is not None:
            amounts.append(amount)
    return added(amounts) if amounts else None
