"""Runs one turn: the prompt, its model requests and their tool calls, on any engine."""

from __future__ import annotations

import time

from . import agents, replies
from .failures import Failure, Refused
from .screen import NoScreen
from .toolargs import ToolError
from .tools import Call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .protocols import Screen, Session


class Turn:
    """A turn of a conversation, or of a sub-agent's."""

    def __init__(
        self,
        session: Session,
        screen: Screen,
        trust: agents.Trust,
        scripted: list[list[Any]],
        kinds: dict[str, Any],
        agent: dict[str, Any],
    ) -> None:
        self.session = session
        self.screen = screen
        self.trust = trust
        self.replies = scripted
        self.kinds = kinds
        self.agent = agent
        self.started = time.monotonic_ns()
        self.said: list[str] = []
        self.requests = self.cycles = self.tools_run = 0
        self.last_text = ""
        self.calls: list[Call] = []
        self.metering: list[dict[str, Any]] = []
        self.context_usage = 0.0

    @property
    def elapsed(self) -> int:
        """How long it has been running, in nanoseconds."""
        return time.monotonic_ns() - self.started

    def run(self, prompt: str) -> None:
        """Answer the prompt; the session is complete afterwards, also after an error."""
        self.said.append(prompt)
        self.session.open()
        self.session.prompt(prompt)
        self._measure()
        self.screen.begin(self)
        try:
            self._answer()
        except KeyboardInterrupt:
            self._finish("Cancelled", "The turn was cancelled")
            raise
        except Refused as refusal:
            self._finish("Error", refusal.record)
            raise
        except Failure as failure:
            self._finish("Error", str(failure))
            raise
        self._finish("UserTurnEnd")

    def _answer(self) -> None:
        """Ask for replies until one has no tool call."""
        if self.kinds:
            from . import misbehave

            misbehave.refuse(self.kinds, self.requests)
            misbehave.before_the_reply(self.kinds, self.screen)
        while self._request():
            if self.kinds:
                misbehave.refuse(self.kinds, self.requests)

    def _request(self) -> bool:
        """Send one model request; True when its tool calls need another one."""
        if "compaction" in self.kinds and self.requests == max(len(self.replies) - 1, 0):
            self.session = self.session.compacted(self.said)
        items = self.replies[self.requests] if self.requests < len(self.replies) else []
        self.requests += 1
        self.screen.message()
        texts: list[str] = []
        calls: list[Call] = []
        for item in items:
            if isinstance(item, str):
                texts.append(replies.recall(item, self.session.history))
                self.screen.say(texts[-1])
            else:
                calls.append(Call(item))
        if self.kinds:
            from . import misbehave

            misbehave.after_the_text(self.kinds, self.requests)
        self.last_text = "".join(texts)
        self.said.append(self.last_text)
        self.session.answered(self.last_text, calls)
        if calls:
            self.cycles += 1
            self._run_tools(calls)
        return bool(calls)

    def _run_tools(self, calls: list[Call]) -> None:
        for call in calls:
            self.calls.append(call)
            self.screen.call(call)
            if not call.error and not self.trust.permits(call):
                call.deny()
                if not self.trust.asks:
                    self.screen.denied(call)
            self.session.began(call)
            if not call.error:
                self.tools_run += 1
                self._execute(call)
            self.screen.ran(call)
        self.session.results(calls)

    def _execute(self, call: Call) -> None:
        if call.tool == "subagent":
            self._delegate(call)
        else:
            call.execute(self.screen.live(call))

    def _delegate(self, call: Call) -> None:
        """Let a sub-agent answer, with a conversation of its own; its last text is the result."""
        try:
            agent = agents.find(call.agent)
        except Failure as failure:
            call.error = ToolError(str(failure).replace("error: ", ""))
            return
        prompt = call.kind["SpawnSubagent"]["subagents"][0]["query"]
        session = self.session.child(prompt, agent["name"], call.id)
        child = Turn(session, NoScreen(), agents.Trust(agent, self.trust), call.requests, {}, agent)
        child.run(prompt)
        self.session.joined(session, child.last_text)
        call.items = [{"Text": child.last_text}]

    def _measure(self) -> None:
        """Measure how full the context window is, at four characters a token."""
        characters = sum(map(len, self.session.history)) + sum(map(len, self.said))
        window = self.session.model["context_window_tokens"]
        self.context_usage = round(min(100.0, characters / 4 / window * 100), 7)

    def _finish(self, end_reason: str, error: str | dict[str, str] | None = None) -> None:
        """Record how the turn ended."""
        if "credits" in self.kinds:
            from . import misbehave

            self.metering = misbehave.metering(self.kinds, self.requests)
        self._measure()
        self.session.finish(self, end_reason, error)
