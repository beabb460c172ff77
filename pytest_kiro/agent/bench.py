"""The bench: what every turn of one `Kiro` runs with, and the owners that turns belong to (contract O)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pytest_kiro.agent.homes import Homes, OwnerHome
from pytest_kiro.agent.workspace import Workspace
from pytest_kiro.errors import SettingsError
from pytest_kiro.kirocli import commands
from pytest_kiro.kirocli.commands import Engine
from pytest_kiro.kirocli.install import Installation
from pytest_kiro.login.admission import Admission
from pytest_kiro.login.login import Identity
from pytest_kiro.run.budget import Budget
from pytest_kiro.sandbox.protocol import Sandbox
from pytest_kiro.secrecy.redaction import Secrets
from pytest_kiro.settings.table import Settings
from pytest_kiro.standin.scenario import ConversationNumbers, Reply
from pytest_kiro.turn.turn import Home, Turn


@dataclass(eq=False)
class Owner:
    """One attempt of a test, or one instance of a wider fixture.

    Relative workspaces start at `file`'s folder; `tables` are its names in a scenario file, best first; `marker` (of
    `mark.kiro`) and `run_args` are asked for at the first turn; `answer` is what a scripted turn gets where no
    scenario is meant.
    """

    name: str
    tables: tuple[str, ...]
    file: Path
    marker: Callable[[], Mapping[str, Any]] = dict
    run_args: Callable[[], Mapping[str, Any]] = dict
    wide: bool = False
    answer: Reply | None = None
    conversations: list[Conversing] = field(default_factory=list)
    ended: bool = False
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

    def home(self, homes: Homes) -> OwnerHome:
        """Return its HOME in a sandbox; its conversations there share it."""
        return self._homes.setdefault(homes, homes.begin())

    def end(self) -> None:
        """Remove its HOME with its workspaces; idempotent."""
        self.ended = True
        for conversation in self.conversations:
            conversation.end()
        while self._homes:
            self._homes.popitem()[1].remove()


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

    def printed(self, conversation: Conversing, text: str) -> None: ...

    def finished(self, conversation: Conversing, turn: Turn) -> None: ...


@dataclass(frozen=True, eq=False)
class Bench:
    """A sandbox with kiro-cli installed and logged in.

    `path` is the PATH of Kiro's process, behind its owner's own folder; `homes` makes the HOMEs of owners.
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
    ) -> Bench:
        """Keep how HOME is, and ask the machine for its PATH.

        A login shell sets PATH anew, so the launch script exports it whole, and only the machine knows it.
        Raises `SettingsError` when a model is asked for and the stand-in is to answer.
        """
        if settings.replies == "model" and installation.scripted:
            raise SettingsError(
                f"--kiro-replies=model: {installation.path} is the stand-in, which has no model",
                advice="leave it out, or use --kiro-cli=official",
            )
        homes = Homes.prepare(sandbox, settings.home, identity.renewal)
        own = [f"{sandbox.home}/.local/bin"] if settings.home == "shared" else []
        folders = dict.fromkeys([*own, installation.folder, *homes.path.split(":")])
        return cls(
            sandbox=sandbox,
            installation=installation,
            identity=identity,
            settings=settings,
            engine=commands.ENGINES[settings.engine],
            path=":".join(folders),
            homes=homes,
            secrets=secrets or Secrets(),
            budget=budget or Budget(),
            admission=Admission(identity),
            observers=tuple(observers),
        )

    @property
    def scripted(self) -> bool:
        """Whether scenarios answer, and no model does."""
        return self.installation.scripted or self.settings.replies == "scenario"

    @property
    def streams(self) -> bool:
        """Whether kiro-cli prints events (`--kiro-output=stream-json`), which are shown as text."""
        return self.settings.output == "stream-json"
