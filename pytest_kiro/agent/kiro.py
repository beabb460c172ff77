"""`Kiro`: installed, logged in, ready; turns run on it, and belong to the test that runs them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Unpack
from weakref import WeakKeyDictionary, WeakSet

from pytest_kiro.agent.bench import Bench, Owner
from pytest_kiro.agent.conversation import Conversation
from pytest_kiro.agent.live import LiveTurn
from pytest_kiro.agent.request import RunArguments
from pytest_kiro.agent.scores import score
from pytest_kiro.agent.stop import StopWhen
from pytest_kiro.agent.workspace import Workspace
from pytest_kiro.errors import HIDE_FRAMES
from pytest_kiro.kirocli.install import Installation
from pytest_kiro.login.admission import Admission
from pytest_kiro.login.login import Identity
from pytest_kiro.records.tests import Better
from pytest_kiro.sandbox.protocol import Sandbox
from pytest_kiro.secrecy.redaction import Secrets
from pytest_kiro.settings.table import Settings
from pytest_kiro.turn.turn import Turn

if TYPE_CHECKING:  # it imports pexpect, which few evals need
    from pytest_kiro.terminal.expect import Terminal

__tracebackhide__ = HIDE_FRAMES


class Kiro:
    """The agent in its sandbox.

    It lives for the whole session, and yet every test starts clean: a conversation belongs to one attempt of
    a test together with its function-scoped fixtures, or to one instance of a wider fixture. Its turns
    remember each other; another owner gets a fresh workspace and a fresh conversation.

    >>> def test_remembers(kiro):
    ...     kiro.run("My name is Ada. Answer OK.")
    ...     assert "Ada" in kiro.run("What is my name?").text
    """

    def __init__(self, bench: Bench, current_owner: Callable[[], Owner]) -> None:
        self.bench = bench
        self._current_owner = current_owner
        self._owners: WeakSet[Owner] = WeakSet()
        self._mains: WeakKeyDictionary[Owner, Conversation] = WeakKeyDictionary()
        self._first = threading.Lock()

    def __repr__(self) -> str:
        scripted = ", scripted" if self.scripted else ""
        return f"<Kiro {self.version}{scripted} in {self.sandbox!r}>"

    @property
    def sandbox(self) -> Sandbox:
        """The sandbox that it works in."""
        return self.bench.sandbox

    @property
    def installation(self) -> Installation:
        """The kiro-cli that answers."""
        return self.bench.installation

    @property
    def identity(self) -> Identity:
        """Who is logged in, and how."""
        return self.bench.identity

    @property
    def settings(self) -> Settings:
        """What was asked for."""
        return self.bench.settings

    @property
    def path(self) -> str:
        """The PATH of Kiro's process, behind `~/.local/bin` of its own HOME."""
        return self.bench.path

    @property
    def work(self) -> str:
        """The folder of the HOMEs in which its workspaces are; with `--kiro-home=shared`, the one HOME."""
        return self.bench.homes.folder

    @property
    def admission(self) -> Admission:
        """What turns have shown of the login."""
        return self.bench.admission

    @property
    def secrets(self) -> Secrets:
        """What turns must not tell."""
        return self.bench.secrets

    @property
    def version(self) -> str:
        """The version of kiro-cli, such as `2.29.0`."""
        return self.installation.version

    @property
    def engine(self) -> str:
        """The engine that answers: v1, v2 or v3, also where `--kiro-engine=auto` has chosen it."""
        return self.bench.engine.name

    @property
    def scripted(self) -> bool:
        """Whether scenarios answer, and no model does; the real kiro-cli may speak them."""
        return self.bench.scripted

    @property
    def streams(self) -> bool:
        """Whether kiro-cli prints events (`--kiro-output=stream-json`), which are shown to people as text."""
        return self.bench.streams

    @property
    def workspace(self) -> Workspace:
        """The workspace of the running test or fixture; seeded when first asked for."""
        return self._main().workspace

    def run(
        self,
        prompt: str,
        *,
        check: bool = True,
        stop_when: StopWhen = None,
        recorded_as: str | None = None,
        **options: Unpack[RunArguments],
    ) -> Turn:
        """Run one prompt and wait for its end.

        `prompt` is given byte for byte. `check` (default True): raise `TurnFailed` or `TurnTimeout`, with the
        turn attached, instead of returning a turn that did not complete. `stop_when`: a condition that ends the turn
        as `stopped`: `on_command`, `on_text`, `on_silence`, `on_calls`, a function of the `LiveTurn`, or a list of
        these. `recorded_as` (default: the prompt) is what a recording of this turn is looked up by, for a prompt in
        which something varies, such as today's date. `timeout` is in seconds, or a text such as `90s` or `2m` (default:
        what marker, fixture or option say, else 600); `agent`, `model`, `effort` are Kiro's own; `trust` is `all`
        (default), `none` or tool names; `env` a dict for Kiro's process; `memory` (default False) lets kiro-cli keep
        memories from one session to the next, within this test's HOME.
        The first turn of a conversation is run again when the world failed it before it did anything
        (`--kiro-retries`). Raises `ConversationError`, `LaunchError`, `RecordingMiss` (of a replay), `SandboxError`,
        `SettingsError` too, and
        `ValueError` for a prompt that is blank or has NUL or lone surrogates.

        >>> def test_hello(kiro):
        ...     assert "hello" in kiro.run("Say hello.").text.lower()
        """
        return self._main().run(prompt, check=check, stop_when=stop_when, recorded_as=recorded_as, **options)

    def stream(
        self,
        prompt: str,
        *,
        check: bool = True,
        stop_when: StopWhen = None,
        recorded_as: str | None = None,
        **options: Unpack[RunArguments],
    ) -> LiveTurn:
        """Run one prompt and watch it: the same arguments as `run`, to be used in a `with` statement.

        >>> def test_counts(kiro):
        ...     with kiro.stream("Count to three.") as live:
        ...         for chunk in live:
        ...             print(chunk, end="")
        """
        return self._main().stream(prompt, check=check, stop_when=stop_when, recorded_as=recorded_as, **options)

    def conversation(self, *, workspace: str | None = None, **options: Unpack[RunArguments]) -> Conversation:
        """Begin one more conversation, with a workspace of its own.

        `workspace` is the folder to seed it with (default: the marker's); the options hold for all its turns.
        Raises `ConversationError` outside of tests and fixtures; a wrong option or a missing folder is a
        `SettingsError` at the first turn.

        >>> def test_apart(kiro):
        ...     kiro.conversation().run("My name is Ada.")
        ...     assert "Ada" not in kiro.conversation().run("What is my name?").text
        """
        owner = self._current_owner()
        self._owners.add(owner)
        return Conversation(self.bench, owner, workspace=workspace, options=options, kiro=self)

    def terminal(
        self,
        *argv: str,
        timeout: float | None = 30.0,
        size: tuple[int, int] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Terminal:
        """Start kiro-cli in a terminal, to type and to read.

        Without arguments it is plain `kiro-cli`. It works in the workspace of the running test or fixture;
        `--agent-engine` is added to a `chat` that names no engine, and nothing else: `mark.kiro` and the options say
        nothing of it but `env`. `timeout` is what each waiting takes at most, in seconds, None for no limit; `size` is
        (columns, rows), by default `--kiro-terminal`; `env` adds to Kiro's environment. Returns a `Terminal` with
        pexpect's words, to be used in a `with` statement; what is still open is closed with its owner. It makes no
        `Turn`, and what Kiro changes through it is not in `workspace.changes()`; look with `workspace.exec` or
        `workspace.contents()`. What kiro-cli asks at a first start is answered in its settings (docs/engines.md). In a
        scenario a chat is one more conversation, its turns in order. Raises
        `ConversationError` outside of tests and fixtures, `LaunchError`, `SandboxError`, `SettingsError`, and
        `TypeError` or `ValueError` for what cannot be typed.

        >>> import pexpect
        >>> def test_quit_leaves_cleanly(kiro):
        ...     with kiro.terminal("chat") as terminal:
        ...         terminal.expect("> ")
        ...         terminal.sendline("/quit")
        ...         terminal.expect(pexpect.EOF)
        ...     assert terminal.exitstatus == 0
        """
        from pytest_kiro.agent.terminal import open_terminal

        return open_terminal(self._main(), argv, timeout=timeout, size=size, env=env)

    def score(self, name: str, value: float, *, better: Better) -> None:
        """Keep a number of the running test, or of its trial: lines of code, milliseconds, points of a rubric.

        `better` is `lower` or `higher`. Of variants that are compared, and of runs, the medians are compared as well
        (docs/trials.md); it decides nothing. Results files and JUnit files have it, the last one of a name. Raises
        `ConversationError` outside of tests and in a fixture of a wider scope; `SettingsError` for what is no finite
        number, for a name that is blank, longer than 100 characters or of several lines, and for one that had another
        `better`.

        >>> def test_short(kiro):
        ...     kiro.run("Write slugify(text) in slugify.py.")
        ...     kiro.score("lines", len((kiro.workspace / "slugify.py").read_text().splitlines()), better="lower")
        """
        score(self._current_owner(), self.secrets(name), value, better)

    def close(self) -> None:
        """End every conversation and hand on a renewed login; idempotent."""
        for owner in list(self._owners):
            if not owner.ended:
                owner.end()
        self.bench.homes.close()

    def _main(self) -> Conversation:
        owner = self._current_owner()
        with self._first:  # two threads that begin at once mean the same conversation
            if owner not in self._mains:
                self._mains[owner] = self.conversation()
            return self._mains[owner]
