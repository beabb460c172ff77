"""Writes for people what a conversation said and did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from pytest_kiro.records.plain import cut
from pytest_kiro.secrecy.visible import visible
from pytest_kiro.turn.calls import described, walk

if TYPE_CHECKING:
    from pytest_kiro.sandbox.protocol import ExecResult
    from pytest_kiro.turn.turn import Turn

#: Characters that are kept of a turn's output, and of one that a call or a command printed.
_OUTPUT, _RESULT = 1024**2, 64 * 1024


def turn_text(turn: Turn) -> str:
    """Return what a turn was asked, printed and did."""
    return _joined(
        [
            f"===== {turn.summary}",
            *([turn.detail] if turn.detail else []),
            f"answered by {turn.provenance.described}",
            *_block("prompt", turn.prompt, _RESULT),
            *_block("printed", turn.output, _OUTPUT),
            *_block("wrote to stderr", turn.diagnostics, _RESULT),
            *_calls(turn),
            *(f"warning: {warning}" for warning in turn.warnings),
        ]
    )


def broken_off_text(number: int, prompt: str, printed: str) -> str:
    """Return what is known of a turn that was broken off."""
    title = f"===== turn {number} was broken off: what it did beside printing this is not known"
    return _joined([title, *_block("prompt", prompt, _RESULT), *_block("printed", printed, _OUTPUT)])


def executed_text(executed: Iterable[ExecResult]) -> str:
    """Return what the eval executed in a workspace."""
    lines = list[str]()
    for result in executed:
        lines.append(f"$ {result.command}")
        lines += _barred(result.output, _RESULT)
        lines.append(f"(exit code {result.exit_code} after {result.duration:.1f} s)")
    return _joined(["===== what the test executed", *lines]) if lines else ""


def _calls(turn: Turn) -> Iterator[str]:
    calls = list(walk(turn.tool_calls))
    if calls:
        yield f"--- {len(calls)} tool call{'s' * (len(calls) != 1)}"
    for call in calls:
        yield described(call, turn.tool_calls.folder, _RESULT)
        yield from _barred(call.output, _RESULT)


def _block(title: str, text: str, most: int) -> Sequence[str]:
    return [f"--- {title}", *_barred(text, most)] if text.strip() else []


def _barred(text: str, most: int) -> list[str]:
    """Return lines behind a bar: none of them can be taken for one of ours."""
    return [f"| {line}".rstrip() for line in cut(text, most)[0].strip("\n").splitlines()]


def _joined(lines: Iterable[str]) -> str:
    return visible("\n".join(lines)) + "\n"
