"""What Daytona's refusals mean: what may be tried again, when, and what the user is told."""

from __future__ import annotations

import asyncio

import pytest
from daytona import DaytonaError

from pytest_kiro.errors import SandboxError, SandboxTimeout
from pytest_kiro.sandbox.daytona import faults
from pytest_kiro.sandbox.daytona.client import Client
from pytest_kiro.settings.waits import DaytonaWaits

WAITS = DaytonaWaits()
QUOTA = "Total memory limit exceeded. Maximum allowed: 10GiB.\nUpgrade your organization's tier."


def refused(status: int | None, text: str = "no", **headers: str) -> DaytonaError:
    return DaytonaError(text, status_code=status, headers={k.replace("_", "-"): v for k, v in headers.items()})


@pytest.mark.parametrize(
    ("status", "safe", "again"),
    [
        (429, False, True),
        (429, True, True),
        (500, True, True),
        (502, True, True),
        (503, True, True),
        (504, True, True),
        (502, False, False),
        (400, True, False),
        (401, True, False),
        (403, True, False),
        (404, True, False),
        (409, True, False),
        (422, True, False),
    ],
)
def test_what_may_be_tried_again(status: int, safe: bool, again: bool) -> None:
    assert (faults.pause_before_retry(refused(status), 0, safe=safe, waits=WAITS) is not None) is again


def test_a_lost_connection_is_tried_again_only_where_it_is_safe() -> None:
    lost = ConnectionResetError("reset")
    assert faults.pause_before_retry(lost, 0, safe=True, waits=WAITS) is not None
    assert faults.pause_before_retry(lost, 0, safe=False, waits=WAITS) is None


def test_a_mistake_of_ours_is_not_tried_again() -> None:
    assert faults.pause_before_retry(TypeError("unexpected keyword"), 0, safe=True, waits=WAITS) is None


@pytest.mark.parametrize("name", ["Retry-After", "retry-after-sandbox-create", "RETRY-AFTER-AUTHENTICATED"])
def test_the_wait_that_is_asked_for_is_kept_in_any_case(name: str) -> None:
    error = DaytonaError("slow down", status_code=429, headers={name: "7"})
    pause = faults.pause_before_retry(error, 0, safe=False, waits=WAITS)
    assert pause is not None
    assert 7 <= pause <= 7.5


def test_no_wait_is_longer_than_a_minute_and_none_is_the_same_for_all() -> None:
    error = DaytonaError("slow down", status_code=429, headers={"Retry-After": "86400"})
    assert faults.pause_before_retry(error, 0, safe=False, waits=WAITS) == 60
    date = DaytonaError("slow down", status_code=429, headers={"Retry-After": "Wed, 25 Nov 2026 03:00:00 GMT"})
    pauses = {faults.pause_before_retry(date, 0, safe=False, waits=WAITS) for _ in range(20)}
    assert len(pauses) > 10, "workers that were refused together must not come back together"


def test_trying_again_ends() -> None:
    assert faults.pause_before_retry(refused(503), 100, safe=True, waits=WAITS) is None


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (refused(401, "Unauthorized"), "HTTP 401: Unauthorized\nset a DAYTONA_API_KEY that is valid"),
        (refused(403, "Forbidden resource"), "give the DAYTONA_API_KEY the permission"),
        (refused(503, "Service Unavailable"), "status.daytona.io tells whether the service is ill"),
        (ConnectionRefusedError("refused"), "no connection to Daytona: refused; look at the network"),
        (refused(422, "bad name"), "HTTP 422: bad name"),
    ],
)
def test_what_the_user_is_told(error: Exception, said: str) -> None:
    with pytest.raises(SandboxError) as caught:
        faults.explain(error, "create sandbox x")
    assert str(caught.value).startswith("create sandbox x: ")
    assert said in str(caught.value)
    assert caught.value.__cause__ is error


def test_full_is_told_from_forbidden() -> None:
    with pytest.raises(faults.QuotaExceeded, match="Total memory limit exceeded"):
        faults.explain(refused(403, QUOTA), "create sandbox x")
    assert not faults.is_full(refused(403, "Forbidden resource"))
    assert not faults.is_full(refused(429, "rate limit exceeded"))


def test_an_error_without_a_word_is_told_by_its_cause() -> None:
    empty = DaytonaError("")
    empty.__cause__ = ConnectionAbortedError("aborted by peer")
    assert faults.text_of(empty) == "aborted by peer"
    assert faults.text_of(DaytonaError("")) == "DaytonaError"
    assert faults.text_of(DaytonaError("Failed to execute command: Failed to execute command: boom")) == (
        "Failed to execute command: boom"
    )


class Asked:
    """A request that fails so many times, and a clock that does not wait."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.pauses = list(errors), list[float]()
        self.told: list[float] = []
        self.client = Client({}, pause=self.pause, on_rate_limit=self.told.append)

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def __call__(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "answer"

    def ask(self, **options: object) -> str:
        return asyncio.run(self.client.ask("do it", self, **options))


def test_a_burst_of_errors_is_sat_out() -> None:
    asked = Asked(refused(502), refused(503), ConnectionResetError())
    assert asked.ask(safe=True, timeout=600) == "answer"
    assert len(asked.pauses) == 3
    assert asked.told == []


def test_thirty_seconds_of_rate_limit_are_sat_out_and_everybody_is_told() -> None:
    asked = Asked(*(refused(429, Retry_After="10") for _ in range(3)))
    assert asked.ask(timeout=600) == "answer"
    assert sum(asked.pauses) >= 30
    assert asked.told == asked.pauses


def test_what_is_not_safe_fails_at_once() -> None:
    asked = Asked(refused(502))
    with pytest.raises(SandboxError, match="do it: Daytona answered: HTTP 502"):
        asked.ask()
    assert asked.pauses == []


def test_a_wait_that_does_not_fit_into_the_deadline_is_not_begun() -> None:
    asked = Asked(refused(429, Retry_After="50"))
    with pytest.raises(SandboxError, match="429"):
        asked.ask(timeout=5)
    assert asked.pauses == []


def test_no_answer_is_a_timeout_of_ours() -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    with pytest.raises(SandboxTimeout, match="do it: Daytona did not answer in time"):
        asyncio.run(Client({}).ask("do it", never, timeout=0.05))
