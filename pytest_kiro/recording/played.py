"""A turn that a recording answers: no process, no waiting."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from pytest_kiro.agent.bench import Bench, Conversing
from pytest_kiro.agent.flying import Landed
from pytest_kiro.agent.printed import Printed
from pytest_kiro.agent.request import Request, Resume
from pytest_kiro.errors import HIDE_FRAMES
from pytest_kiro.recording import misses
from pytest_kiro.recording.leaving import leave
from pytest_kiro.recording.values import RecordedTurn, Recording
from pytest_kiro.turn.causes import Ending
from pytest_kiro.turn.transcript import ToolCall
from pytest_kiro.turn.turn import Turn
from pytest_kiro.turn.warnings import Warnings

__tracebackhide__ = HIDE_FRAMES


class Played:
    """What was printed, chunk by chunk, as fast as it is read."""

    def __init__(self, recorded: RecordedTurn) -> None:
        self._chunks, self._turn = deque(recorded.chunks), recorded.turn
        self._stopped_after = recorded.stopped_after or 0.0
        self._early = False
        self.ending: Ending | None = None
        self.exit_code: int | None = None
        self.over = False
        self.first_output_after: float | None = None
        self.duration, self.silent_for = 0.0, 0.0

    def look_after(self, silence: float, look: Callable[[], None]) -> None:
        """Do nothing: here it is never silent."""

    def read(self, until: float) -> bytes | None:
        """Return the next bytes, b"" at the end."""
        if not self._chunks:
            return b""
        self.duration, data = self._chunks.popleft()
        if self.first_output_after is None:
            self.first_output_after = self._turn.first_output_after
        return data

    def end(self) -> None:
        """Let it be over, as it was."""
        self.over, self.exit_code, self.duration = True, self._turn.exit_code, self._turn.duration

    def stop(self, ending: Ending) -> None:
        """Note why it was to end here; of no effect when it is over.

        What was printed after that is known only where it was recorded so.
        """
        if self.over or self.ending is not None:
            return
        self.ending, self._early = ending, self.duration < self._stopped_after
        if not self.as_recorded:
            self._chunks.clear()

    @property
    def as_recorded(self) -> bool:
        """Whether what stopped it had stopped the recorded one, and no earlier."""
        if self.ending is None:
            return True
        if self._early:
            return False
        was, now = (_reason(detail) for detail in (self._turn.detail, self.ending.detail))
        return (self._turn.status, was) == (self.ending.status, now)


def _reason(detail: str) -> str:
    """Return what stopped a turn, without where that was."""
    return detail.partition(" stopped it")[0]


class PlayedFlight:
    """One turn of a recording, which leaves what it left.

    `strict` is whether a turn that is stopped otherwise than recorded is an error.
    """

    def __init__(
        self,
        bench: Bench,
        conversation: Conversing,
        request: Request,
        answer: tuple[RecordedTurn, Recording],
        strict: bool,
    ) -> None:
        self._bench, self._conversation, self.request, self._strict = bench, conversation, request, strict
        self._recorded, self._recording = answer
        asked = self._recorded.asked
        self.printed = Printed(asked.engine, bench.secrets, stream=asked.output == "stream-json")
        self.running = Played(self._recorded)
        for observer in bench.observers:
            observer.started(conversation, request.prompt)

    def land(self, late: Callable[[Sequence[ToolCall]], Ending | None]) -> Landed:
        """Put what the turn left into the workspace, and return it."""
        turn, ending = self._recorded.turn, self.running.ending
        if self._strict:
            owner = self._conversation.owner
            if ending is not None and not self.running.as_recorded:
                raise misses.stopped(owner, self._recorded, ending.detail)
            if turn.status == "completed" and (stop := late(turn.tool_calls)):
                raise misses.stopped(owner, self._recorded, stop.detail)
        elif ending is not None and not self.running.as_recorded:
            turn = replace(turn, status=ending.status, cause=ending.cause, detail=ending.detail, proof=None)
        workspace = self._conversation.workspace
        leave(workspace, self._recorded, self._recording.read)
        landed = self._made(turn)
        if landed.known_changes is None:
            workspace.ledger.miss(landed.summary)
        return Landed(landed, Resume(landed.session_id), may_fly_again=False)

    def abandon(self) -> None:
        """Let it be over."""
        self.running.over = True

    def _made(self, turn: Turn) -> Turn:
        recording, printed = self._recording, self.printed
        noted = [f"its recording has left out {one}" for one in self._recorded.left_out]
        noted += [
            f"{one.path} had a secret in it, which is not recorded" for one in self._recorded.files if one.redacted
        ]
        if recording.edited:
            noted.append(f"its recording was edited after it was made: {', '.join(sorted(recording.edits))}")
        return replace(
            turn,
            prompt=self._bench.secrets(self.request.prompt),
            number=len(self._conversation.turns) + 1,
            output=printed.text,
            raw=printed.data,
            truncated=turn.truncated or printed.truncated,
            provenance=replace(turn.provenance, recorded=recording.made.day),
            warnings=tuple(Warnings([*turn.warnings, *noted])),
            home=self._conversation,
        )
