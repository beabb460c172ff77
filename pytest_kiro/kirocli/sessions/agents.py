"""Finds the tool call that started a sub-agent: its own records do not say so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from pytest_kiro.kirocli.sessions.tools import is_agent
from pytest_kiro.kirocli.sessions.values import strings
from pytest_kiro.turn.transcript import ToolCall
from pytest_kiro.turn.warnings import Warnings

#: Sub-agents, and calls that may have started them, that are looked at; Kiro itself starts a handful.
_MOST = 500
#: Characters of theirs that are searched in any case.
_EFFORT = 64 * 1024 * 1024


class Parent(NamedTuple):
    """A call that may have started sub-agents; `told` is all that its records say, `until` when it was over.

    `ours` is whether it belongs to the turn that is read.
    """

    key: str
    call: ToolCall
    told: str
    ours: bool = True
    until: float | None = None


class Child(NamedTuple):
    """A sub-agent: its first prompt, when it began, and what it called; `where` names its file.

    `agent` is its name; `said` is what it said, and what those said that it has started, by their names.
    """

    id: str
    where: str
    prompt: str
    began: float | None
    calls: tuple[ToolCall, ...]
    agent: str = ""
    said: Mapping[str, tuple[str, ...]] = {}

    @property
    def named_calls(self) -> tuple[ToolCall, ...]:
        """Its calls, with its name."""
        name = self.agent or self.id
        return tuple(call if call.agent else replace(call, agent=name) for call in self.calls)


class Folded(NamedTuple):
    """The sub-agents of a turn: by the key of the call that started them, and those without one."""

    taken: Mapping[str, Sequence[Child]]
    strays: Sequence[Child]
    warnings: Warnings

    @property
    def calls(self) -> Mapping[str, tuple[ToolCall, ...]]:
        """What those have called that a call has started."""
        return {key: tuple(call for child in ours for call in child.named_calls) for key, ours in self.taken.items()}

    @property
    def said(self) -> Mapping[str, tuple[str, ...]]:
        """What all of them said, by their names."""
        said: dict[str, list[str]] = defaultdict(list)
        for child in (*(one for ours in self.taken.values() for one in ours), *self.strays):
            for name, texts in child.said.items():
                said[name] += texts
        return {name: tuple(texts) for name, texts in said.items() if texts}


def fold(parents: Sequence[Parent], children: Sequence[Child], *, since: float | None) -> Folded:
    """Return the sub-agents by their parent's key; a warning for each without.

    The evidence, best first: the parent's records name the sub-agent's id; an argument of the call is in the
    sub-agent's prompt, or the prompt in it; the call is the first that starts agents and was over after the
    sub-agent began, or, where no times are kept, the first that has none yet. `since` is when our turn began:
    an older sub-agent without evidence belongs to an older turn, and one that began since to this one, whoever has
    started it.

    Each may be compared with each, so only so many are looked at, and only so much of what they say.
    """
    starters = [parent for parent in parents if is_agent(parent.call)]
    warnings = Warnings()
    if len(children) > _MOST or len(starters) > _MOST:
        what = f"{len(children)} sub-agents, and {len(starters)} tool calls that may have started them"
        warnings.add(f"{what}: only {_MOST} of each are looked at")
    starters, children = starters[:_MOST], sorted(children, key=lambda child: (child.began or 0.0, child.id))[:_MOST]
    given = {parent.key: [text.strip() for text in strings(dict(parent.call.input))] for parent in starters}
    evidence = _Evidence(given, sum(len(parent.told) for parent in starters) + sum(len(one.prompt) for one in children))
    taken: dict[str, list[Child]] = {parent.key: [] for parent in starters}
    unclear: list[Child] = []
    for child in children:
        by_id = [parent for parent in starters if child.id and evidence.within(child.id, parent.told)]
        fitting = by_id or [parent for parent in starters if evidence.asked(parent.key, child.prompt.strip())]
        if fitting:
            taken[min(fitting, key=lambda parent: len(taken[parent.key])).key].append(child)
        elif since is None or child.began is None or child.began >= since:
            unclear.append(child)
    if evidence.left < 0:
        warnings.add("the records of sub-agents are too large to be compared; some may be under another's call")
    strays = []
    for child in unclear:
        chosen = _then(starters, child, taken)
        if chosen is not None:
            taken[chosen.key].append(child)
            continue
        kept = since is not None and child.began is not None
        if kept:
            strays.append(child)
        where = "beside the others" if kept else "left out, since nothing says that it is of this turn"
        warnings.add(f"{child.where}: a sub-agent that no tool call of this turn has started; its calls are {where}")
    return Folded({one.key: taken[one.key] for one in starters if one.ours and taken[one.key]}, strays, warnings)


class _Evidence:
    """Compares what calls gave with what sub-agents were asked.

    It does so as long as its effort lasts. `given` are the texts of each call; `size` is that of all other
    text.
    """

    def __init__(self, given: Mapping[str, Sequence[str]], size: int) -> None:
        self._given = given
        #: Characters that may still be searched.
        self.left = _EFFORT + 16 * (size + sum(len(text) for texts in given.values() for text in texts))

    def within(self, part: str, text: str) -> bool:
        """Whether a text has this in it."""
        self.left -= len(text) + 64  # a short one takes its time as well
        return self.left >= 0 and part in text

    def asked(self, key: str, prompt: str) -> bool:
        """Whether a call gave this prompt: it may have been put into a template, or one into it."""
        # A short text, an agent's name or a mode, is in many a prompt.
        return bool(prompt and self.left >= 0) and any(
            self.within(prompt, text) or (len(text) >= 8 and self.within(text, prompt)) for text in self._given[key]
        )


def _then(starters: Sequence[Parent], child: Child, taken: Mapping[str, Sequence[Child]]) -> Parent | None:
    ours = [parent for parent in starters if parent.ours]
    began = child.began
    later = [parent for parent in ours if began is not None and parent.until is not None and parent.until >= began]
    free = [parent for parent in ours if not taken[parent.key]]
    return next(iter(later or free), ours[0] if len(ours) == 1 else None)
