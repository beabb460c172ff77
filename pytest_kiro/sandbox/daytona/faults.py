"""What Daytona's refusals mean: which may be tried again, when, and what to tell the user.

The SDK flattens many causes into one class and repeats prefixes in its messages, so status and text both count.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from typing import NoReturn

from pytest_kiro.errors import SandboxError, SandboxTimeout, message

#: Statuses behind which a request may or may not have been carried out.
_AMBIGUOUS = frozenset({408, 500, 502, 503, 504})
#: What the platform says when an organisation has no more room; the status is 403 or 400.
_FULL = re.compile(r"(limit|quota) (exceeded|reached)|exceeds? .*(limit|quota)|maximum allowed", re.IGNORECASE)
#: Seconds before the n-th new attempt, when the answer does not say; each is jittered.
_PAUSES = (0.5, 1, 2, 4, 8, 15, 30)
#: However long an answer asks to wait, more than this is not waited at once.
_LONGEST_PAUSE = 60.0


class QuotaExceeded(SandboxError):
    """The organisation has no room for one more sandbox; a worker may still share one of its run."""


class Gone(SandboxError):
    """The sandbox is not there any more, or not running."""


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status behind an error, wherever in its chain it stands."""
    for one in _chain(error):
        for name in ("status_code", "status"):
            value = getattr(one, name, None)
            if isinstance(value, int):
                return value
    return None


def text_of(error: BaseException) -> str:
    """Return what an error says; some of the SDK's say nothing and only their cause does."""
    said = next((text for one in _chain(error) if (text := str(one).strip())), type(error).__name__)
    # "Failed to execute command: Failed to execute command: …"
    return re.sub(r"^((?:Failed|Failure|Function)[^:]*: )(?:\1)+", r"\1", said)


def is_full(error: BaseException) -> bool:
    """Whether the organisation's limits, and not a rate, stand in the way."""
    return status_of(error) in (400, 402, 403, 409) and bool(_FULL.search(text_of(error)))


def is_ambiguous(error: BaseException) -> bool:
    """Whether the request may have been carried out although no answer came."""
    status = status_of(error)
    return status in _AMBIGUOUS or status is None


def is_unreachable(error: BaseException) -> bool:
    """Whether no connection could be made at all, so that nothing was requested."""
    return status_of(error) is None and any(type(one).__name__.startswith("ClientConnector") for one in _chain(error))


def is_snapshot_gone(error: BaseException) -> bool:
    """Whether what a sandbox was to be made from is not there, or not to be used as it is."""
    return status_of(error) in (400, 404) and bool(_SNAPSHOT_GONE.search(text_of(error)))


def may_come_true(failure: BaseException) -> bool:
    """Whether what failed, or was given up, may be carried out later: whoever refused has not."""
    if not isinstance(failure, SandboxError) or failure.__cause__ is None:
        return True
    cause = failure.__cause__
    timed_out = isinstance(failure, SandboxTimeout)
    return timed_out or (is_ambiguous(cause) and _is_transport(cause) and not is_unreachable(cause))


def status_behind(error: BaseException) -> int | None:
    """Return the HTTP status of which an error of ours tells."""
    return None if error.__cause__ is None else status_of(error.__cause__)


def pause_before_retry(error: BaseException, attempt: int, *, safe: bool) -> float | None:
    """Return the seconds after which a call may be tried again, None when it may not.

    What was rate limited was not carried out and may always; what may have been carried out only if it is `safe`
    to do twice, by its name or id. `attempt` counts from 0.
    """
    status = status_of(error)
    if status == 429:
        return min(_LONGEST_PAUSE, _asked_for(error) or _backoff(attempt))
    if safe and attempt < len(_PAUSES) and is_ambiguous(error) and _is_transport(error):
        return _backoff(attempt)
    return None


def explain(error: BaseException, what: str, seconds: float | None = None) -> NoReturn:
    """Raise an error of ours for one of the SDK's, with its cause and what to do; `seconds` were allowed."""
    status, said = status_of(error), text_of(error)
    if isinstance(error, SandboxError):
        raise error
    if isinstance(error, TimeoutError):
        allowed = "" if seconds is None else f" ({seconds:g} s)"
        raise SandboxTimeout(f"{what}: Daytona did not answer in time{allowed}; {_NETWORK}") from error
    if is_full(error):
        raise QuotaExceeded(f"{what}: Daytona refused: {said}") from error
    advice = next((words for pattern, words in _SAID if pattern.search(said)), _ADVICE.get(status or 0, ""))
    if status is None and _is_transport(error):
        raise SandboxError(message(f"{what}: no connection to Daytona: {said}", advice=_NETWORK)) from error
    shown = f"HTTP {status}: {said}" if status else said
    raise SandboxError(message(f"{what}: Daytona answered: {shown}", advice=advice)) from error


_SNAPSHOT_GONE = re.compile(r"snapshot \S+ (?:not found|is (?!active)\w+)", re.IGNORECASE)
_SAID = (
    (
        re.compile(r"snapshot \S+ is inactive", re.IGNORECASE),
        "it was not used for long: activate it in Daytona's dashboard; --kiro-snapshot=auto wakes its own up by itself",
    ),
    (
        re.compile(r"snapshot \S+ not found", re.IGNORECASE),
        "give --kiro-snapshot, or kiro_sandbox_args, the name of a snapshot that the organisation has; "
        "--kiro-snapshot=auto builds one, none uses Daytona's own",
    ),
)
_NETWORK = "look at the network, at DAYTONA_API_URL, and at status.daytona.io"
_ADVICE: Mapping[int, str] = {
    401: "set a DAYTONA_API_KEY that is valid; one that has expired is replaced in the dashboard",
    403: "give the DAYTONA_API_KEY the permission for it in the dashboard: sandboxes need write and delete, "
    "snapshots write",
    429: "run fewer workers at once, or raise the organisation's tier (docs/daytona.md)",
    **dict.fromkeys((500, 502, 503, 504), "run it again later; status.daytona.io tells whether the service is ill"),
}


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _is_transport(error: BaseException) -> bool:
    """Whether an error came from the wire and not from our own or the SDK's checks of arguments."""
    names = {cls.__name__ for one in _chain(error) for cls in type(one).__mro__}
    wire = {"ClientError", "DaytonaConnectionError", "OSError", "TimeoutError", "ApiException"}
    return status_of(error) is not None or not wire.isdisjoint(names)


def _asked_for(error: BaseException) -> float | None:
    """Read Retry-After, or one of its kinds by what was limited: header names come in any case."""
    for one in _chain(error):
        headers = getattr(one, "headers", None) or {}
        for name, value in dict(headers).items():
            if str(name).lower().startswith("retry-after"):
                try:
                    return max(0.0, float(value)) + random.uniform(0, 0.5)
                except ValueError:
                    continue  # a date; our own pauses do as well
    return None


def _backoff(attempt: int) -> float:
    return _PAUSES[min(attempt, len(_PAUSES) - 1)] * random.uniform(0.5, 1.5)
