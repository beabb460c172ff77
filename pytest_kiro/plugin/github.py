"""Tells GitHub Actions what became of a run: the summary of the step, and annotations at lines that failed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kiro.plugin.growing import baseline_of
from pytest_kiro.report.annotations import error_commands
from pytest_kiro.report.findings import against_baseline, findings_of
from pytest_kiro.report.markdown import MOST, markdown

if TYPE_CHECKING:
    from pytest_kiro.plugin.state import State
    from pytest_kiro.records.run import RunRecord
    from pytest_kiro.secrecy.redaction import Secrets

#: Bytes that GitHub takes of a step's summary; of a larger one it shows nothing.
_SUMMARY = 1024 * 1024
#: Bytes with which a summary says something.
_LEAST = 2_000
#: Another plugin, which annotates every failure of pytest's.
_OTHER = "pytest_github_actions_annotate_failures"


class GitHub:
    """What is told at the end; GitHub's variables say where."""

    def __init__(self, state: State) -> None:
        self._state, wanted = state, state.settings.github
        summary = os.environ.get("GITHUB_STEP_SUMMARY", "")
        self._summary = Path(summary) if summary and wanted in ("auto", "summary") else None
        other = state.config.pluginmanager.hasplugin(_OTHER) and wanted == "auto"
        annotates = os.environ.get("GITHUB_ACTIONS") == "true" and wanted in ("auto", "annotations")
        self._annotates = annotates and not other

    def write(self, run: RunRecord, secrets: Secrets) -> None:
        """Tell it; what cannot be written is said, and does not change how the run ended."""
        config, settings = self._state.config, self._state.settings
        before = None if settings.more is not None else baseline_of(config, settings)
        if self._annotates:
            for line in error_commands(findings_of(run, against_baseline(run, before)), self._path_of):
                self._say(secrets.torn(line))
        if self._summary is not None:
            try:
                self._append(self._summary, run, before, secrets)
            except OSError as error:
                self._say(f"kiro: GITHUB_STEP_SUMMARY={self._summary} could not be written: {error}")

    def _append(self, file: Path, run: RunRecord, before: RunRecord | None, secrets: Secrets) -> None:
        there = file.stat().st_size if file.exists() else 0
        room = min(MOST, _SUMMARY - there - 1_000)  # for what is added below
        if room < _LEAST:
            self._say(f"kiro: {file.name} has {there} bytes already, so nothing was added to the step's summary")
            return
        text = secrets.torn(markdown(run, before=before, most=room, links=False))
        if (link := _page()) and any(test.artifacts for test in run.tests):
            text += f"\n[What this workflow run has uploaded]({link}#artifacts)\n"
        with file.open("a", encoding="utf-8", errors="replace") as summary:
            summary.write(f"{text}\n")

    def _path_of(self, file: str) -> str:
        """Return a path below the rootdir as GitHub has it: below the checkout."""
        whole = self._state.config.rootpath / file
        checkout = Path(os.environ.get("GITHUB_WORKSPACE") or self._state.config.rootpath)
        return whole.relative_to(checkout).as_posix() if whole.is_relative_to(checkout) else str(whole)

    def _say(self, line: str) -> None:
        if terminal := self._state.config.pluginmanager.getplugin("terminalreporter"):
            terminal.ensure_newline()
            terminal.write_line(line)
        else:
            sys.stdout.write(f"{line}\n")


def wanted(state: State) -> GitHub | None:
    """Return what tells GitHub, None where nobody asks for it."""
    asked = os.environ.get("GITHUB_STEP_SUMMARY") or os.environ.get("GITHUB_ACTIONS") == "true"
    return GitHub(state) if asked and state.settings.github != "off" else None


def _page() -> str:
    """Return the address of the workflow's run."""
    server, repository, run = (os.environ.get(f"GITHUB_{name}", "") for name in ("SERVER_URL", "REPOSITORY", "RUN_ID"))
    return f"{server}/{repository}/actions/runs/{run}" if server and repository and run.isdigit() else ""
