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

    from .mcp import Servers
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
        servers: Servers | None = None,
    ) -> None:
        self.session = session
        self.screen = screen
        self.trust = trust
        self.replies = scripted
        self.kinds = kinds
        self.agent = agent
        self.servers = servers
        self.started = time.monotonic_ns()
        self.said: list[str] = []
        self.requests = self.cycles = self.tools_run = 0
        self.last_text = ""
        self.calls: list[Call] = []
        self.metering: list[dict[str, Any]] = []
        self.context_usage = 0.0
        self.ended = "UserTurnEnd"

    @property
    def elapsed(self) -> int:
        """How long it has been running, in nanoseconds."""
        return time.monotonic_ns() - self.started

    def run(self, prompt: str) -> None:
        """Answer the prompt; the session is complete afterwards, also after an error."""
        self.said.append(prompt)
        self.session.open()
        self._bill("auxiliary", at_compaction=False)
        self.session.prompt(prompt)
        self._measure()
        self.screen.begin(self)
        try:
            self._begin()
            self._answer()
        except KeyboardInterrupt:
            self._finish("Cancelled", "The turn was cancelled")
            raise
        except Refused as refusal:
            self._finish("Error", refusal.record)
            raise
        except Failure as failure:
            self._finish(failure.reason, str(failure))
            raise
        self._finish(self.ended)

    def _begin(self) -> None:
        """Look at what the session is, where that may be odd."""
        if self.kinds or self.session.broken:
            from . import odd

            odd.begun(self.kinds, self.session)

    def _answer(self) -> None:
        """Ask for replies until one has no tool call."""
        if self.kinds:
            from . import misbehave

            misbehave.refuse(self.kinds, self.requests)
            misbehave.ask_again(self.kinds, self.screen, self.session.model["model_id"])
            if "fallback" in self.kinds:
                self._fall_back()
            misbehave.before_the_reply(self.kinds, self.screen)
        while self._request():
            if self.kinds:
                misbehave.refuse(self.kinds, self.requests)

    def _fall_back(self) -> None:
        """Go on with another model: a session keeps its own unless that is promoted. V3 has no event to tell it by."""
        from . import misbehave, models

        model = self.session.model["model_id"]
        to, lasting = misbehave.fall_back(self.kinds, self.screen, model, tells=not self.session.execution)
        known = [one for one in models.MODELS if one["model_id"] == to]
        if lasting and known:
            self.session.use(self.agent["name"], known[0])

    def _request(self) -> bool:
        """Send one model request; True when its tool calls need another one."""
        if "compaction" in self.kinds and self.requests == max(len(self.replies) - 1, 0):
            self._bill("auxiliary", at_compaction=True)
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
                calls.append(Call(item, self.servers.find if self.servers else None))
        if self.kinds:
            from . import misbehave

            misbehave.after_the_text(self.kinds, self.requests)
        self.last_text = "".join(texts)
        self.said.append(self.last_text)
        lost = self._odd(calls)
        self.session.answered(self.last_text, calls)
        if lost:
            self.session.withheld(lost)
        if self.ended != "UserTurnEnd":
            return False
        if calls:
            self.cycles += 1
            self._run_tools(calls)
        return bool(calls)

    def _odd(self, calls: list[Call]) -> Call | None:
        """Do what may come after a text; return the call that becomes a note."""
        if not self.kinds:
            return None
        from . import odd

        self.ended = odd.after_the_text(self.kinds, self.session, self.screen, self.requests) or self.ended
        return odd.withheld(self.kinds, calls, self.requests)

    def _run_tools(self, calls: list[Call]) -> None:
        for call in calls:
            self.calls.append(call)
            call.is_workflow = self.session.nodes and call.tool == "subagent"
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
        screen = self.screen.child(session) if "sessions" in self.kinds else NoScreen()
        from . import mcp

        servers = mcp.begin(agent)
        child = Turn(session, screen, agents.Trust(agent, self.trust), call.requests, {}, agent, servers)
        try:
            child.run(prompt)
        finally:
            if servers:
                servers.close()
        self.session.joined(session, child.last_text)
        call.items = [{"Text": child.last_text}]
        if call.is_workflow:
            call.items = [{"Json": {**(session.workflow or {}), "status": "completed"}}]

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
        self._bill("main", "delegated", at_compaction="compaction" in self.kinds)

    def _bill(self, *parts: str, at_compaction: bool) -> None:
        """Have the session keep count of what is billed."""
        if "credits" not in self.kinds or ("compaction" in self.kinds) != at_compaction:
            return
        from . import misbehave

        billed = misbehave.billed(self.kinds)
        if any(part in billed for part in parts):
            self.session.bill({part: billed.get(part, 0) for part in parts})
