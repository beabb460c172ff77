"""`kiro.terminal`: kiro-cli in a terminal of its own, for an eval that types and sees what a person would."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from pytest_kiro.agent.bench import Bench
from pytest_kiro.agent.conversation import Conversation
from pytest_kiro.agent.launching import clear, launch
from pytest_kiro.agent.spending import check_spent
from pytest_kiro.errors import HIDE_FRAMES, RecordingMiss
from pytest_kiro.kirocli import commands
from pytest_kiro.standin import scenario
from pytest_kiro.terminal.attach import attach
from pytest_kiro.terminal.expect import Terminal, check_seconds, check_size

__tracebackhide__ = HIDE_FRAMES


def open_terminal(
    conversation: Conversation,
    argv: Sequence[str],
    *,
    timeout: float | None,
    size: tuple[int, int] | None,
    env: Mapping[str, str] | None,
) -> Terminal:
    """Start kiro-cli in the workspace of `conversation`; its end closes the terminal."""
    bench = conversation.bench
    _check_arguments(bench, argv)
    if bench.replays:
        what = f"{conversation.owner.name}: kiro.terminal was asked for, and what is typed there is not recorded"
        raise RecordingMiss(
            what, advice="leave this test out of the replay, or run it without --kiro-replies=recording"
        )
    check_seconds(timeout)
    if timeout is not None and not 0 < timeout < math.inf:
        raise ValueError(f"timeout={timeout!r} is not right; wanted: seconds above 0, None for no limit")
    size = bench.settings.terminal if size is None else check_size(size)
    options = conversation.options().merged({"env": env}, "kiro.terminal")
    talks = commands.is_chat(argv)
    if talks:
        bench.admission.check()
        check_spent(conversation.owner, scripted=bench.scripted)
    reply, note = _reply(conversation) if talks and bench.scripted else (None, "")
    words = commands.typed(bench.engine, argv)
    home, workspace = conversation.owner.home(bench.homes), conversation.workspace.path
    plain = launch(bench, words, workspace, home, options, reply)
    hidden = {name: value for name, value in plain.env.items() if bench.secrets(value) != value}
    env = {name: value for name, value in plain.env.items() if name not in hidden}
    prepared = replace(plain, env=env, hidden_env={**plain.hidden_env, **hidden})
    with ExitStack() as undo:
        undo.callback(clear, bench.sandbox, prepared)
        spending = bench.budget.admit(conversation.owner.name) if talks else None
        if spending is not None:
            undo.callback(bench.budget.settle, spending, None)
        home.keep_in_step()
        bench.sandbox.keep_alive(max(bench.settings.timeout, timeout or 0.0))
        pty = attach(bench.sandbox, prepared, size=size, waits=bench.settings.waits)
        undo.callback(pty.close)
        undo.callback(home.hand_on)
        if spending is not None and not bench.scripted:
            undo.callback(bench.budget.forfeit, spending)  # nobody tells what a chat cost
        terminal = Terminal(
            pty,
            ("kiro-cli", *words),
            timeout=timeout,
            secrets=bench.secrets,
            waits=bench.settings.waits,
            release=undo.pop_all().close,
        )
        terminal.advice = note
        conversation.terminals.callback(terminal.close)
    return terminal


def _reply(conversation: Conversation) -> tuple[scenario.Reply | None, str]:
    """Return what a scripted chat answers, or a note that nothing does."""
    owner, settings = conversation.owner, conversation.bench.settings
    if owner.answer is not None:
        return owner.answer, ""
    number = owner.numbers.of_terminal(conversation)
    file = owner.file.parent / settings.scenarios / f"{owner.file.stem}.toml"
    reply = scenario.script(file, owner.tables, conversation=number, trial=owner.trial, seed=settings.scenario_seed)
    if reply is not None:
        return reply, ""
    wanted = f"conversation {number} of the table {' or '.join(owner.tables)}"
    return None, f"it could not answer a prompt, since no scenario is there for it: {file} needs {wanted}"


def _check_arguments(bench: Bench, argv: Sequence[Any]) -> None:
    known = [value for value in bench.identity.env.values() if value]
    for number, argument in enumerate(argv, 1):
        where = f"argument {number} of kiro.terminal"
        if not isinstance(argument, str):
            raise TypeError(f"{where} is of the type {type(argument).__name__}; wanted: a str for each word")
        if odd := re.search("[\0\ud800-\udfff]", argument):
            raise ValueError(f"{where} has {odd[0]!r} at position {odd.start()}, which no program can be given")
        if bench.secrets(argument) != argument or any(value in argument for value in known):
            raise ValueError(f"{where} has a secret in it, which every process in the sandbox could read; use env=")
