"""Makes of recordings a run that a page can show."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import cast

from pytest_kiro.recording.values import RecordedTurn, Recording
from pytest_kiro.records.phases import PhaseRecord
from pytest_kiro.records.run import RunRecord
from pytest_kiro.records.tests import Outcome, TestRecord
from pytest_kiro.records.turns import credits_of
from pytest_kiro.report.html.evidence import Cast, Evidence, TurnEvidence, shortened
from pytest_kiro.report.html.stored import run_from, turn_record
from pytest_kiro.secrecy.visible import visible

#: Lines of a file that was added.
_LINES = 2_000


def run_of(recordings: Iterable[Recording]) -> tuple[RunRecord, dict[str, Evidence]]:
    """Return recordings as tests of one run, with their terminals."""
    tests: list[TestRecord] = []
    evidence: dict[str, Evidence] = {}
    day = ""
    for recording in recordings:
        made = recording.made
        name = made.node or (f"{made.owner}[trial{made.trial}]" if made.trial > 1 else made.owner)
        turns = tuple(turn_record(one.turn, one.conversation, _output(one)) for one in recording.turns.values())
        outcome = recording.outcome or "passed"
        tests.append(
            TestRecord(
                nodeid=name,
                outcome=cast(Outcome, outcome),
                infrastructure=any(turn.infrastructure for turn in turns),
                worker="main",
                attempts=1,
                duration=sum(turn.duration or 0.0 for turn in turns),
                credits=credits_of(turns),
                phases=(PhaseRecord(name="call", outcome="failed"),) if outcome in ("failed", "error") else (),
                turns=turns,
            )
        )
        day = max(day, made.day)
        evidence[name] = Evidence(
            folder=str(recording.folder or ""),
            turns={key: TurnEvidence(cast=_cast(one)) for key, one in recording.turns.items()},
            diffs=dict(_added(recording)),
        )
    return run_from(tests, {"run": "recordings", "started": f"{day}T00:00:00+00:00" if day else ""}), evidence


def _cast(turn: RecordedTurn) -> Cast:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    events = tuple((round(time, 3), decoder.decode(data)) for time, data in turn.chunks)
    return shortened(Cast(events=events))


def _output(turn: RecordedTurn) -> str:
    text = b"".join(data for _, data in turn.chunks).decode("utf-8", "replace")
    return visible(text.replace("\r\n", "\n"))


def _added(recording: Recording) -> Iterator[tuple[str, str]]:
    """Yield the files that turns added as diffs: of others nobody knows what was before."""
    for turn in recording.turns.values():
        added = turn.turn.known_changes.added if turn.turn.known_changes is not None else frozenset()
        for file in turn.files:
            if file.path not in added or file.kind != "file":
                continue
            with suppress(LookupError, UnicodeDecodeError):
                lines = recording.read(file.content).decode().splitlines()[:_LINES]
                head = f"--- /dev/null\n+++ b/{file.path}\n@@ -0,0 +1,{len(lines)} @@"
                yield file.path, "\n".join([head, *(f"+{line}" for line in lines)])
