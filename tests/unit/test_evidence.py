"""Contract T: how a turn ended, decided by evidence, row by row."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_kiro.kirocli.evidence import (
    LOGIN_WITHIN,
    REFUSAL,
    UNANSWERED,
    WELL,
    StoreSearch,
    beginning,
    combine,
    contradict,
    judge,
    waits_for_login,
    with_end,
)
from pytest_kiro.turn.causes import Cause, Ending
from pytest_kiro.turn.transcript import ToolCall, Transcript

PROVEN = Transcript("id", prompts=1, turns=1, finished=True, end_reason="UserTurnEnd")
LOGIN = "Confirm the following code in the browser\nCode: ABCD-EFGH\n\nOpen this URL: https://x\n"


def ended(reason: str, failure: str | None = None, *, finished: bool = True) -> Transcript:
    return Transcript("id", prompts=1, turns=1, finished=finished, end_reason=reason, failure=failure)


def test_t1_completed_needs_exit_0_and_proof() -> None:
    assert judge(0, PROVEN, "anything") == Ending("completed", proof="session")


ROWS = [
    # exit code, transcript, output, status, cause, a part of what is said
    (None, None, "", "lost", Cause.CONNECTION, "the link to the sandbox was lost"),
    (None, PROVEN, "", "lost", Cause.CONNECTION, "no exit status was kept"),
    (0, None, "", "failed", Cause.CRASH, "exited with 0, but its session store has no such turn"),
    (0, Transcript("id"), "fine!", "failed", Cause.CRASH, "no such turn"),
    (0, ended("Cancelled", finished=False), "", "failed", Cause.STOPPED, "says Cancelled"),
    (0, ended("ToolUseRejected", finished=False), "", "failed", Cause.GAVE_UP, "says ToolUseRejected"),
    (0, ended("Error", "it broke", finished=False), "", "failed", Cause.CRASH, "says Error it broke"),
    (
        0,
        ended(REFUSAL, "success, refusal", finished=False),
        "",
        "failed",
        Cause.FILTERED,
        "filter ended the answer: su",
    ),
    (1, ended(REFUSAL, "failed, refusal", finished=False), "", "failed", Cause.FILTERED, "filter ended the answer"),
    (1, ended(UNANSWERED, "Which one?", finished=False), "", "failed", Cause.UNANSWERED, "nobody answers: Which one?"),
    (0, ended("UserTurnEnd", finished=False), "", "failed", Cause.CRASH, "says UserTurnEnd"),
    (
        0,
        ended("Error", "The request was throttled by the service", finished=False),
        "",
        "failed",
        Cause.THROTTLED,
        "throttled",
    ),
    (0, None, "Too many requests, please wait", "failed", Cause.THROTTLED, "kiro-cli said: Too many requests"),
    (0, None, "Request quota exceeded", "failed", Cause.THROTTLED, "quota"),
    (0, None, "The monthly usage limit has been reached", "failed", Cause.USAGE_LIMIT, "monthly usage limit"),
    (1, None, "Monthly request limit reached", "failed", Cause.USAGE_LIMIT, "request limit reached"),
    (0, None, "Authentication failed. Your API key may be invalid", "failed", Cause.AUTH, "Authentication failed"),
    (1, None, "error: You are not logged in", "failed", Cause.AUTH, "not logged in"),
    (1, None, "Failed to open browser for authentication.", "failed", Cause.AUTH, "browser"),
    (1, None, "The bearer token included in the request is invalid", "failed", Cause.AUTH, "bearer token"),
    (1, None, "Model 'nope' does not exist", "failed", Cause.REFUSED, "Model 'nope' does not exist"),
    (1, None, 'error: agent "nope" not found', "failed", Cause.REFUSED, "not found"),
    (1, None, "Session not found", "failed", Cause.REFUSED, "Session not found"),
    (1, None, "Kiro is having trouble responding right now", "failed", Cause.CRASH, "having trouble"),
    (1, None, "Session is active in another process (PID 7)", "failed", Cause.IN_USE, "another process (PID 7)"),
    (1, None, "Internal error: invalid conversation history received", "failed", Cause.HISTORY, "invalid conversation"),
    (0, ended("Error", "ContentFiltered", finished=False), "", "failed", Cause.FILTERED, "said: ContentFiltered"),
    (0, None, "INSUFFICIENT_MODEL_CAPACITY", "failed", Cause.THROTTLED, "CAPACITY"),
    (0, None, "Failed to receive the next message: error: dispatch failure", "failed", Cause.CRASH, "dispatch failure"),
    (1, None, "something else", "failed", Cause.CRASH, "exited with 1, general failure"),
    (2, None, "", "failed", Cause.REFUSED, "exited with 2, usage error"),
    (3, None, "", "failed", Cause.MCP, "an MCP server did not start"),
    (4, None, "", "failed", Cause.REFUSED, "agent not found"),
    (139, PROVEN, "", "failed", Cause.CRASH, "segmentation fault"),
    (137, None, LOGIN, "failed", Cause.AUTH, "waited for a device login"),
]


@pytest.mark.parametrize(("code", "transcript", "output", "status", "cause", "said"), ROWS)
def test_t2_every_other_end_has_a_cause(
    code: int | None, transcript: Transcript | None, output: str, status: str, cause: Cause, said: str
) -> None:
    ending = judge(code, transcript, output)
    assert (ending.status, ending.cause, ending.proof) == (status, cause, None)
    assert said in ending.detail


@pytest.mark.parametrize("status", ["success", "refusal", "error", None])
def test_t2_a_content_filters_refusal_is_neither_success_nor_a_plain_error(status: str | None) -> None:
    ending = judge(0, with_end(Transcript("id"), "refusal", status), "")
    assert (ending.status, ending.cause) == ("failed", Cause.FILTERED)
    assert not Cause.FILTERED.passing


def test_t2_an_agent_may_talk_about_throttling() -> None:
    said = "Here is your handler for 'Too many requests, please wait' and 'You are not logged in'."
    assert judge(0, PROVEN, said).status == "completed"
    assert judge(0, PROVEN, LOGIN).status == "completed"


@pytest.mark.parametrize(("reason", "cause"), [("ToolUseRejected", Cause.GAVE_UP), ("Cancelled", Cause.STOPPED)])
def test_t2_an_agent_that_gave_up_cannot_print_that_the_world_failed(reason: str, cause: Cause) -> None:
    transcript = ended(reason, finished=False)
    for printed in ("The request was throttled by the service", "error: You are not logged in"):
        assert judge(0, transcript, printed).cause is cause
    said = replace(transcript, failure="The request was throttled by the service")
    assert judge(0, said, "").cause is Cause.THROTTLED


def test_t2_who_called_a_tool_was_logged_in() -> None:
    called = Transcript("id", prompts=1, turns=1, tool_calls=(ToolCall("shell", "shell", {}, "", "unfinished"),))
    assert judge(137, called, LOGIN).cause is Cause.CRASH
    assert judge(137, Transcript("id"), LOGIN).cause is Cause.AUTH


def test_t2_only_the_end_of_an_output_is_looked_at() -> None:
    early = "Too many requests, please wait" + "x" * 5000
    assert judge(1, None, early).cause is Cause.CRASH


def test_t2_a_cause_is_the_worlds_fault_or_the_agents() -> None:
    agents = {cause.name for cause in Cause if not cause.infrastructure}
    assert agents == {"ALTERED", "CONTEXT", "GAVE_UP", "UNANSWERED", "OUT_OF_TIME", "STALLED", "STOPPED"}


def test_a_device_login_stands_at_the_start() -> None:
    assert waits_for_login(LOGIN)
    assert waits_for_login("some banner\n" + LOGIN)
    assert not waits_for_login("x" * LOGIN_WITHIN + LOGIN)
    assert not waits_for_login("Confirm the following code in the browser, I would say.")
    assert not waits_for_login("")


# -- several witnesses

STREAM = Transcript("id", messages=("one",), finished=True, end_reason=WELL, credits=0.5, proof="runFinished")
SILENT = Transcript("id", messages=("one",), proof="runFinished")  # its stream ended without a word


@pytest.mark.parametrize(
    ("store", "stream", "credits", "proof"),
    [
        (PROVEN, None, None, "session"),
        (PROVEN, SILENT, None, "session"),
        (PROVEN, STREAM, None, "runFinished"),
        (None, STREAM, None, "runFinished"),
        (Transcript("id"), STREAM, None, "runFinished"),
        (None, None, 0.07, "credits"),
        (Transcript("id"), None, 0.07, "credits"),
        (None, SILENT, None, None),
        (Transcript("id"), SILENT, None, None),
        (None, None, None, None),
        # one of them says otherwise
        (ended("Error", "no", finished=False), STREAM, None, None),
        (PROVEN, ended("Cancelled", finished=False), None, None),
        (ended("Error", "no", finished=False), None, 0.07, None),
    ],
)
def test_t1_a_turn_is_completed_when_one_says_so_and_none_says_otherwise(
    store: Transcript | None, stream: Transcript | None, credits: float | None, proof: str | None
) -> None:
    ending = judge(0, combine(store, stream, credits), "")
    assert ending.proof == proof
    assert (ending.status == "completed") is (proof is not None)
    assert judge(1, combine(store, stream, credits), "").status == "failed"
    told = combine(store, stream, credits)
    assert credits is None or (told is not None and told.credits == credits)


def test_what_only_the_stream_tells_of_other_agents_is_not_lost() -> None:
    def call(name: str, *calls: ToolCall, agent: str = "") -> ToolCall:
        return ToolCall(name, name, {}, "", "completed", calls=calls, agent=agent)

    inner, stray = call("read", agent="helper"), call("write", agent="peer")
    store = Transcript("id", tool_calls=(call("subagent"), call("shell"), call("subagent", inner)))
    stream = Transcript(
        "id",
        tool_calls=(call("subagent", inner), call("subagent", call("grep")), call("run_workflow", inner), stray),
        agents={"helper": ("Hi.",)},
    )
    told = combine(store, stream)
    assert told is not None
    assert told.tool_calls == (call("subagent", inner), call("shell"), call("subagent", inner), stray)
    assert told.agents == {"helper": ("Hi.",)}
    (warning,) = told.warnings
    assert warning == "the stream tells of agents that run_workflow started, and the session store has no such call"
    own = replace(store, tool_calls=(stray,))
    assert [each.tool_calls for each in (combine(own, stream),) if each] == [(stray,)]


def test_the_store_tells_the_most_and_the_stream_what_it_has_not() -> None:
    store = Transcript("id", messages=("a", "b"), finished=True, end_reason="UserTurnEnd", model="m", warnings=("w",))
    told = combine(store, STREAM)
    assert told is not None
    assert (told.messages, told.model, told.credits, told.warnings) == (("a", "b"), "m", 0.5, ("w",))
    told = combine(Transcript("id"), Transcript("id", end_reason="Error", failure="it broke", stage="prompt"))
    assert told is not None
    assert (told.failure, told.stage) == ("it broke", "prompt")
    assert "said at the stage prompt: it broke" in judge(1, told, "").detail


@pytest.mark.parametrize("prompt", ["/usage", "!ls", "@notes", "  /usage"])
def test_a_prompt_that_is_taken_for_a_command(prompt: str) -> None:
    ending = judge(0, None, "", prompt)
    assert (ending.status, ending.cause) == ("failed", Cause.REFUSED)
    assert f"took the prompt for a command, since it begins with {prompt.strip()[0]!r}" in ending.detail
    assert judge(0, PROVEN, "", prompt).status == "completed"
    assert judge(0, None, "", f"Please: {prompt}").cause is Cause.CRASH


PLACES = ("/h/.kiro/sessions/cli",)


@pytest.mark.parametrize(
    ("files", "unread", "output", "cause", "said"),
    [
        ((), (), "Hello.", Cause.UNKNOWN_CLI, "kiro-cli 9.0.0 exited with 0, and began no session where one was"),
        (("/h/.local/db",), (), "Hello.", Cause.UNKNOWN_CLI, "looked for: /h/.kiro/sessions/cli; the sessions of 2.5"),
        ((), (), " \n", Cause.CRASH, "no such turn"),
        ((), (), "Too many requests, please wait", Cause.THROTTLED, "Too many"),
        (("/h/.kiro/sessions/cli/x.json",), (), "", Cause.CRASH, "no such turn"),
        (
            ("/h/.kiro/sessions/cli/x.json",),
            (),
            "Hello.",
            Cause.UNKNOWN_CLI,
            "kiro-cli 9.0.0 exited with 0, and its turn cannot be read in /h/.kiro/sessions/cli; the",
        ),
        (
            (),
            ("/h/.kiro/sessions/cli/x.jsonl", "/h/.local/db"),
            "Hello.",
            Cause.CRASH,
            "too large to be read: /h/.kiro",
        ),
    ],
)
def test_a_cli_that_keeps_its_sessions_elsewhere_is_no_crash(
    files: tuple[str, ...], unread: tuple[str, ...], output: str, cause: Cause, said: str
) -> None:
    search = StoreSearch.among(dict.fromkeys(files, b""), unread, PLACES, version="9.0.0")
    ending = judge(0, None, output, search=search)
    assert (ending.status, ending.cause) == ("failed", cause)
    assert said in ending.detail
    assert "/h/.local/db" not in ending.detail
    assert judge(1, None, "Hello.", search=search).cause is Cause.CRASH
    known = judge(0, None, "Hello.", search=StoreSearch(PLACES, True, (), "2.29.1"))
    assert known.cause is Cause.CRASH, "of a version that is known it is one"


def test_an_unknown_cli_is_not_run_twice_and_says_what_to_try() -> None:
    assert not Cause.UNKNOWN_CLI.passing
    assert all(option in Cause.UNKNOWN_CLI.advice for option in ("--kiro-engine", "--kiro-cli-version", "stream-json"))


DONE = Ending("completed", proof="session")


@pytest.mark.parametrize(
    ("agent", "answered", "output", "ok"),
    [
        (None, "kiro_default", "", True),
        ("reviewer", "reviewer", 'agent "reviewer" not found', True),  # an agent that quotes
        ("reviewer", "kiro_default", "", False),
        ("reviewer", None, "", True),
        ("reviewer", None, 'agent "reviewer" not found, using the default', False),
        ("reviewer", None, "agent reviewer not found", False),
        ("reviewer", None, 'agent "other" not found', True),
        ("reviewer", None, beginning("x" * LOGIN_WITHIN + 'agent "reviewer" not found', "y"), True),
        ("reviewer", None, beginning("x" * LOGIN_WITHIN, 'agent "reviewer" not found'), False),
    ],
)
def test_another_agent_than_the_one_that_was_asked_is_no_pass(
    agent: str | None, answered: str | None, output: str, ok: bool
) -> None:
    told = Transcript("id", finished=True, end_reason="UserTurnEnd", agent=answered)
    ending = contradict(DONE, told, agent=agent, resumed=None, output=output)
    assert ending == DONE if ok else (ending.status, ending.cause) == ("failed", Cause.REFUSED)
    assert ok or f"did not find the agent reviewer, and {answered or 'the default one'} answered" in ending.detail


@pytest.mark.parametrize(
    ("answered", "output", "ok"),
    [
        ("claude-opus-4.8", "", True),
        ("auto", "", True),  # told by the provenance; a name may be spelt in two ways
        ("auto", "[warn] failed to set model 'claude-opus-4.8': Method not found\nHello", False),  # Kiro#9461, #11346
        (None, "[warn] failed to set model 'claude-opus-4.8': Method not found", False),
        ("auto", "failed to set model claude-opus-4.8: no", False),
        ("auto", "[warn] failed to set model 'other': Method not found", True),
        (
            "claude-opus-4.8",
            "[warn] failed to set model 'claude-opus-4.8': Method not found",
            True,
        ),  # an agent that quotes
    ],
)
def test_a_model_that_was_not_taken_is_no_pass(answered: str | None, output: str, ok: bool) -> None:
    told = Transcript("id", finished=True, end_reason="UserTurnEnd", model=answered)
    ending = contradict(DONE, told, model="claude-opus-4.8", output=output)
    assert ending == DONE if ok else (ending.status, ending.cause) == ("failed", Cause.REFUSED)
    assert ok or f", and {answered or 'its own choice'} answered" in ending.detail
    assert contradict(DONE, told, output=output) == DONE


def test_another_conversation_than_the_one_that_was_to_go_on_is_no_pass() -> None:
    ending = contradict(DONE, Transcript("new"), agent=None, resumed="old", output="")
    assert (ending.status, ending.cause) == ("failed", Cause.REFUSED)
    assert "was to resume session old, and answered in another one, new" in ending.detail
    failed = Ending("failed", Cause.CRASH)
    assert contradict(failed, Transcript("new"), agent=None, resumed="old", output="") is failed


def test_only_what_may_pass_is_run_again() -> None:
    assert {cause for cause in Cause if cause.passing} == {
        Cause.THROTTLED,
        Cause.CONNECTION,
        Cause.CRASH,
        Cause.MCP,
    }
    assert all(cause.infrastructure for cause in Cause if cause.passing)
