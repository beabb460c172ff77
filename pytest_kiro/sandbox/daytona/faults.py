"""Translates Daytona's errors: which may be tried again, when, and what the user is told.

The SDK flattens many causes into one class and repeats prefixes in its messages, so status and text both count.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NoReturn

from pytest_kiro.errors import SandboxError, SandboxTimeout
from pytest_kiro.settings.waits import DaytonaWaits

#: Statuses behind which a request may or may not have been carried out.
_AMBIGUOUS = frozenset({408, 500, 502, 503, 504})
#: What the platform says when an organisation has no more room; the status is 403 or 400.
_FULL = re.compile(r"(limit|quota) (exceeded|reached)|exceeds? .*(limit|quota)|maximum allowed", re.IGNORECASE)
_SNAPSHOT_GONE = re.compile(r"snapshot \S+ (?:not found|is (?!active)\w+)", re.IGNORECASE)


class DaytonaRefused(SandboxError):
    """Daytona did not do what was asked.

    `status` is that of its answer, None without one; `certain` says that the request was surely not carried out.
    """

    def __init__(self, what: str, *, status: int | None, certain: bool = True, advice: str = "") -> None:
        super().__init__(what, advice=advice)
        self.status, self.certain = status, certain


class Unreachable(DaytonaRefused):
    """No connection to Daytona could be made, so nothing was requested."""


class QuotaExceeded(DaytonaRefused):
    """The organisation has no room for one more sandbox; a worker may still share one of its run."""


class SnapshotGone(DaytonaRefused):
    """The snapshot for a sandbox is missing, or cannot be used unchanged."""


class SandboxGone(DaytonaRefused):
    """The sandbox is deleted, or does not run any more."""


@contextmanager
def tolerated(*statuses: int) -> Iterator[None]:
    """Go on where Daytona refuses with one of these statuses."""
    try:
        yield
    except DaytonaRefused as error:
        if error.status not in statuses:
            raise


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status from anywhere in an SDK error's chain."""
    values = (getattr(one, name, None) for one in _chain(error) for name in ("status_code", "status"))
    return next((value for value in values if isinstance(value, int)), None)


def text_of(error: BaseException) -> str:
    """Return what an error says; some of the SDK's say nothing and only their cause does."""
    text = next((text for one in _chain(error) if (text := str(one).strip())), type(error).__name__)
    # "Failed to execute command: Failed to execute command: …"
    return re.sub(r"^((?:Failed|Failure|Function)[^:]*: )(?:\1)+", r"\1", text)


def is_full(error: BaseException) -> bool:
    """Return whether the organisation's limits, and not a rate, were exceeded."""
    return status_of(error) in (400, 402, 403, 409) and bool(_FULL.search(text_of(error)))


def is_ambiguous(error: BaseException) -> bool:
    """Return whether the request may have been carried out without an answer."""
    status = status_of(error)
    return status in _AMBIGUOUS or status is None


def is_unreachable(error: BaseException) -> bool:
    """Return whether no connection could be made, so that nothing was requested."""
    return status_of(error) is None and any(type(one).__name__.startswith("ClientConnector") for one in _chain(error))


def pause_before_retry(error: BaseException, attempt: int, *, safe: bool, waits: DaytonaWaits) -> float | None:
    """Return the seconds until a call may be retried, None for never. `attempt` counts from 0.

    What was rate limited was not carried out; what may have been is retried only if it is `safe` to do twice.
    """
    backoff = waits.pauses[min(attempt, len(waits.pauses) - 1)] * random.uniform(0.5, 1.5)
    if status_of(error) == 429:
        return min(waits.longest_pause, _asked_for(error) or backoff)
    if safe and attempt < len(waits.pauses) and is_ambiguous(error) and _is_transport(error):
        return backoff
    return None


def explain(error: Exception, what: str, seconds: float | None = None) -> NoReturn:
    """Raise our error for the SDK's, with its cause and advice; `seconds` were allowed."""
    if isinstance(error, SandboxError):
        raise error
    status, text = status_of(error), text_of(error)
    if isinstance(error, TimeoutError):
        allowed = "" if seconds is None else f" ({seconds:g} s)"
        raise SandboxTimeout(f"{what}: Daytona did not answer in time{allowed}", advice=_NETWORK) from error
    if is_full(error):
        raise QuotaExceeded(f"{what}: Daytona refused: {text}", status=status) from error
    if status is None and _is_transport(error):
        connection = f"{what}: no connection to Daytona: {text}"
        kind, certain = (Unreachable, True) if is_unreachable(error) else (DaytonaRefused, False)
        raise kind(connection, status=None, certain=certain, advice=_NETWORK) from error
    answer = f"{what}: Daytona answered: " + (f"HTTP {status}: {text}" if status else text)
    advice = next((words for pattern, words in _SAID if pattern.search(text)), _ADVICE.get(status or 0, ""))
    cls = SnapshotGone if status in (400, 404) and _SNAPSHOT_GONE.search(text) else DaytonaRefused
    raise cls(answer, status=status, certain=status not in _AMBIGUOUS, advice=advice) from error


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
    """Return whether an error came from the wire. Errors of argument checks, our own or the SDK's, did not."""
    names = {cls.__name__ for one in _chain(error) for cls in type(one).__mro__}
    wire = {"ClientError", "DaytonaConnectionError", "OSError", "TimeoutError", "ApiException"}
    return status_of(error) is not None or not wire.isdisjoint(names)


def _asked_for(error: BaseException) -> float | None:
    """Read Retry-After, or one of its kinds by what was limited: header names come in any case."""
    for one in _chain(error):
        for name, value in dict(getattr(one, "headers", None) or {}).items():
            if str(name).lower().startswith("retry-after"):
                with suppress(ValueError):  # a date; our own pauses do as well
                    return max(0.0, float(value)) + random.uniform(0, 0.5)
    return None
