"""Ready-made conditions that stop a turn, and what `stop_when` means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pytest_kiro.agent.live import Condition, LiveTurn
from pytest_kiro.agent.request import is_number
from pytest_kiro.turn.calls import compiled, walk
from pytest_kiro.turn.transcript import ToolCall

StopWhen = Condition | Callable[[LiveTurn], object] | Sequence[Condition | Callable[[LiveTurn], object]] | None


def on_command(pattern: str) -> Condition:
    r"""Stop when a shell command that matches is announced; it may already run.

    `pattern` is a regular expression, searched in the command. In V2's text kiro-cli cuts what it announces at 200
    bytes, and V3's text announces no command at all: what only the record tells makes the turn a stopped one when it
    is over. `--kiro-output=stream-json` announces whole commands.

    >>> on_command(r"rm -rf").name
    "on_command('rm -rf')"
    """
    wanted = compiled(pattern, f"on_command({pattern!r}):")

    def among(calls: Iterable[ToolCall]) -> bool:
        return any(call.command is not None and wanted.search(call.command) for call in walk(calls))

    return Condition(f"on_command({pattern!r})", lambda live: among(live.announced), recorded=among)


def on_text(pattern: str) -> Condition:
    """Stop when what Kiro printed matches, wherever its chunks were cut; `pattern` is a regular expression.

    >>> on_text("I give up").name
    "on_text('I give up')"
    """
    wanted = compiled(pattern, f"on_text({pattern!r}):")
    return Condition(f"on_text({pattern!r})", lambda live: wanted.search(live.recent))


def on_silence(seconds: float) -> Condition:
    """Stop when nothing was printed for so many seconds.

    >>> on_silence(30).name
    'on_silence(30)'
    """
    return Condition(f"on_silence({seconds:g})", lambda live: live.silent_for >= seconds, silence=seconds)


def on_calls(most: int) -> Condition:
    """Stop when more than so many tool calls were announced.

    >>> on_calls(20).name
    'on_calls(20)'
    """
    if not is_number(most, int) or most < 0:
        raise ValueError(f"on_calls({most!r}): wanted: a whole number, 0 or more")
    return Condition(f"on_calls({most})", lambda live: len(live.announced) > most)


def conditions(stop_when: object) -> tuple[Condition, ...]:
    """Return what `stop_when` means: None, a condition, a function of a `LiveTurn`, or a list of these."""
    if stop_when is None:
        return ()
    many = stop_when if isinstance(stop_when, list | tuple) else [stop_when]
    return tuple(map(_condition, many))


def _condition(one: object) -> Condition:
    if isinstance(one, Condition):
        return one
    if callable(one) and not isinstance(one, type):
        return Condition(getattr(one, "__name__", repr(one)), one)
    raise TypeError(
        f"stop_when={one!r} is no condition; wanted: one of on_command, on_text, on_silence or on_calls, a function of "
        "the LiveTurn, or a list of these"
    )
