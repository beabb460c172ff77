"""Makes of a run what its page shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pytest_kiro.records.run import RunRecord
from pytest_kiro.report.html.clusters import alike
from pytest_kiro.report.html.comparison_views import ContestView, contest_view, runs_view
from pytest_kiro.report.html.eval_views import STATUSES, EvalView, evals_of
from pytest_kiro.report.html.evidence import Evidence
from pytest_kiro.report.html.trial_views import TrialView
from pytest_kiro.trials.drift import Side
from pytest_kiro.trials.gates import MIN_VALID
from pytest_kiro.trials.groups import TrialEnd
from pytest_kiro.trials.merging import contests_in, turns_in
from pytest_kiro.trials.rates import suite_rate, wilson
from pytest_kiro.trials.runs import RunsCompared, compare_runs

#: What the exit code of pytest says beside failures.
_RED = ("failed", "error", "infrastructure")
#: How many evals a list of news names.
_NEWS = 60


@dataclass(frozen=True)
class News:
    """An eval that is not what it was in the baseline."""

    kind: str
    words: str
    name: str
    id: str
    before: tuple[TrialEnd, ...] | None = None
    after: tuple[TrialEnd, ...] = ()


@dataclass(frozen=True)
class Page:
    """What a page shows of a run, beside its articles."""

    run: RunRecord
    evals: tuple[EvalView, ...]
    before_evals: tuple[EvalView, ...] = ()
    contests: tuple[ContestView, ...] = ()
    runs: ContestView | None = None
    news: tuple[News, ...] = ()
    news_note: str = ""
    before_name: str = ""
    differences: tuple[str, ...] = ()
    clusters: Sequence[tuple[str, Sequence[TrialView]]] = ()
    trial_ids: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    before_trial_ids: Mapping[str, Mapping[int, str]] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """How many evals have each status, in the order of the list."""
        counted = Counter(view.status for view in self.evals)
        return {word: counted[word] for word in STATUSES if counted[word]}

    @property
    def status(self) -> str:
        """The verdict in a word."""
        counts, exit_status = self.counts, self.run.run.exit_status
        if not counts and not self.run.run.collection_errors:
            return "incomplete"
        if counts.get("failed") or counts.get("error") or self.run.run.collection_errors:
            return "failed"
        worse = any(one.finding == "worse" for one in self.run.comparisons)
        if worse or (exit_status == 1 and not counts.get("infrastructure")):
            return "failed"
        if counts.get("infrastructure"):
            return "infrastructure"
        if not self.run.run.complete or counts.get("incomplete"):
            return "incomplete"
        return "undecided" if counts.get("undecided") else "passed"

    @property
    def headline(self) -> str:
        """The verdict in a line."""
        total, counts = len(self.evals), self.counts
        if errors := len(self.run.run.collection_errors):
            return f"{errors} file{'s' * (errors != 1)} could not be collected"
        if not total:
            return "nothing was run"
        if counts == {"passed": total}:
            return f"all {total} evals passed" if total > 1 else "the eval passed"
        named = [f"{count} {'lost to ' * (word == 'infrastructure')}{word}" for word, count in counts.items()]
        return f"{', '.join(named)} of {total} eval{'s' * (total != 1)}"

    @property
    def subline(self) -> str:
        """When and where it ran."""
        facts = self.run.run
        words = [facts.started[:16].replace("T", " ") + " UTC", f"kiro-cli {', '.join(facts.kiro_cli) or 'unknown'}"]
        words += [", ".join(self.models)] if self.models else []
        return " · ".join([*words, f"sandbox {facts.sandbox}"])

    @property
    def scripted_note(self) -> str:
        """That scripts answered, where they did."""
        return self.run.run.scripted_note if self.run.run.scripted else ""

    @property
    def notes(self) -> list[str]:
        """What a reader must know before numbers."""
        facts = self.run.run
        words = ["The run was interrupted."] if facts.interrupted else []
        if not facts.complete and not facts.interrupted:
            words.append("The run is not whole: not every test that was collected has an outcome.")
        if count := self.run.totals.stopped_by_budget:
            words.append(f"The budget was used up: {count} tests were refused a turn.")
        return words

    @property
    def all_trials(self) -> list[TrialView]:
        """The trials of all evals, the failed ones first."""
        trials = [trial for view in self.evals for trial in view.trials]
        return sorted(
            trials, key=lambda trial: ("failed", "lost").index(trial.outcome) if trial.outcome in _LOST else 2
        )

    @property
    def by_eval(self) -> list[list[TrialView]]:
        """The trials of each eval; evals that failed once come first."""
        each = [list(view.trials) for view in self.evals]
        return sorted(each, key=lambda trials: not any(trial.outcome in _LOST for trial in trials))

    @property
    def trials(self) -> int:
        """How many trials there were."""
        return sum(trial.outcome not in ("not needed", "not run") for trial in self.all_trials)

    @property
    def valid(self) -> int:
        """How many of them were evaluated."""
        return sum(view.valid for view in self.evals)

    @property
    def lost(self) -> int:
        """How many of them were lost."""
        return sum(trial.outcome == "lost" for trial in self.all_trials)

    @property
    def _rates(self) -> list[float]:
        return [view.passed / view.valid for view in self.evals if view.valid]

    @property
    def rate(self) -> float | None:
        """The mean of the evals' rates; of one eval its own."""
        return sum(self._rates) / len(self._rates) if self._rates else None

    @property
    def _interval(self) -> tuple[float | None, float | None]:
        valid = [view for view in self.evals if view.valid]
        if len(valid) == 1:
            one = wilson(valid[0].passed, valid[0].valid)
            return one.low, one.high
        interval = suite_rate(self._rates).interval if valid else None
        return (interval.low, interval.high) if interval is not None else (None, None)

    @property
    def low(self) -> float | None:
        """The lower end of its 95 % interval."""
        return self._interval[0]

    @property
    def high(self) -> float | None:
        """The upper end."""
        return self._interval[1]

    @property
    def rate_words(self) -> str:
        """What the rate is of."""
        if self.low is None or self.high is None:
            return f"of {len(self._rates)} eval{'s' * (len(self._rates) != 1)}"
        interval = f"95 % interval {100 * self.low:.0f} to {100 * self.high:.0f} %"
        return f"{interval}, mean of {len(self._rates)} evals" if len(self._rates) > 1 else interval

    @property
    def credits(self) -> float | None:
        """What all turns cost."""
        return self.run.totals.credits

    @property
    def turns(self) -> int:
        """How many turns there were."""
        return self.run.totals.turns.count

    @property
    def seconds(self) -> float:
        """How long the run took."""
        return self.run.run.duration

    @property
    def time_words(self) -> str:
        """Whose time it was."""
        spent = sum(turn.duration or 0.0 for turn in turns_in(self.run))
        workers = self.run.run.workers
        return f"{spent:.0f} s of turns{f' on {workers} workers' if workers else ''}"

    @property
    def flag_counts(self) -> Counter[str]:
        """How many evals each filter shows."""
        return Counter(flag for view in self.evals for flag in view.flags)

    @property
    def models(self) -> list[str]:
        """The models that answered."""
        return sorted({name for view in self.evals for name in view.models})

    @property
    def prompts(self) -> dict[str, str]:
        """The prompts by their digests; too many of them are no help."""
        prompts = {key: text for view in self.evals for key, text in view.prompts.items()}
        return prompts if 1 < len(prompts) <= 300 else {}

    @property
    def causes(self) -> list[str]:
        """Why turns did not complete."""
        return sorted({name for view in self.evals for name in view.causes})

    @property
    def facts(self) -> dict[str, str]:
        """The run's own facts."""
        facts = self.run.run
        named = {
            "run": facts.id,
            "started": facts.started[:19].replace("T", " "),
            "ended": facts.ended[:19].replace("T", " "),
            "exit status": str(facts.exit_status),
            "pytest": facts.pytest,
            "pytest-kiro": facts.pytest_kiro,
            "Python": facts.python,
            "platform": facts.platform,
            "workers": str(facts.workers) + (f", {facts.workers_died} died" if facts.workers_died else ""),
        }
        return named | {name: f"{one.value} ({one.origin})" for name, one in facts.settings.items()}


_LOST = ("failed", "lost")


def page_of(
    run: RunRecord, evidence: Mapping[str, Evidence], before: RunRecord | None = None, before_name: str = ""
) -> Page:
    """Return what a page shows of a run, beside an earlier one."""
    evals = evals_of(run, evidence)
    ids = {view.name: {trial.number: trial.id for trial in view.trials} for view in evals}
    known = {(name, number): id for name, own in ids.items() for number, id in own.items()}
    failed = [(trial.why, trial) for view in evals for trial in view.trials if trial.outcome in _LOST]
    page = Page(
        run=run,
        evals=tuple(evals),
        contests=tuple(
            contest_view(contest, f"contest{number}", known) for number, contest in enumerate(contests_in(run))
        ),
        clusters=alike(failed),
        trial_ids=ids,
    )
    return page if before is None else _against(page, before, before_name, known)


def _against(page: Page, before: RunRecord, name: str, known: Mapping[tuple[str, int], str]) -> Page:
    runs = compare_runs(Side.of(before), Side.of(page.run), min_valid=MIN_VALID)
    earlier = evals_of(before, {}, prefix="b")
    ids = {view.name: {trial.number: trial.id for trial in view.trials} for view in earlier}
    old = {(eval_name, number): id for eval_name, own in ids.items() for number, id in own.items()}
    news = _news(runs, page, {view.name: view for view in earlier})
    shown = runs_view(runs, old, known)
    wanted = {pair.other for one in (shown.compared if shown else ()) for pair in one.pairs}
    return Page(
        **{
            **vars(page),
            "runs": shown,
            "news": tuple(news[:_NEWS]),
            "news_note": _note(runs, news),
            "before_name": name,
            "differences": runs.differences,
            "before_evals": tuple(view for view in earlier if any(trial.id in wanted for trial in view.trials)),
            "before_trial_ids": ids,
        }
    )


def _note(runs: RunsCompared, news: Sequence[News]) -> str:
    if runs.compared is None:
        return "The runs have no test in common that can be compared."
    if not news:
        return "Nothing: every eval ended as it had before."
    return f"And {len(news) - _NEWS} more." if len(news) > _NEWS else ""


def _news(runs: RunsCompared, page: Page, earlier: Mapping[str, EvalView]) -> list[News]:
    now = {view.name: view for view in page.evals}
    news: list[News] = []
    for old, new in runs.changed:
        view, was = now.get(new.name), earlier.get(old.name)
        status, before = (view.status if view else ""), (was.status if was else "")
        if status in _RED and before == "passed":
            kind, words = "worse", "fails now"
        elif status == "passed" and before in _RED:
            kind, words = "better", "passes now"
        else:
            lower = _share(new.tally.passes, new.tally.valid) < _share(old.tally.passes, old.tally.valid)
            kind, words = "moved", "lower rate" if lower else "higher rate"
        news.append(News(kind, words, new.name, view.id if view else "", old.ends, new.ends))
    order = {"worse": 0, "better": 1, "moved": 2}
    news.sort(key=lambda one: order[one.kind])
    news += [News("new", "new eval", name, now[name].id if name in now else "") for name in runs.only_after]
    return news + [News("gone", "not run now", name, "") for name in runs.only_before]


def _share(passes: int, valid: int) -> float:
    return passes / valid if valid else -1.0
