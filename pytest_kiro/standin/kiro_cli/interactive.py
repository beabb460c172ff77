"""Runs `kiro-cli chat` in a terminal: prompts, slash commands, questions for permission.

Lines are read with the terminal as it is: it echoes and edits them, and what is typed during a turn waits.
"""

from __future__ import annotations

import os

from . import agents, chat, first_run, mcp, models, names, out, replies, slash
from .failures import Failure, Refused
from .turn import Turn
from .waiting import until_readable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .args import Options
    from .protocols import Session
    from .tools import Call

BANNER = """\

Kiro CLI (pytest-kiro stand-in: the replies are scripted)

/help lists the commands, /quit leaves

"""
HINT = "\n(To exit the CLI, press Ctrl+C or Ctrl+D again or type /quit)\n\n"
QUESTION = "\nAllow this action? Use 't' to trust (always allow) this tool for the session. [y/n/t]:\n\n"
QUITS = ("/quit", "/exit", "/q")
INTERRUPTED = 130


def main(options: Options, kinds: dict[str, Any]) -> int:
    """Talk until the chat is left; the exit code."""
    if not os.isatty(0):
        raise Failure(
            "error: an interactive chat needs a terminal on stdin. Run it in one, or add --no-interactive "
            "(pytest-kiro's stand-in for kiro-cli)"
        )
    chat.refusals()
    if kinds:
        from . import misbehave

        misbehave.before_the_session(kinds)
    options.engine = first_run.engine(options.engine, kinds)
    if options.engine == "v3":
        first_run.agents(interactive=True)
    talk = Chat(options, kinds)
    try:
        return _talk(talk, options, kinds)
    finally:
        if talk.servers:
            talk.servers.close()


def _talk(talk: Chat, options: Options, kinds: dict[str, Any]) -> int:
    out.write(1, BANNER)
    if options.trust_all:
        from . import screen_v1

        out.write(2, screen_v1.TRUSTED)
    out.write(1, f"You are chatting with {talk.model}\n")
    code = talk.run()
    if not kinds:
        return code
    from . import misbehave

    misbehave.after_the_turn(kinds)
    return int(misbehave.number(kinds.get("exit"), 1 if "exit" in kinds else code))


def read_line() -> str | None:
    """Read a line of the terminal; None at its end (Ctrl-D on an empty line, or a terminal that is gone)."""
    data = b""
    while not data.endswith(b"\n"):
        until_readable(0)
        try:
            chunk = os.read(0, 4096)
        except OSError:
            chunk = b""
        if not chunk:
            if not data:
                return None
            break
        data += chunk
    return data.decode("utf-8", "replace").rstrip("\r\n")


def show_prompt() -> None:
    """Show the mark after which a line is typed."""
    colour = "\x1b[m" if os.environ.get("NO_COLOR") else "\x1b[38;5;141m"
    out.write(1, f"{colour}> \x1b[0m")


class Asking(agents.Trust):
    """Asks the terminal where the flags do not say it."""

    asks = True

    def permits(self, call: Call) -> bool:
        """Tell whether a call may run: it is trusted, or is allowed now."""
        return super().permits(call) or (self.offers(call) and self._allowed(call))

    def _allowed(self, call: Call) -> bool:
        # A turn of V2 has hidden the cursor.
        out.write(1, "\x1b[?25h" + QUESTION)
        while True:
            show_prompt()
            answer = read_line()
            if answer is None:
                raise KeyboardInterrupt
            answer = answer.strip().lower()
            if answer == "t":
                own = names.v3_name(call) if self.engine == "v3" else call.name
                self.named.append(str(call.tool) if call.server else own)
            if answer in ("y", "n", "t"):
                return answer != "n"
            out.write(1, f"{answer!r} is no answer: use y, n or t.\n\n")


class Chat:
    """One chat, with one conversation at a time, or none yet."""

    def __init__(self, options: Options, kinds: dict[str, Any]) -> None:
        self.options = options
        self.kinds = kinds
        self.used = 0
        """How many of the scripted replies have been given."""
        session, self.agent = chat.begin(options, kinds, "")
        # A new one is begun by its first prompt, which gives it its title.
        self.session: Session | None = session if session.history else None
        self.model = str(session.model["model_id"])
        self.trust = chat.trust_of(options, kinds, self.agent, Asking)
        self.trust.warn()
        self.servers = mcp.begin(self.agent, required=options.require_mcp, interactive=True)

    def run(self) -> int:
        """Run line after line; the first may be on the command line. The exit code."""
        line, interrupts = self.options.prompt, 0
        while True:
            try:
                if line is None:
                    out.write(1, "\n")
                    show_prompt()
                    line = read_line()
                if line is None:
                    out.write(1, "\n")
                    return 0
                code = self._obey(line.strip())
                if code is not None:
                    return code
                interrupts = 0
            except KeyboardInterrupt:
                interrupts += 1
                if interrupts > 1:
                    out.write(1, "\n")
                    return INTERRUPTED
                out.write(1, HINT)
            line = None

    def _obey(self, line: str) -> int | None:
        """Run a line; the exit code if it was the last one."""
        if not slash.is_one(line):
            return self._turn(line) if line else None
        word, *arguments = line.split()
        if word in QUITS:
            return 0
        if word == "/clear":
            self.session, self.options.resume, self.options.resume_id = None, False, None
            out.write(1, "Conversation history cleared.\n")
        elif word == "/model":
            self._choose_model(arguments)
        elif word == "/help":
            out.write(1, slash.HELP)
        elif word == "/tools":
            out.write(1, slash.tools(self.trust))
        elif line[0] == "/" and not slash.is_known(word):
            out.write(2, f"Unknown slash command: {word}. Use /help for the list.\n")
        else:
            slash.run(line)
        return None

    def _choose_model(self, arguments: list[str]) -> None:
        if arguments:
            try:
                self.model = str(models.find(arguments[0])["model_id"])
            except Failure as failure:
                out.write(2, f"{failure}\n")
                return
        out.write(1, f"Using {self.model}\n")

    def _turn(self, prompt: str) -> int | None:
        """Run a turn; the exit code if the chat cannot go on after it."""
        try:
            kinds = {**self.kinds, **chat.refusals()}
            scripted = [] if "answers_nothing" in kinds else replies.load()
            if "answers_nothing" not in kinds and self.used >= len(scripted):
                out.write(2, _used_up(f"it had {len(scripted)}"))
                return None
            session = self._open(prompt, kinds)
        except Failure as failure:
            out.write(2, f"{failure}\n")
            return None
        shown = chat.screen_of(self.options, kinds, says_trust=False)
        turn = Turn(session, shown, self.trust, scripted[self.used :], kinds, self.agent, self.servers)
        try:
            return self._answer(turn, prompt)
        finally:
            self.session = turn.session
            self.used += turn.requests
            if scripted and self.used > len(scripted):
                out.write(2, _used_up("the turn needed one more"))

    def _open(self, prompt: str, kinds: dict[str, Any]) -> Session:
        """Begin a conversation, or take up what the last turn wrote."""
        if self.session is not None:
            try:
                self.session = chat.store_of(self.options.engine).load(self.session.id, kept=self.session.kept)
            except Failure:
                self.session = None  # nothing is kept of a turn that failed on V1
        if self.session is None:
            self.options.agent = self.agent["name"]
            self.session, _ = chat.begin(self.options, kinds, prompt)
        self.session.use(self.agent["name"], models.find(self.model))
        self.session.begun_with(self.servers)
        return self.session

    def _answer(self, turn: Turn, prompt: str) -> int | None:
        try:
            turn.run(prompt)
        except KeyboardInterrupt:
            turn.screen.cancelled(turn)
        except Refused as refusal:
            turn.screen.refused(turn, str(refusal))
            # A chat survives what a later prompt may not meet again; a login is not one of these.
            return refusal.code or None
        except Failure as failure:
            turn.screen.cancelled(turn)
            out.write(2, f"{failure}\n")
        else:
            turn.screen.end(turn)
        return None


def _used_up(how: str) -> str:
    return (
        f"error: no scripted reply is left: {how}. Add more to the JSON file that {replies.VARIABLE} names "
        "(pytest-kiro's stand-in for kiro-cli).\n"
    )
