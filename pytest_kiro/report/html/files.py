"""Writes a page, and a Markdown file beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pytest_kiro.errors import SettingsError
from pytest_kiro.records.output import OutputFile
from pytest_kiro.records.run import RunRecord
from pytest_kiro.report.html.evidence import Evidence
from pytest_kiro.report.html.rendering import MARK, check, report
from pytest_kiro.report.markdown import markdown
from pytest_kiro.secrecy.redaction import Secrets

#: What our own Markdown begins with, so that nobody's README is overwritten.
_MARK = "Evals of Kiro"
#: Bytes from which a page is said to be large.
_LARGE = 10_000_000


class ReportFiles:
    """The page that an `option` names, and the Markdown file beside it."""

    def __init__(self, page: Path, option: str) -> None:
        self._page = OutputFile(page, option, mark=MARK, kind="report of pytest-kiro")
        beside = self._page.path.with_suffix(".md")
        self._text = OutputFile(beside, f"the file beside {option}", mark=_MARK, kind="report of pytest-kiro")
        self._wrong = beside == self._page.path
        self._named = f"{option}={page}"

    def check(self) -> None:
        """Raise `SettingsError` where they cannot be made or written."""
        if self._wrong:
            raise SettingsError(f"{self._named} is HTML, and Markdown is written beside it", advice="end it in .html")
        check()
        self._page.check()
        self._text.check()

    def write(
        self,
        run: RunRecord,
        evidence: Mapping[str, Evidence],
        before: RunRecord | None,
        before_name: str,
        secrets: Secrets,
    ) -> str:
        """Write both without secrets, and say where they are. Raises `OSError`."""
        size = self._page.write_text(report(run, evidence, before, before_name, secrets=secrets))
        self._text.write_text(secrets(markdown(run, before=before)))
        large = "; it is large, and opens slowly" if size > _LARGE else ""
        return f"report {self._page.path} ({size / 1e6:.1f} MB{large})"
