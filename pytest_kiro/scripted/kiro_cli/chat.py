"""`kiro-cli chat --no-interactive`: one turn."""

from __future__ import annotations

import os
import time

from . import agents, args, login, models, replies, screen, store
from .failures import Failure
from .tools import Call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TITLE_OF_THE_STANDIN = "pytest-kiro's stand-in for kiro-cli"


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
        screen.write(2, store.listing())
        return 0
    if options.delete_session is not None:
        store.delete(options.delete_session)
        screen.write(2, f"Deleted session {options.delete_session}\n")
        return 0
    _refuse_what_is_not_here(options)
    kinds = _misbehaviour()
    prompt = _prompt(options)
    login.require()
    if kinds:
        from . import misbehave

        misbehave.before_the_session(kinds)
    return Turn(options, kinds, prompt).run()


def _misbehaviour() -> dict[str, Any]:
    if not os.environ.get("KIRO_STANDIN_MISBEHAVE"):
        return {}
    from . import misbehave

    return misbehave.load()


def _refuse_what_is_not_here(options: args.Options) -> None:
    if not options.no_interactive:
        raise Failure(f"error: {TITLE_OF_THE_STANDIN} has no interactive chat: add --no-interactive")
    if options.engine != "v2":
        raise Failure(f"error: {TITLE_OF_THE_STANDIN} has engine v2 only, not {options.engine}")
    if options.output_format != "text":
        raise Failure(f"error: {TITLE_OF_THE_STANDIN} has no --output-format {options.output_format}")


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


class Turn:
    """One prompt, its model requests and its tool calls."""

    def __init__(self, options: args.Options, kinds: dict[str, Any], prompt: str) -> None:
        self.kinds = kinds
        self.prompt = prompt
        self.replies = [] if "answers_nothing" in kinds else replies.load()
        self.session, resumed = _session(options, prompt, kept="no_session" not in kinds)
        state = self.session.state["session_state"]
        self.agent = agents.find(options.agent or (state["agent_name"] if resumed else None))
        state["agent_name"] = self.agent["name"]
        model = options.model or (None if resumed else self.agent.get("model"))
        if model:
            state["rts_model_state"]["model_info"] = models.find(model)
        self.trust = agents.Trust(self.agent, options.trust_all, options.trust, kinds.get("denied"))
        self.screen = screen.Screen(kinds)
        self.started = time.monotonic_ns()
        self.message_ids: list[str] = []
        self.requests = self.cycles = self.tools_run = 0
        self.last_text = ""

    def run(self) -> int:
        """The whole turn; the session is complete when it returns."""
        self.trust.warn()
        self.session.open()
        self.session.save()
        content = [{"kind": "text", "data": self.prompt}]
        meta = {"timestamp": int(time.time())}
        self.message_ids.append(self.session.append("Prompt", {"content": content, "meta": meta}))
        self.screen.begin()
        try:
            refused = self._answer()
        except KeyboardInterrupt:
            self._finish({"Err": "The turn was cancelled"}, "Cancelled")
            self.screen.end()
            return 130
        except Failure as failure:
            self._finish({"Err": str(failure)}, "Error")
            raise
        if refused:
            self._finish({"Err": refused}, "Error")
            self.screen.end(newline=False)
            screen.write(2, refused + "\n")
        else:
            self._finish({"Ok": self._last_message()}, "UserTurnEnd")
            self.screen.end()
        if not self.kinds:
            return 0
        from . import misbehave

        misbehave.after_the_turn(self.kinds)
        return int(misbehave.number(self.kinds.get("exit"), 1 if "exit" in self.kinds else 0))

    def _answer(self) -> str | None:
        """Ask for replies until one has no tool call; returns why there is none."""
        if self.kinds:
            from . import misbehave

            refused = misbehave.failure(self.kinds)
            if refused:
                return refused
            misbehave.before_the_reply(self.kinds)
        while self._request():
            pass
        return None

    def _request(self) -> bool:
        """One model request; whether its tool calls make another one necessary."""
        items = self.replies[self.requests] if self.requests < len(self.replies) else []
        self.requests += 1
        texts: list[str] = []
        calls: list[Call] = []
        for item in items:
            if isinstance(item, str):
                texts.append(replies.recall(item, self.session.history))
                self.screen.say(texts[-1])
            else:
                calls.append(Call(item))
        if "crash" in self.kinds:
            from . import misbehave

            misbehave.after_the_text(self.kinds)
        self.last_text = "".join(texts)
        content = [{"kind": "text", "data": self.last_text}, *(call.tool_use() for call in calls)]
        self.message_ids.append(self.session.append("AssistantMessage", {"content": content}))
        if calls:
            self.cycles += 1
            self._run_tools(calls)
        return bool(calls)

    def _run_tools(self, calls: list[Call]) -> None:
        for call in calls:
            self.screen.tool(call.title)
            if not call.error and not self.trust.permits(call):
                call.deny()
                self.screen.denied()
            elif not call.error:
                self.tools_run += 1
                call.execute()
            self.screen.status(call.error is None)
        content = [call.tool_result() for call in calls]
        results = {call.id: call.record() for call in calls if call.kind}
        data = {"content": content, "results": results}
        self.message_ids.append(self.session.append("ToolResults", data))

    def _last_message(self) -> dict[str, Any]:
        return {
            "id": store.new_id(),
            "role": "assistant",
            "content": [{"kind": "text", "data": self.last_text}],
            "meta": {"timestamp": int(time.time())},
        }

    def _finish(self, result: dict[str, Any], end_reason: str) -> None:
        """Record how the turn ended."""
        state = self.session.state["session_state"]["rts_model_state"]
        said = sum(map(len, self.session.history)) + len(self.prompt) + len(self.last_text)
        window = state["model_info"]["context_window_tokens"]
        state["context_usage_percentage"] = round(min(100.0, said / 4 / window * 100), 7)
        elapsed = time.monotonic_ns() - self.started
        self.session.turns.append(
            {
                "loop_id": {
                    "agent_id": {"name": self.agent["name"], "parent_id": None, "rand": None},
                    "rand": int.from_bytes(os.urandom(4), "big"),
                },
                "result": result,
                "message_ids": self.message_ids,
                "total_request_count": self.requests,
                "number_of_cycles": self.cycles,
                "builtin_tool_uses": self.tools_run,
                "turn_duration": {"secs": elapsed // 10**9, "nanos": elapsed % 10**9},
                "end_reason": end_reason,
                "end_timestamp": store.timestamp(),
                "input_token_count": 0,
                "output_token_count": 0,
                "context_usage_percentage": state["context_usage_percentage"],
                # A mocked run of the real program meters nothing either.
                "metering_usage": [],
            }
        )
        self.session.save()
        self.session.close()


def _session(options: args.Options, prompt: str, *, kept: bool) -> tuple[store.Session, bool]:
    """The session to continue, or a new one; and which of the two it is."""
    if options.resume_id is not None:
        return store.load(options.resume_id, kept=kept), True
    resumed = store.newest(kept=kept) if options.resume else None
    if resumed:
        return resumed, True
    return store.create(prompt, agents.DEFAULT, models.find("auto"), kept=kept), False
