"""What one turn is asked and how it is run; how kiro-cli is launched for it.

Arguments, markers and the `kiro_run_args` fixture say it in one set of words.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from secrets import token_hex
from typing import Any, TypedDict

from pytest_kiro.agent.bench import Bench
from pytest_kiro.agent.homes import OwnerHome
from pytest_kiro.agent.workspace import VARIABLES, Workspace
from pytest_kiro.errors import HIDE_FRAMES, SandboxError, SettingsError
from pytest_kiro.kirocli import commands
from pytest_kiro.sandbox.protocol import Sandbox, check_env
from pytest_kiro.settings import parsing
from pytest_kiro.settings.rows import EFFORTS
from pytest_kiro.settings.table import Settings, did_you_mean
from pytest_kiro.standin.scenario import Reply
from pytest_kiro.terminal.launch import Launch

__tracebackhide__ = HIDE_FRAMES


class RunArguments(TypedDict, total=False):
    """What one turn, or one conversation, may be told; None leaves what the marker and the settings say."""

    timeout: float | None
    agent: str | None
    model: str | None
    effort: str | None
    trust: str | list[str] | None
    env: Mapping[str, str] | None


@dataclass(frozen=True)
class RunOptions:
    """How one turn is run; `timeout` in seconds, None where Kiro decides."""

    timeout: float
    agent: str | None = None
    model: str | None = None
    effort: str | None = None
    trust: str = "all"
    env: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> RunOptions:
        """Return what the options, the environment and the ini files say."""
        return cls(settings.timeout, settings.agent, settings.model, settings.effort, settings.trust)

    def merged(self, over: Mapping[str, Any], where: str) -> RunOptions:
        """Return these with `over` on top; an unknown word or a wrong value is a `SettingsError` naming `where`.

        None leaves the value below as it is; `env` is merged variable by variable.
        """
        if not isinstance(over, Mapping):
            raise SettingsError(f"{where} is {over!r}", advice="wanted: a dict")
        known = [f.name for f in fields(self)]
        values = {name: value for name, value in over.items() if value is not None}
        for name, value in values.items():
            if name not in known:
                hint = did_you_mean(name, known)
                raise SettingsError(f"{where} has no keyword {name!r}{hint}", advice=f"known: {', '.join(known)}")
            try:
                values[name] = _checked(name, value)
            except ValueError as error:
                shown = name if name == "env" else f"{name}={value!r}"  # which may have a secret in it
                raise SettingsError(f"{where}: {shown} is not right", advice=f"wanted: {error}") from None
        if "env" in values:
            values["env"] = {**self.env, **values["env"]}
        return replace(self, **values)


@dataclass(frozen=True)
class Resume:
    """Where a turn goes on: a session, and how many prompts and turns of it are old."""

    session_id: str | None = None
    prompts: int = 0
    turns: int = 0


@dataclass(frozen=True)
class Request:
    """What one turn is asked: its prompt, how it is run, where it goes on.

    `history` warns of how it came about; `reply` is what a scripted kiro-cli answers.
    """

    prompt: str
    options: RunOptions
    resume: Resume
    history: tuple[str, ...] = ()
    reply: Reply | None = None

    def launch(self, bench: Bench, workspace: Workspace) -> Launch:
        """Return how to start Kiro for it."""
        options, (path, make) = self.options, workspace.for_launch()
        words = commands.chat(
            bench.engine,
            stream=bench.streams,
            resume=self.resume.session_id,
            agent=options.agent,
            model=options.model,
            effort=options.effort,
            trust=options.trust,
        )
        plain = launch(bench, words, path, workspace.owner_home, options.env, self.reply)
        return replace(
            plain,
            stdin=commands.check_prompt(self.prompt),
            stores=tuple(dict.fromkeys([*bench.engine.stores_for(plain.env, path), *workspace.owner_home.stores])),
            left_out=commands.STATE,
            since=workspace.ledger.since,
            make=make,
            prepare=plain.prepare if make else f"{plain.prepare}\n{_intact(path)}",
            durable=bench.sandbox.remote,
            apart=bench.streams,
        )


def _intact(folder: str) -> str:
    """Return commands that fail when a workspace is no folder any more."""
    path, why = shlex.quote(folder), shlex.quote(f"{folder} is no folder of ours any more")
    return f"[ -d {path} ] && [ ! -L {path} ] || {{ echo {why}; exit 1; }}\n"


def launch(
    bench: Bench, words: Iterable[str], workspace: str, home: OwnerHome, env: Mapping[str, str], reply: Reply | None
) -> Launch:
    """Return how to start kiro-cli with `words`; its input is typed."""
    nonce = token_hex(8)
    folder = f".local/state/{nonce}"  # not a cache: an agent may clear those
    files, scripted = _answers(bench, folder, reply)
    return Launch(
        argv=(bench.installation.path, *words),
        workspace=workspace,
        folder=folder,
        nonce=nonce,
        home=home.own,
        prepare=home.making(),
        stdin=None,
        env={
            "PATH": f"{home.own}/.local/bin:{bench.path}" if home.own else bench.path,
            **commands.QUIET,
            **VARIABLES,
            **env,
            **scripted,
        },
        hidden_env=bench.identity.env,
        files=files,
    )


def clear(sandbox: Sandbox, launch: Launch) -> None:
    """Remove the files of a launch; a sandbox that is gone has taken them along, an agent may stand in the way."""
    with suppress(SandboxError, OSError):
        sandbox.remove(launch.folder)


def _answers(bench: Bench, folder: str, reply: Reply | None) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return the files and variables that tell a scripted kiro-cli its answers: none for a model."""
    if reply is None:
        return {}, {}
    if not bench.installation.scripted:
        _check_real(bench, reply)
    env = {commands.REPLIES: f"{bench.sandbox.home}/{folder}/replies.json"}
    if reply.misbehave:
        env[commands.MISBEHAVE] = json.dumps(dict(reply.misbehave))
    return {"replies.json": reply.mock_json()}, env


def _check_real(bench: Bench, reply: Reply) -> None:
    """Refuse what only the stand-in can do: the real CLI would say or ignore it."""
    if not bench.engine.scripted:
        raise SettingsError(
            f"--kiro-replies=scenario: engine {bench.engine.name} of the real kiro-cli takes no scripted replies",
            advice="use --kiro-engine=v2 or v1, or --kiro-cli=scripted",
        )
    if reply.recalls:
        what = "{recall:…}, which only the stand-in can answer"
    elif reply.misbehave:
        what = f"misbehave ({', '.join(reply.misbehave)}), which only the stand-in does"
    else:
        return
    raise SettingsError(
        f"{reply.source} has {what}, but kiro-cli {bench.installation.version} is the real one",
        advice="leave it out, or use --kiro-cli=scripted",
    )


def is_number(value: Any, kind: Any = int | float) -> bool:
    """Whether it is a number; True and False are none."""
    return isinstance(value, kind) and not isinstance(value, bool)


def _checked(name: str, value: Any) -> Any:
    """Return the value of a keyword; an error says what is wanted."""
    match name:
        case "timeout":
            if not is_number(value) or not 0 < value < math.inf:
                raise ValueError("a number of seconds above 0")
            return float(value)
        case "effort":
            if value not in EFFORTS:
                raise ValueError(f"one of {', '.join(EFFORTS)}")
            return value
        case "trust":
            if not isinstance(value, str | Iterable) or not all(isinstance(tool, str) for tool in value):
                raise ValueError("all, none, or tool names, as one str or a list of them")
            return parsing.trust(value if isinstance(value, str) else ",".join(value))
        case "env":
            if not isinstance(value, Mapping) or not all(isinstance(x, str) for pair in value.items() for x in pair):
                raise ValueError("a dict of str to str")
            check_env(value)
            return dict(value)
        case _:
            if not isinstance(value, str) or not value.strip() or "\0" in value:
                raise ValueError("a str that is not blank")
            return value
