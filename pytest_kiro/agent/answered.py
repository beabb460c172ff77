"""Puts together what answered a turn."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_kiro.agent.bench import Bench
from pytest_kiro.agent.request import Request, RunOptions
from pytest_kiro.agent.scripted import surprises
from pytest_kiro.kirocli import state
from pytest_kiro.terminal.launch import Launch
from pytest_kiro.terminal.record import LaunchRecord
from pytest_kiro.turn.provenance import Provenance
from pytest_kiro.turn.transcript import Transcript


def answered(
    bench: Bench, launch: Launch, request: Request, record: LaunchRecord | None, transcript: Transcript
) -> tuple[Provenance, list[str]]:
    """Return what answered, and warnings where it is not what was asked."""
    options = request.options
    launch = launch.within(bench.sandbox.home)
    places = launch.absolute(state.settings_files(bench.engine, launch.workspace))
    alone, files = launch.home != bench.sandbox.home, record.stores if record else None
    memory, doubt = state.memory_of(bench.engine, launch.env, files, places, memory=options.memory, alone=alone)
    provenance = Provenance(
        engine=bench.engine.name,
        cli_version=bench.installation.version,
        agent_version=state.package_version(bench.engine, files or {}),
        agent_asked=options.agent,
        model_asked=options.model,
        model=transcript.model,
        model_fallback=transcript.fallback.cause if transcript.fallback else None,
        effort=transcript.effort or options.effort,
        memory=memory,
        features=tuple(map(bench.secrets, state.switched(bench.homes.features, launch.env, transcript.features))),
    )
    others = [*not_as_asked(options, transcript), *surprises(request.reply, transcript.tool_calls, launch.workspace)]
    return provenance, [*filter(None, [doubt, provenance.doubt]), *others]


def not_as_asked(options: RunOptions, transcript: Transcript) -> Iterator[str]:
    """Yield what kiro-cli was set to otherwise than asked."""
    if options.effort and transcript.effort not in (None, options.effort):
        yield f"effort {options.effort} was asked for, and the session says {transcript.effort}"
