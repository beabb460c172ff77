"""Who is logged in: a stored login, else an API key, else nobody."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from standin_process import CHAT, Standin

START_URL = "https://view.awsapps.com/start"
BUILDER = {"access_token": "a", "region": "us-east-1", "start_url": START_URL}


def store(standin: Standin, key: str, value: str) -> Path:
    path = standin.home / ".local/share/kiro-cli/data.sqlite3"
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE auth_kv (key TEXT PRIMARY KEY, value TEXT)")
        connection.execute("INSERT INTO auth_kv VALUES (?, ?)", (key, value))
        connection.execute("INSERT INTO auth_kv VALUES ('kirocli:odic:device-registration', '{}')")
    connection.close()
    return path


def test_an_api_key_counts(standin: Standin) -> None:
    assert standin.run("whoami").out == "Authenticated with API key\n"
    assert json.loads(standin.run("whoami", "--format", "json").out)["accountType"] == "ApiKey"


@pytest.mark.parametrize("key", ["", "UNSET"])
def test_nobody_is_logged_in(standin: Standin, key: str) -> None:
    plain = standin.run("whoami", env={"KIRO_API_KEY": key})
    parsed = standin.run("whoami", "--format=json", env={"KIRO_API_KEY": key})
    pretty = standin.run("whoami", "-f", "json-pretty", env={"KIRO_API_KEY": key})

    assert (plain.code, plain.out, plain.err) == (1, "", "Not logged in\n")
    assert (parsed.code, parsed.out) == (0, '{"account":null}\n')
    assert (pretty.code, pretty.out) == (0, '{\n  "account": null\n}\n')


@pytest.mark.parametrize(
    ("key", "token", "plain", "account"),
    [
        (
            "kirocli:odic:token",
            json.dumps(BUILDER),
            "Logged in with Builder ID\n",
            {"accountType": "BuilderId", "email": None, "region": "us-east-1", "startUrl": START_URL},
        ),
        (
            "kirocli:idc:token",
            json.dumps(BUILDER | {"start_url": "https://acme.awsapps.com/start"}),
            "Logged in with IAM Identity Center (https://acme.awsapps.com/start)\n",
            {
                "accountType": "IamIdentityCenter",
                "email": None,
                "region": "us-east-1",
                "startUrl": "https://acme.awsapps.com/start",
            },
        ),
        (
            "kirocli:social:token",
            '{"email": "ada@example.com"}',
            "Logged in with Google\nEmail: ada@example.com\n",
            {"accountType": "Social", "email": "ada@example.com", "region": None, "startUrl": None},
        ),
        (
            "kirocli:builderid:token",
            "not JSON",
            "Logged in with Builder ID\n",
            {"accountType": "BuilderId", "email": None, "region": None, "startUrl": START_URL},
        ),
    ],
)
def test_a_stored_login_wins_over_the_key(
    standin: Standin, key: str, token: str, plain: str, account: dict[str, object]
) -> None:
    store(standin, key, token)

    assert standin.run("whoami").out == plain
    assert json.loads(standin.run("whoami", "-f", "json").out) == account


def test_logout_forgets_the_stored_login_and_nothing_else(standin: Standin) -> None:
    path = store(standin, "kirocli:odic:token", json.dumps(BUILDER))

    result = standin.run("logout")

    assert (result.code, result.out.splitlines()[0]) == (0, "You are now logged out")
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT key FROM auth_kv").fetchall() == [("kirocli:odic:device-registration",)]
    connection.close()
    assert standin.run("whoami").out == "Authenticated with API key\n"
    assert standin.run("logout").code == 0


def test_logout_without_a_login_is_fine(standin: Standin) -> None:
    assert standin.run("logout").code == 0
    assert list(standin.home.iterdir()) == []


def test_a_damaged_store_is_no_login(standin: Standin) -> None:
    path = standin.home / ".local/share/kiro-cli/data.sqlite3"
    path.parent.mkdir(parents=True)
    path.write_text("not a database, and long enough to be noticed as such by the library")

    assert standin.run("whoami", "-f", "json", env={"KIRO_API_KEY": ""}).out == '{"account":null}\n'
    result = standin.run("logout")
    assert result.code == 1
    assert "could not be removed" in result.err


def test_an_empty_store_is_no_login(standin: Standin) -> None:
    store(standin, "kirocli:unknown", "{}")

    assert standin.run("whoami", "-f", "json", env={"KIRO_API_KEY": ""}).out == '{"account":null}\n'


def test_a_turn_needs_somebody_logged_in(standin: Standin) -> None:
    result = standin.run(*CHAT, "hello", replies=[["hi"]], env={"KIRO_API_KEY": ""})

    assert (result.code, result.out) == (1, "")
    assert "You are not logged in" in result.err
    assert not standin.store.exists()
