"""Names what was not the same in two runs, beside outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from pytest_kiro.records.reading import turns_of
from pytest_kiro.records.run import RunRecord
from pytest_kiro.records.tests import TestRecord, by_identity
from pytest_kiro.records.turns import FixtureReference, TurnRecord
from pytest_kiro.secrecy.visible import escaped

#: What is named; a run in which more differs is another one.
_MOST = 12


@dataclass(frozen=True)
class Side:
    """The tests of one run.

    `turns_of` finds the turns of a fixture that they shared; `plugin` is the version of pytest-kiro.
    """

    tests: Sequence[TestRecord]
    turns_of: Callable[[FixtureReference], Iterable[TurnRecord]]
    plugin: str = ""

    @classmethod
    def of(cls, run: RunRecord) -> Side:
        """Return what a results file says."""
        return cls(run.tests, partial(turns_of, run), run.run.pytest_kiro)

    def turns(self, tests: Iterable[TestRecord]) -> Iterator[TurnRecord]:
        """Yield the turns of tests, and of fixtures they looked at."""
        for test in tests:
            shared = (turn for one in test.fixtures for turn in self.turns_of(one))
            yield from (turn for turn in (*shared, *test.turns) if not turn.retried)


def drift(before: Side, after: Side) -> tuple[str, ...]:
    """Name what differs in the tests that both have.

    Where they have none in common, the first turns of both are compared.

    That is what answered, by the first turn of each; prompts, seeds and checks that no trial of the other run had; the
    sandbox, and the plugin.
    """
    one, other = by_identity(before.tests), by_identity(after.tests)
    common = [name for name in one if name in other]
    pairs: list[tuple[Sequence[TestRecord], Sequence[TestRecord]]] = [(one[name], other[name]) for name in common]
    named: dict[str, None] = {}
    for tests, others in pairs or [(before.tests, after.tests)]:
        first, second = next(before.turns(tests), None), next(after.turns(others), None)
        if first is not None and second is not None:
            named |= dict.fromkeys(first.provenance.differences(second.provenance))
            named |= dict.fromkeys(_moved("sandbox", first.sandbox, second.sandbox))
    for what, digests in (("prompt", _prompts), ("seed", _seeds), ("check", _checks)):
        changed = [name for name in common if _apart(digests(before, one[name]), digests(after, other[name]))]
        if changed:
            of = escaped(other[changed[0]][0].group) if len(changed) == 1 else f"{len(changed)} tests"
            named[f"{what}{'s' * (len(changed) > 1)} of {of}"] = None
    named |= dict.fromkeys(_moved("plugin", before.plugin, after.plugin))
    shown = list(named)
    return (*shown[:_MOST], *([f"and {len(shown) - _MOST} more"] if len(shown) > _MOST else []))


def _moved(name: str, one: str, other: str) -> list[str]:
    return [f"{name} {escaped(one)} → {escaped(other)}"] if one and other and one != other else []


def _prompts(side: Side, tests: Iterable[TestRecord]) -> set[str]:
    return {turn.prompt_hash for turn in side.turns(tests)}


def _seeds(side: Side, tests: Iterable[TestRecord]) -> set[str]:
    return {turn.seed_hash for turn in side.turns(tests)}


def _checks(side: Side, tests: Iterable[TestRecord]) -> set[str]:
    return {test.check_hash for test in tests}


def _apart(digests: set[str], others: set[str]) -> bool:
    """Whether two runs have no digest in common; an empty one says nothing."""
    known, others_known = digests - {""}, others - {""}
    return bool(known and others_known) and known.isdisjoint(others_known)
