"""How kiro-cli is launched for a turn, and for a terminal."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from secrets import token_hex

from pytest_kiro.agent.bench import Bench
from pytest_kiro.agent.homes import OwnerHome
from pytest_kiro.agent.request import Request, RunOptions
from pytest_kiro.agent.workspace import VARIABLES, Workspace
from pytest_kiro.errors import HIDE_FRAMES, SandboxError, SettingsError
from pytest_kiro.kirocli import commands, state
from pytest_kiro.sandbox.protocol import Sandbox
from pytest_kiro.standin.scenario import Reply
from pytest_kiro.terminal.launch import Launch

__tracebackhide__ = HIDE_FRAMES


def launch_for(request: Request, bench: Bench, workspace: Workspace, *, lists_all: bool = False) -> Launch:
    """Return how to start Kiro for a turn.

    With `lists_all` its lists of files come back with all digests, also where nothing changed.
    """
    options, (path, make) = request.options, workspace.for_launch()
    words = commands.chat(
        bench.engine,
        stream=bench.streams,
        resume=request.resume.session_id,
        agent=options.agent,
        model=options.model,
        effort=options.effort,
        trust=options.trust,
    )
    home = workspace.owner_home
    plain = launch(bench, words, path, home, options, request.reply)
    session, settings = request.resume.session_id, state.settings_files(bench.engine, path)
    unlocking = state.unlocking(bench.engine, session, plain.env, path, home.path, alone=bool(home.own))
    return replace(
        plain,
        stdin=commands.check_prompt(request.prompt),
        stores=tuple(dict.fromkeys([*bench.engine.stores_for(plain.env, path), *settings, *home.stores])),
        left_out=commands.STATE,
        patterns=state.package_files(bench.engine, bench.installation.version),
        since="" if lists_all else workspace.ledger.since,
        lists_all=lists_all,
        make=make,
        prepare=plain.prepare if make else f"{plain.prepare}{_intact(path)}{unlocking}",
        durable=bench.sandbox.remote,
        logs=bench.homes.logs,
        apart=bench.streams,
    )


def _intact(folder: str) -> str:
    """Return commands that end a launch unless a workspace is a folder."""
    path, why = shlex.quote(folder), shlex.quote(f"{folder} is no folder of ours any more")
    return f"[ -d {path} ] && [ ! -L {path} ] || {{ echo {why}; exit 126; }}\n"


def launch(
    bench: Bench, words: Iterable[str], workspace: str, home: OwnerHome, options: RunOptions, reply: Reply | None
) -> Launch:
    """Return how to start kiro-cli with `words`; its input is typed."""
    nonce = token_hex(8)
    folder = f".local/state/{nonce}"  # not a cache: an agent may clear those
    files, scripted = _answers(bench, folder, reply)
    remembering = state.remembering(bench.engine, options.env, home.path, memory=options.memory, alone=bool(home.own))
    return Launch(
        argv=(bench.installation.path, *words),
        workspace=workspace,
        folder=folder,
        nonce=nonce,
        home=home.own,
        prepare=home.making(workspace) + remembering,
        stdin=None,
        env={
            "PATH": f"{home.own}/.local/bin:{bench.path}" if home.own else bench.path,
            **commands.QUIET,
            **VARIABLES,
            **options.env,
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
    return {"replies.json": reply.mock_json(real=not bench.installation.scripted)}, env


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
