"""What one turn is asked, and how kiro-cli is launched for it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from secrets import token_hex

from pytest_kiro.agent.bench import Bench
from pytest_kiro.agent.options import RunOptions
from pytest_kiro.agent.workspace import Workspace
from pytest_kiro.errors import HIDE_FRAMES, SandboxError, SettingsError
from pytest_kiro.kirocli import commands
from pytest_kiro.sandbox.protocol import Sandbox
from pytest_kiro.standin.scenario import Reply
from pytest_kiro.terminal.launch import Launch

__tracebackhide__ = HIDE_FRAMES


@dataclass(frozen=True)
class Resume:
    """Where a turn goes on: a session, and how many prompts and turns of it are old."""

    session_id: str | None = None
    prompts: int = 0
    turns: int = 0


@dataclass(frozen=True)
class Request:
    """What one turn is asked: its prompt, how it is run, where it goes on.

    `number` counts from 1 in the conversation; `silence` is after how many seconds a condition looks at a silent one;
    `history` warns of how it came about; `reply` is what a scripted kiro-cli answers.
    """

    prompt: str
    options: RunOptions
    number: int
    resume: Resume
    silence: float = math.inf
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
        plain = launch(bench, words, path, options.env, self.reply)
        return replace(
            plain,
            stdin=commands.check_prompt(self.prompt),
            stores=bench.engine.stores_for(plain.env, path),
            make=make,
            durable=bench.sandbox.remote,
            apart=bench.streams,
        )


def launch(bench: Bench, words: Iterable[str], workspace: str, env: Mapping[str, str], reply: Reply | None) -> Launch:
    """Return how to start kiro-cli with `words`; its input is typed."""
    nonce = token_hex(8)
    folder = f".local/state/{nonce}"  # not a cache: an agent may clear those
    files, scripted = _answers(bench, folder, reply)
    return Launch(
        argv=(bench.installation.path, *words),
        workspace=workspace,
        folder=folder,
        nonce=nonce,
        stdin=None,
        env={"PATH": bench.path, **commands.QUIET, **env, **scripted},
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
