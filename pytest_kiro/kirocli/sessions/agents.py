"""Finds the tool call that started a sub-agent: its own records do not say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pytest_kiro.kirocli.sessions.tools import is_agent
from pytest_kiro.kirocli.sessions.values import strings
from pytest_kiro.turn.transcript import ToolCall


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
    """A sub-agent: its first prompt, when it began, and what it called; `where` names its file."""

    id: str
    where: str
    prompt: str
    began: float | None
    calls: tuple[ToolCall, ...]


def fold(
    parents: Sequence[Parent], children: Sequence[Child], *, since: float | None
) -> tuple[Mapping[str, tuple[ToolCall, ...]], list[str]]:
    """Return the sub-agents' calls by their parent's key; a warning for each without.

    The evidence, best first: the parent's records name the sub-agent's id; an argument of the call is in the
    sub-agent's prompt, or the prompt in it; the call is the first that starts agents and was over after the
    sub-agent began, or, where no times are kept, the first that has none yet. `since` is when our turn began:
    an older sub-agent without evidence belongs to an older turn.
    """
    starters = [parent for parent in parents if is_agent(parent.call)]
    taken: dict[str, list[Child]] = {parent.key: [] for parent in starters}
    unclear: list[Child] = []
    for child in sorted(children, key=lambda child: (child.began or 0.0, child.id)):
        by_id = [parent for parent in starters if child.id and child.id in parent.told]
        fitting = by_id or [parent for parent in starters if _says(parent.call, child.prompt)]
        if fitting:
            taken[min(fitting, key=lambda parent: len(taken[parent.key])).key].append(child)
        elif since is None or child.began is None or child.began >= since:
            unclear.append(child)
    warnings = []
    for child in unclear:
        chosen = _then(starters, child, taken)
        if chosen is None:
            warnings.append(f"{child.where}: a sub-agent that no tool call of this turn has started")
        else:
            taken[chosen.key].append(child)
    ours = [parent.key for parent in starters if parent.ours and taken[parent.key]]
    return {key: tuple(call for child in taken[key] for call in child.calls) for key in ours}, warnings


def _says(call: ToolCall, prompt: str) -> bool:
    """Whether the call gave this prompt: it may have been put into a template, or one into it."""
    prompt = prompt.strip()
    given = [text.strip() for text in strings(dict(call.input))]
    # A short text, an agent's name or a mode, is in many a prompt.
    return bool(prompt) and any(prompt in text or (len(text) >= 8 and text in prompt) for text in given)


def _then(starters: Sequence[Parent], child: Child, taken: Mapping[str, Sequence[Child]]) -> Parent | None:
    ours = [parent for parent in starters if parent.ours]
    began = child.began
    later = [parent for parent in ours if began is not None and parent.until is not None and parent.until >= began]
    free = [parent for parent in ours if not taken[parent.key]]
    return next(iter(later or free), ours[0] if len(ours) == 1 else None)
