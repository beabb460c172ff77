"""Begins conversations on an engine, and runs one turn of `kiro-cli chat`.

The chat in a terminal is in interactive.py.
"""

from __future__ import annotations

import os

from . import agents, mcp, models, out, replies
from .failures import Failure, Refused
from .places import api_key_only
from .screen import ScreenV2
from .turn import Turn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .args import Options
    from .protocols import Screen, Session, Store


def main(options: Options, kinds: dict[str, Any]) -> int:
    """Run one turn without a terminal; the exit code."""
    prompt = _prompt(options)
    kinds = {**kinds, **refusals()}
    if options.engine == "v1":
        from . import slash

        prompt = prompt.strip()
        if slash.is_one(prompt):
            return slash.run(prompt)
    return _turn(options, kinds, prompt)


def refusals() -> dict[str, Any]:
    """Find what the service has against the login, as misbehaviours; without a login a turn fails."""
    if api_key_only():
        return {}
    from . import login

    return login.require()


def store_of(engine: str) -> Store:
    """Load this engine's sessions."""
    if engine == "v1":
        from . import store_v1

        return store_v1
    if engine == "v3":
        from . import store_v3

        return store_v3
    from . import store

    return store


def screen_of(options: Options, kinds: dict[str, Any], *, says_trust: bool = True) -> Screen:
    """Make the screen that has this engine's layout."""
    if options.output_format == "stream-json":
        from . import stream

        return stream.Stream(options.engine, kinds)
    if options.engine == "v1":
        from . import screen_v1

        return screen_v1.ScreenV1(kinds, trusts_all=options.trust_all and says_trust)
    if options.engine == "v3":
        from . import names

        return ScreenV2(kinds, names.v3_title)
    return ScreenV2(kinds)


def _prompt(options: Options) -> str:
    """Read the prompt, as it is: positional, else all of stdin."""
    prompt = options.prompt
    if prompt is None and not os.isatty(0):
        chunks = []
        try:
            while True:
                chunk = os.read(0, 1 << 20)
                if not chunk:
                    break
                chunks.append(chunk)
        except OSError:
            pass  # no stdin at all is an empty one
        prompt = b"".join(chunks).decode("utf-8", "replace")
    if not prompt or not prompt.strip():
        raise Failure("error: Input must be supplied when running in non-interactive mode")
    return prompt


def _turn(options: Options, kinds: dict[str, Any], prompt: str) -> int:
    """Run the turn, show how it ended, and return the exit code."""
    shown, turn, code = screen_of(options, kinds), None, 0
    try:
        if kinds:
            from . import misbehave

            misbehave.before_the_session(kinds)
        shown.started()
        if options.engine == "v3":
            from . import first_run

            first_run.agents(interactive=False)
        turn = _begin(options, kinds, prompt, shown)
        turn.run(prompt)
    except KeyboardInterrupt:
        if turn:
            shown.cancelled(turn)
        return 130
    except Failure as failure:
        if not shown.failed(turn, str(failure)):
            raise
        return failure.code
    except Refused as refusal:
        assert turn is not None
        shown.refused(turn, str(refusal))
        code = refusal.code or shown.failure_code
    else:
        shown.end(turn)
    finally:
        if turn is not None and turn.servers:
            turn.servers.close()
    if not kinds:
        return code
    misbehave.after_the_turn(kinds)
    return int(misbehave.number(kinds.get("exit"), 1 if "exit" in kinds else code))


def _begin(options: Options, kinds: dict[str, Any], prompt: str, shown: Screen) -> Turn:
    """Make the turn, on the session it continues or a new one."""
    scripted = [] if "answers_nothing" in kinds else replies.load()
    session, agent = begin(options, kinds, prompt)
    trust = trust_of(options, kinds, agent)
    trust.warn()
    servers = mcp.begin(agent, required=options.require_mcp)
    session.begun_with(servers)
    return Turn(session, shown, trust, scripted, kinds, agent, servers)


def trust_of(
    options: Options, kinds: dict[str, Any], agent: dict[str, Any], kind: type[agents.Trust] = agents.Trust
) -> agents.Trust:
    """Decide by the flags and the agent which calls may run."""
    denied = kinds.get("denied")
    return kind(agent, everything=options.trust_all, named=options.trust, denied=denied, engine=options.engine)


def begin(options: Options, kinds: dict[str, Any], prompt: str) -> tuple[Session, dict[str, Any]]:
    """Open the session with its agent and model. They answer in it from now on; return session and agent."""
    session, resumed = _session(options, prompt, kinds)
    if options.engine == "v3":
        from . import memory, package_v3

        memory.begin(session.history)
        package_v3.begin(vars(session)["state"], options.effort)
    falls_back = options.engine == "v1" or "agent_fallback" in kinds
    agent = agents.find(options.agent or (session.agent_name if resumed else None), falls_back=falls_back)
    model = options.model or (None if resumed else agent.get("model"))
    if model and "model_refused" in kinds:
        out.write(2, f"[warn] failed to set model '{model}': Method not found\n")
        model = None
    session.use(agent["name"], models.find(model) if model else None)
    return session, agent


def _session(options: Options, prompt: str, kinds: dict[str, Any]) -> tuple[Session, bool]:
    """Open the session to continue, or a new one; True when it is continued."""
    store, kept = store_of(options.engine), "no_session" not in kinds
    if "forgets" not in kinds:
        if options.resume_id is not None:
            return store.load(options.resume_id, kept=kept), True
        resumed = store.newest(kept=kept) if options.resume else None
        if resumed:
            return resumed, True
    return store.create(prompt, agents.DEFAULT, models.find("auto"), kept=kept), False
