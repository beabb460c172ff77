"""Keeps the folder of a run's artifacts among those of earlier runs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pytest_kiro.artifacts.folder import WRITTEN, Folder, names_in, read_from, write_to
from pytest_kiro.records.folders import LATEST, RUN, TEST
from pytest_kiro.settings.table import Settings

#: Runs that are kept beside the present one, if something is in them.
KEPT = 10
FORMAT = "pytest-kiro-artifacts"
#: Seconds after which a run that has not said its end has died.
_DEAD = 24 * 3600.0


def run_name(began: datetime, run_id: str) -> str:
    """Return the name of a run's folder: later ones come later.

    >>> run_name(datetime(2026, 11, 29, 8, 15, 2, tzinfo=UTC), "3f9a1c77")
    '20261129-081502-3f9a1c'
    """
    return f"{began:%Y%m%d-%H%M%S}-{run_id[:6]}"


class RunFolder:
    """Where a run keeps its artifacts; each of its processes has one, all of the same path.

    The folder is there once something is put into it. Its methods raise `OSError`.
    """

    def __init__(self, path: Path, *, run_id: str, when: str) -> None:
        self.path, self._run_id, self._when = path, run_id, when
        self._begun = False

    @classmethod
    def of(cls, settings: Settings, base: Path, told: str | None = None) -> RunFolder:
        """Return where a run keeps artifacts; `told` is what a worker has heard of it from its controller."""
        top = base / Path(settings.artifacts_dir).expanduser()
        path = Path(told) if told else top / run_name(datetime.now(UTC), settings.run_id)
        return cls(path, run_id=settings.run_id, when=settings.artifacts)

    @property
    def top(self) -> Path:
        """The folder of all runs."""
        return self.path.parent

    def begin(self) -> None:
        """Make the folder, and let `latest` lead to it; idempotent."""
        if self._begun:
            return
        self.top.mkdir(parents=True, exist_ok=True)
        ignore = self.top / ".gitignore"
        if not ignore.exists():
            write_to(ignore, b"*\n")
        try:
            self.path.mkdir()
        except FileExistsError:
            self._begun = True  # another process of this run was first
            return
        self._begun = True
        self._tell(ended=None, exit_status=None)
        self._link()

    def end(self, exit_status: int) -> None:
        """Say that the run is over, and remove old ones; nothing if it never began."""
        if not self.path.is_dir():
            return
        self._tell(ended=_now(), exit_status=exit_status)
        prune(self.top, self.path.name)

    def tests(self) -> list[Path]:
        """Return the folders of tests that have artifacts, by name."""
        folders = [self.path / name for name in names_in(self.path)] if self.path.is_dir() else []
        return [folder for folder in folders if (folder / TEST).is_file()]

    def _tell(self, **more: Any) -> None:
        facts: dict[str, Any] = {"format": FORMAT, "version": 1, "run": self._run_id, "started": _now()}
        with suppress(OSError, ValueError):
            facts["started"] = json.loads(read_from(self.path / RUN))["started"]
        facts |= {"when": self._when, **more}
        Folder(self.path).write(RUN, json.dumps(facts, indent=1).encode() + b"\n")

    def _link(self) -> None:
        """Put the link in place in one step; what is no link of ours stays."""
        latest = self.top / LATEST
        if os.path.lexists(latest) and not _leads_to_a_run(latest):
            return
        part = self.top / f".{self.path.name}.part"
        try:
            part.symlink_to(self.path.name, target_is_directory=True)
            part.replace(latest)
        finally:
            part.unlink(missing_ok=True)


def prune(top: Path, present: str) -> None:
    """Remove what earlier runs wrote beyond the latest ten; those of which nothing was kept go first."""
    kept = 0
    for run in sorted(_earlier(top, present), reverse=True):
        tests = [folder for name in names_in(run) if (folder := run / name).is_dir() and not folder.is_symlink()]
        if tests and kept < KEPT:
            kept += 1
            continue
        for folder in tests:
            if (folder / WRITTEN).is_file():
                Folder(folder).remove()
        Folder(run).remove()


def _earlier(top: Path, present: str) -> Iterator[Path]:
    """Yield the folders of runs that are over."""
    for name in names_in(top):
        run = top / name
        facts: Any = None
        with suppress(OSError, ValueError):
            facts = json.loads(read_from(run / RUN))
        if run.name == present or run.is_symlink() or not isinstance(facts, dict) or facts.get("format") != FORMAT:
            continue
        with suppress(OSError):
            if facts.get("ended") or time.time() - (run / RUN).stat().st_mtime > _DEAD:
                yield run


def _leads_to_a_run(link: Path) -> bool:
    return link.is_symlink() and "/" not in str(link.readlink())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
