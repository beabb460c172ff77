"""What a recording holds, as values.

All texts are as they stand on disk: absolute paths of the sandbox are `⟨workspace⟩` and `⟨home⟩` in them, which
`SandboxPaths` of paths.py hides and puts back. Contents of files are not altered so.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from pytest_kiro.agent.bench import Owner
from pytest_kiro.records.codec import Record
from pytest_kiro.turn.turn import Turn

#: What stands at a path after a turn. A link's `content` is where it leads.
FileKind = Literal["file", "link", "folder", "deleted"]
#: Conversation and turn, both from 1.
TurnKey = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Asked(Record):
    """What a turn was asked, and how it was run: all that a replay compares (R4).

    `recorded_as` stands for the prompt where that varies; `engine` is the one that ran it; `output` is text or
    stream-json.
    """

    prompt: str
    recorded_as: str | None = None
    model: str | None = None
    agent: str | None = None
    effort: str | None = None
    trust: str = "all"
    engine: str = ""
    memory: bool = False
    output: str = "text"


@dataclass(frozen=True, kw_only=True)
class RecordedFile(Record):
    """What a turn left at one path.

    `path` is relative and has `/` between its parts; `content` is a name for `Recording.read`, of a link where it
    leads; `redacted`: a secret was taken out of it.
    """

    path: str
    kind: FileKind
    mode: int = 0
    content: str = ""
    redacted: bool = False


@dataclass(frozen=True, kw_only=True)
class RecordedTurn:
    """One turn: what was asked, what was printed and when, what came of it.

    - `chunks`: seconds since the turn began, and what was printed then, without secrets.
    - `turn`: without its conversation; `raw` and `output` are empty, they come of the chunks again.
    - `before`: the workspace before it, as `manifest.py` has it; None where that is not known.
    - `files`: what it left in the workspace, also of what is ignored there; `outside`: in the rest of its HOME.
    - `left_out`: what is not kept of it, each as `PATH: reason`; of HOME as `~/PATH: reason`.
    - `stopped_after`: of one that was stopped, the time of a chunk that had been printed before.
    """

    conversation: int
    number: int
    asked: Asked
    chunks: tuple[tuple[float, bytes], ...]
    turn: Turn
    before: Mapping[str, str] | None = None
    files: tuple[RecordedFile, ...] = ()
    outside: tuple[RecordedFile, ...] = ()
    left_out: tuple[str, ...] = ()
    stopped_after: float | None = None

    @property
    def key(self) -> TurnKey:
        """Which turn of the recording it is."""
        return self.conversation, self.number


@dataclass(frozen=True, kw_only=True)
class Made(Record):
    """Whose turns a recording has, and who made it.

    `owner` is the test or fixture as a scenario file names it, `node` as pytest does, `file` the name of its file;
    `version` is that of `mark.kiro`, `day` a date in UTC (`2026-11-29`), `host` a kind of machine.
    """

    owner: str
    node: str = ""
    file: str = ""
    trial: int = 1
    variant: str | None = None
    day: str = ""
    plugin: str = ""
    cli_version: str = ""
    engine: str = ""
    model_asked: str | None = None
    model: str | None = None
    host: str = ""
    provider: str = ""
    image: str | None = None
    version: str | None = None
    scripted: bool = False


@dataclass(frozen=True, kw_only=True)
class Recording:
    """The turns of one trial of a test or wide fixture.

    - `whole`: its owner came to its end, and no turn was the world's failure.
    - `outcome`: how the test ended, None for a fixture.
    - `turns` and `contents` may be read from disk when they are asked for.
    - `edits`: the files of it that are not as they were written, of those that were read so far.
    - `folder`: where it lies, None in memory.
    """

    made: Made
    turns: Mapping[TurnKey, RecordedTurn]
    contents: Mapping[str, bytes] = field(default_factory=dict)
    whole: bool = True
    outcome: str | None = None
    edits: Set[str] = frozenset()
    folder: Path | None = None

    @property
    def edited(self) -> bool:
        """Whether something of what was read is not as it was recorded."""
        return bool(self.edits)

    def read(self, content: str) -> bytes:
        """Return the bytes that a `RecordedFile.content` names."""
        return self.contents[content]


class Source(Protocol):
    """Where a player finds recordings."""

    def recording(self, owner: Owner) -> Recording | None:
        """Return the recording of an owner's trial, None without one."""
