"""What the service makes of a stored login, or of a key, when a turn uses it."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest
from standin_process import CHAT, DEADLINE, HEADLESS, Standin

FREE = ("login", "--use-device-flow", "--license=free")
TOKEN = "kirocli:odic:token"
REFUSED = "The bearer token included in the request is invalid."
INVALID_KEY = "Authentication failed. Your API key may be invalid or expired. Check your KIRO_API_KEY value.\n"
STEPS = ("steering", "vault", "device", "keys", "interactive", "misbehave")
CANARIES = {"access_token": "old-access", "refresh_token": "old-refresh"}


@pytest.fixture
def logged_in(standin: Standin) -> Standin:
    """By a login whose token has expired already."""
    standin.steer(approve_after=0, token_lifetime=-1, **CANARIES)
    assert standin.run(*FREE).code == 0
    standin.steer()
    del standin.env["KIRO_API_KEY"]
    return standin


def change(standin: Standin, **values: Any) -> dict[str, Any]:
    """Change the stored token; None takes a value away."""
    token = {key: value for key, value in {**standin.kept(TOKEN), **values}.items() if value is not None}
    connection = sqlite3.connect(standin.data)
    with connection:
        connection.execute("UPDATE auth_kv SET value = ? WHERE key = ?", (json.dumps(token), TOKEN))
    connection.close()
    return token


def test_an_expired_token_is_refreshed_and_written_back(logged_in: Standin) -> None:
    before = logged_in.kept(TOKEN)
    assert logged_in.chat("hello", [["hi"]]).out == "hi\n"
    after = logged_in.kept(TOKEN)

    changed = {key for key in after if after[key] != before[key]}
    assert changed == {"access_token", "refresh_token", "expires_at"}
    assert after["expires_at"] > before["expires_at"]
    assert logged_in.chat("hello", [["hi"]]).code == 0
    assert logged_in.kept(TOKEN) == after


def test_a_refresh_keeps_to_the_lifetime_that_the_service_gives(logged_in: Standin) -> None:
    logged_in.steer(token_lifetime=-1)
    seen = set()
    for _ in range(3):
        assert logged_in.chat("hello", [["hi"]]).code == 0
        seen.add(logged_in.kept(TOKEN)["refresh_token"])
    assert len(seen) == 3


def test_turns_at_once_refresh_once(logged_in: Standin) -> None:
    connection = sqlite3.connect(logged_in.data, isolation_level=None)
    connection.execute("CREATE TABLE refreshes (key TEXT)")
    connection.execute("CREATE TRIGGER counts AFTER UPDATE ON auth_kv BEGIN INSERT INTO refreshes VALUES (1); END")
    connection.execute("BEGIN IMMEDIATE")  # so that all of them come before the first is done
    processes = [logged_in.spawn(*HEADLESS, "hello", replies=[["hi"]]) for _ in range(4)]
    assert logged_in.run("whoami").code == 0
    connection.execute("COMMIT")

    assert [process.wait(DEADLINE) for process in processes] == [0] * 4
    assert connection.execute("SELECT count(*) FROM refreshes").fetchone() == (1,)
    connection.close()


@pytest.mark.parametrize("moment", ["2999-01-01T00:00:00Z", "2999-01-01T00:00:00.123456+02:00", "2999-01-01", None])
def test_a_token_in_force_is_left_alone(logged_in: Standin, moment: str | None) -> None:
    token = change(logged_in, expires_at=moment)
    assert logged_in.chat("hello", [["hi"]]).code == 0
    assert logged_in.kept(TOKEN) == token


@pytest.mark.parametrize("moment", ["2001-01-01T00:00:00Z", "2001-01-01T00:00:00.123456+02:00", "soon", 978307200])
def test_a_token_that_is_not_is_refreshed(logged_in: Standin, moment: str | int) -> None:
    change(logged_in, expires_at=moment)
    assert logged_in.chat("hello", [["hi"]]).code == 0
    assert logged_in.kept(TOKEN)["access_token"] != "old-access"


def test_an_expired_token_without_a_refresh_token_is_refused(logged_in: Standin) -> None:
    token = change(logged_in, refresh_token=None)
    result = logged_in.chat("hello", [["hi"]])

    assert (result.code, result.out, result.err) == (1, "", REFUSED + "\n")
    assert logged_in.kept(TOKEN) == token


@pytest.mark.parametrize("revoked", [True, ["other", "old-refresh"]])
def test_a_revoked_refresh_token_is_refused(logged_in: Standin, revoked: Any) -> None:
    logged_in.steer(revoked=revoked)
    result = logged_in.chat("hello", [["hi"]])

    assert (result.code, result.out, result.err) == (1, "", REFUSED + "\n")
    assert logged_in.kept(TOKEN)["refresh_token"] == "old-refresh"
    assert logged_in.turns()[0]["result"] == {"Err": REFUSED}
    assert logged_in.run("whoami").out == "Logged in with Builder ID\n"


@pytest.mark.parametrize("engine", ["v1", "v2", "v3"])
def test_a_revoked_access_token_is_refused_on_every_engine(logged_in: Standin, engine: str) -> None:
    change(logged_in, expires_at=None)
    logged_in.steer(revoked=["old-access"])
    result = logged_in.run(*HEADLESS, "--agent-engine", engine, "hello", replies=[["hi"]])

    assert result.code == 1
    assert result.err == REFUSED + "\n"
    assert "hi" not in result.out


def test_the_event_stream_tells_a_refused_token(logged_in: Standin) -> None:
    logged_in.steer(revoked=True)
    events = logged_in.stream("hello", [["hi"]])

    assert events.result.code == 1
    assert (events.last["stage"], events.last["message"]) == ("prompt", REFUSED)


def test_a_refresh_that_cannot_be_kept_is_an_error(logged_in: Standin) -> None:
    connection = sqlite3.connect(logged_in.data)
    connection.execute("CREATE TRIGGER full BEFORE UPDATE ON auth_kv BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
    connection.close()
    result = logged_in.chat("hello", [["hi"]])

    assert (result.code, result.out) == (1, "")
    assert f"could not be refreshed in {logged_in.data}: disk is full. Run kiro-cli login again." in result.err


@pytest.mark.parametrize("keys", [True, ["ksk_other", "ksk_placeholder"]])
@pytest.mark.parametrize("engine", ["v1", "v2", "v3"])
def test_an_invalid_key_is_told_and_the_exit_code_is_0(standin: Standin, engine: str, keys: Any) -> None:
    standin.steer(invalid_keys=keys)
    result = standin.run(*HEADLESS, "--agent-engine", engine, "hello", replies=[["hi"]])

    assert (result.code, result.out.strip(), result.err) == (0, "", INVALID_KEY)
    assert standin.run("whoami").out == "Authenticated with API key\n"


def test_another_key_is_good(standin: Standin) -> None:
    standin.steer(invalid_keys=["ksk_other"], revoked=True)
    assert standin.run(*CHAT, "hello", replies=[["hi"]]).out == "hi\n"


def test_an_invalid_key_is_not_asked_for_where_a_login_is_stored(logged_in: Standin) -> None:
    logged_in.steer(invalid_keys=True)
    assert logged_in.chat("hello", [["hi"]], env={"KIRO_API_KEY": "ksk_1"}).out == "hi\n"


def test_a_home_may_have_any_name(standin: Standin) -> None:
    home = standin.home / "a ?#%20b"
    home.mkdir()
    standin.home, standin.env["HOME"] = home, str(home)
    standin.steer(approve_after=0)

    assert standin.run(*FREE).code == 0
    assert standin.run("whoami", env={"KIRO_API_KEY": ""}).out == "Logged in with Builder ID\n"


def test_a_turn_with_a_key_loads_nothing_of_all_this(standin: Standin) -> None:
    """It must cost little more than starting Python."""
    standin.command[1:1] = ["-S", "-X", "importtime"]  # without what measures coverage, which has a database
    loaded = standin.run(*HEADLESS, "hello", replies=[["hi"]]).err

    assert "kiro_cli.chat" in loaded
    for module in ("sqlite3", "datetime", "termios", "kiro_cli.login", *(f"kiro_cli.{name}" for name in STEPS)):
        assert module not in loaded
