"""What kiro-cli keeps of a login: taken out of a sandbox without the conversations beside it, and put into another."""

from __future__ import annotations

import json
import os
import shlex
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from login_data import REGISTRATION, TOKEN, database, tokens

from pytest_kiro.errors import LoginError
from pytest_kiro.login import credentials
from pytest_kiro.login.credentials import Credentials
from pytest_kiro.sandbox import leases
from pytest_kiro.sandbox.local import LocalSandbox
from pytest_kiro.sandbox.protocol import ExecResult
from pytest_kiro.standin import STAND_IN as FOLDER

STAND_IN = f"{shlex.quote(sys.executable)} -I -S {shlex.quote(str(FOLDER / '__main__.py'))}"
CHAT = "chat --no-interactive --trust-all-tools --agent-engine {engine} --wrap never"
CANARIES = {"access_token": "aoa-canary", "refresh_token": "aor-canary", "client_secret": "oidc-canary"}
#: What V1's tables hold of conversations, in the two generations and in the history of commands.
SAID = "said-to-kiro-and-to-nobody-else"


def kiro(sandbox: LocalSandbox, command: str, engine: str = "v2") -> ExecResult:
    return sandbox.exec(f"{STAND_IN} {command.format(engine=engine)} </dev/null", timeout=60)


def log_in(sandbox: LocalSandbox, **steering: Any) -> None:
    steering = {"approve_after": 0, **CANARIES, **steering}
    sandbox.write_file(".kiro-standin/login.json", json.dumps(steering).encode())
    kiro(sandbox, "login --use-device-flow --license=free").check()
    sandbox.remove(".kiro-standin")


def chat(sandbox: LocalSandbox, prompt: str, engine: str = "v2", *more: str) -> str:
    sandbox.write_file("replies.json", b'[["Heard: {recall:word is (\\\\S+)|nothing}."]]')
    flags = " ".join([CHAT.format(engine=engine), *more])
    command = f"KIRO_MOCK_CHAT_RESPONSE=$HOME/replies.json {STAND_IN} {flags} {shlex.quote(prompt)}"
    return sandbox.exec(command, timeout=60).check().output


def take(sandbox: LocalSandbox) -> Credentials | None:
    return credentials.take(sandbox, version="2.29.0", scripted=True, who="ada")


def taken(sandbox: LocalSandbox) -> Credentials:
    found = take(sandbox)
    assert found is not None
    return found


def data_file(sandbox: LocalSandbox, suffix: str = "") -> Path:
    file = Path(sandbox.home, f".local/share/kiro-cli/data.sqlite3{suffix}")
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def read(data: bytes) -> Credentials:
    found = credentials.read(data, version="2.29.0", scripted=False)
    assert found is not None
    return found


@contextmanager
def opened(data: bytes) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(data)
        yield connection


@pytest.fixture
def other() -> Iterator[LocalSandbox]:
    """A second machine."""
    made = LocalSandbox(leases.acquire("unit"))
    yield made
    made.close()


# -- out of one sandbox, into another


def test_a_login_moves_from_one_sandbox_to_another(sandbox: LocalSandbox, other: LocalSandbox) -> None:
    log_in(sandbox, email="ada@example.com")
    found = taken(sandbox)
    assert (found.version, found.scripted, found.who) == ("2.29.0", True, "ada")

    credentials.put(other, found)
    assert "ada@example.com" in kiro(other, "whoami --format json").check().output
    assert "Heard: nothing." in chat(other, "Hello.")
    assert stat.S_IMODE(data_file(other).stat().st_mode) == 0o600
    assert taken(other).same_login(found)


def test_the_profile_of_an_organisation_comes_along(sandbox: LocalSandbox, other: LocalSandbox) -> None:
    profile = {"arn": "arn:aws:codewhisperer:1", "profile_name": "team"}
    token = tokens(start_url="https://acme.awsapps.com/start")
    data_file(sandbox).write_bytes(database({TOKEN: token}, state={"api.codewhisperer.profile": profile, "x": {}}))
    kiro(other, "logout")  # there may be a file already, of another profile
    data_file(other).write_bytes(database({}, state={"api.codewhisperer.profile": {"profile_name": "old"}, "y": {}}))
    credentials.put(other, taken(sandbox))
    told = kiro(other, "whoami").check().output
    assert "IAM Identity Center (https://acme" in told
    assert "team\narn:aws:codewhisperer:1" in told
    with opened(data_file(other).read_bytes()) as connection:
        assert {key for (key,) in connection.execute("SELECT key FROM state")} == {"api.codewhisperer.profile", "y"}


def test_a_new_machine_has_no_login(sandbox: LocalSandbox) -> None:
    assert take(sandbox) is None


def test_who_logged_out_has_none(sandbox: LocalSandbox) -> None:
    log_in(sandbox)
    kiro(sandbox, "logout").check()
    assert take(sandbox) is None


def test_what_replaces_a_login_replaces_it_whole(sandbox: LocalSandbox, other: LocalSandbox) -> None:
    """Of another kind, whose row has another name, and with leftovers that SQLite would take for its own."""
    log_in(other)
    data_file(sandbox).write_bytes(database({"kirocli:social:token": tokens("social-canary")}))
    data_file(other).chmod(0o644)
    for suffix in ("-wal", "-shm"):
        data_file(other, suffix).write_bytes(b"of the old file")
    credentials.put(other, taken(sandbox))
    assert "Logged in with Google" in kiro(other, "whoami").check().output
    assert set(taken(other).tokens) == {"social-canary-access", "social-canary-refresh"}
    assert stat.S_IMODE(data_file(other).stat().st_mode) == 0o600


@pytest.mark.parametrize("there", ["nonsense", "a folder"])
def test_what_cannot_be_read_is_replaced(sandbox: LocalSandbox, other: LocalSandbox, there: str) -> None:
    log_in(sandbox)
    if there == "a folder":
        data_file(other).mkdir()
    else:
        data_file(other).write_bytes(there.encode() * 1000)
    credentials.put(other, taken(sandbox))
    assert "Logged in" in kiro(other, "whoami").check().output


def test_a_link_that_an_agent_left_leads_to_no_other_home(sandbox: LocalSandbox, other: LocalSandbox) -> None:
    """On this machine that could be the developer's own login."""
    log_in(sandbox)
    own = Path(other.home) / "own"
    other.write_files({f"mine/{name}": (b"mine", 0o644) for name in ("data.sqlite3", "data.sqlite3-wal")})
    (own / ".local/share").mkdir(parents=True)
    (own / ".local/share/kiro-cli").symlink_to(Path(other.home) / "mine")
    other.guard(str(own))
    credentials.put(other, taken(sandbox), str(own))
    assert {file.read_bytes() for file in (Path(other.home) / "mine").iterdir()} == {b"mine"}
    assert [file.name for file in (own / ".local/share/kiro-cli").iterdir()] == ["data.sqlite3"]


# -- without the conversations


def test_conversations_stay_where_they_are(sandbox: LocalSandbox) -> None:
    log_in(sandbox)
    chat(sandbox, f"The word is {SAID} of course.", "v1")
    whole = b"".join(file.read_bytes() for file in data_file(sandbox).parent.iterdir())
    assert SAID.encode() in whole
    assert SAID.encode() not in taken(sandbox).data
    assert f"Heard: {SAID}." in chat(sandbox, "And?", "v1", "--resume")


def test_a_login_that_comes_in_mid_run_ends_no_conversation(sandbox: LocalSandbox, other: LocalSandbox) -> None:
    log_in(sandbox)
    log_in(other, access_token="aoa-other", refresh_token="aor-other")
    chat(other, f"The word is {SAID} of course.", "v1")
    credentials.put(other, taken(sandbox))
    assert f"Heard: {SAID}." in chat(other, "And?", "v1", "--resume")
    assert sorted(taken(other).tokens) == sorted(CANARIES.values())


def test_nothing_is_left_of_them_in_any_page(sandbox: LocalSandbox) -> None:
    """Neither of the rows, of both generations, nor of what was deleted before: SQLite keeps it in free pages."""
    conversation = json.dumps({"history": [SAID * 100]})
    tables = {
        "conversations": ("key TEXT, value TEXT", ("/work", conversation)),
        "conversations_v2": (
            "key TEXT, conversation_id TEXT, value TEXT, created_at INT, updated_at INT",
            ("/work", "id", conversation, 1, 1),
        ),
        "History": ("id INTEGER, command TEXT", (1, SAID)),
    }

    def fill(connection: sqlite3.Connection) -> None:
        for name, (columns, row) in tables.items():
            connection.execute(f"CREATE TABLE {name} ({columns})")
            marks = ", ".join("?" for _ in row)
            connection.executemany(f"INSERT INTO {name} VALUES ({marks})", [row] * 20)
        connection.commit()
        connection.execute("PRAGMA secure_delete = OFF")  # as it is of old, and not on every system
        connection.execute("DELETE FROM conversations WHERE rowid % 2")
        connection.commit()

    data = database({TOKEN: tokens()}, then=fill)
    assert data.count(SAID.encode()) > 1000
    data_file(sandbox).write_bytes(data)
    found = taken(sandbox)
    assert SAID.encode() not in found.data
    assert "one-access" in found.tokens
    with opened(found.data) as connection:  # the tables stay: kiro-cli has migrated them
        for name in tables:
            assert connection.execute(f"SELECT count(*) FROM {name}").fetchone() == (0,)


def test_the_last_commit_may_stand_in_the_log_only(sandbox: LocalSandbox) -> None:
    """As of a kiro-cli that was killed: nobody has moved it into the database yet."""
    file = data_file(sandbox)
    script = (
        "import os, sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1])\n"
        "db.execute('PRAGMA journal_mode=WAL')\n"
        "db.execute('CREATE TABLE auth_kv (key TEXT PRIMARY KEY, value TEXT)')\n"
        "db.execute('INSERT INTO auth_kv VALUES (?, ?)', sys.argv[2:4])\n"
        "db.commit()\n"
        "db.execute('PRAGMA wal_checkpoint(TRUNCATE)')\n"
        "db.execute('UPDATE auth_kv SET value = ?', sys.argv[4:5])\n"
        "db.commit()\n"
        "os._exit(0)\n"
    )
    argv = [str(file), TOKEN, json.dumps(tokens("first")), json.dumps(tokens("second"))]
    subprocess.run([sys.executable, "-c", script, *argv], check=True, timeout=60)
    assert b"second-access" not in file.read_bytes()
    assert b"second-access" in data_file(sandbox, "-wal").read_bytes()

    found = taken(sandbox)
    assert set(found.tokens) == {"second-access", "second-refresh"}
    credentials.put(sandbox, found)
    assert not data_file(sandbox, "-wal").exists()
    assert "Logged in" in kiro(sandbox, "whoami").check().output


# -- what is known of it


def test_the_secrets_are_what_must_not_be_written(sandbox: LocalSandbox) -> None:
    log_in(sandbox)
    found = taken(sandbox)
    assert sorted(found.tokens) == sorted(CANARIES.values())
    for shown in (repr(found), str(found), f"{found}", repr([found])):
        assert "canary" not in shown
        assert shown.strip("[]") == "Credentials(version='2.29.0', scripted=True, who='ada')"


@pytest.mark.parametrize(
    "spelling",
    ["access_token", "accessToken", "AccessToken", "ACCESS_TOKEN", "refreshToken", "id_token", "clientSecret"],
)
def test_secrets_are_found_however_they_are_spelt(spelling: str) -> None:
    deep = {"outer": [{"inner": {spelling: "canary"}}], "region": "us-east-1"}
    assert read(database({TOKEN: tokens(), REGISTRATION: deep})).tokens[-1:] == ("canary",)


@pytest.mark.parametrize(
    ("told", "moment"),
    [
        ("2030-01-02T03:04:05Z", datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2030-01-02T03:04:05.123456Z", datetime(2030, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
        ("2030-01-02T03:04:05.123456789Z", datetime(2030, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
        ("2030-01-02T03:04:05.1Z", datetime(2030, 1, 2, 3, 4, 5, 100000, tzinfo=UTC)),
        ("2030-01-02T05:04:05+02:00", datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2030-01-02T03:04:05", datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("soon", None),
        ("", None),
        (1893553445, None),
        (None, None),
    ],
)
def test_when_its_access_token_ends(told: object, moment: datetime | None) -> None:
    for name in ("expires_at", "expiresAt"):
        assert read(database({TOKEN: tokens() | {"expires_at": None, name: told}})).expires == moment


def test_a_registration_ends_at_another_time() -> None:
    registration = {"client_secret": "s", "client_secret_expires_at": "2031-01-01T00:00:00Z"}
    expiring = registration | {"expires_at": "2032-01-01T00:00:00Z"}
    assert read(database({REGISTRATION: expiring, TOKEN: tokens()})).expires is None


def test_the_same_login_is_the_same_tokens() -> None:
    one = read(database({TOKEN: tokens("one"), REGISTRATION: {"client_secret": "s"}}))
    in_another_order = read(database({REGISTRATION: {"client_secret": "s"}, TOKEN: tokens("one")}, state={"x": {}}))
    assert one.same_login(in_another_order)
    assert not one.same_login(read(database({TOKEN: tokens("two"), REGISTRATION: {"client_secret": "s"}})))
    assert not one.same_login(None)


# -- what is none


@pytest.mark.parametrize(
    "data",
    [
        b"",
        database({}),
        database({REGISTRATION: {"client_secret": "s"}}),
        database(None, state={"x": {}}),
    ],
    ids=["empty file", "no token", "registration only", "no table"],
)
def test_what_has_no_login_in_it(sandbox: LocalSandbox, data: bytes) -> None:
    data_file(sandbox).write_bytes(data)
    assert take(sandbox) is None


GOOD = database({TOKEN: tokens()})


def _link_to_itself(file: Path) -> None:
    file.symlink_to(file)


UNREADABLE: dict[str, Callable[[Path], object]] = {
    "nonsense": lambda file: file.write_bytes(b"nonsense" * 1000),
    "short": lambda file: file.write_bytes(b"x"),
    "cut": lambda file: file.write_bytes(GOOD[:5000]),
    "damaged": lambda file: file.write_bytes(GOOD[:4096] + b"\xff" * 4096 + GOOD[8192:]),
    "other columns": lambda file: file.write_bytes(_with("CREATE TABLE auth_kv (a TEXT)")),
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "link to itself": _link_to_itself,
    "endless": lambda file: file.write_bytes(
        _with(
            "CREATE TABLE auth_kv (key TEXT, value TEXT)",
            "CREATE TABLE history (a TEXT)",
            "INSERT INTO history VALUES (1)",
            "CREATE TRIGGER endless BEFORE DELETE ON history BEGIN INSERT INTO auth_kv "
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT 1, max(i) FROM n; END",
        )
    ),
}


def _with(*statements: str) -> bytes:
    def run(connection: sqlite3.Connection) -> None:
        for statement in statements:
            connection.execute(statement)
        connection.commit()

    return database(None, then=run)


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_cannot_be_read_is_told(sandbox: LocalSandbox, what: str) -> None:
    UNREADABLE[what](data_file(sandbox))
    with pytest.raises(LoginError, match=r"(?s)^kiro-cli's data file, with the login in it, cannot be read: .*log in"):
        take(sandbox)


@pytest.mark.parametrize("log", [b"", b"nonsense", b"\x37\x7f\x06\x82" + b"\xff" * 8000])
def test_a_log_that_is_none_is_no_news(sandbox: LocalSandbox, log: bytes) -> None:
    data_file(sandbox).write_bytes(GOOD)
    data_file(sandbox, "-wal").write_bytes(log)
    assert "one-access" in taken(sandbox).tokens


def test_rows_that_kiro_cli_does_not_write_are_passed_over() -> None:
    def fill(connection: sqlite3.Connection) -> None:
        rows: list[tuple[Any, Any]] = [
            (None, "x"),
            (5, "x"),
            (b"bytes:token", "x"),
            ("nothing", None),
            ("number", 5),
            ("broken", "{"),
            ("deep", "[" * 100_000),
            ("latin", b'{"access_token": "\xff"}'),
            ("as bytes", b'{"access_token": "canary-of-bytes"}'),
            (TOKEN, json.dumps(tokens())),
        ]
        connection.executemany("INSERT INTO auth_kv VALUES (?, ?)", rows)
        connection.commit()

    found = read(database({}, then=fill))
    assert sorted(found.tokens) == ["canary-of-bytes", "one-access", "one-refresh"]
    assert found.expires is None
