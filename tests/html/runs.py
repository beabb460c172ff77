"""Runs as values, of any size, for pages: no turn of them was ever run."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from pytest_kiro.records.phases import PhaseRecord, PlaceRecord
from pytest_kiro.records.run import RunFacts, RunRecord, SettingRecord, Totals
from pytest_kiro.records.tests import ScoreRecord, TestRecord, TrialRecord, VariantRecord
from pytest_kiro.records.turns import ChangesRecord, ProvenanceRecord, ToolCallRecord, TurnRecord
from pytest_kiro.report.html.evidence import Cast, Evidence, Executed, TurnEvidence
from pytest_kiro.trials.merging import contests_in, groups_of, turns_in

TRACEBACK = """    def test_donut(kiro):
        turn = kiro.run("Write donut.js")
>       assert kiro.workspace.exec("node donut.js").ok
E       assert False

test_donut.py:{}: AssertionError"""
ASSERT = 'assert kiro.workspace.exec("node donut.js").ok'
NO_MODULE = "AssertionError: 'node donut.js' ended with exit code 1: Error: Cannot find module '/tmp/k-{:08x}/donut.js'"
#: Makes text of a text: a page of hostile runs has it in every field.
Text = Callable[[str], str]


def turn(seed: int, *, ok: bool = True, infrastructure: bool = False, text: Text = str, **more: Any) -> TurnRecord:
    """Return a turn of four calls."""
    chance = random.Random(seed)
    name = f"donut{seed % 3}.js"
    calls = (
        ToolCallRecord(
            name=text("read"),
            raw_name="fs_read",
            status="completed",
            duration=0.1,
            input={text("path"): text("README.md")},
            output=text("# A project\n"),
        ),
        ToolCallRecord(
            name="write",
            raw_name="fs_write",
            status="completed",
            duration=0.2,
            input={"path": text(name), "content": text("console.log('donut')\n" * 12)},
        ),
        ToolCallRecord(
            name="shell",
            raw_name="execute_bash",
            status="completed",
            exit_code=0 if ok else 1,
            duration=1.5,
            input={"command": text(f"node {name}")},
            output=text("  ...donut...\n" * 20),
        ),
        ToolCallRecord(
            name="shell",
            raw_name="execute_bash",
            status="completed",
            exit_code=0,
            duration=0.4,
            input={"command": text("ls -l")},
            output=text("total 4\n"),
        ),
    )
    lost: dict[str, Any] = {}
    if infrastructure:
        lost = {
            "status": "failed",
            "cause": text("throttled"),
            "infrastructure": True,
            "detail": text("429 Too Many Requests"),
        }
    return TurnRecord(
        **{
            "number": 1,
            "prompt": text(f"Write {name} that draws a shaded 3D donut as ASCII art, then run it with node."),
            "prompt_hash": f"{seed % 3:08x}",
            "status": "completed",
            "proof": "session",
            "exit_code": 0,
            "duration": round(chance.gauss(42 if ok else 60, 9), 2),
            "first_output_after": 1.2,
            "credits": round(chance.uniform(0.2, 0.9), 3),
            "provenance": ProvenanceRecord(
                engine="v2", cli_version="2.29.0", model=text(["claude-sonnet-5", "claude-haiku-5"][seed % 2])
            ),
            "changes": ChangesRecord(added=(text(name),), modified=(text("README.md"),)),
            "text": text(f"I wrote {name} and ran it. It draws a donut."),
            "output": text("> I'll write it.\n" + "  ..:::~~===**##$$@@  \n" * 30),
            "tool_calls": calls,
            **lost,
            **more,
        }
    )


def evidence(seed: int, *, ok: bool, text: Text = str, folder: str = "kiro-results/latest/test_donut") -> Evidence:
    """Return a terminal, a diff, two commands of the eval."""
    name = f"donut{seed % 3}.js"
    words = [
        "\x1b[32m> \x1b[0mI'll write it.\r\n",
        f"Writing \x1b[1m{name}\x1b[0m …\r\n",
        f"Running node {name}\r\n",
        "$ ls -l\r\ntotal 4\r\n",
    ]
    words += [f"\x1b[3{row % 7 + 1}m..:::~~===**##$$@@ {row}\x1b[0m\r\n" for row in range(40)]
    events = tuple(
        (round(0.8 * number + (12 if number > 30 else 0), 2), text(word)) for number, word in enumerate(words, 1)
    )
    diff = f"--- /dev/null\n+++ b/{name}\n@@ -0,0 +1,3 @@\n+const width = 80\n+{text('draw()')}\n+console.log('donut')"
    readme = (
        "--- a/README.md\n+++ b/README.md\n@@ -1,2 +1,3 @@\n # A project\n-Old words.\n+New words.\n+It draws a donut."
    )
    return Evidence(
        traceback="" if ok else text(TRACEBACK.format(seed)),
        where=text("test_donut.py:12"),
        folder=text(folder),
        turns={(1, 1): TurnEvidence(cast=Cast(width=100, height=30, events=events), began=0.0)},
        diffs={text(name): diff, text("README.md"): readme},
        executed=[
            Executed(command=text("ls"), exit_code=0, output=text(f"{name}\nREADME.md\n"), duration=0.1),
            Executed(
                command=text("node donut.js"),
                exit_code=0 if ok else 1,
                output=text("" if ok else "Error: Cannot find module 'donut.js'\n    at node:internal\n"),
                duration=0.4,
            ),
        ],
    )


def run_of(tests: tuple[TestRecord, ...], *, text: Text = str, exit_status: int = 1, **more: Any) -> RunRecord:
    """Return a run of tests, judged."""
    turns = [turn for test in tests for turn in test.turns]
    facts = RunFacts(
        id=text("3f9a1c20"),
        started="2026-11-29T08:15:02.123+00:00",
        ended="2026-11-29T08:31:02.123+00:00",
        duration=960.0,
        exit_status=exit_status,
        complete=True,
        interrupted=False,
        collected=len(tests),
        collection_errors=(),
        python="3.11.2",
        platform="linux",
        pytest="9.0.1",
        pytest_kiro="0.1.0",
        kiro_cli=("2.29.0",),
        sandbox=text("daytona"),
        settings={"timeout": SettingRecord(value=text("600"), origin="--kiro-timeout")},
        workers=4,
        workers_died=0,
        scripted=False,
        scripted_note="Every turn was answered by Kiro.",
    )
    run = RunRecord(run=facts, totals=Totals.of(tests, turns, 0), tests=tests, fixtures=(), **more)
    groups = tuple(group.record for group, _ in groups_of(run))
    comparisons = tuple(record for contest in contests_in(run) for record in contest.records)
    assert len(turns_in(run)) == len(turns)
    return RunRecord(**{**vars(run), "groups": groups, "comparisons": comparisons})


def trial(
    name: str,
    number: int,
    planned: int,
    *,
    seed: int,
    ok: bool = True,
    lost: bool = False,
    rate: float = 0.7,
    message: str = "",
    variant: VariantRecord | None = None,
    text: Text = str,
) -> TestRecord:
    """Return one trial of a test, or a test without trials where one is planned."""
    message = message or NO_MODULE.format(seed)
    phase = PhaseRecord(
        name="call",
        outcome="passed" if ok and not lost else "failed",
        duration=1.0,
        message=""
        if ok
        else text(f"{message}\nassert False\n +  where False = <ExecResult 'node donut.js' exit_code=1>.ok"),
        fault="world" if lost else "",
        place=None if ok or lost else PlaceRecord(file=text("evals/test_shop.py"), line=12, source=text(ASSERT)),
    )
    own = (turn(seed, ok=ok, infrastructure=lost, text=text),)
    tries = TrialRecord(
        group=name,
        number=number,
        planned=planned,
        pass_rate=rate,
        tolerant=True,
        gated=variant is None,
        variant=variant,
    )
    return TestRecord(
        nodeid=f"{name}[{number}]" if planned > 1 else name,
        outcome="passed" if ok and not lost else "failed",
        infrastructure=lost,
        worker=f"gw{seed % 4}",
        attempts=1,
        duration=45.0,
        credits=own[0].credits,
        phases=(PhaseRecord(name="setup", outcome="passed", duration=0.2), phase),
        turns=own,
        trial=tries if planned > 1 else None,
        scores={text("width"): ScoreRecord(value=float(seed % 90), better="higher")},
        params={text("prompt"): text("plain")} if variant else {},
    )


def evals(count: int, trials: int, *, bad: float = 0.15, seed: int = 0) -> tuple[RunRecord, Mapping[str, Evidence]]:
    """Return a run of so many evals, with what is known beside it."""
    chance = random.Random(seed)
    tests: list[TestRecord] = []
    for eval_number in range(count):
        name = f"evals/shop/test_{eval_number % 12:02}.py::test_eval_{eval_number:03}"
        share = chance.choice([0.0, 0.02, 0.05, 0.6]) if chance.random() > 1 - bad * 3 else 0.0
        for number in range(1, trials + 1):
            ok, lost = chance.random() >= share, chance.random() < 0.01
            tests.append(trial(name, number, trials, seed=eval_number * 100 + number, ok=ok and not lost, lost=lost))
    return run_of(tuple(tests)), {one.nodeid: evidence(n, ok=one.outcome == "passed") for n, one in enumerate(tests)}


def sample(*, text: Text = str, worse: bool = True) -> tuple[RunRecord, Mapping[str, Evidence]]:
    """Return a small run that has some of everything."""
    tests: list[TestRecord] = []
    plans = {
        "test_donut": "✓✓✓✓✓✓✓✓✓✓",
        "test_slugify": "✓✗✓✓✗✓✓✗✓✓",
        "test_price_list": "✗✗✗✓✗" if worse else "✓✓✓✓✗",
        "test_reviewer": "✓✓·✓✓",
        "test_notes": "·····",
    }
    seed = 0
    for name, ends in plans.items():
        for number, end in enumerate(ends, 1):
            seed += 1
            tests.append(
                trial(
                    text(f"evals/test_shop.py::{name}"),
                    number,
                    len(ends),
                    seed=seed,
                    ok=end == "✓",
                    lost=end == "·",
                    text=text,
                )
            )
    for alone, ok in (("test_remembers", True), ("test_quit", False), ("test_never_deletes", True)):
        seed += 1
        tests.append(
            trial(
                text(f"evals/test_chat.py::{alone}"),
                1,
                1,
                seed=seed,
                ok=ok,
                text=text,
                message="AssertionError: assert 'Ada' in 'I do not know your name.'",
            )
        )
    for name, ends in (("plain", "✓✗✗✓✗✗✓✗✗✗"), ("edge-cases-first", "✓✓✓✓✓✓✗✓✓✓")):
        for number, end in enumerate(ends, 1):
            seed += 1
            words = VariantRecord(
                comparison=text("evals/test_variants.py::test_slugify"),
                parameter=text("prompt"),
                variant=text(name),
                baseline=text("plain"),
                task=text("test_slugify"),
            )
            tests.append(
                trial(
                    text(f"evals/test_variants.py::test_slugify[{name}]"),
                    number,
                    10,
                    seed=seed * 7,
                    ok=end == "✓",
                    variant=words,
                    text=text,
                )
            )
    known = {one.nodeid: evidence(n, ok=one.outcome == "passed", text=text) for n, one in enumerate(tests)}
    return run_of(tuple(tests), text=text), known
