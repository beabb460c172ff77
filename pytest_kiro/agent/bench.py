"""The bench: what every turn of one `Kiro` runs with, and the owners that turns belong to (contract O)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pytest_kiro.agent.flying import Flying
from pytest_kiro.agent.homes import Homes, OwnerHome
from pytest_kiro.agent.request import Request
from pytest_kiro.agent.workspace import Workspace
from pytest_kiro.errors import SettingsError
from pytest_kiro.kirocli import answers, commands
from pytest_kiro.kirocli.commands import Engine
from pytest_kiro.kirocli.install import Installation
from pytest_kiro.login.admission import Admission
from pytest_kiro.login.login import Identity
from pytest_kiro.records.tests import ScoreRecord
from pytest_kiro.run.budget import Budget
from pytest_kiro.sandbox.protocol import Sandbox
from pytest_kiro.secrecy.redaction import Secrets
from pytest_kiro.settings.table import Settings
from pytest_kiro.standin.scenario import ConversationNumbers, Reply
from pytest_kiro.turn.turn import Home, Turn


@dataclass(eq=False)
class Owner:
    """One attempt of a test, or one instance of a wider fixture.

    Relative workspaces start at `file`'s folder; `tables` are its names in a scenario file, best first; `trial` counts
    from 1, and `variant` is the value of a setting that it is compared under; `marker` (of `mark.kiro`) and `run_args`
    are asked for at the first turn; `answer` is what a scripted turn gets where no scenario is meant; `scores` are the
    numbers that a test gave to itself; `workspaces` are those of its conversations that were asked for; `stays` is
    whether what it leaves in the sandbox outlives it.
    """

    name: str
    tables: tuple[str, ...]
    file: Path
    marker: Callable[[], Mapping[str, Any]] = dict
    run_args: Callable[[], Mapping[str, Any]] = dict
    wide: bool = False
    trial: int = 1
    variant: str | None = None
    answer: Reply | None = None
    scores: dict[str, ScoreRecord] = field(default_factory=dict)
    conversations: list[Conversing] = field(default_factory=list)
    workspaces: dict[Conversing, Workspace] = field(default_factory=dict, repr=False)
    ended: bool = False
    stays: bool = False
    numbers: ConversationNumbers = field(default_factory=ConversationNumbers)
    _homes: dict[Homes, OwnerHome] = field(default_factory=dict, repr=False)

    def enter(self, conversation: Conversing) -> None:
        """Note one more conversation, and give it its number."""
        self.conversations.append(conversation)
        self.numbers.opened(conversation)

    @property
    def turns(self) -> list[Turn]:
        """All turns of all its conversations, in order of conversation."""
        return [turn for conversation in self.conversations for turn in conversation.turns]

    @property
    def executed(self) -> bool:
        """Whether something was executed in its workspaces."""
        return any(workspace.executed for workspace in self.workspaces.values())

    def home(self, homes: Homes) -> OwnerHome:
        """Return its HOME in a sandbox; its conversations there share it."""
        return self._homes.setdefault(homes, homes.begin())

    def end(self) -> None:
        """Remove its HOME with its workspaces; idempotent. Where they stay, only what runs in them ends."""
        self.ended = True
        for conversation in self.conversations:
            conversation.end()
        while self._homes:
            home = self._homes.popitem()[1]
            (home.leave if self.stays else home.remove)()


class Conversing(Home, Hashable, Protocol):
    """A conversation, as far as its turns and their observers know it."""

    turns: list[Turn]
    #: Attempts at the first turn that the world failed, so that it was run again.
    retried: list[Turn]

    @property
    def bench(self) -> Bench: ...

    @property
    def kiro(self) -> object: ...

    @property
    def owner(self) -> Owner: ...

    @property
    def workspace(self) -> Workspace: ...

    def end(self) -> None: ...


class Observer(Protocol):
    """Told what happens, as it happens; its exception ends the turn and is raised."""

    def started(self, conversation: Conversing, prompt: str) -> None: ...

    def received(self, conversation: Conversing, data: bytes, at: float) -> None:
        """Hear what the terminal showed, without secrets; `at` so many seconds."""

    def printed(self, conversation: Conversing, text: str) -> None: ...

    def broken_off(self, conversation: Conversing) -> None:
        """Hear that a turn ended of which nothing more will be known."""

    def finished(self, conversation: Conversing, turn: Turn) -> None: ...


#: What begins a turn.
Fly = Callable[["Bench", Conversing, Request], Flying]


@dataclass(frozen=True, eq=False)
class Bench:
    """A sandbox with kiro-cli installed and logged in.

    `path` is the PATH of Kiro's process, behind its owner's own folder; `homes` makes the HOMEs of owners; `fly` begins
    a turn where that is not kiro-cli's alone.
    """

    sandbox: Sandbox
    installation: Installation
    identity: Identity
    settings: Settings
    engine: Engine
    path: str
    homes: Homes
    secrets: Secrets
    budget: Budget
    admission: Admission
    observers: tuple[Observer, ...]
    fly: Fly | None = None

    @classmethod
    def set_up(
        cls,
        sandbox: Sandbox,
        installation: Installation,
        identity: Identity,
        settings: Settings,
        *,
        budget: Budget | None = None,
        secrets: Secrets | None = None,
        observers: Sequence[Observer] = (),
        fly: Fly | None = None,
    ) -> Bench:
        """Keep how HOME is, and ask the machine for its PATH.

        A login shell sets PATH anew, so the launch script exports it whole, and only the machine knows it.
        Raises `SettingsError` when a model is asked for and the stand-in is to answer, and when events are asked for
        that this version does not print.
        """
        if settings.replies == "model" and installation.scripted:
            raise SettingsError(
                f"--kiro-replies=model: {installation.path} is the stand-in, which has no model",
                advice="leave it out, or use --kiro-cli=official",
            )
        replies = settings.replies == "scenario" and not installation.scripted
        engine = commands.choose_engine(settings.engine, installation.version, replies=replies)
        if settings.output == "stream-json" and not engine.streams:
            raise SettingsError(
                f"--kiro-output=stream-json: kiro-cli {installation.version} has engine {engine.name}, which has none",
                advice="use a newer kiro-cli, or --kiro-output=text",
            )
        answers.answer(sandbox, engine)
        homes = Homes.prepare(sandbox, settings.home, identity.renewal)
        own = [f"{sandbox.home}/.local/bin"] if settings.home == "shared" else []
        folders = dict.fromkeys([*own, installation.folder, *homes.path.split(":")])
        return cls(
            sandbox=sandbox,
            installation=installation,
            identity=identity,
            settings=settings,
            engine=engine,
            path=":".join(folders),
            homes=homes,
            secrets=secrets or Secrets(),
            budget=budget or Budget(),
            admission=Admission(identity),
            observers=tuple(observers),
            fly=fly,
        )

    @property
    def scripted(self) -> bool:
        """Whether scenarios answer, and no model does."""
        return self.installation.scripted or self.settings.replies == "scenario"

    @property
    def replays(self) -> bool:
        """Whether recordings answer, and kiro-cli is not there."""
        return self.settings.replies == "recording"

    @property
    def unannounced(self) -> str:
        """Why no command is announced, for the end of a sentence; empty where they are."""
        quiet = self.engine.name == "v3" and not self.streams
        return "; engine V3 prints no commands, so use --kiro-output=stream-json" if quiet else ""

    @property
    def streams(self) -> bool:
        """Whether kiro-cli prints events (`--kiro-output=stream-json`), which are shown as text."""
        return self.settings.output == "stream-json"
