"""Says which agent each step of an event stream belongs to.

A run may tell of several sessions: sub-agents, the nodes of V3's workflows, and agents that talk to each other have
one each. Nothing in the stream says who started them, so what was running when they began decides.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any, NamedTuple

from pytest_kiro.kirocli.sessions import tools
from pytest_kiro.kirocli.sessions.values import dig, words
from pytest_kiro.turn.transcript import ToolCall
from pytest_kiro.turn.warnings import Warnings

#: A call: its session, and its id in it.
Key = tuple[str, str]
#: An agent: its session, and V3's name of a sub-agent within it.
Group = tuple[str, str | None]
#: Agents that agents started are nested so deep; what is deeper is put there.
_DEPTH = 20


class Step(NamedTuple):
    """A chunk of text, or a tool call's beginning, by its key."""

    group: Group
    text: str = ""
    call: Key | None = None


class _Begun(NamedTuple):
    """What was known when an agent was first heard of."""

    #: A call that was starting agents, and the last that did.

    running: Key | None
    latest: Key | None
    at: int


class Agents:
    """Finds for each agent of a stream the call that started it."""

    def __init__(self) -> None:
        self._begun: dict[Group, _Begun] = {}
        self._calls: dict[Key, tuple[int, Group]] = {}  # when each began, and whose it is
        self._running: dict[Key, None] = {}  # calls that start agents, and have not ended
        self._free: dict[Key, None] = {}  # those of which no agent was heard of yet
        self._latest: Key | None = None
        self._workflow: Key | None = None
        self._subtasks: dict[str, Key] = {}  # V3's name of a sub-agent: the call that started it
        self._nodes: dict[str, str] = {}  # a session: the node of a workflow that it is
        self._clock = 0

    # -- what comes

    def heard(self, group: Group, kiro: Any) -> None:
        """Take note of an update; `kiro` is its meta data."""
        self._clock += 1
        if group not in self._begun:
            running = next(iter(self._free), None) or next(reversed(self._running), None)
            if running is not None:
                self._free.pop(running, None)
            self._begun[group] = _Begun(running, self._latest, self._clock)
        if node := tools.node(dig(kiro, "workflow")):
            self._nodes[group[0]] = node

    def began(self, key: Key, group: Group, call: ToolCall, kiro: Any) -> None:
        """Take note of a call, or of news of it."""
        self._calls.setdefault(key, (self._clock, group))
        if subtask := words(dig(kiro, "agentSubtaskId")):
            self._subtasks[subtask] = key
        if tools.is_agent(call) and call.status == "unfinished" and key not in self._running:
            self._running[key] = self._free[key] = None
            self._latest = key
            if "workflow" in call.name:
                self._workflow = key

    def ended(self, key: Key) -> None:
        """Take note of a call's end."""
        self._running.pop(key, None)
        self._free.pop(key, None)

    # -- what it comes to

    def is_child(self, session: str) -> bool:
        """Whether a session is a workflow node's, or began as an agent's."""
        begun = self._begun.get((session, None))
        return session in self._nodes or (begun is not None and begun.running is not None)

    def placed(
        self, steps: Sequence[Step], calls: Mapping[Key, ToolCall], main: Set[str]
    ) -> tuple[tuple[ToolCall, ...], Mapping[str, tuple[str, ...]], Warnings]:
        """Return the calls, what the agents said, and warnings.

        Each agent's calls are under the one that started it. `main` are the sessions of the conversation itself. An
        agent that no known call has started keeps its calls: they stand beside the conversation's, with its name.
        """
        parents = self._parents(main)
        names = {group: self._name(group, parent, calls) for group, parent in parents.items()}
        top: list[ToolCall] = []
        inner: dict[Key, list[ToolCall]] = defaultdict(list)
        strays = dict.fromkeys(step.group for step in steps if parents.get(step.group, ()) is None)
        for step in reversed(steps):  # so that what a call has started is there before the call
            if step.call is not None:
                call = replace(calls[step.call], agent=names.get(step.group, ""))
                if within := inner.pop(step.call, None):
                    call = replace(call, calls=tuple(reversed(within)))
                started = parents.get(step.group)
                (top if started is None else inner[started]).append(call)
        warning = "no tool call of this turn has started this agent, so its calls stand beside the others"
        return tuple(reversed(top)), _said(steps, names), Warnings(f"{names[one]}: {warning}" for one in strays)

    def _parents(self, main: Set[str]) -> dict[Group, Key | None]:
        """Return the call that started each agent, None where none is known."""
        parents: dict[Group, Key | None] = {}
        depths: dict[Group, int] = {}
        for group, begun in self._begun.items():
            session, within = group
            if within is None and session in main:
                continue
            told = self._subtasks.get(within or ""), self._workflow if session in self._nodes else None
            # What it is said to be of must have begun before it, or it would be its own.
            known = [key for key in (*told, begun.running, begun.latest) if key and self._calls[key][0] < begun.at]
            parent = known[0] if known else None
            above = self._calls[parent][1] if parent else None
            depths[group] = depths.get(above, 0) + 1 if above else 1
            if above and depths[group] > _DEPTH:
                parent, depths[group] = parents[above], _DEPTH
            parents[group] = parent
        return parents

    def _name(self, group: Group, parent: Key | None, calls: Mapping[Key, ToolCall]) -> str:
        session, within = group
        if within is not None:
            return (tools.agent_name(calls[parent]) if parent else None) or within
        return self._nodes.get(session) or session or "an agent without a session"


def messages(steps: Iterable[Step]) -> Iterator[str]:
    """Yield the messages of one agent: chunks between tool calls are one."""
    for is_text, chunks in itertools.groupby(steps, key=lambda step: step.call is None):
        if is_text:
            yield "".join(step.text for step in chunks)


def told_before(steps: Iterable[Step]) -> dict[Key, int]:
    """Return how many of an agent's messages stand before each call."""
    before, count = dict[Key, int](), 0
    for is_text, ours in itertools.groupby(steps, key=lambda step: step.call is None):
        count += is_text
        before |= {step.call: count for step in ours if step.call is not None}
    return before


def _said(steps: Iterable[Step], names: Mapping[Group, str]) -> Mapping[str, tuple[str, ...]]:
    """Return what each agent said; several may have one name."""
    by_group: dict[Group, list[Step]] = defaultdict(list)
    for step in steps:
        if step.group in names:
            by_group[step.group].append(step)
    said: dict[str, list[str]] = defaultdict(list)
    for group, ours in by_group.items():
        said[names[group]] += messages(ours)
    return {name: tuple(texts) for name, texts in said.items() if texts}
