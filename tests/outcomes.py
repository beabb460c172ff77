"""docs/outcomes.md as values: what Kiro did, and what becomes of it; each row is an eval that is run."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from plugin.eval_runs import Evals, shell, write

SAYS = [["Hello."]]


@dataclass(frozen=True)
class Row:
    """One row: what Kiro did, how it is scripted, and what is expected of the turn and of its test."""

    did: str
    status: str
    cause: str = ""
    exit_code: int | None = 0
    evidence: str = ""
    reads: str = ""
    engine: str = "v2"
    output: str = "text"
    misbehave: Any = None
    requests: Sequence[Sequence[Any]] = ()
    prompt: str = "Say hello."
    before: Sequence[Mapping[str, Any]] = ()  # turns that come first
    options: str = ""  # of kiro.run, as Python
    also: str = "True"  # what else holds of the turn, as Python
    settings: Sequence[str] = field(default=())  # options of pytest's; such a row has a run of its own
    link: bool = False  # the link to a sandbox has a part in it

    @property
    def run(self) -> tuple[str, ...]:
        """The options of the pytest run that it belongs to."""
        return (f"--kiro-engine={self.engine}", f"--kiro-output={self.output}", *self.settings)

    @property
    def outcome(self) -> str:
        """What pytest says of the test."""
        return "passed" if self.status in ("completed", "stopped") else "failed"

    @property
    def turns(self) -> list[dict[str, Any]]:
        """What answers, as a scenario."""
        last: dict[str, Any] = {"requests": list(self.requests or SAYS)}
        if self.misbehave:
            last["misbehave"] = self.misbehave
        return [*map(dict, self.before), last]

    def markdown(self) -> str:
        """The row of the page."""
        where = self.engine.upper() + (", stream-json" if self.output == "stream-json" else "")
        code = "none" if self.exit_code is None else str(self.exit_code)
        cells = [self.did, where, code, self.evidence, self.status, self.cause or "–", self.outcome, self.reads or "–"]
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


GOOD = "the session says `UserTurnEnd`"
NONE = "no record of the turn"
HEAD = (
    "| what Kiro did | engine | exit code | evidence | status | cause | the test | what the user reads |\n"
    "|---|---|---|---|---|---|---|---|"
)

ROWS: Sequence[Row] = (
    # -- it worked
    Row("answered", "completed", evidence=GOOD, also="turn.text == 'Hello.' and turn.proof == 'session'", link=True),
    Row("answered", "completed", engine="v1", evidence="the conversation's row ends with a `Response`"),
    Row(
        "answered, and was metered",
        "completed",
        engine="v1",
        evidence="the same",
        misbehave={"credits": 0.25},
        also="turn.credits == 0.25",
    ),
    Row(
        "answered, and kept no record",
        "completed",
        engine="v1",
        evidence="the line `▸ Credits:` at the end",
        misbehave={"no_session": True, "credits": 0.25},
        also="turn.proof == 'credits' and turn.credits == 0.25",
    ),
    Row("answered", "completed", engine="v3", evidence="`messages.jsonl` ends with a `turn_end`"),
    Row(
        "answered",
        "completed",
        output="stream-json",
        evidence="`runFinished` says `success`",
        also="turn.proof == 'runFinished' and turn.text == 'Hello.'",
    ),
    Row("answered", "completed", engine="v3", output="stream-json", evidence="the same"),
    Row(
        "answered; its stream has no end",
        "completed",
        output="stream-json",
        evidence=GOOD,
        misbehave="no_end",
        also="turn.proof == 'session'",
    ),
    Row("answered with nothing", "completed", evidence=GOOD, misbehave="answers_nothing", also="turn.text == ''"),
    Row(
        "ran a command that failed, and recovered",
        "completed",
        evidence=GOOD,
        requests=[["", shell("exit 3")], ["", shell("true")], ["Done."]],
        also="[call.exit_code for call in turn.tool_calls] == [3, 0]",
    ),
    Row(
        "was denied a tool",
        "completed",
        evidence=GOOD,
        requests=[["", write("a.txt", "a")], ["I may not."]],
        options="trust='none'",
        also="turn.tool_calls[0].status == 'denied' and not turn.used('write') and not turn.changes",
    ),
    Row("compacted its context on the way", "completed", evidence="the session that goes on", misbehave="compaction"),
    # -- exit code 0, and yet it did not work
    Row(
        "said something, and kept no record in a session that it has",
        "failed",
        "crash",
        evidence=NONE,
        before=[{"requests": SAYS}],
        misbehave="no_session",
        reads="exited with 0, but its session store has no such turn",
    ),
    Row(
        "said something, and began no session where those of known versions are",
        "failed",
        "unknown CLI",
        evidence="no file in its session store",
        misbehave="no_session",
        reads="exited with 0, and began no session where one was looked for",
    ),
    Row(
        "made its records larger than 64 MiB",
        "failed",
        "crash",
        evidence="no record that is read",
        requests=[["", shell("truncate -s 65M ~/.kiro/sessions/cli/*.jsonl")], ["Done."]],
        also="'too large' in turn.warnings[0]",
        reads="exited with 0, but its records are too large to be read",
    ),
    Row(
        "removed its HOME",
        "failed",
        "altered",
        exit_code=1,
        evidence="what is gone",
        requests=[["", shell("cd /; case ~ in */users/*) rm -rf ~ ;; esac")], ["Done."]],
        reads="its HOME is gone: something in the sandbox has removed it",
    ),
    Row(
        "removed its workspace",
        "failed",
        "altered",
        evidence="what is gone",
        requests=[["", shell('case $PWD in */work/*) rm -rf "$PWD" ;; esac')], ["Done."]],
        reads="its workspace is gone: something in the sandbox has removed it",
    ),
    Row(
        "was throttled",
        "failed",
        "throttled",
        evidence="the session says `Error`",
        misbehave="throttled",
        reads="request was throttled by the service",
    ),
    Row(
        "was throttled",
        "failed",
        "throttled",
        exit_code=1,
        output="stream-json",
        evidence="`runError`",
        misbehave="throttled",
        reads="request was throttled by the service",
    ),
    Row(
        "was throttled",
        "failed",
        "throttled",
        engine="v1",
        evidence=NONE,
        misbehave="throttled",
        reads="request was throttled by the service",
    ),
    Row(
        "printed V1's line of credits, and kept no record",
        "failed",
        "crash",
        evidence=NONE,
        before=[{"requests": SAYS}],
        requests=[["Fine.\n\n ▸ Credits: 0.06 • Time: 3s"]],
        misbehave="no_session",
        reads="its session store has no such turn",
    ),
    Row(
        "answered in another session than the one to be resumed, and kept no record",
        "failed",
        "refused",
        output="stream-json",
        evidence="the stream's session id",
        before=[{"requests": SAYS}],
        misbehave={"forgets": True, "no_session": True},
        reads="was to resume session",
    ),
    Row(
        "reached the plan's limit",
        "failed",
        "usage limit",
        evidence="the session says `Error`",
        misbehave="limit",
        reads="Monthly request limit reached",
    ),
    Row(
        "found its session in use",
        "failed",
        "session in use",
        exit_code=1,
        evidence="what it printed",
        misbehave="in_use",
        reads="Session is active in another process (PID 26121)",
    ),
    Row(
        "was given a bad API key",
        "failed",
        "auth",
        evidence="what it printed",
        misbehave="bad_key",
        reads="Authentication failed. Your API key",
    ),
    Row(
        "was given a bad API key",
        "failed",
        "auth",
        exit_code=1,
        output="stream-json",
        evidence="`runError`",
        misbehave="bad_key",
        reads="Authentication failed. Your API key",
    ),
    Row(
        "filled its context",
        "failed",
        "context overflow",
        evidence="the session says `Error`",
        misbehave="overflow",
        reads="ContextWindowOverflow",
    ),
    Row(
        "did not find the agent, and let the default one answer (2.x)",
        "failed",
        "refused",
        evidence="the session names another agent",
        misbehave="agent_fallback",
        options="agent='nobody'",
        reads="did not find the agent nobody",
    ),
    Row(
        "took the prompt for a command",
        "failed",
        "refused",
        engine="v1",
        evidence=NONE,
        prompt="/usage",
        reads="took the prompt for a command, since it begins with '/'",
    ),
    Row(
        "began anew instead of resuming",
        "failed",
        "refused",
        evidence="another session has the prompt",
        before=[{"requests": SAYS}],
        misbehave="forgets",
        reads="was to resume session",
    ),
    # -- other exit codes
    Row(
        "lost its login in mid-conversation",
        "failed",
        "auth",
        exit_code=1,
        evidence="what it printed",
        misbehave="expired",
        before=[{"requests": SAYS}],
        reads="bearer token included in the request is invalid",
    ),
    Row(
        "lost its login in mid-conversation",
        "failed",
        "auth",
        exit_code=1,
        output="stream-json",
        evidence="`runError`",
        misbehave="expired",
        before=[{"requests": SAYS}],
        reads="bearer token included in the request is invalid",
    ),
    Row(
        "did not start a required MCP server",
        "failed",
        "mcp start-up",
        exit_code=3,
        evidence="exit code",
        misbehave="mcp",
        reads="exited with 3, an MCP server did not start",
    ),
    Row(
        "did not find the agent",
        "failed",
        "refused",
        exit_code=4,
        evidence="exit code, what it printed",
        options="agent='nobody'",
        reads="not found",
    ),
    Row(
        "did not know the model",
        "failed",
        "refused",
        exit_code=1,
        evidence="what it printed",
        options="model='nothing'",
        reads="Model 'nothing' does not exist",
    ),
    Row(
        "answered well, and ended with another exit code",
        "failed",
        "crash",
        exit_code=7,
        evidence="exit code",
        misbehave={"exit": 7},
        reads="exited with 7",
    ),
    Row(
        "crashed before it printed anything",
        "failed",
        "crash",
        exit_code=139,
        evidence="exit code",
        misbehave={"crash": "before"},
        reads="exited with 139, segmentation fault",
    ),
    Row(
        "crashed after it had printed something",
        "failed",
        "crash",
        exit_code=139,
        evidence="exit code",
        misbehave="crash",
        reads="exited with 139, segmentation fault",
        also="turn.output.startswith('Hello.')",
    ),
    Row(
        "was killed",
        "failed",
        "crash",
        exit_code=137,
        evidence="exit code",
        requests=[["Hello.", shell("kill -9 $PPID")], ["Never."]],
        reads="exited with 137, killed",
        link=True,
    ),
    # -- it did not end
    Row(
        "waited for a device login",
        "failed",
        "auth",
        exit_code=130,
        evidence="what it printed first",
        misbehave="login",
        reads="is not logged in and waited for a device login",
        link=True,
    ),
    Row(
        "was silent",
        "timed_out",
        "out of time",
        exit_code=130,
        evidence="the clock",
        misbehave="silent",
        options="timeout=1",
        reads="its time of 1 s was over, and it had printed nothing",
        link=True,
    ),
    Row(
        "printed without end",
        "timed_out",
        "out of time",
        exit_code=130,
        evidence="the clock",
        misbehave={"endless": 0.01},
        options="timeout=1",
        reads="its time of 1 s was over",
    ),
    Row(
        "stalled after its first words",
        "timed_out",
        "stalled",
        exit_code=130,
        evidence="no byte, and no new line in the store",
        misbehave="hangs",
        settings=("--kiro-stall-timeout=1",),
        reads="it printed nothing for 1 s, and wrote nothing into its session store",
        link=True,
    ),
    Row(
        "took no notice of Ctrl-C",
        "timed_out",
        "out of time",
        exit_code=143,
        evidence="the clock",
        misbehave={"ignores_interrupt": True, "hangs": True},
        options="timeout=2",
        reads="its time of 2 s was over",
        link=True,
    ),
    # -- the test ended it
    Row(
        "was stopped by a condition",
        "stopped",
        "stopped",
        exit_code=130,
        evidence="`stop_when`",
        requests=[["Hello.", shell("sleep 60")], ["Never."]],
        options="stop_when=on_command('sleep')",
        also="turn.detail.startswith(\"on_command('sleep') stopped it at byte \") and turn.tool_calls",
        link=True,
    ),
    Row(
        "was stopped by a condition",
        "stopped",
        "stopped",
        exit_code=130,
        output="stream-json",
        evidence="`stop_when`",
        requests=[["Hello.", shell("sleep 60")], ["Never."]],
        options="stop_when=on_command('sleep 60$')",
        also="turn.tool_calls[0].command == 'sleep 60'",
    ),
    Row(
        "was silent for too long for the test",
        "stopped",
        "stopped",
        exit_code=130,
        evidence="`stop_when`",
        misbehave="hangs",
        options="stop_when=on_silence(0.7)",
        also="'on_silence(0.7) stopped it' in turn.detail",
    ),
)


def runs(*, link: bool = False, most: int = 9) -> dict[str, tuple[int, ...]]:
    """The runs of pytest that the rows take, by number: those with the same options are one, if not too many."""
    made: dict[str, tuple[int, ...]] = {}
    for settings in dict.fromkeys(row.run for row in ROWS):
        numbers = [n for n, row in enumerate(ROWS) if row.run == settings and (row.link or not link)]
        for begin in range(0, len(numbers), most):
            made[" ".join(settings) + f" from {numbers[begin]}"] = tuple(numbers[begin : begin + most])
    return made


_EVALS = """
    import json
    import os

    import pytest

    from pytest_kiro import on_command, on_silence

    TURNS = {turns!r}


    def run(kiro, number):
        before, prompt, options = TURNS[number]
        for _ in range(before):
            kiro.run("And before that?")
        return kiro.run(prompt, **eval(f"dict({{options}})"))


    @pytest.mark.parametrize("number", TURNS)
    def test_row(kiro, number):
        run(kiro, number)
"""
_CONFTEST = """
    import json
    import os


    def pytest_kiro_turn_finished(kiro, turn):
        number = os.environ["PYTEST_CURRENT_TEST"].partition("[")[2].partition("]")[0]
        also = {also!r}[int(number)]
        told = dict(status=turn.status, cause=str(turn.cause or ""), exit_code=turn.exit_code)
        told |= dict(also=bool(eval(also)), infrastructure=bool(turn.cause and turn.cause.infrastructure))
        with open(os.environ["STORY"], "a") as file:
            print(number, json.dumps(told), file=file)
"""


def check(evals: Evals, numbers: Sequence[int]) -> None:
    """Run these rows, which have the same options, and compare what became of each."""
    rows = {number: ROWS[number] for number in numbers}
    turns = {number: (len(row.before), row.prompt, row.options) for number, row in rows.items()}
    evals.write("test_it.py", _EVALS.format(turns=turns), {f"test_row[{n}]": row.turns for n, row in rows.items()})
    evals.write("conftest.py", _CONFTEST.format(also={number: row.also for number, row in rows.items()}))
    result = evals.run("-rA", "--kiro-retries=0", *ROWS[numbers[0]].run)
    said = result.stdout.str()
    told = {}
    for line in evals.story:  # the last turn of each
        number, _, text = line.partition(" ")
        told[int(number)] = json.loads(text)
    agents = {"out of time", "stalled", "stopped", "gave up", "context overflow", "altered"}
    for number, row in rows.items():
        world = bool(row.cause) and row.cause not in agents
        wanted = {"status": row.status, "cause": row.cause, "exit_code": row.exit_code, "also": True}
        assert told[number] == {**wanted, "infrastructure": world}, row
        assert f"{row.outcome.upper()} test_it.py::test_row[{number}]" in said, row
        if row.outcome == "failed":
            error = "TurnTimeout" if row.status == "timed_out" else "TurnFailed"
            assert re.search(
                rf"{error}: test_it.py::test_row\[{number}\]: turn \d+ {row.status} .*{re.escape(row.reads)}", said
            ), row


if __name__ == "__main__":
    sys.stdout.write("\n".join([HEAD, *(row.markdown() for row in ROWS), ""]))
