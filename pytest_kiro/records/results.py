"""The results of a run as one JSON file; results.schema.json, beside this file, says what is in it."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pytest_kiro.errors import SettingsError
from pytest_kiro.records.plain import clean, cut
from pytest_kiro.records.turns import credits_of
from pytest_kiro.secrecy.redaction import Secrets
from pytest_kiro.settings.table import TABLE, Settings, shown

FORMAT, VERSION = "pytest-kiro-results", 1
SCHEMA = Path(__file__).with_name("results.schema.json")
#: Characters that are kept of a failure's message.
_MESSAGE = 16_384
#: What a turn that was broken off never had, in the order in which a turn is told.
_UNKNOWN: Mapping[str, Any] = {
    **dict.fromkeys(("conversation", "number")),
    "prompt": "",
    "prompt_left_out": 0,
    "status": "",
    "cause": None,
    "infrastructure": False,
    "detail": "",
    **dict.fromkeys(("proof", "exit_code", "duration", "first_output_after", "credits", "model", "engine")),
    "version": "",
    "session_id": None,
    "scripted": False,
    "retried": False,
    "changes": None,
    "warnings": (),
    "text": "",
    "text_left_out": 0,
    "output": "",
    "output_left_out": 0,
    "diagnostics": "",
    "diagnostics_left_out": 0,
    "truncated": False,
    "tool_calls": (),
    "tool_calls_left_out": 0,
}
_TELLING = ("status", "infrastructure", "scripted", "retried", "credits", "version")


@dataclass
class Run:
    """What is known of a run when it is over."""

    settings: Settings
    pytest: str
    plugin: str
    exit_status: int
    interrupted: bool
    collected: int
    workers: int
    workers_died: int
    refused: int
    turns: Sequence[Mapping[str, Any]]


@dataclass
class _Test:
    nodeid: str
    worker: str = "main"
    attempts: int = 1
    finished: bool = False
    infrastructure: bool = False
    phases: list[dict[str, Any]] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        """What pytest counts the last attempt as."""
        last = [(one["name"], one["outcome"]) for one in self.phases if one["attempt"] == self.attempts]
        if any(outcome == "failed" and name not in ("setup", "teardown") for name, outcome in last):
            return "failed"
        if any(outcome == "failed" for _, outcome in last):
            return "error"
        if not self.finished:
            return "unfinished"
        outcomes = [outcome for _, outcome in last]
        special = ("rerun", "xfailed", "xpassed", "skipped")
        return next((word for word in special if word in outcomes), "passed")


class Results:
    """Gathers what becomes of tests, and writes it down once; on the controller, where there are xdist workers."""

    def __init__(self, file: Path, hide: Secrets) -> None:
        self._hide = hide
        self._file = Path(os.path.realpath(file))  # a link stays one
        self._began = datetime.now(UTC)
        self._tests: dict[str, _Test] = {}
        self._collection_errors: list[dict[str, str]] = []

    def check(self) -> None:
        """Make the folders above the file; `SettingsError` when the file cannot be written, before anything is run."""
        file = self._file
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.exists() and not file.is_file():
                raise SettingsError(f"--kiro-results={file} is no regular file; name a file that can be replaced")
            if file.exists() and (beginning := file.read_bytes()[:1000].strip()) and FORMAT.encode() not in beginning:
                raise SettingsError(
                    f"--kiro-results={file} is there already, and is no results file: it would be lost; remove it, or "
                    "name another file"
                )
            part = self._part()
            part.touch()
            part.unlink()
        except OSError as error:
            raise SettingsError(
                f"--kiro-results={file} cannot be written: {error.strerror}: {error.filename}; name another file"
            ) from error

    def started(self, nodeid: str) -> None:
        """Note that a test, or another attempt at it, was begun."""
        self._test(nodeid).finished = False

    def finished(self, nodeid: str) -> None:
        """Note that nothing more comes of a test."""
        self._test(nodeid).finished = True

    def phase(self, nodeid: str, *, name: str, outcome: str, duration: float, message: str, **about: Any) -> None:
        """Note what became of one phase of a test; `about` has `attempt`, `worker`, and `infrastructure`."""
        test = self._test(nodeid)
        test.worker = about["worker"] or test.worker
        test.attempts = max(test.attempts, about["attempt"] or 1)
        test.infrastructure |= about["infrastructure"]
        text, left_out = cut(self._hide(message), _MESSAGE)
        told = {"outcome": outcome, "duration": duration, "message": text, "message_left_out": left_out}
        test.phases.append({"attempt": about["attempt"] or test.attempts, "name": name, **told})

    def collection_failed(self, nodeid: str, message: str) -> None:
        """Note a file whose tests are not known."""
        self._collection_errors.append({"nodeid": nodeid, "message": cut(self._hide(message), _MESSAGE)[0]})

    def write(self, run: Run) -> None:
        """Write the file; who reads it meanwhile sees the old one or the new one. Raises `OSError`."""
        text = _json(self._hide.within(self.document(run)), indent=1)
        part = self._part()
        try:
            part.write_text(text + "\n", encoding="utf-8")
            part.replace(self._file)
        finally:
            part.unlink(missing_ok=True)

    def document(self, run: Run) -> dict[str, Any]:
        """Return what the file says."""
        for turn in run.turns:
            if not turn["fixture"]:
                self._test(turn["name"])  # of a worker that died there may be no other sign of it
        tests = [self._told(test, run.turns) for test in self._tests.values()]
        return {
            "format": FORMAT,
            "version": VERSION,
            "run": self._run(run),
            "totals": _totals(tests, run),
            "tests": tests,
            "fixtures": _fixtures(run.turns),
        }

    def _test(self, nodeid: str) -> _Test:
        return self._tests.setdefault(nodeid, _Test(nodeid))

    def _part(self) -> Path:
        return self._file.with_name(f".{self._file.name}.{os.getpid()}.part")

    def _run(self, run: Run) -> dict[str, Any]:
        ended = datetime.now(UTC)
        done = sum(test.outcome != "unfinished" for test in self._tests.values())
        whole = run.exit_status in (0, 1, 5) and not self._collection_errors and done >= run.collected
        scripted, note = _scripted(run.turns)
        given = {row.name: run.settings.origins.get(row.name, "default") for row in TABLE}
        return {
            "id": run.settings.run_id,
            "started": self._began.isoformat(timespec="milliseconds"),
            "ended": ended.isoformat(timespec="milliseconds"),
            "duration": (ended - self._began).total_seconds(),
            "exit_status": run.exit_status,
            "complete": whole and not run.interrupted,
            "interrupted": run.interrupted,
            "collected": run.collected,
            "collection_errors": self._collection_errors,
            "python": ".".join(map(str, sys.version_info[:3])),
            "platform": sys.platform,
            "pytest": run.pytest,
            "pytest_kiro": run.plugin,
            "kiro_cli": sorted({turn["version"] for turn in run.turns}),
            "sandbox": run.settings.sandbox,
            "settings": {
                name: {"value": shown(run.settings, name), "origin": origin}
                for name, origin in given.items()
                if origin != "default"
            },
            "workers": run.workers,
            "workers_died": run.workers_died,
            "scripted": scripted,
            "scripted_note": note,
        }

    def _told(self, test: _Test, turns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        own = [turn for turn in turns if not turn["fixture"] and turn["name"] == test.nodeid]
        return {
            "nodeid": test.nodeid,
            "outcome": test.outcome,
            "infrastructure": test.infrastructure and test.outcome in ("failed", "error"),
            "worker": test.worker,
            "attempts": max([test.attempts, *(turn["attempt"] for turn in own)]),
            "duration": sum(phase["duration"] for phase in test.phases),
            "credits": credits_of(own),
            "phases": test.phases,
            "turns": [_turn(turn) for turn in own],
        }


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(clean(value), indent=indent, ensure_ascii=False, allow_nan=False)


def _turn(record: Mapping[str, Any]) -> dict[str, Any]:
    told = {"attempt": record["attempt"], **_UNKNOWN, **json.loads(record["full"])}
    return {**told, **{name: record[name] for name in _TELLING}}


def _fixtures(turns: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the wide fixtures that ran turns, instance by instance."""
    instances: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for turn in turns:
        if turn["fixture"]:
            instances.setdefault((turn["worker"], turn["owner"]), []).append(turn)
    return [
        {
            "name": own[0]["fixture"],
            "file": own[0]["file"],
            "worker": own[0]["worker"],
            "credits": credits_of(own),
            "turns": [_turn(turn) for turn in own],
        }
        for own in instances.values()
    ]


def _totals(tests: Sequence[Mapping[str, Any]], run: Run) -> dict[str, Any]:
    return {
        "tests": {"count": len(tests), "by_outcome": dict(Counter(test["outcome"] for test in tests))},
        "turns": {
            "count": len(run.turns),
            "by_status": dict(Counter(turn["status"] for turn in run.turns)),
            "infrastructure": sum(turn["infrastructure"] for turn in run.turns),
            "retried": sum(turn["retried"] for turn in run.turns),
        },
        "credits": credits_of(run.turns),
        "stopped_by_budget": run.refused,
    }


def _scripted(turns: Sequence[Mapping[str, Any]]) -> tuple[bool | str | None, str]:
    """Say whether scripts answered, and say it in a sentence."""
    scripted = sum(turn["scripted"] for turn in turns)
    if not turns:
        return None, "No turn was run, so nobody answered."
    if scripted == len(turns):
        return True, "Every turn was answered by a script; nothing here was said by a model."
    if scripted:
        return "partly", f"{scripted} of {len(turns)} turns were answered by a script, the others by Kiro."
    return False, "Every turn was answered by Kiro."
