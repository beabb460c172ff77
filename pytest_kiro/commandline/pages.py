"""`report`: makes the page of a run that is over, and runs nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pytest_kiro.commandline import say
from pytest_kiro.errors import SettingsError
from pytest_kiro.records.run import RunRecord
from pytest_kiro.report.html.evidence import Evidence
from pytest_kiro.report.html.files import ReportFiles
from pytest_kiro.report.html.stored import evidence_of, run_in
from pytest_kiro.secrecy.redaction import Secrets
from pytest_kiro.trials.merging import merge, read_run


def read(sources: Sequence[Path]) -> tuple[RunRecord, Mapping[str, Evidence]]:
    """Return the run of results files, or of one folder of artifacts; `SettingsError` where that cannot be read."""
    folders = [path for path in sources if path.is_dir()]
    if folders:
        if len(sources) > 1:
            raise SettingsError(f"{folders[0]} is a folder", advice="name one folder, or results files only")
        return run_in(folders[0])
    runs = [read_run(file) for file in sources]
    run = runs[0] if len(runs) == 1 else merge(runs)
    return run, evidence_of(run, [Path(), *(file.parent for file in sources)])


def write(run: RunRecord, evidence: Mapping[str, Evidence], output: Path, baseline: str | None) -> int:
    """Write the page of a run; return the exit code."""
    files = ReportFiles(output, "--output")
    files.check()
    before = read_run(Path(baseline)) if baseline else None
    try:
        said = files.write(run, evidence, before, baseline or "", Secrets.of(os.environ))
    except OSError as error:
        raise SettingsError(f"{output} could not be written: {error}", advice="name another file") from None
    tests, turns = len(run.tests), run.totals.turns.count
    say(f"{said}: {tests} test{'s' * (tests != 1)}, {turns} turn{'s' * (turns != 1)}")
    return 0
