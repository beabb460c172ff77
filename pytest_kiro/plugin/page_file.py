"""Writes the page that `--kiro-report` names, and the Markdown beside it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_kiro.errors import SettingsError
from pytest_kiro.plugin.growing import baseline_of
from pytest_kiro.records.plain import cut
from pytest_kiro.report.html.evidence import Evidence
from pytest_kiro.report.html.files import ReportFiles
from pytest_kiro.report.html.stored import evidence_of
from pytest_kiro.secrecy.visible import visible

if TYPE_CHECKING:
    from pytest_kiro.plugin.state import State
    from pytest_kiro.records.run import RunRecord
    from pytest_kiro.secrecy.redaction import Secrets

#: Characters that are kept of a traceback.
_TRACEBACK = 16_384


class PageFile:
    """A plugin object of the controller: it keeps what tracebacks say, since no record does."""

    def __init__(self, state: State, file: Path) -> None:
        self._state = state
        self._files = ReportFiles(file, "--kiro-report")
        self._tracebacks: defaultdict[str, list[str]] = defaultdict(list)

    @classmethod
    def begin(cls, state: State) -> PageFile:
        """Listen from now on; `UsageError` where the page cannot be made or written."""
        name = state.settings.report
        page = cls(state, state.config.invocation_params.dir / Path(str(name)).expanduser())
        try:
            page._files.check()
        except SettingsError as error:
            raise pytest.UsageError(str(error)) from None
        state.config.pluginmanager.register(page, "kiro-page")
        return page

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.longrepr is not None and not isinstance(report.longrepr, tuple):  # which is a skip's
            self._tracebacks[report.nodeid].append(report.longreprtext)

    def write(self, run: RunRecord, secrets: Secrets) -> None:
        """Write the page without secrets, and say where it is. Raises `OSError`."""
        settings = self._state.settings
        before = None if settings.more is not None else baseline_of(self._state.config, settings)
        said = self._files.write(run, self._evidence(run), before, str(settings.baseline), secrets)
        if terminal := self._state.config.pluginmanager.getplugin("terminalreporter"):
            terminal.write_line(visible(f"kiro: {said}"))

    def _evidence(self, run: RunRecord) -> Mapping[str, Evidence]:
        """Return what artifacts have of each test, and its traceback."""
        found = evidence_of(run, [self._state.config.invocation_params.dir])
        for nodeid, texts in self._tracebacks.items():
            said = cut("\n\n".join(texts), _TRACEBACK)[0]
            found[nodeid] = replace(found.get(nodeid, Evidence()), traceback=said)
        return found
