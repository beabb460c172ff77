"""Says what evals noticed of altered recordings: which assert, and which alteration none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_kiro.secrecy.visible import escaped
from pytest_kiro.turn.shown import short

#: What became of one altered recording: `elsewhere` is what another eval of the same fixture noticed, `undecided` what
#: failed by no doing of the eval's.
Outcome = Literal["killed", "elsewhere", "survived", "allowed", "undecided"]
#: The kind that no eval may pass.
NOTHING = "nothing"
_TEXT, _IDEAS = 70, 2


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What an eval made of one altered recording.

    `where` is the file and line at which it failed, or the other eval that noticed it; `text` is that line, or of an
    undecided one the error; `idea` is a line that would notice it.
    """

    mutant: str
    outcome: Outcome
    where: str = ""
    text: str = ""
    idea: str = ""

    @property
    def kind(self) -> str:
        """The first word of the mutant."""
        return self.mutant.partition(" ")[0]


@dataclass(frozen=True, kw_only=True)
class SelfCheck:
    """What one eval made of its altered recordings.

    `unchecked` says why there are none; `unused` are the names of its mark that allow nothing.
    """

    name: str
    checked: Sequence[Checked] = ()
    unchecked: str = ""
    reason: str = ""
    unused: Sequence[str] = ()

    @property
    def passes_nothing(self) -> bool:
        """Whether an agent that does nothing passes, and nobody allows it."""
        return any(one.kind == NOTHING and one.outcome == "survived" for one in self.checked)

    def of(self, outcome: Outcome) -> list[Checked]:
        """Return those with an outcome."""
        return [one for one in self.checked if one.outcome == outcome]


def selfcheck_lines(evals: Sequence[SelfCheck], kinds: Sequence[str], *, full: bool) -> Iterator[tuple[str, bool]]:
    """Yield the lines on all evals, and whether each is a warning; `full` names each altered recording by itself."""
    for one in evals:
        yield from _eval_lines(one, kinds, full=full)
    every = [checked.outcome for one in evals for checked in one.checked]
    count = len([one for one in evals if one.checked])
    noticed = every.count("killed") + every.count("elsewhere")
    parts = [f"{noticed} of {len(every)} altered recordings noticed"]
    parts += [f"{every.count(one)} {one}" for one in ("survived", "allowed", "undecided") if one in every]
    parts += [f"{len(evals) - count} not checked"] if count < len(evals) else []
    yield f"{count} eval{'s' * (count != 1)}: {', '.join(parts)}", False
    if wrong := [one.name for one in evals if one.passes_nothing]:
        yield f"an agent that does nothing passes: {', '.join(wrong)}", True


def _eval_lines(one: SelfCheck, kinds: Sequence[str], *, full: bool) -> Iterator[tuple[str, bool]]:
    if one.unchecked:
        yield f"{one.name}: not checked: {one.unchecked}", True
        return
    yield one.name, False
    for (where, text), names in _grouped(one.of("killed")):
        yield f"  killed at {where}: {short(escaped(text), _TEXT)}", False
        yield from _names(names, full=full)
    for (where, _), names in _grouped(one.of("elsewhere")):
        yield f"  noticed by {where}", False
        yield from _names(names, full=full)
    if allowed := one.of("allowed"):
        yield f"  allowed: {escaped(one.reason)}", False
        yield from _names([checked.mutant for checked in allowed], full=full)
    for kind in kinds:
        if survivors := [checked for checked in one.of("survived") if checked.kind == kind]:
            yield f"  SURVIVED: {', '.join(escaped(checked.mutant) for checked in survivors)}", True
            ideas = list(dict.fromkeys(checked.idea for checked in survivors))
            yield from ((f"    idea: {escaped(idea)}", True) for idea in ideas[: len(ideas) if full else _IDEAS])
    for checked in one.of("undecided"):
        yield f"  undecided: {escaped(checked.mutant)}: {short(escaped(checked.text), 2 * _TEXT)}", True
    there = {checked.kind for checked in one.checked}
    if absent := [kind for kind in kinds if kind not in there]:
        yield f"  not applicable: {', '.join(absent)}", False
    if one.unused:
        yield f"  mark.kiro_selfcheck allows what is not there: {', '.join(one.unused)}", True


def _grouped(checked: Sequence[Checked]) -> Iterator[tuple[tuple[str, str], list[str]]]:
    """Yield what failed at one place together, in the order of lines."""
    places: dict[tuple[str, str], list[str]] = {}
    for one in checked:
        places.setdefault((one.where, one.text), []).append(one.mutant)
    yield from sorted(places.items(), key=lambda item: _in_order(item[0][0]))


def _names(names: Sequence[str], *, full: bool) -> Iterator[tuple[str, bool]]:
    shown = list(map(escaped, names))
    if full:
        yield from ((f"    {name}", False) for name in shown)
    else:
        yield f"    {', '.join(shown)}", False


def _in_order(where: str) -> tuple[str, int]:
    file, _, line = where.rpartition(":")
    return file, int(line) if line.isdigit() else 0


def nothing_text(one: SelfCheck) -> str:
    """Say what is wrong with an eval that the do-nothing agent passes.

    >>> print(
    ...     nothing_text(SelfCheck(name="t", checked=[Checked(mutant="nothing", outcome="survived", idea="assert x")]))
    ... )
    it passes with an agent that does nothing and says nothing
    an idea: assert x
    """
    idea = next(checked.idea for checked in one.checked if checked.kind == NOTHING)
    return f"it passes with an agent that does nothing and says nothing\nan idea: {idea}"
