"""`kiro-cli chat`: its flags, and one turn of it; the chat in a terminal is in interactive.py."""

from __future__ import annotations

import os

from . import agents, args, login, models, replies, screen
from .failures import Failure, Refused
from .turn import Turn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def main(argv: list[str]) -> int:
    """Run `chat` with these arguments and return its exit code."""
    options = args.parse(argv)
    if options.help:
        screen.write(1, args.HELP)
        return 0
    if options.list_models:
        screen.write(1, models.listing(options.format))
        return 0
    if options.list_sessions:
        screen.write(2, store_of(options.engine).listing())
        return 0
    if options.delete_session is not None:
        store_of(options.engine).delete(options.delete_session)
        screen.write(2, f"Deleted session {options.delete_session}\n")
        return 0
    streams = options.output_format == "stream-json"
    if streams and options.engine == "v1":
        from . import stream

        stream.error(None, "engine", stream.NOT_ON_V1)
        return 1
    kinds = _misbehaviour()
    if not options.no_interactive and not streams:
        from . import interactive

        return interactive.main(options, kinds)
    prompt = _prompt(options)
    kinds = {**kinds, **login.require()}
    if options.engine == "v1":
        from . import slash

        prompt = prompt.strip()
        if slash.is_one(prompt):
            return slash.run(prompt)
    return _turn(options, kinds, prompt)


def store_of(engine: str) -> Any:
    """The module with this engine's sessions: they have the same functions."""
    if engine == "v1":
        from . import store_v1 as module
    elif engine == "v3":
        from . import store_v3 as module  # type: ignore[no-redef] # one of three, loaded when used
    else:
        from . import store as module  # type: ignore[no-redef] # one of three, loaded when used
    return module


def screen_of(options: args.Options, kinds: dict[str, Any], *, says_trust: bool = True) -> screen.Nothing:
    """Where the turn is shown, in this engine's layout."""
    if options.output_format == "stream-json":
        from . import stream

        return stream.Stream(options.engine, kinds)
    if options.engine == "v1":
        from . import screen_v1

        return screen_v1.Screen(kinds, trusts_all=options.trust_all and says_trust)
    if options.engine == "v3":
        from . import names

        return screen.Screen(kinds, names.v3_title)
    return screen.Screen(kinds)


def _misbehaviour() -> dict[str, Any]:
    if not os.environ.get("KIRO_STANDIN_MISBEHAVE"):
        return {}
    from . import misbehave

    return misbehave.load()


def _prompt(options: args.Options) -> str:
    """The prompt, as it is: positional, else all of stdin."""
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


def _turn(options: args.Options, kinds: dict[str, Any], prompt: str) -> int:
    """Run the turn, show how it ended, and return the exit code."""
    shown, turn, code = screen_of(options, kinds), None, 0
    try:
        if kinds:
            from . import misbehave

            misbehave.before_the_session(kinds)
        shown.started()
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
    if not kinds:
        return code
    misbehave.after_the_turn(kinds)
    return int(misbehave.number(kinds.get("exit"), 1 if "exit" in kinds else code))


def _begin(options: args.Options, kinds: dict[str, Any], prompt: str, shown: screen.Nothing) -> Turn:
    """The turn, on the session that it continues or on a new one."""
    scripted = [] if "answers_nothing" in kinds else replies.load()
    session, agent = begin(options, kinds, prompt)
    trust = trust_of(options, kinds, agent)
    trust.warn()
    return Turn(session, shown, trust, scripted, kinds, agent)


def trust_of(
    options: args.Options, kinds: dict[str, Any], agent: dict[str, Any], kind: type[agents.Trust] = agents.Trust
) -> agents.Trust:
    """Who may run, by the flags and the agent."""
    denied = kinds.get("denied")
    return kind(agent, everything=options.trust_all, named=options.trust, denied=denied, engine=options.engine)


def begin(options: args.Options, kinds: dict[str, Any], prompt: str) -> tuple[Any, dict[str, Any]]:
    """The session, with the agent and the model that answer in it from now on; and the agent."""
    session, resumed = _session(options, prompt, kinds)
    falls_back = options.engine == "v1" or "agent_fallback" in kinds
    agent = agents.find(options.agent or (session.agent_name if resumed else None), falls_back=falls_back)
    model = options.model or (None if resumed else agent.get("model"))
    session.use(agent["name"], models.find(model) if model else None)
    return session, agent


def _session(options: args.Options, prompt: str, kinds: dict[str, Any]) -> tuple[Any, bool]:
    """The session to continue, or a new one; and which of the two it is."""
    store, kept = store_of(options.engine), "no_session" not in kinds
    if "forgets" not in kinds:
        if options.resume_id is not None:
            return store.load(options.resume_id, kept=kept), True
        resumed = store.newest(kept=kept) if options.resume else None
        if resumed:
            return resumed, True
    return store.create(prompt, agents.DEFAULT, models.find("auto"), kept=kept), False
