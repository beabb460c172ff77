"""What people see of a run: the header, live output, a failing test's turns, the summary."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from pytest_kiro.agent.plugin import MARKER_WORDS, OWNER, owners_of
from pytest_kiro.errors import HIDE_FRAMES
from pytest_kiro.report.progress import Progress
from pytest_kiro.report.stream import Stream
from pytest_kiro.session import Tally
from pytest_kiro.settings import did_you_mean

if TYPE_CHECKING:
    from pytest_kiro.agent.conversation import Conversation
    from pytest_kiro.agent.live import LiveTurn
    from pytest_kiro.agent.turn import Turn
    from pytest_kiro.session import KiroSession

__tracebackhide__ = HIDE_FRAMES
_EVAL_FIXTURES = frozenset({"kiro", "kiro_sandbox", "kiro_cli", "kiro_login"})
_TRANSCRIPT_LINES = 40
_SCRIPTED = ("kiro", "scripted: the stand-in answered")


class Report:
    """Gathers what turns became, on every process, and tells it once, where the terminal is."""

    def __init__(self, config: pytest.Config, session: KiroSession) -> None:
        self._config, self._session = config, session
        self._worker = hasattr(config, "workerinput")
        self._told: str | None = None
        self._said = False
        self._died = 0
        self._turns: list[dict[str, Any]] = []
        self._unsent: list[dict[str, Any]] = []
        #: By the name of an xdist worker, what it said last; a dead one's last word came with a test's report.
        self._workers: dict[str, Tally] = {}
        self._nodes: list[Any] = []
        self._progress = Progress(config, session.settings.worker)
        session.observers += [_Hooks(config, self._unsent), *Stream.wanted(config, session.settings)]

    # -- before

    def pytest_collection_modifyitems(self, items: Sequence[pytest.Item]) -> None:
        try:
            for item in items:
                for mark in item.iter_markers("kiro"):
                    _check_marker(item, mark)
        except pytest.UsageError as error:
            if self._worker:  # whose own words nobody hears: the controller says it
                self._config.workeroutput["kiro_usage_error"] = str(error)  # type: ignore[attr-defined] # xdist's own
            raise

    def pytest_report_collectionfinish(self, items: Sequence[pytest.Item]) -> list[str]:
        if self._config.option.collectonly:
            return []
        wanted = any(map(is_eval, items)) or self._config.get_verbosity() > 0
        return [self._header()] if wanted else []

    def _header(self) -> str:
        isolated = self._session.provider.isolated
        cli = self._session.cli(isolated=isolated)
        parts = [f"kiro: sandbox {self._session.settings.sandbox}"]
        if cli == "scripted":
            parts.append("kiro-cli scripted: the stand-in answers, Kiro is not asked")
        else:
            where = f" ({shutil.which('kiro-cli')})" if cli == "official" and not isolated else ""
            parts.append(f"kiro-cli {cli}{where}")
            if not isolated:
                parts.append("not isolated: Kiro works on this machine")
        self._told = cli
        return ", ".join(parts)

    def _correct(self, turns: Sequence[dict[str, Any]]) -> None:
        """Say who answers when it is not whom the header announced: only the CLI's own version tells."""
        for turn in turns:
            answers = "scripted" if turn["scripted"] else "official"
            if (self._told == "scripted") is not turn["scripted"] and self._told != answers:
                self._told = answers
                who = "the stand-in answers, Kiro is not asked" if turn["scripted"] else "Kiro answers, no stand-in"
                self._write_line(f"kiro: kiro-cli {turn['version']}: {who}")

    def _write_line(self, line: str) -> None:
        if terminal := self._config.pluginmanager.getplugin("terminalreporter"):
            terminal.ensure_newline()
            terminal.write_line(line)

    def pytest_runtest_logstart(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        self._progress.at = (nodeid, location)

    @pytest.hookimpl(wrapper=True, trylast=True)  # gone before --setup-show says what was set up
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
        if fixturedef.argname not in _EVAL_FIXTURES:
            return (yield)
        with self._progress.shown():
            return (yield)

    # -- each test

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if self._unsent or is_eval(item):
            # On the report, as plain values, since under xdist it is what reaches the controller.
            vars(report)["kiro"] = [dict(turn) for turn in self._unsent]
            if any(turn["scripted"] for turn in self._unsent) and _SCRIPTED not in item.user_properties:
                item.user_properties.append(_SCRIPTED)  # JUnit files say so as well
                report.user_properties.append(_SCRIPTED)
            self._unsent.clear()
            vars(report)["kiro_tally"] = self._word()
        if report.failed and (text := _turns_of(item)):
            report.sections.append(("kiro turns", text))
        if call.when == "teardown" and OWNER in item.stash:
            del item.stash[OWNER]  # its turns may be large, and items live until the session ends
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        turns: list[dict[str, Any]] | None = getattr(report, "kiro", None)
        if turns is None or self._worker:
            return
        if self._config.pluginmanager.hasplugin("dsession"):
            self._session.used = True
            self._hear(vars(report)["kiro_tally"])
        self._turns += turns
        if not self._told:  # an xdist controller collects nothing, so the first eval's report is its first chance
            self._write_line(self._header())
        self._correct(turns)

    # -- after

    def gather(self) -> None:
        """Put together what this process knows at the end of its session, before the last is cleared away."""
        if self._worker:
            output: dict[str, Any] = self._config.workeroutput  # type: ignore[attr-defined] # xdist's own
            output["kiro_tally"] = self._word()
            return
        self._turns += self._unsent  # Ctrl-C leaves no report that could have brought them
        for node in self._nodes:
            if word := (getattr(node, "workeroutput", None) or {}).get("kiro_tally"):
                self._hear(word)
            else:  # it may have had a sandbox of which nobody has told us yet
                self._session.used = True

    def _word(self) -> dict[str, Any]:
        return {"worker": self._session.settings.worker, **asdict(self._session.tally)}

    def _hear(self, word: Mapping[str, Any]) -> None:
        self._workers[word["worker"]] = Tally(**{name: value for name, value in word.items() if name != "worker"})

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        self._nodes.append(node)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        output: dict[str, Any] = getattr(node, "workeroutput", None) or {}
        if wrong := output.get("kiro_usage_error"):
            raise pytest.UsageError(wrong)
        if error:  # it died, perhaps with a sandbox
            self._session.used = True
            self._died += 1

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        tally = sum(self._workers.values(), self._session.tally)
        if self._said or not (self._turns or tally.created or tally.left or (self._died and self._told)):
            return
        self._said = True
        terminalreporter.write_sep("-", "kiro")
        terminalreporter.write_line(turns_line(self._turns))
        terminalreporter.write_line(sandboxes_line(tally, certain=self._session.certain))
        kept = [f"kept {name}; {line}" for name, lines in tally.kept.items() for line in lines]
        for line in filter(None, [*tally.left, self._session.trouble, *kept]):
            terminalreporter.write_line(line, yellow=True)
        if self._died:
            cleared = "; what they left is cleared away" if self._session.certain and not tally.left else ""
            terminalreporter.write_line(f"workers that died: {self._died}{cleared}")
        for line in shared_lines(self._turns):
            terminalreporter.write_line(line)
        if any(turn["scripted"] for turn in self._turns):
            terminalreporter.write_line("scripted: the stand-in answered; nothing above was said by Kiro", yellow=True)

    def pytest_unconfigure(self) -> None:
        """Say it now when pytest had no summary, as after SIGTERM: somebody may have kept a sandbox."""
        if terminal := self._config.pluginmanager.getplugin("terminalreporter"):
            self.pytest_terminal_summary(terminal)


def is_eval(item: pytest.Item) -> bool:
    """Whether a test asks for Kiro."""
    return not _EVAL_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))


def turns_line(turns: Sequence[dict[str, Any]]) -> str:
    """Count turns by how they ended.

    >>> turns_line([{"status": "completed", "kind": ""}, {"status": "failed", "kind": "throttled: infrastructure"}])
    'turns: 2, 1 completed, 1 failed (throttled: infrastructure)'
    """
    counts = Counter(
        turn["status"] if turn["kind"] in ("", turn["status"]) else f"{turn['status']} ({turn['kind']})"
        for turn in turns
    )
    order = sorted(counts, key=lambda ending: (ending != "completed", ending))
    return ", ".join([f"turns: {len(turns)}", *(f"{counts[ending]} {ending}" for ending in order)])


def sandboxes_line(tally: Tally, *, certain: bool) -> str:
    """Count sandboxes by what became of them; `certain` when the provider has looked for what is left.

    >>> sandboxes_line(Tally(created=4, closed=4), certain=True)
    'sandboxes: created 4, deleted 4, leaked 0'
    """
    kept, leaked = len(tally.kept), len(tally.left)
    if not certain:
        leaked = max(leaked, tally.created - tally.closed)
    created = max(tally.created, kept + leaked)  # of a worker that died nobody may have heard
    parts = [f"sandboxes: created {created}", f"deleted {created - kept - leaked}"]
    return ", ".join([*parts, *([f"kept {kept}"] if kept else []), f"leaked {leaked}"])


def shared_lines(turns: Sequence[dict[str, Any]]) -> list[str]:
    """Name the wide fixtures whose turns several xdist workers ran, each for itself (contract O2)."""
    workers: dict[str, set[str]] = {}
    for turn in turns:
        if turn["fixture"]:
            workers.setdefault(turn["fixture"], set()).add(turn["worker"])
    return [
        f"{fixture} ran on {len(found)} workers, once on each; --dist loadscope keeps the tests that share it together"
        for fixture, found in sorted(workers.items())
        if len(found) > 1
    ]


def _check_marker(item: pytest.Item, mark: pytest.Mark) -> None:
    known = ", ".join(MARKER_WORDS)
    if mark.args:
        raise pytest.UsageError(f"{item.nodeid}: mark.kiro takes keywords only; known: {known}")
    for word in mark.kwargs:
        if word not in MARKER_WORDS:
            hint = did_you_mean(word, list(MARKER_WORDS))
            raise pytest.UsageError(f"{item.nodeid}: mark.kiro has no keyword {word!r}{hint}; known: {known}")


def _turns_of(item: pytest.Item) -> str:
    """Return the status lines of the turns that a test looked at, and the end of the last transcript."""
    turns = [turn for owner in owners_of(item) for turn in owner.turns]
    return "\n".join([*map(_line, turns), *_transcript(turns[-1:])])


def _line(turn: Turn) -> str:
    prompt = " ".join(turn.prompt.split())
    return f"{turn.summary}: {prompt if len(prompt) <= 100 else prompt[:99] + '…'}"


def _transcript(turns: Iterable[Turn]) -> Iterable[str]:
    for turn in turns:
        lines = turn.output.rstrip().splitlines()
        left_out = f", {len(lines) - _TRANSCRIPT_LINES} lines before them" if len(lines) > _TRANSCRIPT_LINES else ""
        yield f"--- what turn {turn.number} printed{left_out}"
        yield from lines[-_TRANSCRIPT_LINES:]
        if turn.detail:
            yield f"--- {turn.detail}"
        yield from (f"--- warning: {warning}" for warning in turn.warnings)


class _Hooks:
    """Passes a turn's beginning and end on to the hooks, and notes the end for the report."""

    def __init__(self, config: pytest.Config, unsent: list[dict[str, Any]]) -> None:
        self._hook, self._unsent = config.hook, unsent
        self._running: dict[Conversation, dict[str, Any]] = {}

    def started(self, conversation: Conversation, prompt: str) -> None:
        kiro, owner = conversation.kiro, conversation.owner
        self._unsent.append(
            {
                "status": "broken off",
                "kind": "",
                "scripted": kiro.installation.scripted,
                "version": kiro.version,
                "fixture": owner.name if owner.wide else None,
                "worker": kiro.settings.worker,
            }
        )
        self._running[conversation] = self._unsent[-1]
        self._hook.pytest_kiro_turn_started(kiro=conversation.kiro, prompt=prompt)

    def printed(self, live: LiveTurn, text: str) -> None:
        pass

    def finished(self, turn: Turn) -> None:
        kiro = turn.conversation.kiro
        self._running.pop(turn.conversation).update(status=turn.status, kind=turn.kind)
        self._hook.pytest_kiro_turn_finished(kiro=kiro, turn=turn)
