"""Answers turns from recordings, and says why where it cannot (R2, R4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from weakref import WeakKeyDictionary, WeakSet

from pytest_kiro.agent.bench import Bench, Conversing, Fly, Owner
from pytest_kiro.agent.flying import Flying
from pytest_kiro.agent.request import Request
from pytest_kiro.errors import HIDE_FRAMES, RecordingMiss, SettingsError
from pytest_kiro.kirocli.commands import AUTO
from pytest_kiro.recording import misses
from pytest_kiro.recording.asked import asked_of
from pytest_kiro.recording.paths import SandboxPaths
from pytest_kiro.recording.played import PlayedFlight
from pytest_kiro.recording.present import present
from pytest_kiro.recording.values import RecordedTurn, Recording, Source

__tracebackhide__ = HIDE_FRAMES


def _no_others(owner: Owner) -> Sequence[Recording]:
    return ()


class Player:
    """Answers turns from the recordings of a `Source`.

    `others` are those that a miss may name as like it. Not `strict`, it compares nothing of what is asked. `beyond`
    runs what is not recorded, if given: a conversation from its first turn on, and never a later one of a conversation
    that was replayed so far.
    """

    def __init__(
        self,
        source: Source,
        *,
        others: Callable[[Owner], Sequence[Recording]] = _no_others,
        strict: bool = True,
        beyond: Fly | None = None,
    ) -> None:
        self._source, self._others, self._strict, self._beyond = source, others, strict, beyond
        self._known: WeakKeyDictionary[Owner, Recording | RecordingMiss | None] = WeakKeyDictionary()
        self._run: WeakSet[Conversing] = WeakSet()
        #: The folders of the recordings that were asked for.
        self.asked: set[Path] = set()

    def fly(self, bench: Bench, conversation: Conversing, request: Request) -> Flying:
        """Begin a turn: one of a recording, or `RecordingMiss`."""
        number = len(conversation.turns) + 1
        if self._beyond is not None and conversation in self._run:
            return self._beyond(bench, conversation, request)
        try:
            answer = self._answer(bench, conversation, request)
        except RecordingMiss:
            if self._beyond is None or number > 1:
                raise
            self._run.add(conversation)
            return self._beyond(bench, conversation, request)
        return PlayedFlight(bench, conversation, request, answer, self._strict)

    def recording(self, owner: Owner) -> Recording | None:
        """Return an owner's recording as it was when first asked for.

        `RecordingMiss` as of the source.
        """
        if owner not in self._known:
            try:
                self._known[owner] = self._source.recording(owner)
            except RecordingMiss as error:
                self._known[owner] = error
        known = self._known[owner]
        if isinstance(known, RecordingMiss):
            raise known
        if known is not None and known.folder is not None:
            self.asked.add(known.folder)
        return known

    def has_run(self, owner: Owner) -> bool:
        """Whether a turn of it was not replayed."""
        return any(conversation in self._run for conversation in owner.conversations)

    def _answer(self, bench: Bench, conversation: Conversing, request: Request) -> tuple[RecordedTurn, Recording]:
        """Return the recorded turn with the paths of this sandbox."""
        owner = conversation.owner
        key = owner.conversations.index(conversation) + 1, len(conversation.turns) + 1
        recording = self.recording(owner)
        if recording is None:
            raise misses.nothing_recorded(owner, bench.secrets(request.prompt), self._others(owner))
        if self._strict and (version := version_of(owner)) != recording.made.version:
            raise misses.other_version(owner, recording, version)
        if key not in recording.turns or (self._beyond is not None and not recording.whole):
            raise misses.no_such_turn(owner, key, recording)
        workspace = conversation.workspace
        paths = SandboxPaths(workspace.for_launch()[0], workspace.owner_home.path)
        recorded = recording.turns[key]
        if self._strict:
            asked = asked_of(bench, request, paths)
            if bench.settings.engine == AUTO:
                asked = replace(asked, engine=recorded.asked.engine)
            if miss := misses.difference(owner, asked, recorded, recording):
                raise miss
        recorded = paths.put_turn(recorded)
        before = present(workspace, recorded.before) if self._strict else {}
        if self._strict and (miss := misses.other_workspace(owner, recorded, before, _unknown(recording, key))):
            raise miss
        return recorded, recording


def version_of(owner: Owner) -> str | None:
    """Return what `mark.kiro(version=…)` says; `SettingsError` where that is neither a text nor a whole number."""
    version = owner.marker().get("version")
    if version is not None and (isinstance(version, bool) or not isinstance(version, str | int)):
        raise SettingsError(f"mark.kiro: version={version!r} is not right", advice="wanted: a text, or a whole number")
    return None if version is None else str(version)


def _unknown(recording: Recording, key: tuple[int, int]) -> set[str]:
    """Return the paths that earlier turns have left otherwise than recorded: without a secret, or not at all."""
    conversation, number = key
    earlier = [recording.turns[conversation, one] for one in range(1, number)]
    unknown = {entry.partition(": ")[0] for turn in earlier for entry in turn.left_out}
    return unknown | {file.path for turn in earlier for file in turn.files if file.redacted}
