"""V1's database: real files written by SQLite, its log copied while the writer is open, and nothing on our disk."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pytest_kiro.kirocli import sessions
from pytest_kiro.kirocli.sessions import sqlite
from pytest_kiro.turn.transcript import ToolCall, Transcript

DATABASE = "/home/me/.local/share/kiro-cli/data.sqlite3"
NOW = 1_800_000_000_000


def prompt(text: str) -> dict[str, Any]:
    return {"content": {"Prompt": {"prompt": text}}, "timestamp": "2027-01-01T00:00:00Z"}


def results(*given: tuple[str, Any], status: str = "Success") -> dict[str, Any]:
    found = [{"tool_use_id": key, "content": [content], "status": status} for key, content in given]
    return {"content": {"ToolUseResults": {"tool_use_results": found}}}


def cancelled(text: str | None, *keys: str) -> dict[str, Any]:
    content = [{"Text": "Tool use was cancelled by the user"}]
    found = [{"tool_use_id": key, "content": content, "status": "Error"} for key in keys]
    return {"content": {"CancelledToolUses": {"prompt": text, "tool_use_results": found}}}


def said(text: Any) -> dict[str, Any]:
    return {"Response": {"message_id": "m", "content": text}}


def uses(text: str, *given: tuple[str, str, Any]) -> dict[str, Any]:
    found = [{"id": key, "name": name, "orig_name": name, "args": args, "orig_args": args} for key, name, args in given]
    return {"ToolUse": {"message_id": "m", "content": text, "tool_uses": found}}


def entry(user: Any, assistant: Any, number: int = 1) -> dict[str, Any]:
    metadata = {
        "request_id": f"r{number}",
        "request_start_timestamp_ms": NOW + 1000 * number,
        "stream_end_timestamp_ms": NOW + 1000 * number + 500,
        "model_id": "a-model",
    }
    return {"user": user, "assistant": assistant, "request_metadata": metadata}


def value(*history: Any, **more: Any) -> dict[str, Any]:
    return {"conversation_id": "c1", "history": list(history), "transcript": ["> hello", "an error"], **more}


WHOLE = value(
    entry(prompt("Build it."), uses("I look.", ("1", "execute_bash", {"command": "ls", "summary": "look"})), 1),
    entry(
        results(("1", {"Json": {"exit_status": "2", "stdout": "o", "stderr": "e"}})),
        uses("", ("2", "fs_write", {"command": "create", "path": "/w/a"}), ("3", "git___log", {})),
        2,
    ),
    entry(
        results(("2", {"Text": ""}), ("3", {"Json": {"isError": True, "content": [{"text": "no"}]}})), said("Done."), 3
    ),
    model_info={"model_id": "auto"},
    user_turn_metadata={
        "requests": [{"request_id": "r1"}, {"request_id": "r2"}],
        "usage_info": [{"value": 0.25, "unit": "credit"}, {"value": 0.5, "unit": "credit"}],
    },
)


@contextmanager
def database(path: Path, *, wal: bool = False, tables: str = "both") -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as connection:
        if wal:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("CREATE TABLE auth_kv (key TEXT PRIMARY KEY, value TEXT)")
        connection.execute("INSERT INTO auth_kv VALUES ('kirocli:odic:token', 'a-secret')")
        if tables in ("both", "new"):
            connection.execute(
                "CREATE TABLE conversations_v2 (key TEXT NOT NULL, conversation_id TEXT NOT NULL, value TEXT NOT NULL,"
                " created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, PRIMARY KEY (key, conversation_id))"
            )
        if tables in ("both", "old"):
            connection.execute("CREATE TABLE conversations (key TEXT PRIMARY KEY, value TEXT)")
        connection.commit()
        yield connection


def put(connection: sqlite3.Connection, content: Any, *, key: str = "/w", name: str = "c1", at: int = NOW) -> None:
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    connection.execute("INSERT OR REPLACE INTO conversations_v2 VALUES (?, ?, ?, ?, ?)", (key, name, text, at, at))
    connection.commit()


def kept(path: Path) -> dict[str, bytes]:
    log = path.with_name(f"{path.name}-wal")
    return {DATABASE: path.read_bytes()} | ({f"{DATABASE}-wal": log.read_bytes()} if log.exists() else {})


def store(tmp_path: Path, content: Any = WHOLE) -> dict[str, bytes]:
    with database(tmp_path / "d") as connection:
        put(connection, content)
    return kept(tmp_path / "d")


def read(files: Mapping[str, bytes], **options: Any) -> Transcript:
    transcript = sessions.read(files, engine="v1", cwd="/w", **options)
    assert transcript is not None
    return transcript


# -- one turn


def test_a_whole_turn(tmp_path: Path) -> None:
    transcript = read(store(tmp_path), prompt="Build it.\n")
    assert transcript == Transcript(
        "c1",
        prompts=1,
        turns=1,
        messages=("I look.", "Done."),
        tool_calls=(
            ToolCall("shell", "execute_bash", {"command": "ls", "summary": "look"}, "oe", "completed", exit_code=2),
            ToolCall("write", "fs_write", {"command": "create", "path": "/w/a"}, "", "completed"),
            ToolCall("@git/log", "git___log", {}, "no", "failed"),
        ),
        finished=True,
        end_reason="UserTurnEnd",
        credits=0.75,
        credits_source="conversation",
        model="a-model",
        duration=2.5,
    )
    assert transcript.warnings == ()


def test_history_as_pairs_and_the_older_table(tmp_path: Path) -> None:
    pairs = [[each["user"], each["assistant"]] for each in WHOLE["history"]]
    with database(tmp_path / "d", tables="old") as connection:
        text = json.dumps({**WHOLE, "history": pairs})
        connection.execute("INSERT INTO conversations VALUES ('/w', ?), ('/other', '{')", (text,))
        connection.commit()
    transcript = read(kept(tmp_path / "d"))
    assert (transcript.session_id, transcript.finished, len(transcript.tool_calls)) == ("c1", True, 3)
    assert (transcript.model, transcript.duration, transcript.credits) == ("auto", None, None)
    assert read(kept(tmp_path / "d"), session_id="c1") == transcript
    assert sessions.read(kept(tmp_path / "d"), engine="v1", cwd="/w", session_id="c2") is None


@pytest.mark.parametrize(
    ("history", "finished", "reason", "statuses"),
    [
        ([entry(prompt("p"), said("a"))], True, "UserTurnEnd", []),
        ([entry(prompt("p"), uses("", ("1", "fs_read", {})))], False, None, ["unfinished"]),
        (
            [
                entry(prompt("p"), uses("", ("1", "fs_read", {}))),
                entry(
                    cancelled("The user interrupted the tool execution.", "1"),
                    said("Tool uses were interrupted, waiting for the next user prompt"),
                ),
            ],
            False,
            "Cancelled",
            ["denied"],
        ),
        ([entry(prompt("p"), said("Response was interrupted by the user"))], False, "Cancelled", []),
        (
            [
                entry(prompt("p"), uses("", ("1", "execute_bash", {}))),
                entry(
                    results(("1", {"Text": "Command execute_bash is rejected because it matches"}), status="Error"),
                    said("I may not."),
                ),
            ],
            True,
            "UserTurnEnd",
            ["denied"],
        ),
        (
            [
                entry(prompt("p"), uses("", ("1", "fs_read", {}))),
                entry(results(("1", {"Text": "Permission denied (os error 13)"}), status="Error"), said("No.")),
            ],
            True,
            "UserTurnEnd",
            ["failed"],
        ),
        ([entry(prompt("p"), said("a")), "odd"], False, None, []),
        ([entry(prompt("p"), said(None))], False, None, []),  # found by fuzzing
        ([entry(prompt("p"), said("a")), entry(results(), {"Surprise": {}})], False, None, []),
    ],
)
def test_a_turn_is_finished_by_an_answer_that_asks_for_no_tool(
    tmp_path: Path, history: list[Any], finished: bool, reason: str | None, statuses: list[str]
) -> None:
    transcript = read(store(tmp_path, value(*history)))
    assert (transcript.finished, transcript.end_reason) == (finished, reason)
    assert [call.status for call in transcript.tool_calls] == statuses


def test_an_old_turn_is_never_taken_for_the_new_one(tmp_path: Path) -> None:
    once = [entry(prompt("p"), said("old"))]
    transcript = read(store(tmp_path, value(*once)), prompt="p", prompts=1, turns=1)
    assert (transcript.messages, transcript.finished, transcript.end_reason) == ((), False, None)
    assert (transcript.prompts, transcript.turns, transcript.credits, transcript.duration) == (1, 1, None, None)
    (tmp_path / "2").mkdir()
    again = read(store(tmp_path / "2", value(*once, entry(prompt("p"), said("new")))), prompts=1, turns=1)
    assert (again.messages, again.finished) == (("new",), True)


def test_what_an_interrupt_left_is_cancelled_with_the_next_prompt(tmp_path: Path) -> None:
    history = [entry(prompt("p"), uses("", ("1", "fs_read", {}))), entry(cancelled("go on", "1"), said("ok"))]
    transcript = read(store(tmp_path, value(*history)), prompt="go on", prompts=1)
    assert (transcript.prompts, transcript.messages, transcript.finished) == (2, ("ok",), True)
    assert transcript.warnings == ()


def test_a_history_that_was_compacted_proves_nothing(tmp_path: Path) -> None:
    history = [entry(prompt("p"), said("told"))]
    files = store(tmp_path, value(*history, latest_summary=["much", {}]))
    transcript = read(files, prompt="p", prompts=3, turns=3)
    assert (transcript.messages, transcript.finished) == (("told",), False)
    assert "was compacted" in transcript.warnings[0]
    assert read(files, prompt="another", session_id="c1", prompts=3).messages == ()


def test_credits_are_of_our_requests() -> None:
    from pytest_kiro.kirocli.sessions.v1 import _Entry, _metered

    ours = [_Entry("", "Prompt", {}, {}, {"request_id": "r1"})]
    metered = {"usage_info": [{"value": 1}], "requests": [{"request_id": "r0"}]}
    assert _metered({"user_turn_metadata": metered}, ours) == []
    assert _metered({"user_turn_metadata": {**metered, "requests": []}}, ours) == [{"value": 1}]


# -- which conversation


def test_a_conversation_is_found_by_id_or_by_folder_and_prompt(tmp_path: Path) -> None:
    with database(tmp_path / "d") as connection:
        put(connection, value(entry(prompt("one"), said("1"))), name="c1")
        put(connection, value(entry(prompt("two"), said("2"))), name="c2", at=NOW + 1)
        put(connection, value(entry(prompt("three"), said("3"))), name="c3", key="/other", at=NOW + 2)
    files = kept(tmp_path / "d")
    assert read(files).session_id == "c2"
    assert read(files, prompt="one").session_id == "c1"
    assert read(files, session_id="c3").messages == ("3",)
    assert sessions.read(files, engine="v1", cwd="/w", prompt="four") is None
    assert sessions.read(files, engine="v1", cwd="/nowhere") is None
    assert sessions.read({}, engine="v1", cwd="/w") is None
    assert sessions.read({"/x/other.sqlite3": b"no"}, engine="v1", cwd="/w") is None


def test_what_is_not_known_is_a_warning_with_its_row(tmp_path: Path) -> None:
    odd = [entry(prompt("p"), uses("", ("1", "x", 3))), {"user": 1}, [1], entry(results(("9", {})), said("told"))]
    transcript = read(store(tmp_path, value(*odd)))
    assert transcript.messages == ("told",), "one odd entry must not cost the whole turn"
    assert [warning.partition(": ")[2] for warning in transcript.warnings] == [
        "conversations_v2, c1, history 2: not an entry that is known",
        "conversations_v2, c1, history 3: not an entry that is known",
        "conversations_v2, c1, history 4: a result of no tool call of this turn: 9",
    ]
    (tmp_path / "2").mkdir()
    broken = read(store(tmp_path / "2", "{"))
    assert broken.session_id == ""
    assert broken.warnings == (f"{DATABASE}: conversations_v2, c1: its value is no JSON object",)
    (tmp_path / "3").mkdir()
    assert "its history is no list" in read(store(tmp_path / "3", {"conversation_id": "c1"})).warnings[0]


# -- the database


def test_the_last_turn_is_in_the_log_while_the_writer_is_open(tmp_path: Path) -> None:
    path = tmp_path / "d"
    with database(path, wal=True) as connection:
        put(connection, value(entry(prompt("p"), uses("", ("1", "fs_read", {})))))
        for number in range(50):
            put(connection, value(entry(prompt("p"), said("x" * 5000 + str(number)))))
        files = kept(path)
        assert len(files[f"{DATABASE}-wal"]) > len(files[DATABASE])
        assert read(files).messages == ("x" * 5000 + "49",)
        connection.execute("BEGIN")
        connection.execute("UPDATE conversations_v2 SET value = '{}'")
        connection.execute("PRAGMA cache_size = 1")  # so that what is not committed is in the log as well
        assert read(kept(path)).messages == ("x" * 5000 + "49",), "not committed, so not so"
        connection.rollback()


def test_a_torn_log_counts_up_to_its_last_commit(tmp_path: Path) -> None:
    path = tmp_path / "d"
    with database(path, wal=True) as connection:
        put(connection, value(entry(prompt("p"), said("first"))))
        put(connection, value(entry(prompt("p"), said("second"))))
        files = kept(path)
    log = files[f"{DATABASE}-wal"]
    assert read(files).messages == ("second",)
    seen = set()
    for cut in range(len(log), 0, -501):
        transcript = sessions.read({**files, f"{DATABASE}-wal": log[:cut]}, engine="v1", cwd="/w")
        seen.add(transcript.messages if transcript else None)
    assert seen == {("second",), ("first",), None}
    broken = bytearray(log)
    broken[-10] ^= 1
    assert read({**files, f"{DATABASE}-wal": bytes(broken)}).messages == ("first",)


def test_a_log_of_an_older_generation_is_not_applied(tmp_path: Path) -> None:
    path = tmp_path / "d"
    with database(path, wal=True) as connection:
        put(connection, value(entry(prompt("p"), said("first" * 2000))))
        older = kept(path)[f"{DATABASE}-wal"]
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        put(connection, value(entry(prompt("p"), said("second"))))
        files = kept(path)
        newer = files[f"{DATABASE}-wal"]
    assert newer[16:24] != older[16:24], "the salts tell the generations apart"
    assert len(newer) < len(older)
    assert read({**files, f"{DATABASE}-wal": newer + older[len(newer) :]}).messages == ("second",)
    assert read({**files, f"{DATABASE}-wal": newer[:32] + older[32:]}).messages == ("first" * 2000,)


@pytest.mark.parametrize("order", ["little", "big"])
def test_checksums_of_both_byte_orders(tmp_path: Path, order: str) -> None:
    path = tmp_path / "d"
    with database(path, wal=True) as connection:
        put(connection, WHOLE)
        files = kept(path)
    log = bytearray(files[f"{DATABASE}-wal"])
    size = int.from_bytes(log[8:12], "big")
    log[:4] = {"little": 0x377F0682, "big": 0x377F0683}[order].to_bytes(4, "big")
    sums = checksum(log[:24], (0, 0), order)
    log[24:32] = b"".join(part.to_bytes(4, "big") for part in sums)
    for at in range(32, len(log), 24 + size):
        sums = checksum(log[at : at + 8] + log[at + 24 : at + 24 + size], sums, order)
        log[at + 16 : at + 24] = b"".join(part.to_bytes(4, "big") for part in sums)
    assert read({**files, f"{DATABASE}-wal": bytes(log)}).finished
    if order == "little":
        assert bytes(log) == files[f"{DATABASE}-wal"], "what SQLite itself wrote here"


def checksum(data: bytes | bytearray, sums: tuple[int, int], order: Any) -> tuple[int, int]:
    one, two = sums
    for at in range(0, len(data), 8):
        one = (one + int.from_bytes(data[at : at + 4], order) + two) % 2**32
        two = (two + int.from_bytes(data[at + 4 : at + 8], order) + one) % 2**32
    return one, two


def test_our_database_is_what_sqlite_itself_makes_of_the_files(tmp_path: Path) -> None:
    path = tmp_path / "d"
    with database(path, wal=True) as connection:
        for number in range(20):
            put(connection, WHOLE, name=f"c{number}")
        connection.execute("DELETE FROM conversations_v2 WHERE conversation_id <> 'c3'")
        connection.commit()
        files = kept(path)
    applied = sqlite.with_wal(files[DATABASE], files[f"{DATABASE}-wal"])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode = DELETE")
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        ours = sqlite3.connect(":memory:")
        ours.deserialize(applied)
        assert list(ours.iterdump()) == list(connection.iterdump())
        assert ours.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        ours.close()
    assert len(applied) == pages * size


def test_all_of_a_database_may_be_in_its_log(tmp_path: Path) -> None:
    path = tmp_path / "d"
    with database(path, wal=True) as connection:
        put(connection, WHOLE)
        files = kept(path)
    assert read({**files, DATABASE: b""}).finished
    assert sessions.read({DATABASE: b""}, engine="v1", cwd="/w") is None


@pytest.mark.parametrize("content", [b"SQLite format 3\0" + b"x" * 5000, b"not a database" * 500, b"\0" * 4096, b"x"])
def test_a_corrupt_file_is_a_warning(content: bytes) -> None:
    transcript = sessions.read({DATABASE: content}, engine="v1", cwd="/w", session_id="c7")
    assert transcript is not None
    assert (transcript.session_id, transcript.finished) == ("c7", False)
    assert transcript.warnings[0].startswith(f"{DATABASE}: this database cannot be read: ")


def test_a_page_that_is_corrupt_is_a_warning_or_nothing(tmp_path: Path) -> None:
    files = store(tmp_path)
    data = bytearray(files[DATABASE])
    size = int.from_bytes(data[16:18], "big")
    data[size:] = b"\xff" * (len(data) - size)
    transcript = sessions.read({DATABASE: bytes(data)}, engine="v1", cwd="/w")
    assert transcript is not None
    assert "cannot be read" in transcript.warnings[0]


def test_a_view_that_never_ends_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent can write to the database, and a view is looked at by name like a table."""
    monkeypatch.setattr(sqlite, "_STEPS", 1_000_000)
    path = tmp_path / "d"
    with closing(sqlite3.connect(path)) as connection:
        endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT '/w', '', x, x FROM n"
        connection.execute(f"CREATE VIEW conversations_v2(key, conversation_id, value, updated_at) AS {endless}")
        connection.commit()
    assert sessions.read(kept(path), engine="v1", cwd="/w") is None
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET type = 'table'")
        connection.commit()
    transcript = sessions.read(kept(path), engine="v1", cwd="/w")
    assert transcript is None or "cannot be read" in transcript.warnings[0]


def test_values_that_are_blobs_or_numbers(tmp_path: Path) -> None:
    with database(tmp_path / "d") as connection:
        put(connection, json.dumps(WHOLE).encode())
        connection.execute("INSERT INTO conversations_v2 VALUES ('/w', 5, 6, 'x', 'y')")
        connection.commit()
    assert read(kept(tmp_path / "d")).finished


def test_a_python_without_sqlite_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = store(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "sqlite3", None)
    assert "no sqlite3" in read(files).warnings[0]


def test_nothing_is_written_to_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database also holds login tokens."""
    path = tmp_path / "d"
    with database(path, wal=True) as connection:
        put(connection, WHOLE)
        files = kept(path)
    opened: list[Any] = []
    connect = sqlite3.connect

    def seen(name: Any, *args: Any, **more: Any) -> sqlite3.Connection:
        opened.append(name)
        return connect(name, *args, **more)

    monkeypatch.setattr(sqlite3, "connect", seen)
    monkeypatch.setattr("builtins.open", lambda *_, **__: pytest.fail("a file was opened"))
    transcript = read(files)
    assert opened == [":memory:"]
    assert "a-secret" not in repr(transcript)


@pytest.mark.parametrize(
    ("tools", "servers"), [({"native___": [], "git": [{}]}, ("git",)), ({}, ()), (None, ()), (["git"], ())]
)
def test_servers_whose_tools_the_model_had(tmp_path: Path, tools: Any, servers: tuple[str, ...]) -> None:
    assert read(store(tmp_path, {**WHOLE, "tools": tools})).servers == servers
