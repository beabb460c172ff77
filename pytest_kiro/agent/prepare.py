"""What one turn is started with: arguments, environment, files."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, NamedTuple

from pytest_kiro.agent.options import RunOptions
from pytest_kiro.agent.workspace import Workspace
from pytest_kiro.errors import HIDE_FRAMES, SettingsError
from pytest_kiro.kirocli import commands
from pytest_kiro.standin.scenario import Reply
from pytest_kiro.terminal.launch import Launch

if TYPE_CHECKING:
    from pytest_kiro.agent.kiro import Kiro

__tracebackhide__ = HIDE_FRAMES


class Resume(NamedTuple):
    """Where a turn goes on: a session, and how much of it is old."""

    session_id: str | None = None
    prompts: int = 0
    turns: int = 0


def prepare(
    kiro: Kiro, workspace: Workspace, stdin: bytes, options: RunOptions, resume: Resume, reply: Reply | None
) -> Launch:
    """Return how to start Kiro for one prompt; `reply` is what a scripted one is answered with."""
    nonce = secrets.token_hex(8)
    folder = f".local/state/{nonce}"  # not a cache: an agent may clear those
    files, scripted = answers(kiro, folder, reply)
    env = {"PATH": kiro.path, **commands.QUIET, **options.env, **scripted}
    words = commands.chat(
        kiro.engine,
        stream=kiro.streams,
        resume=resume.session_id,
        agent=options.agent,
        model=options.model,
        effort=options.effort,
        trust=options.trust,
    )
    path, make = workspace.for_launch()
    return Launch(
        argv=(kiro.installation.path, *words),
        workspace=path,
        folder=folder,
        nonce=nonce,
        stdin=stdin,
        env=env,
        hidden_env=kiro.identity.env,
        stores=kiro.engine.stores_for(env, path),
        files=files,
        make=make,
        durable=kiro.sandbox.remote,
        apart=kiro.streams,
    )


def answers(kiro: Kiro, folder: str, reply: Reply | None) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return the files and the variables by which a scripted kiro-cli is told what to answer: none for a model."""
    if reply is None:
        return {}, {}
    if not kiro.installation.scripted:
        _check_real(kiro, reply)
    env = {commands.REPLIES: f"{kiro.sandbox.home}/{folder}/replies.json"}
    if reply.misbehave:
        env[commands.MISBEHAVE] = json.dumps(dict(reply.misbehave))
    return {"replies.json": reply.mock_json()}, env


def _check_real(kiro: Kiro, reply: Reply) -> None:
    """Refuse what only the stand-in can do: with the real CLI it would be said, or ignored."""
    if not kiro.engine.scripted:
        raise SettingsError(
            f"--kiro-replies=scenario: engine {kiro.engine.name} of the real kiro-cli takes no scripted replies; use "
            "--kiro-engine=v2 or v1, or --kiro-cli=scripted"
        )
    if reply.recalls:
        what = "{recall:…}, which only the stand-in can answer"
    elif reply.misbehave:
        what = f"misbehave ({', '.join(reply.misbehave)}), which only the stand-in does"
    else:
        return
    raise SettingsError(
        f"{reply.source} has {what}, but kiro-cli {kiro.version} is the real one; leave it out, or use "
        "--kiro-cli=scripted"
    )
