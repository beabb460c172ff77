"""Says what a turn is asked, as recordings have it."""

from __future__ import annotations

from pytest_kiro.agent.bench import Bench
from pytest_kiro.agent.request import Request
from pytest_kiro.recording.paths import SandboxPaths
from pytest_kiro.recording.values import Asked


def asked_of(bench: Bench, request: Request, paths: SandboxPaths) -> Asked:
    """Return what a request asks, without secrets and with placeholders."""
    options, secrets = request.options, bench.secrets
    return secrets.within(
        Asked(
            prompt=paths.hide(secrets(request.prompt)),
            recorded_as=request.recorded_as,
            model=options.model,
            agent=options.agent,
            effort=options.effort,
            trust=options.trust,
            engine=bench.engine.name,
            memory=options.memory,
            output=bench.settings.output,
        )
    )
