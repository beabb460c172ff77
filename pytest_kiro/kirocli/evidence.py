"""Decides from the evidence how a turn ended: exit 0 proves nothing (contract T1).

kiro-cli exits with 0 after a throttled request, a used-up plan, an invalid key and a denied tool. So a turn
is completed only when its session store, the event stream's `runFinished` or V1's line of credits says that it ended
well and none of them says otherwise; every other end gets a cause. docs/outcomes.md has it as a table.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_kiro.kirocli.commands import KNOWN_VERSIONS, is_unknown
from pytest_kiro.turn.amounts import exact
from pytest_kiro.turn.causes import Cause, Ending, exit_name
from pytest_kiro.turn.transcript import ToolCall, Transcript
from pytest_kiro.turn.warnings import some

#: What kiro-cli prints, on versions 2.0 to 2.29 and its ancestor, when the world was at fault.
_SAYINGS = {
    Cause.THROTTLED: r"request was throttled by the service|Too many requests, please wait|Request quota exceeded"
    r"|INSUFFICIENT_MODEL_CAPACITY",
    Cause.USAGE_LIMIT: r"monthly (?:usage|request) limit (?:has been )?reached",
    Cause.AUTH: r"Authentication failed\. Your API key|You are not logged in|Not logged in\. Set the KIRO_API_KEY"
    r"|bearer token included in the request is invalid|Failed to open browser for authentication",
    Cause.REFUSED: r"Model '[^']*' does not exist|agent \"?[^\n\"]*\"? not found|Session not found"
    r"|--output-format stream-json is not supported",
    Cause.CONTEXT: r"context window (?:has |is |would )?overflow\w*|ContextWindowOverflow|Input is too long",
    Cause.IN_USE: r"Session is active in another process(?: \(PID \d+\))?|failed to (?:re-)?read lock file",
    Cause.FILTERED: r"content[ _-]?filter(?:ed|ing)?\b",
    Cause.HISTORY: r"invalid conversation history received",
    Cause.CRASH: r"Kiro is having trouble responding|model you've selected is temporarily unavailable"
    r"|Failed to (?:receive the next message|send the request)[^\n]*dispatch failure",
}
#: How a turn's record ends when it ended well, in V2's word.
WELL = "UserTurnEnd"
#: How it ends when the service's content filter ended it (ACP's word since 2.26.1; in V2's store a guess).
REFUSAL = "Refusal"
#: How it ends when it waited for an answer, or for an approval.
UNANSWERED = "Unanswered"
#: A prompt that begins with one of these is a command of V1's own (ancestor; V2 and V3 were not checked).
COMMANDS = ("/", "!", "@")
#: ACP's stop reasons, and the words that V3 has beside them, in V2's words.
_REASONS = {
    "Cancelled": ("cancelled", "canceled", "aborted", "interrupted"),
    "ToolUseRejected": ("rejected", "tool_use_rejected", "denied"),
    "Rewind": ("rewind",),
    REFUSAL: ("refusal",),
}
_FINE = ("success", "succeeded", "completed")
_BY_REASON = {"Cancelled": Cause.STOPPED, "ToolUseRejected": Cause.GAVE_UP}
#: Those that tell more than an exit code, with what is said of them.
_TELLING = {
    REFUSAL: (Cause.FILTERED, "the service's content filter ended the answer"),
    UNANSWERED: (Cause.UNANSWERED, "it asked, and in a headless turn nobody answers"),
}
_BY_EXIT_CODE = {2: Cause.REFUSED, 3: Cause.MCP, 4: Cause.REFUSED}
_DEVICE_LOGIN = re.compile(r"Confirm the following code in the browser\s+Code: \S+\s+Open this URL:")
#: A login stands at the start of an output, within so many characters; later on it is an answer that quotes one.
LOGIN_WITHIN = 4096


@dataclass(frozen=True)
class StoreSearch:
    """Tells where a turn's records were looked for.

    `found` is whether any file was written there; `unread` are files that are too large, `version` is kiro-cli's.
    """

    places: tuple[str, ...] = ()
    found: bool = True
    unread: tuple[str, ...] = ()
    version: str = ""

    @classmethod
    def among(
        cls, files: Mapping[str, bytes], unread: Iterable[str], places: Iterable[str], *, version: str
    ) -> StoreSearch:
        """Return what came of a search. `places` are files and folders.

        >>> StoreSearch.among({"/h/db": b""}, (), ("/h/.kiro/sessions/cli",), version="2.29.0").found
        False
        """
        within = tuple(places)
        large = tuple(path for path in unread if path.startswith(within))
        return cls(within, bool(large) or any(path.startswith(within) for path in files), large, version)


def waits_for_login(output: str) -> bool:
    """Whether the CLI shows a device code and waits for a person."""
    return bool(_DEVICE_LOGIN.search(output[:LOGIN_WITHIN]))


def with_end(transcript: Transcript, stop: str | None, status: str | None) -> Transcript:
    """Add how a turn of ACP's engines ended.

    Either word may be missing, and neither may contradict. Which of the two has to be there is the caller's to say, by
    another word in its place.

    >>> with_end(Transcript(""), "end_turn", "error").failure
    'error, end_turn'
    """
    words = [word for word in (status, stop) if word]
    said = ", ".join(words)
    if said and stop in ("end_turn", None) and status in (*_FINE, None):
        return replace(transcript, finished=True, end_reason=WELL)
    reason = next((reason for word in words for reason, names in _REASONS.items() if word in names), "Error")
    return replace(transcript, end_reason=reason, failure=said or "it ended without saying how")


def combine(store: Transcript | None, stream: Transcript | None, credits: float | None = None) -> Transcript | None:
    """Combine what store, event stream and V1's line of credits say.

    The store tells the most, so its words are taken where there are any. A turn has ended well when one of them says
    so and none says otherwise.
    """
    if store is None and stream is None and credits is not None:
        store = Transcript("")
    if store and not store.finished and store.end_reason is None and credits is not None:
        store = replace(store, finished=True, end_reason=WELL, proof="credits")
    transcript = _with_stream(store, stream) if store and stream else store or stream
    if transcript is None or transcript.credits is not None or credits is None:
        return transcript
    return transcript.charged(exact(credits), "trailer")


def _with_stream(transcript: Transcript, stream: Transcript) -> Transcript:
    if stream.end_reason is not None and transcript.end_reason in (None, WELL):
        transcript = replace(transcript, finished=stream.finished, end_reason=stream.end_reason, proof="runFinished")
    calls, lost = _merged(transcript.tool_calls, stream.tool_calls)
    charged = stream if transcript.credits is None else transcript
    moved = stream.fallback is not None and stream.fallback.own
    return replace(
        transcript,
        messages=transcript.messages or stream.messages,
        tool_calls=calls,
        agents={**stream.agents, **transcript.agents},
        failure=transcript.failure or stream.failure,
        stage=stream.stage,
        credits=charged.credits,
        credits_source=charged.credits_source,
        # A session keeps its model when a turn is moved to another (measured with 2.28.0).
        model=stream.model if moved else transcript.model or stream.model,
        fallback=stream.fallback,
        warnings=(*transcript.warnings, *stream.warnings, *lost),
    )


def _merged(store: Sequence[ToolCall], stream: Sequence[ToolCall]) -> tuple[tuple[ToolCall, ...], Sequence[str]]:
    """Return the store's calls, with other agents' from the stream.

    What has no place among them is told.
    """
    if not store:
        return tuple(stream), ()
    told = {place: call for place, call in _places(stream) if call.calls}
    calls = tuple(
        replace(call, calls=other.calls) if (other := told.pop(place, None)) and not call.calls else call
        for place, call in _places(store)
    )
    strays = () if any(call.agent for call in store) else tuple(call for call in stream if call.agent)
    lost = [
        f"the stream tells of agents that {name} started, and the session store has no such call" for name, _ in told
    ]
    return calls + strays, lost


def _places(calls: Sequence[ToolCall]) -> Iterator[tuple[tuple[str, int], ToolCall]]:
    """Yield each call with its name and number of that name."""
    counts: Counter[str] = Counter()
    for call in calls:
        yield (call.name, counts[call.name]), call
        counts[call.name] += 1


def judge(
    exit_code: int | None,
    transcript: Transcript | None,
    output: str,
    prompt: str = "",
    search: StoreSearch = StoreSearch(),
) -> Ending:
    """Say how a turn ended that nobody stopped.

    `exit_code` is None when it was lost; `output` is what was printed, of which only the end is looked at,
    and only without proof: an agent may talk about throttling. `search` is how `transcript` was found.
    """
    if exit_code is None:
        return Ending("lost", Cause.CONNECTION, detail="the link to the sandbox was lost and no exit status was kept")
    if exit_code == 0 and transcript is not None and transcript.finished and transcript.end_reason == WELL:
        return Ending("completed", proof=transcript.proof)
    if waits_for_login(output) and not (transcript and transcript.tool_calls):
        return Ending("failed", Cause.AUTH, detail="kiro-cli is not logged in and waited for a device login")
    failure = (transcript.failure if transcript else None) or ""
    if transcript is not None and transcript.end_reason in _TELLING:
        cause, said = _TELLING[transcript.end_reason]
        return Ending("failed", cause, detail=f"{said}: {failure}".removesuffix(": "))
    # Of a turn that was cancelled, or whose tool was denied, the rest of the output is what the agent printed.
    by_agent = transcript is not None and transcript.end_reason in _BY_REASON
    for cause, saying in _SAYINGS.items():
        if match := re.search(saying, failure if by_agent else f"{failure}\n{output[-4096:]}", re.IGNORECASE):
            return Ending("failed", cause, detail=f"kiro-cli said: {match[0]}")
    if exit_code != 0:
        cause, stage = _BY_EXIT_CODE.get(exit_code, Cause.CRASH), transcript.stage if transcript else None
        said = f", and said at the stage {stage}: {failure}" if stage and failure else ""
        return Ending("failed", cause, detail=f"kiro-cli exited with {exit_name(exit_code)}{said}")
    if transcript is None or transcript.end_reason is None:
        return _without_a_record(prompt, output, search)
    cause = _BY_REASON.get(transcript.end_reason, Cause.CRASH)
    detail = f"kiro-cli exited with 0, but its session store says {transcript.end_reason} {failure}".rstrip()
    return Ending("failed", cause, detail=detail)


def _without_a_record(prompt: str, output: str, search: StoreSearch) -> Ending:
    if (first := prompt.strip()[:1]) in COMMANDS:
        detail = (
            f"kiro-cli took the prompt for a command, since it begins with {first!r}, and asked no model; put a word "
            "before it"
        )
        return Ending("failed", Cause.REFUSED, detail=detail)
    if search.unread:
        detail = f"kiro-cli exited with 0, but its records are too large to be read: {some(search.unread)}"
        return Ending("failed", Cause.CRASH, detail=detail)
    if not search.found and output.strip():
        detail = (
            f"kiro-cli {search.version} exited with 0, and began no session where one was looked for: "
            f"{some(search.places)}; the sessions of {KNOWN_VERSIONS} are known"
        )
        return Ending("failed", Cause.UNKNOWN_CLI, detail=detail)
    if search.found and output.strip() and is_unknown(search.version):
        detail = (
            f"kiro-cli {search.version} exited with 0, and its turn cannot be read in {some(search.places)}; "
            f"the sessions of {KNOWN_VERSIONS} are known"
        )
        return Ending("failed", Cause.UNKNOWN_CLI, detail=detail)
    return Ending("failed", Cause.CRASH, detail="kiro-cli exited with 0, but its session store has no such turn")


def contradict(
    ending: Ending,
    transcript: Transcript | None,
    *,
    agent: str | None = None,
    model: str | None = None,
    resumed: str | None = None,
    output: str,
) -> Ending:
    """Return `ending` unless another agent, model or conversation answered than was asked.

    `resumed` is the session that was to go on, when the one that answered is not its continuation; `output` is how the
    output begins. Builds 2.x warn of a missing agent and of a model that they did not take, and let the default one
    answer, with exit code 0; `--resume` of V1 silently begins anew.
    """
    if ending.status != "completed" or transcript is None:
        return ending
    missing = agent is not None and re.search(rf'agent "?{re.escape(agent)}"? not found', output)
    if agent is not None and (transcript.agent not in (None, agent) or (transcript.agent is None and missing)):
        detail = (
            f"kiro-cli did not find the agent {agent}, and {transcript.agent or 'the default one'} answered instead"
        )
        return Ending("failed", Cause.REFUSED, detail=detail)
    # What an agent quotes is not believed where the session has the model.
    failed = re.search(rf"failed to set model '?{re.escape(model)}'?:[^\n]*", output) if model else None
    if failed and transcript.model != model:
        detail = f"kiro-cli did not take the model ({failed[0]}), and {transcript.model or 'its own choice'} answered"
        return Ending("failed", Cause.REFUSED, detail=detail)
    if resumed is not None:
        detail = f"kiro-cli was to resume session {resumed}, and answered in another one, {transcript.session_id}"
        return Ending("failed", Cause.REFUSED, detail=detail)
    return ending


def beginning(*texts: str) -> str:
    """Return how outputs begin: later on an answer may quote what kiro-cli says there.

    >>> beginning("x" * 5000, "y").count("x")
    4096
    """
    return "\n".join(text[:LOGIN_WITHIN] for text in texts)
