"""Says what answered a turn, so that two turns can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Literal, Self

from pytest_kiro.secrecy.visible import escaped
from pytest_kiro.turn.shown import listed, short

Memory = Literal["off", "on", "unknown"]
#: Characters that are shown of a value: a session store has it, which an agent can write.
_WIDTH = 80


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What answered a turn: the program, its engine and agent, the model, and what it was set to.

    - `engine` (v1, v2, v3) and `cli_version` are kiro-cli's, `agent_version` is that of the package `@kiro/agent` which
      engine V3 runs, None where nothing says it. `agent_asked` is Kiro's agent that was asked for, None for its own.
    - `model_asked` is what was asked for, `model` what answered, None where nothing says it; `effort` is the
      session's, else as asked for.
    - `model_fallback` is why kiro-cli moved the turn, or an agent of it, to another model in its middle (`unavailable`,
      `refused`), None where nothing says that it did; V2 tells on its event stream only.
    - `memory` is whether kiro-cli carries memories from one session to the next: off, on, or unknown.
    - `features` are those that variables (`KIRO_ROLLOUT_FEATURES` …) or the session say are switched on, sorted.
    - `recorded` is the day (UTC) of the recording that was replayed, None where kiro-cli has run.

    >>> def test_as_asked(kiro):
    ...     turn = kiro.run("Say hello.", model="claude-haiku-4.5")
    ...     assert turn.provenance.model == turn.provenance.model_asked
    """

    engine: Annotated[str, "v1, v2 or v3."] = ""
    cli_version: Annotated[str, "Of kiro-cli."] = ""
    agent_version: Annotated[str | None, "Of engine V3's package @kiro/agent, null where nothing says it."] = None
    agent_asked: Annotated[str | None, "Kiro's agent that was asked for, null for its own."] = None
    model_asked: Annotated[str | None, "What was asked for, null for kiro-cli's own choice."] = None
    model: Annotated[str | None, "What answered, null where nothing says it."] = None
    effort: Annotated[str | None, "What the session says, else was asked for; null for kiro-cli's own choice."] = None
    model_fallback: Annotated[str | None, "Why the turn was moved to another model, null when it was not."] = None
    memory: Annotated[Memory, "Whether memories go from one session to the next."] = "unknown"
    features: Annotated[tuple[str, ...], "Features that variables or the session say are switched on, sorted."] = ()
    recorded: Annotated[str | None, "The day (UTC) of the recording that was replayed, null where kiro-cli ran."] = None

    @property
    def other_model(self) -> bool:
        """Whether another model answered than was asked for, also in parts.

        Then the turn shows nothing of the model that was asked for. One that was asked for as `auto` may be any.

        >>> Provenance(model_asked="claude-sonnet-4.5", model="auto").other_model
        True
        """
        asked = self.model_asked not in (None, "auto") and self.model not in (None, self.model_asked)
        return asked or self.model_fallback is not None

    @property
    def doubt(self) -> str:
        """What a reader should know of the model; empty where it is as asked."""
        if not self.other_model or self.model_asked in (None, self.model):
            return ""
        model = self.model or "one that kiro-cli does not name"
        return f"the model {_shown(self.model_asked)} was asked for, and {_shown(model)} answered"

    @property
    def described(self) -> str:
        """One line of all that is known.

        >>> Provenance(engine="v3", cli_version="3.5.0", model_asked="auto", memory="off").described
        'kiro-cli 3.5.0, engine v3, model asked auto, memory off'
        """
        known = {one.name: getattr(self, one.name) for one in fields(self)}
        if self.model == self.model_asked:
            del known["model_asked"]
        return ", ".join(f"{_NAMES[name]} {_shown(known[name])}" for name in _NAMES if known.get(name))

    def differences(self, other: Provenance) -> tuple[str, ...]:
        """Name what differs in another one, as `name here → there`.

        >>> Provenance(cli_version="2.29.0").differences(Provenance(cli_version="3.5.0", memory="off"))
        ('kiro-cli 2.29.0 → 3.5.0', 'memory unknown → off')
        """
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in _NAMES}
        return tuple(f"{_NAMES[n]} {_shown(one)} → {_shown(two)}" for n, (one, two) in pairs.items() if one != two)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON has it."""
        return {**asdict(self), "features": list(self.features)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return what `to_json` was asked of; a missing key is a `KeyError`."""
        values = {one.name: data[one.name] for one in fields(cls)}
        return cls(**{**values, "features": tuple(values["features"])})


#: What each field is called, in the order in which they are shown.
_NAMES = {
    "cli_version": "kiro-cli",
    "engine": "engine",
    "agent_version": "agent",
    "agent_asked": "agent asked",
    "model_asked": "model asked",
    "model": "model",
    "effort": "effort",
    "model_fallback": "model fallback",
    "memory": "memory",
    "features": "features",
    "recorded": "recorded",
}


def _shown(value: str | tuple[str, ...] | None) -> str:
    text = value if isinstance(value, str) else listed(list(value or ()), _WIDTH)
    return short(escaped(text), _WIDTH) or "not known"
