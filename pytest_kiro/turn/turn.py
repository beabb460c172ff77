"""A turn as a value, and the errors that carry one."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol

from pytest_kiro.errors import HIDE_FRAMES, ConversationError, KiroError, SandboxError
from pytest_kiro.turn.calls import Commands, ToolCalls
from pytest_kiro.turn.causes import Cause, Status, exit_name
from pytest_kiro.turn.changes import KINDS, Changes, Paths
from pytest_kiro.turn.loaded import Given, Kind, Loaded, find
from pytest_kiro.turn.provenance import Provenance
from pytest_kiro.turn.transcript import ToolCall, ToolStatus

__tracebackhide__ = HIDE_FRAMES


class Home(Protocol):
    """The conversation of a turn, as far as a value knows it."""

    # `Any`, since a value stands below the machines: the types are those of agent/conversation.py.
    @property
    def workspace(self) -> Any: ...

    @property
    def run(self) -> Callable[..., Turn]: ...


@dataclass(frozen=True, repr=False)
class Turn:
    """One prompt and all that came of it.

    - `output`: what a terminal showed, stdout and stderr merged, decoded, without control characters, CRLF as LF,
      a lone CR starting its line over. `raw`: the same as bytes. Both keep 16 MiB; beyond that the middle is
      gone and `truncated` is True, as when the link to the sandbox was lost and the rest was not to be had.
    - `text`: the last assistant message; `messages`: all of them; `tool_calls`: what Kiro did. These come from
      the session store, or from the event stream; `agents` are the messages of sub-agents, of the nodes of V3's
      workflows and of other agents, by their names, whose calls say so in `call.agent`. On engine V2 no tool output is
      printed, so it is in `tool_calls`, not in `output`.
    - `diagnostics`: with `--kiro-output=stream-json`, what kiro-cli wrote to stderr (the last 256 KiB), else empty.
    - `status`: completed, failed, timed_out, stopped or lost. `proof` says what proves a completed turn (`session`,
      `runFinished`, or V1's line of `credits`), since exit code 0 proves nothing; `cause` and `detail` say why another
      one is not; docs/outcomes.md has the whole table.
    - `prompt` is what was asked. `number` counts from 1 in its `conversation`; `exit_code` is the CLI's, None when it
      was killed; `session_id` is kiro-cli's own name of the conversation. `provenance` says what answered: kiro-cli,
      its engine, the model, what it was set to; `engine`, `version`, `model` and `model_asked` are read from it.
    - `duration` and `first_output_after` are in seconds, the latter None when nothing was printed.
    - `credits` is None where nothing was metered. Those of a conversation's turns, added up as decimal numbers, are
      what kiro-cli says of the whole. `credits_source` says where they stand, empty where they are None: `session`
      (V3's `creditSplit`, which has compaction and the start of a session as well), `summaries` (V3's summaries of
      turns, which have not), `sidecar` (`metering_usage` beside V2's session), `conversation` (V1's row), `trailer`
      (V1's line of credits), `stream` (the event stream).
    - `changes`: what this turn changed in `workspace`, by content; `outside`: in the rest of its HOME, but for what is
      Kiro's own. `survivors`: processes that it left and that had to be ended, or could not be, each as "PID name".
    - `known_changes`, `known_outside`, `given` and `home` are what `changes`, `outside`, `loaded` and an error's advice
      are read from.
    - `warnings`: what a reader should know, such as a record in the session store that could not be read, or that
      this turn was run again after a failure of the world's (`--kiro-retries`).

    >>> def test_donut(kiro):
    ...     turn = kiro.run("Write donut.js")
    ...     assert turn.used("write") and "donut.js" in turn.changes.added
    """

    prompt: str
    number: int
    output: str
    raw: bytes
    truncated: bool
    diagnostics: str
    exit_code: int | None
    status: Status
    cause: Cause | None
    detail: str
    proof: str | None
    duration: float
    first_output_after: float | None
    messages: tuple[str, ...]
    tool_calls: ToolCalls
    credits: float | None
    credits_source: str
    provenance: Provenance
    session_id: str | None
    known_changes: Changes | None
    known_outside: Changes | None = None
    survivors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    agents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    given: Given = field(default_factory=Given)
    home: Home | None = field(default=None, compare=False)

    @property
    def ok(self) -> bool:
        """Whether it completed, with proof."""
        return self.status == "completed"

    @property
    def engine(self) -> str:
        """The engine of kiro-cli that was asked: v1, v2 or v3."""
        return self.provenance.engine

    @property
    def version(self) -> str:
        """The version of kiro-cli."""
        return self.provenance.cli_version

    @property
    def model(self) -> str | None:
        """The model that answered, None where nothing says it."""
        return self.provenance.model

    @property
    def model_asked(self) -> str | None:
        """The model that was asked for, None for kiro-cli's own choice."""
        return self.provenance.model_asked

    @property
    def conversation(self) -> Home:
        """The conversation that it is part of; `ConversationError` for a turn that was read from a file."""
        if self.home is None:
            raise ConversationError(
                f"turn {self.number} was read from a file, so it has no conversation and no workspace",
                advice="ask Kiro again to have them",
            )
        return self.home

    @property
    def workspace(self) -> Any:
        """The `Workspace` that it worked in; `ConversationError` for a turn that was read from a file."""
        return self.conversation.workspace

    @property
    def text(self) -> str:
        """The last assistant message, empty when there is none."""
        return self.messages[-1] if self.messages else ""

    @property
    def changes(self) -> Changes:
        """What this turn changed in its workspace, by content; `SandboxError` when unknown."""
        if self.known_changes is None:
            raise SandboxError(f"what {self.summary} changed is not known: {self.detail}", advice="run it again")
        return self.known_changes

    @property
    def outside(self) -> Changes:
        """What this turn changed in HOME outside of its workspace.

        It goes by size and times; `SandboxError` when it is not known. Paths are relative to HOME. What is Kiro's own
        there, such as its sessions, is left out.
        """
        if self.known_outside is None:
            what = f"what {self.summary} changed outside of its workspace is not known: {self.detail}"
            raise SandboxError(what, advice="run it again")
        return self.known_outside

    @property
    def commands(self) -> Commands:
        """The shell commands that Kiro and its sub-agents executed, in order; denied ones are not among them."""
        return self.tool_calls.commands

    @property
    def files_written(self) -> Paths:
        """What its write calls wrote, as paths relative to the workspace; what a command wrote is in `changes`."""
        return self.tool_calls.files_written

    def used(
        self,
        name: str,
        *,
        path: str | None = None,
        pattern: str | None = None,
        status: ToolStatus | None = None,
        agent: str | None = None,
    ) -> ToolCalls:
        """Return the calls of the tool `name`, falsy when there is none: a denied call was not used, a failed one was.

        The name is V2's word on every engine: read, write, shell, grep, glob, @server/tool. The others are those of
        `tool_calls.filter`: a path or a glob, a regular expression, a status, a sub-agent.

        >>> def test_writes_python_only(kiro):
        ...     turn = kiro.run("Write a clock.")
        ...     assert turn.used("write", path="src/*.py") and not turn.used("shell", pattern=r"\brm\b")
        """
        return self.tool_calls.used(name, path=path, pattern=pattern, status=status, agent=agent)

    def loaded(self, kind: Kind, name: str) -> Loaded:
        """Return whether this turn was given something, and what says so.

        `kind` is `skill`, `steering` (a file), `agent` or `mcp` (a server); `name` is the skill's folder, the steering
        file without `.md`, the agent's or the server's name, or a pattern such as `*` for any. It goes by what kiro-cli
        has recorded; where that does not say, neither true nor false would be right, and `NotRecorded` is raised.
        docs/asserting.md has what each engine can say.

        >>> import pytest
        >>> @pytest.mark.kiro(workspace="projects/shop")
        ... def test_release_notes(kiro):
        ...     turn = kiro.run("Write the notes of release 1.2.")
        ...     assert turn.loaded("skill", "release-notes") and not turn.loaded("skill", "code-review")
        """
        printed = f"{self.output}\n{self.diagnostics}"
        return find(kind, name, self.tool_calls, self.given, engine=self.engine, prompt=self.prompt, printed=printed)

    @property
    def summary(self) -> str:
        """One line: how it ended, how long it took, what it used."""
        ending = self.status if self.kind in ("", self.status) else f"{self.status} ({self.kind})"
        spent = "" if self.credits is None else f", {self.credits:.2f} credits"
        used = len(self.tool_calls)
        calls = f", {used} tool call{'s' * (used > 1)}" if used else ""
        code = "" if self.exit_code in (0, None) else f", exit code {exit_name(self.exit_code)}"
        return f"turn {self.number} {ending} in {self.duration:.1f} s{calls}{spent}{code}"

    @property
    def kind(self) -> str:
        """The cause, and whether the world was at fault: `throttled: infrastructure`."""
        if self.cause is None:
            return ""
        return f"{self.cause}: infrastructure" if self.cause.infrastructure else str(self.cause)

    def to_json(self) -> dict[str, Any]:
        """Return all of it but its conversation as JSON has it; `raw` is Base64.

        >>> import json
        >>> def test_kept(kiro, tmp_path):
        ...     (tmp_path / "turn.json").write_text(json.dumps(kiro.run("Say hello.").to_json()))
        """
        return {
            **{one.name: getattr(self, one.name) for one in fields(self) if one.name != "home"},
            "raw": b64encode(self.raw).decode("ascii"),
            "cause": None if self.cause is None else str(self.cause),
            "messages": list(self.messages),
            "tool_calls": [asdict(call) for call in self.tool_calls],
            "folder": self.tool_calls.folder,
            "provenance": self.provenance.to_json(),
            "known_changes": _changes_to_json(self.known_changes),
            "known_outside": _changes_to_json(self.known_outside),
            "survivors": list(self.survivors),
            "warnings": list(self.warnings),
            "agents": {name: list(said) for name, said in self.agents.items()},
            "given": asdict(self.given),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Turn:
        """Return the turn that `to_json` was asked of, without its conversation; a missing key is a `KeyError`."""
        values = {one.name: data[one.name] for one in fields(cls) if one.name != "home"}
        values |= {
            "raw": b64decode(data["raw"]),
            "cause": None if data["cause"] is None else Cause(data["cause"]),
            "messages": tuple(data["messages"]),
            "tool_calls": ToolCalls(map(_call, data["tool_calls"]), folder=data["folder"]),
            "provenance": Provenance.from_json(data["provenance"]),
            "known_changes": _changes_from_json(data["known_changes"]),
            "known_outside": _changes_from_json(data["known_outside"]),
            "survivors": tuple(data["survivors"]),
            "warnings": tuple(data["warnings"]),
            "agents": {name: tuple(said) for name, said in data["agents"].items()},
            "given": Given.from_json(data["given"]),
        }
        return cls(**values)

    def __hash__(self) -> int:
        return hash((self.session_id, self.number, self.prompt))  # not all that it has can be hashed

    def __repr__(self) -> str:
        prompt = self.prompt if len(self.prompt) <= 60 else f"{self.prompt[:59]}…"
        return f"<Turn {self.number} {self.status} {prompt!r}>"


def _changes_to_json(changes: Changes | None) -> dict[str, Any] | None:
    if changes is None:
        return None
    kinds: dict[str, Any] = {kind: sorted(getattr(changes, kind)) for kind in KINDS}
    return kinds | {"ignored": _changes_to_json(changes.by_the_way)} if changes.by_the_way else kinds


def _changes_from_json(data: Mapping[str, Any] | None) -> Changes | None:
    if data is None:
        return None
    kinds = {kind: Paths(data[kind]) for kind in KINDS}
    return Changes(**kinds, by_the_way=_changes_from_json(data.get("ignored")))


def _call(data: Mapping[str, Any]) -> ToolCall:
    return ToolCall(**{**data, "calls": tuple(map(_call, data["calls"]))})


class TurnError(KiroError):
    """A turn did not complete; `.turn` is always attached."""

    def __init__(self, what: str, turn: Turn, *, advice: str = "", output: str = "") -> None:
        super().__init__(what, advice=advice, output=output)
        self.turn = turn

    @property
    def infrastructure(self) -> bool:
        """Whether the world was at fault, not the agent."""
        return self.turn.cause is not None and self.turn.cause.infrastructure


class TurnFailed(TurnError):
    """A turn ended without success; `.turn.cause` says why."""


class TurnTimeout(TurnError):
    """A turn was ended because its time was over."""
