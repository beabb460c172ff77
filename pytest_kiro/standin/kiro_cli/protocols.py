"""The seams of a turn: what it asks of a session, a store and a screen.

For type checkers only: a turn has no time to import `typing`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from .mcp import Servers
from .tools import Call


class RunningTurn(Protocol):
    """What sessions and screens may read of a turn."""

    @property
    def session(self) -> Session:
        """The conversation's session, another one after a compaction."""

    @property
    def agent(self) -> dict[str, Any]:
        """The agent file that answers."""

    @property
    def calls(self) -> list[Call]:
        """All tool calls so far."""

    @property
    def requests(self) -> int:
        """How many requests the model was sent."""

    @property
    def cycles(self) -> int:
        """How many of them had tool calls."""

    @property
    def tools_run(self) -> int:
        """How many tool calls were executed."""

    @property
    def last_text(self) -> str:
        """The text of the last answer."""

    @property
    def metering(self) -> list[dict[str, Any]]:
        """What the requests cost, one entry each; empty without the misbehaviour `credits`."""

    @property
    def ended(self) -> str:
        """How it ended, in V2's word."""

    @property
    def context_usage(self) -> float:
        """How full the context window is, in percent."""

    @property
    def elapsed(self) -> int:
        """How long it has been running, in nanoseconds."""


class Session(Protocol):
    """One conversation, on disk where it is kept: `store.py`, `store_v1.py`, `store_v3.py`."""

    id: str
    kept: bool
    history: list[str]
    """What was said in earlier turns, oldest first."""
    broken: bool
    """Whether its history is one that the program refuses to go on with."""
    nodes: bool
    """Whether its sub-agents are the nodes of a workflow."""
    workflow: dict[str, Any] | None
    """The workflow's node that it is."""

    @property
    def agent_name(self) -> str | None:
        """The agent that answers; None where the engine records none."""

    @property
    def model(self) -> dict[str, Any]:
        """The model that answers."""

    @property
    def execution(self) -> str:
        """V3's id of this turn; empty on other engines."""

    def use(self, agent: str, model: dict[str, Any] | None) -> None:
        """Go on with this agent, and with another model if given."""

    def begun_with(self, servers: Servers | None) -> None:
        """Record which MCP servers run; most engines keep no such record."""

    def open(self) -> None:
        """Become the writer of this session."""

    def prompt(self, text: str) -> None:
        """Record that a turn begins."""

    def answered(self, text: str, calls: list[Call]) -> None:
        """Record the model's answer to one request."""

    def began(self, call: Call) -> None:
        """Record a call before it runs."""

    def results(self, calls: list[Call]) -> None:
        """Record the results of a request's calls."""

    def finish(self, turn: RunningTurn, end_reason: str, error: str | dict[str, str] | None) -> None:
        """Record the end of the turn."""

    def bill(self, parts: dict[str, float]) -> None:
        """Record what was billed, by V3's names; other engines keep no such count."""

    def child(self, prompt: str, agent: str, call_id: str) -> Session:
        """Begin the session of a sub-agent."""

    def joined(self, child: Session, text: str) -> None:
        """Record the answer of a sub-agent."""

    def asked(self, key: str, question: str) -> None:
        """Record a question to the user, which has no answer yet."""

    def withheld(self, call: Call) -> None:
        """Record a call whose arguments are a note."""

    def rewound(self) -> None:
        """Record that what the turn did so far is taken back."""

    def compacted(self, said: list[str]) -> Session:
        """Close this session with a summary, and open another that goes on."""


class Store(Protocol):
    """The module with one engine's sessions."""

    def create(self, prompt: str, agent: str, model: dict[str, Any], *, kept: bool) -> Session:
        """Begin a session for this directory; nothing is written yet."""

    def load(self, session_id: str, *, kept: bool = True) -> Session:
        """Read the session of that id, with what was said in it."""

    def newest(self, *, kept: bool) -> Session | None:
        """Read what `--resume` continues: this directory's newest session in which something was said."""

    def listing(self) -> str:
        """Write what `--list-sessions` prints."""

    def delete(self, session_id: str) -> None:
        """Remove a session."""


class Screen(Protocol):
    """What a turn shows: `screen.py`, `screen_v1.py`, or the events of `stream.py`."""

    failure_code: int
    """The exit code of a turn that the service refused."""

    def started(self) -> None:
        """The program runs; no session is known yet."""

    def begin(self, turn: RunningTurn) -> None:
        """The turn starts."""

    def message(self) -> None:
        """An assistant message begins."""

    def say(self, text: str) -> None:
        """One chunk of the assistant's text comes."""

    def spill(self, data: bytes) -> bool:
        """Print what is no part of the turn; False when nobody reads."""

    def aside(self, kind: str, content: dict[str, Any]) -> None:
        """Something is told that only events have."""

    def call(self, call: Call) -> None:
        """A tool call is announced."""

    def denied(self, call: Call) -> None:
        """A call may not run, and there is no terminal to ask."""

    def live(self, call: Call) -> Callable[[bytes], object] | None:
        """Return the function that takes a command's output while it runs."""

    def ran(self, call: Call) -> None:
        """A tool call ended."""

    def word(self, key: str, title: str, tool: str | None = None) -> None:
        """A word to the user comes as a tool call does; `tool` is what the engine calls it, if anything."""

    def child(self, session: Session) -> Screen:
        """Return what shows a sub-agent that has a session of its own."""

    def end(self, turn: RunningTurn) -> None:
        """The turn went well."""

    def cancelled(self, turn: RunningTurn) -> None:
        """The turn was interrupted."""

    def refused(self, turn: RunningTurn, text: str) -> None:
        """The service did not answer."""

    def failed(self, turn: RunningTurn | None, text: str) -> bool:
        """The command failed; True when that was shown, else it becomes an error on stderr."""
