"""`compare` and `merge`: say what results files show together, and run nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pytest_kiro.commandline import complain, say
from pytest_kiro.errors import SettingsError
from pytest_kiro.records.run import ResultsFile
from pytest_kiro.report.comparing import contest_lines
from pytest_kiro.report.runs import runs_lines
from pytest_kiro.report.trials import failure_lines, group_line
from pytest_kiro.secrecy.redaction import Secrets
from pytest_kiro.trials.drift import Side, drift
from pytest_kiro.trials.gates import MIN_VALID
from pytest_kiro.trials.merging import contests_in, groups_of, merge, read_run
from pytest_kiro.trials.runs import compare_runs

#: Exit codes, beside 0 for the same or better: 2 is that of a wrong command line as well.
WORSE, NOT_COMPARED, UNDECIDED = 1, 2, 3
NOT_MERGED = 2


def compare(before: Path, after: Path, *, strict: bool, undecided: bool, full: bool) -> int:
    """Compare two results files; return the exit code."""
    try:
        runs = [read_run(file) for file in (before, after)]
    except SettingsError as error:
        complain(str(error))
        return NOT_COMPARED
    compared = compare_runs(*map(Side.of, runs), min_valid=MIN_VALID)
    for name, file, run in zip(("before", "after"), (before, after), runs, strict=True):
        whole = "" if run.run.complete else ", which was not run whole"
        say(f"{name}: {file}, of {run.run.started[:10]}{whole}")
    for line, _ in runs_lines(compared, full=full):
        say(line)
    result = compared.compared
    if result is None or result.decision is None:
        return NOT_COMPARED
    if strict and compared.differences:
        complain("--strict: not all else was the same, so the difference may be due to that")
        return NOT_COMPARED
    if result.decision.finding == "worse":
        return WORSE
    return UNDECIDED if undecided and result.decision.finding in ("undecided", "insufficient") else 0


def merge_files(files: Sequence[Path], output: Path, *, sequential: bool, strict: bool = False) -> int:
    """Merge results files into one, and say what it shows; return the exit code."""
    target = ResultsFile(output, "--output")
    try:
        runs = [read_run(file) for file in files]
        first, *others = map(Side.of, runs)
        apart = {file: words for file, side in zip(files[1:], others, strict=True) if (words := drift(first, side))}
        for file, words in apart.items():
            complain(f"what was not the same in {file} and {files[0]}: {', '.join(words)}")
        if strict and apart:
            complain("--strict: runs in which not all else was the same are not merged")
            return NOT_MERGED
        merged = merge(runs, sequential=sequential)
        target.check()
        target.write(merged, Secrets.of(os.environ))
    except SettingsError as error:
        complain(str(error))
        return NOT_MERGED
    except OSError as error:
        complain(f"{output} could not be written: {error}")
        return NOT_MERGED
    for group, tests in groups_of(merged):
        if tests[0].trial and (tests[0].trial.gated or tests[0].trial.variant is None):
            for line in [group_line(group), *failure_lines(group)]:
                say(line)
    for contest in contests_in(merged):
        for line, _ in contest_lines(contest, aa=any(one.alike for one in merged.comparisons)):
            say(line)
    whole = "" if merged.run.complete else ", not all of which were run whole"
    say(f"{output}: {len(files)} runs{whole}, {len(merged.tests)} tests, {merged.totals.turns.count} turns")
    return 0
