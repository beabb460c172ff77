"""Writes a run as Markdown: for coding agents, for people in a hurry, and for the summary of a build's step.

Failures come first. What an agent may have written is only ever in code, so that it is neither Markdown nor HTML nor a
command to a build's log, and all is cut to a size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median

from pytest_kiro.records.plain import cut
from pytest_kiro.records.run import RunRecord
from pytest_kiro.records.tests import TestRecord
from pytest_kiro.records.turns import TurnRecord, credits_of
from pytest_kiro.report.comparing import contest_lines
from pytest_kiro.report.escaping import block, code, link
from pytest_kiro.report.findings import Finding, Shown, against_baseline, findings_of
from pytest_kiro.report.runs import runs_lines
from pytest_kiro.report.trials import bounds, percent, strip, verdict
from pytest_kiro.trials.groups import Group
from pytest_kiro.trials.merging import contests_in, groups_of
from pytest_kiro.trials.runs import RunsCompared

#: Bytes of the whole text.
MOST = 262_144
#: Characters that are shown of a failure's message, and of what explains it; failures that are shown whole.
_MESSAGE, _EXPLAINED, _WHOLE = 3_000, 12_000, 30
#: Rows of the table, and names in a list.
_ROWS, _NAMES = 200, 20
_MARKS = {"passed": "✓", "failed": "✗", "error": "✗", "worse": "✗"}
#: Outcomes of evals, those first that are to be looked at.
_ORDER = ("failed", "error", "undecided", "incomplete", "unfinished", "xpassed", "passed")
_STATUS = {0: "passed", 1: "failed", 2: "interrupted", 5: "no test was run"}


def markdown(run: RunRecord, *, before: RunRecord | None = None, most: int = MOST, links: bool = True) -> str:
    """Return a run as Markdown of at most so many bytes.

    `before` is what it is compared with; without `links` a folder is named only, where no file lies beside the text.
    """
    against = against_baseline(run, before)
    findings = findings_of(run, against)
    text = _Text(most)
    text.add("\n".join(_head(run, findings)))
    if findings:
        with text.held(most // 4):  # for what else there is
            _add_findings(text, findings, link if links else code)
    if against is not None:
        text.add("\n".join(_news(against)))
    for contest in contests_in(run):
        text.add(f"### Compared\n\n{block(chr(10).join(line for line, _ in contest_lines(contest)))}")
    _add_table(text, run)
    return text.join()


class _Text:
    """Paragraphs up to a number of bytes; what does not fit is counted."""

    def __init__(self, most: int) -> None:
        self._room, self._parts = most - 300, list[str]()  # for the sentence on what was left out
        self.left_out = 0

    def add(self, *forms: str) -> None:
        """Add the first form that fits; count it where none does."""
        for form in forms:
            if self.fits(form):
                self._room -= len(form.encode("utf-8", "replace")) + 2
                self._parts.append(form)
                return
        self.left_out += 1

    def fits(self, form: str) -> bool:
        """Whether there is room for a text."""
        return len(form.encode("utf-8", "replace")) + 2 <= self._room

    @contextmanager
    def held(self, room: int) -> Iterator[None]:
        """Leave so much room meanwhile."""
        self._room -= room
        yield
        self._room += room

    def join(self) -> str:
        """Return the whole text."""
        if self.left_out:
            self._parts.append(f"({self.left_out} more parts are not shown: this text is cut.)")
        return "\n\n".join(self._parts).encode("utf-8", "replace").decode("utf-8") + "\n"


# -- the head


def _head(run: RunRecord, findings: Sequence[Finding]) -> Iterator[str]:
    facts, totals = run.run, run.totals
    word = _STATUS.get(facts.exit_status, f"pytest ended with exit status {facts.exit_status}")
    yield f"# {_MARKS.get(word, '·')} Evals of Kiro: {word}"
    yield ""
    if word == "failed" and not findings:
        yield "What failed is none of the evals below."
        yield ""
    words = Counter(word for word, _ in sorted(_rows(run), key=_rank))
    evals = f"{words.total()} eval{'s' * (words.total() != 1)}"
    parts = [f"{evals}: {', '.join(f'{count} {word}' for word, count in words.items())}" if words else evals]
    parts.append(f"{totals.turns.count} turn{'s' * (totals.turns.count != 1)}")
    if totals.credits is not None:
        parts.append(f"{totals.credits:.2f} credits")
    yield " · ".join([*parts, _time(facts.duration)])
    yield ""
    models = sorted({turn.provenance.model for turn in _turns(run.tests) if turn.provenance.model})
    answered = [f"sandbox {facts.sandbox}", *(f"kiro-cli {one}" for one in facts.kiro_cli), *models]
    yield f"{facts.scripted_note} {code(', '.join(answered))}"
    if not facts.complete:
        yield ""
        yield "**This run is not complete:** it was stopped, or not every test that was collected has ended."


def _turns(tests: Iterable[TestRecord]) -> Iterator[TurnRecord]:
    return (turn for test in tests for turn in test.turns)


def _time(seconds: float) -> str:
    """Write a time as people read it.

    >>> _time(8.25), _time(192)
    ('8.2 s', '3 min 12 s')
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


# -- what to look at


def _add_findings(text: _Text, findings: Sequence[Finding], folder: Callable[[str], str]) -> None:
    text.add("## What to look at")
    for number, one in enumerate(findings):
        short = _short(one)
        forms = (_whole(one, folder), short) if number < _WHOLE else (short,)
        text.add(*forms)


def _short(one: Finding) -> str:
    return f"### {_MARKS.get(one.word, '·')} {code(one.name)}\n\n{one.word}: {code(cut(one.says, 400)[0])}"


def _whole(one: Finding, folder: Callable[[str], str]) -> str:
    parts = [f"### {_MARKS.get(one.word, '·')} {code(one.name)}"]
    if one.lines:
        parts.append(block(cut("\n".join(one.lines), _MESSAGE)[0]))
    for shown in one.shown:
        parts += _phase(shown, named=shown.test.nodeid != one.name)
        if shown.test.artifacts:
            parts.append(f"Artifacts: {folder(shown.test.artifacts)}")
    if one.command:
        parts.append(f"Repeat it: {code(one.command)}")
    return "\n\n".join(parts)


def _phase(shown: Shown, *, named: bool) -> Iterator[str]:
    phase, test = shown.phase, shown.test
    where = [code(test.nodeid)] if named else []
    where += ["failed" if phase.name == "call" else f"failed in its {phase.name}"]
    where += [f"at {code(f'{phase.place.file}:{phase.place.line}')}"] if phase.place is not None else []
    where += ["by the world's fault: nothing was learnt about the agent"] if phase.infrastructure else []
    yield f"{', '.join(where)}:"
    source = [phase.place.source] if phase.place is not None and phase.place.source else []
    yield block(cut("\n".join([*source, phase.message.strip("\n")]), _MESSAGE)[0])
    if phase.explained:
        said = block(cut(phase.explained, _EXPLAINED)[0], "diff")
        yield f"<details><summary>What the turns did</summary>\n\n{said}\n\n</details>"


# -- against the baseline


def _news(against: RunsCompared) -> Iterator[str]:
    yield "## Against the baseline"
    yield ""
    pairs = [(one.verdict.outcome, other.verdict.outcome, other) for one, other in against.pairs]
    kinds = {
        "New failures": [group.name for was, now, group in pairs if was == "passed" and now in ("failed", "error")],
        "Fixed": [group.name for was, now, group in pairs if was in ("failed", "error") and now == "passed"],
        "Still failing": [group.name for was, now, group in pairs if {was, now} <= {"failed", "error"}],
        "New evals": list(against.only_after),
        "Gone": list(against.only_before),
    }
    for title, names in kinds.items():
        if names:
            more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
            yield f"- {title}: {', '.join(code(name) for name in names[:_NAMES])}{more}"
    if not any(kinds.values()):
        yield "- Nothing is new."
    yield ""
    yield block(cut("\n".join(line for line, _ in runs_lines(against)), _MESSAGE)[0])


# -- all evals


def _add_table(text: _Text, run: RunRecord) -> None:
    rows = [row for _, row in sorted(_rows(run), key=_rank)]
    table = [
        "## All evals",
        "",
        "| | eval | passed | rate, 95 % | lost | median | credits |",
        "|---|---|---|---|---|---|---|",
    ]
    for most in (_ROWS, 10) if rows else ():
        more = ["", f"(and {len(rows) - most} more)"] if len(rows) > most else []
        if text.fits(form := "\n".join([*table, *rows[:most], *more])):
            break
    if rows:
        text.add(form)


def _rank(row: tuple[str, str]) -> int:
    return _ORDER.index(row[0]) if row[0] in _ORDER else len(_ORDER)


def _rows(run: RunRecord) -> Iterator[tuple[str, str]]:
    """Yield the outcome of each eval, and its row of the table."""
    for group, tests in groups_of(run):
        name = f"{code(group.name, cell=True)} {strip(group)}"
        outcome = group.verdict.outcome if group.tolerant else _worst(tests)
        said = verdict(group) if group.tolerant else outcome
        yield outcome, _row(outcome, said, name, group, tests)
    for test in run.tests:
        if test.trial is None and (test.turns or test.fixtures or test.outcome in ("failed", "error")):
            yield test.outcome, _row(test.outcome, test.outcome, code(test.nodeid, cell=True), None, [test])


def _worst(tests: Sequence[TestRecord]) -> str:
    outcomes = {test.outcome for test in tests}
    return next((word for word in _ORDER if word in outcomes), min(outcomes))


def _row(outcome: str, said: str, name: str, group: Group | None, tests: Sequence[TestRecord]) -> str:
    rate = passed = lost = ""
    if group is not None:
        passed = f"{group.tally.passes}/{group.tally.valid}"
        rate = f"{percent(group.rate)} {bounds(group.interval)}" if group.interval is not None else ""
        lost = ", ".join(f"{count} {code(why, cell=True)}" for why, count in group.lost.items())
    spent = credits_of(list(_turns(tests)))
    took = _time(median(test.duration for test in tests))
    cells = [
        f"{_MARKS.get(outcome, '·')} {said}",
        name,
        passed,
        rate,
        lost,
        took,
        "" if spent is None else f"{spent:.2f}",
    ]
    return f"| {' | '.join(cells)} |"
