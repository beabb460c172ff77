"""docs/outcomes.md as values: what Kiro did, and what becomes of it; each row is an eval that is run."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from plugin.eval_runs import Evals, call, shell, write

SAYS = [["Hello."]]
AGENT = call("subagent", prompt="Look at it.", requests=[["I look.", shell("true")], ["Seen."]])


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
    v3: str | None = None  # the evidence on engine V3, where the same becomes of it there; SAME for the same

    @property
    def run(self) -> tuple[str, ...]:
        """The options of the pytest run that it belongs to."""
        return (f"--kiro-engine={self.engine}", f"--kiro-output={self.output}", *self.settings)

    @property
    def outcome(self) -> str:
        """What pytest says of the test."""
        return "passed" if self.status == "completed" or self.cause == "stopped" else "failed"

    @property
    def turns(self) -> list[dict[str, Any]]:
        """What answers, as a scenario."""
        last: dict[str, Any] = {"requests": list(self.requests or SAYS)}
        if self.misbehave:
            last["misbehave"] = self.misbehave
        return [*map(dict, self.before), last]

    def markdown(self) -> str:
        """The row of the page."""
        where = self.engine.upper() + (", V3" if self.v3 else "") + (", stream-json" if self.output != "text" else "")
        evidence = self.evidence if self.v3 in (None, SAME) else f"{self.evidence}; V3: {self.v3}"
        code = "none" if self.exit_code is None else str(self.exit_code)
        cells = [self.did, where, code, evidence, self.status, self.cause or "–", self.outcome, self.reads or "–"]
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


GOOD = "the session says `UserTurnEnd`"
ERROR = "the session says `Error`"
#: On V3: the same evidence; how its log says that a turn ended well, and that it did not.
SAME, END, BAD = "the same", "its `turn_end` says `end_turn`", "its `turn_end` says `error`"
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
        v3=END,
        misbehave="no_end",
        also="turn.proof == 'session'",
    ),
    Row(
        "answered with nothing", "completed", evidence=GOOD, v3=END, misbehave="answers_nothing", also="turn.text == ''"
    ),
    Row(
        "ran a command that failed, and recovered",
        "completed",
        evidence=GOOD,
        v3=END,
        requests=[["", shell("exit 3")], ["", shell("true")], ["Done."]],
        also="[call.exit_code for call in turn.tool_calls] == [3, 0]",
    ),
    Row(
        "ran a command, and told of a device login",
        "completed",
        evidence=GOOD,
        requests=[["", shell("true")], ["Confirm the following code in the browser\nCode: A-B\nOpen this URL: /x"]],
        also="turn.text.endswith('Open this URL: /x')",
    ),
    Row(
        "was denied a tool",
        "completed",
        evidence=GOOD,
        v3=END,
        requests=[["", write("a.txt", "a")], ["I may not."]],
        options="trust='none'",
        also="turn.tool_calls[0].status == 'denied' and not turn.used('write') and not turn.changes",
    ),
    Row(
        "compacted its context on the way",
        "completed",
        evidence="the session that goes on",
        v3=SAME,
        misbehave="compaction",
    ),
    Row(
        "was billed for the start of its session and for its work",
        "completed",
        engine="v3",
        evidence="`messages.jsonl` ends with a `turn_end`; `creditSplit`",
        misbehave={"credits": {"main": 0.0602, "auxiliary": 0.1398}},
        also="(turn.credits, turn.credits_source) == (0.2, 'session')",
    ),
    Row(
        "compacted its context, which was billed, after another turn",
        "completed",
        engine="v3",
        output="stream-json",
        evidence="the session that goes on; `creditSplit`",
        before=[{"requests": SAYS, "misbehave": {"credits": {"main": 0.1}}}],
        misbehave={"compaction": True, "credits": {"main": 0.2, "auxiliary": 0.1398}},
        also="(turn.credits, turn.credits_source) == (0.3398, 'session')",
    ),
    Row(
        "was billed, and its session keeps no count of it",
        "completed",
        engine="v3",
        evidence="`messages.jsonl` ends with a `turn_end`; `usage_summary`",
        misbehave={"credits": 0.25},
        also="(turn.credits, turn.credits_source) == (0.25, 'summaries')",
    ),
    Row(
        "was moved to another model in its middle",
        "completed",
        output="stream-json",
        evidence="`runFinished` says `success`; `model_fallback`",
        misbehave="fallback",
        options="model='claude-sonnet-4.5'",
        also="(turn.model_asked, turn.model) == ('claude-sonnet-4.5', 'claude-haiku-4.5')"
        " and turn.provenance.other_model and turn.provenance.model_fallback == 'unavailable'"
        " and 'was asked for, and claude-haiku' in str(turn.warnings)",
    ),
    Row(
        "was moved to another model in its middle, of which V2's text and session tell nothing",
        "completed",
        evidence=GOOD,
        misbehave="fallback",
        options="model='claude-sonnet-4.5'",
        also="turn.model == 'claude-sonnet-4.5' and not turn.provenance.other_model",
    ),
    Row(
        "was moved to another model, and its session with it",
        "completed",
        evidence=GOOD,
        misbehave={"fallback": {"promoted": True}},
        options="model='claude-sonnet-4.5'",
        also="turn.model == 'claude-haiku-4.5' and turn.provenance.other_model and turn.warnings",
    ),
    Row(
        "has another model in its session than was asked for",
        "completed",
        engine="v3",
        evidence="`messages.jsonl` ends with a `turn_end`",
        misbehave="fallback",
        options="model='claude-sonnet-4.5'",
        also="turn.model == 'claude-haiku-4.5' and turn.provenance.other_model and turn.warnings",
    ),
    Row(
        "was moved to a model without a name",
        "completed",
        output="stream-json",
        evidence="`runFinished` says `success`; `model_fallback`",
        misbehave={"fallback": {"to": 5}},
        also="turn.model is None and turn.provenance.other_model and 'does not name' in str(turn.warnings)",
    ),
    Row(
        "asked its service again",
        "completed",
        output="stream-json",
        evidence="`runFinished` says `success`; `retry_warning`",
        misbehave="retries",
        also="'asked its service again 2 times' in str(turn.warnings) and not turn.provenance.other_model",
    ),
    Row(
        "had a sub-agent with a session of its own in the stream",
        "completed",
        output="stream-json",
        evidence="`runFinished` says `success`",
        requests=[["", AGENT], ["Done."]],
        misbehave="sessions",
        also="[call.agent for call in turn.tool_calls[0].calls] == ['kiro_default'] and not turn.warnings"
        " and turn.messages == ('Done.',) and turn.agents['kiro_default'] == ('I look.', 'Seen.')",
    ),
    Row(
        "ran a workflow, whose nodes have sessions of their own",
        "completed",
        engine="v3",
        evidence="the same, and the nodes' sessions",
        requests=[["", AGENT], ["Done."]],
        misbehave="sessions",
        also="turn.used('run_workflow') and [call.agent for call in turn.tool_calls[0].calls] == ['steps/kiro_default']"
        " and turn.agents['steps/kiro_default'] == ('I look.', 'Seen.') and not turn.warnings",
    ),
    Row(
        "ran a workflow, whose nodes have sessions of their own",
        "completed",
        engine="v3",
        output="stream-json",
        evidence="`runFinished` says `success`",
        requests=[["", AGENT], ["Done."]],
        misbehave={"sessions": True, "no_session": True},
        also="turn.used('run_workflow') and [call.agent for call in turn.tool_calls[0].calls] == ['steps/kiro_default']"
        " and turn.messages == ('Done.',) and not turn.warnings",
    ),
    Row(
        "showed a question, a review and a summary as calls",
        "completed",
        engine="v3",
        output="stream-json",
        evidence="the same",
        misbehave="asides",
        also="not turn.tool_calls and len(turn.warnings) == 3",
    ),
    Row(
        "took back what it had done",
        "completed",
        engine="v3",
        evidence="a `turn_end` after the tombstone",
        requests=[["One.", shell("true")], ["Two."]],
        misbehave="rewinds",
        also="turn.messages == ('Two.',) and not turn.tool_calls",
    ),
    Row(
        "had a call's arguments replaced by a note",
        "completed",
        evidence=GOOD,
        requests=[["", shell("true"), write("a.txt", "a")], ["Done."]],
        misbehave="withheld",
        also="[call.status for call in turn.tool_calls] == ['completed', 'unfinished'] and len(turn.warnings) == 3",
    ),
    # -- exit code 0, and yet it did not work
    Row(
        "was ended by the content filter",
        "failed",
        "content filter",
        evidence="the session says `Refusal` (a guess)",
        misbehave="filtered",
        reads="the service's content filter ended the answer",
    ),
    Row(
        "was ended by the content filter",
        "failed",
        "content filter",
        output="stream-json",
        evidence="`stopReason` is `refusal`",
        misbehave={"filtered": True, "no_session": True},
        reads="the service's content filter ended the answer: success, refusal",
    ),
    Row(
        "was ended by the content filter",
        "failed",
        "content filter",
        engine="v3",
        evidence="`turn_end` says `refusal`",
        misbehave="filtered",
        reads="the service's content filter ended the answer: refusal; violence",
    ),
    Row(
        "said something, and kept no record in a session that it has",
        "failed",
        "crash",
        evidence=NONE,
        v3=SAME,
        before=[{"requests": SAYS}],
        misbehave="no_session",
        reads="exited with 0, but its session store has no such turn",
    ),
    Row(
        "said something, and began no session where those of known versions are",
        "failed",
        "unknown CLI",
        evidence="no file in its session store",
        v3=SAME,
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
        "removed its HOME",
        "failed",
        "altered",
        engine="v3",
        evidence="what is gone",
        requests=[["", shell("cd /; case ~ in */users/*) rm -rf ~ ;; esac")], ["Done."]],
        reads="its workspace is gone: something in the sandbox has removed it",
    ),
    Row(
        "removed its workspace",
        "failed",
        "altered",
        evidence="what is gone",
        v3=SAME,
        requests=[["", shell('case $PWD in */work/*) rm -rf "$PWD" ;; esac')], ["Done."]],
        reads="its workspace is gone: something in the sandbox has removed it",
    ),
    Row(
        "was throttled",
        "failed",
        "throttled",
        evidence=ERROR,
        v3=BAD,
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
        v3=SAME,
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
        v3=SAME,
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
        v3=SAME,
        before=[{"requests": SAYS}],
        misbehave={"forgets": True, "no_session": True},
        reads="was to resume session",
    ),
    Row(
        "reached the plan's limit",
        "failed",
        "usage limit",
        evidence=ERROR,
        v3=BAD,
        misbehave="limit",
        reads="Monthly request limit reached",
    ),
    Row(
        "found its session in use",
        "failed",
        "session in use",
        exit_code=1,
        evidence="what it printed",
        v3=SAME,
        misbehave="in_use",
        reads="Session is active in another process (PID 26121)",
    ),
    Row(
        "was given a bad API key",
        "failed",
        "auth",
        evidence="what it printed",
        v3=SAME,
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
        v3=SAME,
        misbehave="bad_key",
        reads="Authentication failed. Your API key",
    ),
    Row(
        "filled its context",
        "failed",
        "context overflow",
        evidence=ERROR,
        misbehave="overflow",
        reads="ContextWindowOverflow",
    ),
    *(
        Row(
            "did not take the model, and went on with its own (2.7, 2.21)",
            "failed",
            "refused",
            engine=engine,
            output=output,
            evidence="the warning at the start; the session's model",
            misbehave="model_refused",
            options="model='claude-sonnet-4.5'",
            also="turn.model == 'auto' and turn.provenance.other_model",
            reads="kiro-cli did not take the model "
            "(failed to set model 'claude-sonnet-4.5': Method not found), and auto answered",
        )
        for engine, output in (("v2", "text"), ("v2", "stream-json"), ("v3", "text"))
    ),
    Row(
        "had no capacity for its model, and no other one",
        "failed",
        "crash",
        output="stream-json",
        exit_code=1,
        evidence="`runError`; `model_fallback` without a model",
        misbehave={"fallback": {"to": False}},
        reads="kiro-cli said: model you've selected is temporarily unavailable",
    ),
    Row(
        "filled its context",
        "failed",
        "context overflow",
        engine="v3",
        evidence=BAD,
        misbehave="overflow",
        reads="kiro-cli said: context window has overflowed",
    ),
    Row(
        "did not find the agent, and let the default one answer (2.x)",
        "failed",
        "refused",
        evidence="the session names another agent",
        v3=SAME,
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
        v3=SAME,
        before=[{"requests": SAYS}],
        misbehave="forgets",
        reads="was to resume session",
    ),
    # -- other exit codes
    Row(
        "refused to resume what it had recorded",
        "failed",
        "broken history",
        exit_code=1,
        evidence="what it printed",
        before=[{"requests": [["", shell("true"), write("a.txt", "a")], ["Done."]], "misbehave": "withheld"}],
        reads="kiro-cli said: invalid conversation history received",
    ),
    Row(
        "refused to resume what it had recorded",
        "failed",
        "broken history",
        exit_code=1,
        output="stream-json",
        evidence="`runError`",
        before=[{"requests": [["", shell("true"), write("a.txt", "a")], ["Done."]], "misbehave": "withheld"}],
        reads="kiro-cli said: invalid conversation history received",
    ),
    Row(
        "asked the user, and gave up",
        "failed",
        "unanswered",
        engine="v3",
        exit_code=1,
        evidence="a `pending_interaction` without an answer",
        misbehave="asks",
        reads="it asked, and in a headless turn nobody answers: Which of the two do you mean?",
    ),
    Row(
        "asked the user, and waited",
        "timed_out",
        "unanswered",
        engine="v3",
        exit_code=130,
        evidence="the clock, and the same",
        misbehave={"asks": 60},
        options="timeout=2",
        reads="its time of 2 s was over; it asked, and in a headless turn nobody answers",
        link=True,
    ),
    Row(
        "was stopped in the middle of a command",
        "timed_out",
        "out of time",
        engine="v3",
        exit_code=130,
        evidence="the clock",
        requests=[["Hello.", shell("sleep 60")], ["Never."]],
        options="timeout=2",
        also="turn.tool_calls[0].status == 'unfinished'",
        reads="its time of 2 s was over",
    ),
    Row(
        "lost its login in mid-conversation",
        "failed",
        "auth",
        exit_code=1,
        evidence="what it printed",
        v3=SAME,
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
        v3=SAME,
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
        v3=SAME,
        misbehave="mcp",
        reads="exited with 3, an MCP server did not start",
    ),
    Row(
        "did not find the agent",
        "failed",
        "refused",
        exit_code=4,
        evidence="exit code, what it printed",
        v3=SAME,
        options="agent='nobody'",
        reads="not found",
    ),
    Row(
        "did not know the model",
        "failed",
        "refused",
        exit_code=1,
        evidence="what it printed",
        v3=SAME,
        options="model='nothing'",
        reads="Model 'nothing' does not exist",
    ),
    Row(
        "answered well, and ended with another exit code",
        "failed",
        "crash",
        exit_code=7,
        evidence="exit code",
        v3=SAME,
        misbehave={"exit": 7},
        reads="exited with 7",
    ),
    Row(
        "crashed before it printed anything",
        "failed",
        "crash",
        exit_code=139,
        evidence="exit code",
        v3=SAME,
        misbehave={"crash": "before"},
        reads="exited with 139, segmentation fault",
    ),
    Row(
        "crashed after it had printed something",
        "failed",
        "crash",
        exit_code=139,
        evidence="exit code",
        v3=SAME,
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
        v3=SAME,
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
        v3=SAME,
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
        v3=SAME,
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
        v3=SAME,
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
        v3=SAME,
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
        v3=SAME,
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
        v3=SAME,
        requests=[["Hello.", shell("sleep 60")], ["Never."]],
        options="stop_when=on_command('sleep 60$')",
        also="turn.tool_calls[0].command == 'sleep 60'",
    ),
    Row(
        "was to be stopped by a command, which V3 does not print",
        "stopped",
        "stopped",
        engine="v3",
        evidence="its record, too late",
        requests=[["Hello.", shell("true")], ["Done."]],
        options="stop_when=on_command('true')",
        also="turn.detail.endswith('engine V3 prints no commands, so use --kiro-output=stream-json')",
    ),
    Row(
        "was silent for too long for the test",
        "stopped",
        "stopped",
        exit_code=130,
        evidence="`stop_when`",
        v3=SAME,
        misbehave="hangs",
        options="stop_when=on_silence(0.7)",
        also="'on_silence(0.7) stopped it' in turn.detail",
    ),
    # -- a limit of the harness ended it
    Row(
        "made more tool calls than it may",
        "stopped",
        "limit",
        exit_code=130,
        evidence="`--kiro-max-calls`",
        requests=[["Hello.", shell("true")], ["", shell("sleep 60")], ["Never."]],
        settings=("--kiro-max-calls=1",),
        reads="--kiro-max-calls=1 stopped it at byte ",
        also="len(turn.tool_calls) == 2",
    ),
    Row(
        "made more tool calls than it may, in a sub-agent",
        "stopped",
        "limit",
        evidence="its record, too late",
        requests=[["I ask.", AGENT], ["Done."]],
        settings=("--kiro-max-calls=1",),
        reads="--kiro-max-calls=1 holds for what its record tells; it was not announced in time to stop it",
    ),
)


#: The rows, and those that hold on V3 once more.
CASES = (*ROWS, *(replace(row, engine="v3", v3=None, link=False) for row in ROWS if row.v3))


def runs(*, link: bool = False, most: int = 14) -> dict[str, tuple[int, ...]]:
    """The runs of pytest that the rows take, by number: those with the same options are one, if not too many.

    Where V3's own records are no evidence, its rows are called `alike`.
    """
    made: dict[str, tuple[int, ...]] = {}
    for settings, alike in dict.fromkeys((row.run, _is_alike(n)) for n, row in enumerate(CASES)):
        numbers = [
            n for n, row in enumerate(CASES) if (row.run, _is_alike(n)) == (settings, alike) and (row.link or not link)
        ]
        for begin in range(0, len(numbers), most):
            name = " ".join(settings) + " alike" * alike
            made[f"{name} from {numbers[begin]}"] = tuple(numbers[begin : begin + most])
    return made


def _is_alike(number: int) -> bool:
    return number >= len(ROWS) and not re.search("session|record|turn_end|runError", CASES[number].evidence)


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
        told |= dict(agrees=turn.ok == (turn.status == "completed") == (turn.proof is not None) == (turn.cause is None))
        with open(os.environ["STORY"], "a") as file:
            print(number, json.dumps(told), file=file)
"""


def check(evals: Evals, numbers: Sequence[int]) -> None:
    """Run these rows, which have the same options, and compare what became of each."""
    rows = {number: CASES[number] for number in numbers}
    turns = {number: (len(row.before), row.prompt, row.options) for number, row in rows.items()}
    evals.write("test_it.py", _EVALS.format(turns=turns), {f"test_row[{n}]": row.turns for n, row in rows.items()})
    evals.write("conftest.py", _CONFTEST.format(also={number: row.also for number, row in rows.items()}))
    result = evals.run("-rA", "--kiro-retries=0", *CASES[numbers[0]].run)
    printed = result.stdout.str()
    told = {}
    for line in evals.story:  # the last turn of each
        number, _, text = line.partition(" ")
        told[int(number)] = json.loads(text)
    _, *parts = re.split(r"^_+ test_row\[(\d+)\] _+$", printed, flags=re.MULTILINE)
    failures = dict(zip(parts[::2], parts[1::2], strict=True))
    agents = {"unanswered", "out of time", "stalled", "stopped", "gave up", "context overflow", "altered"}
    for number, row in rows.items():
        world = bool(row.cause) and row.cause not in agents
        wanted = {"status": row.status, "cause": row.cause, "exit_code": row.exit_code, "also": True, "agrees": True}
        assert told[number] == {**wanted, "infrastructure": world}, row
        assert f"{row.outcome.upper()} test_it.py::test_row[{number}]" in printed, row
        if row.outcome == "failed":
            error = "TurnTimeout" if row.status == "timed_out" else "TurnFailed"
            kind = re.escape(f"({row.cause}{': infrastructure' * world})")
            said = rf"{error}: turn \d+ {row.status} {kind} in .*{re.escape(row.reads)}"
            assert re.search(said, failures[str(number)]), row
            assert "kiro.run(..., check=False) returns such a turn instead of raising" in failures[str(number)], row


if __name__ == "__main__":
    sys.stdout.write("\n".join([HEAD, *(row.markdown() for row in ROWS), ""]))
