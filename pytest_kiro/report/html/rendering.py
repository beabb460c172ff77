"""Renders a page: everything is escaped, every script and style has its digest in the page's policy."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from pytest_kiro.errors import SettingsError
from pytest_kiro.records.run import RunRecord
from pytest_kiro.report.html.comparison_views import ContestView
from pytest_kiro.report.html.evidence import Evidence
from pytest_kiro.report.html.pages import Page, page_of
from pytest_kiro.report.html.payload import PACKED, PLAIN, Room, packed
from pytest_kiro.report.html.player import player_assets
from pytest_kiro.report.html.trial_views import TrialView
from pytest_kiro.report.trials import percent
from pytest_kiro.secrecy.redaction import Secrets
from pytest_kiro.secrecy.visible import visible

#: Where the templates, styles and scripts are.
PAGE = Path(__file__).parent / "page"
#: What the page's own file begins with, so that another one is never overwritten.
MARK = 'name="generator" content="pytest-kiro-report"'
_STYLES, _SCRIPTS = ("style.css", "player.css"), ("player.js", "script.js")


@dataclass(frozen=True)
class Inlined:
    """A script or style that stands in the page."""

    text: Any

    @property
    def source(self) -> str:
        """Its digest, by which alone it is allowed."""
        return f"'sha256-{b64encode(sha256(str(self.text).encode()).digest()).decode()}'"


def check() -> None:
    """Raise `SettingsError` where no page could be made, before anything is run."""
    _environment()


def report(
    run: RunRecord,
    evidence: Mapping[str, Evidence],
    before: RunRecord | None = None,
    before_name: str = "",
    *,
    secrets: Secrets | None = None,
) -> str:
    """Return the page of a run, without secrets; `SettingsError` where Jinja is not installed."""
    if secrets is not None:
        run = RunRecord.from_json(secrets.within(run.to_json()))
        before = None if before is None else RunRecord.from_json(secrets.within(before.to_json()))
        evidence = {secrets(name): one.without(secrets) for name, one in evidence.items()}
    jinja = _environment()
    page = page_of(run, evidence, before, before_name)
    articles, kept = _articles(jinja, page)
    before_articles = _before_articles(jinja, page)
    contests = [_contest(jinja, contest, page) for contest in page.contests]
    shown = {**{name: getattr(page, name) for name in dir(page) if not name.startswith("_")}}
    shown |= {
        "articles": articles,
        "packed": kept,
        "packed_ids": {id for ids, _ in kept for id in ids.split()},
        "contests": contests,
    }
    shown |= {"runs": _contest(jinja, page.runs, page) if page.runs else None, "before_articles": before_articles}
    shows_terminals = any(turn.evidence.cast for trial in page.all_trials for turn in trial.turns)
    player = player_assets() if shows_terminals else None
    shown["script_words"] = f" {player.csp}" if player else ""
    macros = jinja.get_template("macros.html.j2").module
    text: str = jinja.get_template("page.html.j2").render(
        page=shown,
        marks=macros.marks,
        glyphs=macros.glyphs,
        styles=_inlined([player.style] if player else [], _STYLES),
        scripts=_inlined([player.script] if player else [], _SCRIPTS),
    )
    return text.lstrip()


def _inlined(theirs: list[str], ours: tuple[str, ...]) -> list[Inlined]:
    return [Inlined(_markup(text)) for text in [*theirs, *map(_read, ours)]]


def _articles(jinja: Any, page: Page) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Render every trial; what finds no room as plain HTML is packed, and so are terminals and records.

    Where there is no room for these, the HTML is there at least.
    """
    template = jinja.get_template("trial.html.j2")
    plain, compressed = Room(PLAIN), Room(PACKED)
    rendered = {trial.id: _rendered(template, trial) for trial in page.all_trials}
    articles = {id: article for id, article in rendered.items() if plain.takes(article)}
    parts: list[tuple[str, str]] = []
    for what in ("html", "payload"):
        for trials in page.by_eval:
            values = {
                trial.id: {"html": str(rendered[trial.id])} if what == "html" else trial.payload
                for trial in trials
                if what == "payload" or trial.id not in articles
            }
            parts += ((" ".join(part), text) for part, text in packed(values) if compressed.takes(text))
    return articles, parts


def _before_articles(jinja: Any, page: Page) -> list[Any]:
    template, room = jinja.get_template("trial.html.j2"), Room(PLAIN // 6)
    wanted = {pair.other for one in (page.runs.compared if page.runs else ()) for pair in one.pairs}
    trials = [trial for view in page.before_evals for trial in view.trials if trial.id in wanted]
    rendered = (_rendered(template, trial) for trial in trials)
    return [article for article in rendered if room.takes(article)]


def _rendered(template: Any, trial: TrialView) -> Any:
    return _markup(template.render(trial=trial).strip())


def _contest(jinja: Any, contest: ContestView, page: Page) -> Any:
    ids = {"": page.trial_ids, "after": page.trial_ids, "before": page.before_trial_ids}
    return _markup(jinja.get_template("compare.html.j2").render(contest=contest, ids=ids))


@cache
def _environment() -> Any:
    try:
        import jinja2
    except ImportError:
        raise SettingsError(
            "a report needs Jinja, which is not installed", advice="pip install 'pytest-kiro[report]'"
        ) from None

    def shown(value: Any) -> Any:
        return visible(value) if type(value) is str else value

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=shown,
        trim_blocks=False,
    )
    made.globals["percent"] = percent
    return made


def _markup(text: str) -> Any:
    """Return text of ours that is markup already."""
    from markupsafe import Markup

    return Markup(text)


def _read(name: str) -> str:
    file = PAGE / name
    return file.read_text(encoding="utf-8") if file.exists() else ""
