"""What can go wrong with the real program, on demand."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
from standin_process import CHAT, DEADLINE, Standin, read_until, tool


def test_an_unknown_kind_is_an_error_that_names_the_known_ones(standin: Standin) -> None:
    result = standin.chat("hello", [["hi"]], misbehave={"sulk": True})

    assert (result.code, result.out) == (2, "")
    assert "unknown kind 'sulk'" in result.err
    assert "throttled" in result.err


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_malformed_variable_is_an_error(standin: Standin, text: str) -> None:
    result = standin.chat("hello", [["hi"]], env={"KIRO_STANDIN_MISBEHAVE": text})

    assert result.code == 2
    assert "KIRO_STANDIN_MISBEHAVE is wrong" in result.err


def test_slow_prints_one_character_at_a_time(standin: Standin) -> None:
    process = standin.spawn(*CHAT, "hello", replies=[["abc"]], misbehave={"slow": 3600})
    assert process.stdout
    assert read_until(process.stdout.fileno(), b"a") == b"a"

    process.send_signal(signal.SIGINT)

    assert process.wait(DEADLINE) == 130
    assert process.stdout.read() == b"\n"
    assert standin.chat("hello", [["abc"]], misbehave={"slow": True}).out == "abc\n"


def test_split_utf8_cuts_characters_in_two_writes(standin: Standin) -> None:
    process = standin.spawn(*CHAT, "hello", replies=[["aü"]], misbehave={"split_utf8": 3600})
    assert process.stdout
    assert read_until(process.stdout.fileno(), b"\xc3") == b"a\xc3"

    process.kill()

    result = standin.chat("hello", [["aü€\U0001f369"]], misbehave={"split_utf8": True})
    assert result.out == "aü€\U0001f369\n"


def test_silent_says_nothing_before_its_time(standin: Standin) -> None:
    assert standin.chat("hello", [["hi"]], misbehave={"silent": 0.01}).out == "hi\n"
    # The children's line comes right before the silence.
    process = standin.spawn(*CHAT, "hello", replies=[["hi"]], misbehave={"silent": True, "children": 0})
    assert process.stderr
    assert process.stdout
    read_until(process.stderr.fileno(), b"\n")

    process.send_signal(signal.SIGINT)

    assert process.wait(DEADLINE) == 130
    assert process.stdout.read() == b""


def test_endless_goes_on_until_nobody_reads(standin: Standin) -> None:
    process = standin.spawn(*CHAT, "hello", replies=[["hi"]], misbehave={"endless": True})
    assert process.stdout
    line = process.stdout.readline()
    assert {process.stdout.readline() for _ in range(10_000)} == {line}

    process.stdout.close()

    assert process.wait(DEADLINE) == 0


def test_endless_ends_by_an_interrupt(standin: Standin) -> None:
    process = standin.spawn(*CHAT, "hello", replies=[["hi"]], misbehave={"endless": 3600})
    assert process.stdout
    read_until(process.stdout.fileno(), b"\n")

    process.send_signal(signal.SIGINT)

    assert process.wait(DEADLINE) == 130
    assert standin.turns()[0]["end_reason"] == "Cancelled"


@pytest.mark.parametrize("count", [10, 65536, 1_000_001])
def test_huge_prints_exactly_so_much_and_records_none_of_it(standin: Standin, count: int) -> None:
    first, second = (standin.chat("hello", [["hi"]], misbehave={"huge": count}).out for _ in range(2))

    assert first == second
    assert len(first) == count + len("hi\n")
    assert first.endswith("hi\n")
    assert max(map(len, first.splitlines())) < 100
    assert all(path.stat().st_size < 10_000 for path in standin.store.iterdir())


@pytest.mark.parametrize(("when", "out"), [("before", ""), ("after", "hi"), (True, "hi")])
def test_crash_dies_by_a_signal_and_leaves_the_session_open(standin: Standin, when: object, out: str) -> None:
    result = standin.chat("hello", [["hi"], ["there"]], misbehave={"crash": when})

    assert (result.code, result.out) == (-signal.SIGSEGV, out)
    assert standin.turns() == []
    assert len(list(standin.store.glob("*.lock"))) == 1
    assert not list(standin.cwd.glob("core*"))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("throttled", "The request was throttled by the service (request_id: "),
        ("limit", "The monthly usage limit has been reached"),
        ("bad_key", "Authentication failed. Your API key may be invalid or expired."),
    ],
)
def test_a_refused_request_is_exit_code_0_without_a_reply(standin: Standin, kind: str, message: str) -> None:
    result = standin.chat("hello", [["hi"]], misbehave={kind: True})

    assert (result.code, result.out) == (0, "")
    assert message in result.err
    (turn,) = standin.turns()
    assert list(turn["result"]) == ["Err"]
    assert turn["end_reason"] == "Error"
    assert [line["kind"] for line in standin.messages()] == ["Prompt"]
    assert standin.chat("hello", [["hi"]], misbehave={kind: True, "exit": 1}).code == 1


def test_a_refused_request_gives_the_cursor_back(standin: Standin) -> None:
    code, shown = standin.in_terminal(*CHAT, "hello", replies=[["hi"]], misbehave={"throttled": True})

    assert code == 0
    assert shown.startswith(b"\x1b[?25l\x1b[?25hKiro is having trouble responding right now")


def test_login_prints_a_code_and_waits(standin: Standin) -> None:
    process = standin.spawn(*CHAT, "hello", replies=[["hi"]], misbehave={"login": True})
    assert process.stdout
    shown = read_until(process.stdout.fileno(), b"Open this URL: https://").decode()

    assert "Confirm the following code in the browser\nCode: ABCD-EFGH\n" in shown
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE) == 130
    assert not standin.store.exists()


@pytest.mark.parametrize(("argument", "code"), [(7, 7), (True, 1), (0, 0)])
def test_exit_is_wrong_although_the_turn_went_well(standin: Standin, argument: object, code: int) -> None:
    result = standin.chat("hello", [["hi"]], misbehave={"exit": argument})

    assert (result.code, result.out) == (code, "hi\n")
    assert standin.turns()[0]["end_reason"] == "UserTurnEnd"


def test_no_session_leaves_nothing_to_prove_the_turn(standin: Standin) -> None:
    replies = [[tool("shell", command="echo x > x")], ["hi"]]

    result = standin.chat("hello", replies, misbehave={"no_session": True})

    assert (result.code, result.out) == (0, "hi\n")
    assert (standin.cwd / "x").exists()
    assert not standin.store.exists()


def test_no_session_leaves_a_resumed_one_as_it_was(standin: Standin) -> None:
    standin.chat("My name is Ada", [["ok"]])
    before = {path.name: path.read_bytes() for path in standin.store.iterdir()}

    result = standin.chat("hello", [["{recall:Ada|?}"]], "-r", misbehave={"no_session": True})

    assert result.out == "Ada\n"
    assert {path.name: path.read_bytes() for path in standin.store.iterdir()} == before


@pytest.mark.parametrize(
    ("names", "statuses"),
    [
        ("shell", ["error", "success"]),
        (["execute_bash", "fs_write"], ["error", "error"]),
        (True, ["error", "error"]),
    ],
)
def test_denied_tools_do_not_run_although_trusted(standin: Standin, names: object, statuses: list[str]) -> None:
    calls = [tool("shell", 1, command="id"), tool("write", 2, command="create", path="x", content="")]

    result = standin.chat("hello", [calls, ["ok"]], misbehave={"denied": names})

    assert result.code == 0
    assert [entry["status"] for entry in standin.results()] == statuses
    assert result.err.count("[denied]") == statuses.count("error")


def test_closes_output_and_runs_on(standin: Standin) -> None:
    process = standin.spawn(*CHAT, "hello", replies=[["hi"]], misbehave={"closes_output": True})
    assert process.stdout
    assert process.stderr

    assert read_until(process.stdout.fileno(), None) == b"hi\n"
    assert read_until(process.stderr.fileno(), None) == b""
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE) == 130
    assert standin.turns()[0]["end_reason"] == "UserTurnEnd"
    assert standin.chat("hello", [["hi"]], misbehave={"closes_output": 0}).code == 0


def test_children_outlive_it_and_hold_its_output(standin: Standin) -> None:
    process = standin.spawn(*CHAT, "hello", replies=[["hi"]], misbehave={"children": True})
    assert process.stdout
    assert process.stderr
    assert process.wait(DEADLINE) == 0
    told = read_until(process.stderr.fileno(), b"\n")
    plain, apart = map(int, told.split()[1:])
    try:
        assert os.getsid(plain) == os.getsid(0)
        assert os.getsid(apart) == apart
    finally:
        for pid in (plain, apart):
            os.kill(pid, signal.SIGKILL)
    assert read_until(process.stdout.fileno(), None) == b"hi\n"


def test_ignores_signals_and_keeps_running(standin: Standin) -> None:
    fifo = standin.cwd / "fifo"
    subprocess.run(["mkfifo", str(fifo)], check=True, timeout=DEADLINE)
    replies = [["first ", tool("shell", command="cat fifo")], ["second"]]
    process = standin.spawn(*CHAT, "hello", replies=replies, misbehave={"ignores_signals": 0})
    assert process.stdout
    read_until(process.stdout.fileno(), b"first ")

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        process.send_signal(number)
    fifo.write_text("go\n")

    assert read_until(process.stdout.fileno(), b"second\n")
    assert process.wait(DEADLINE) == 0


def test_carriage_draws_over_its_own_line(standin: Standin) -> None:
    result = standin.run(*CHAT, "hello", replies=[["hi"]], misbehave={"carriage": True})

    assert result.out.endswith("\r\x1b[2K\x1b[?25hhi\n")
    assert result.out.count("\r") == 9
    assert "\n" not in result.out[:-1]


def test_mcp_is_exit_code_3(standin: Standin) -> None:
    result = standin.chat("hello", [["hi"]], misbehave={"mcp": True})

    assert (result.code, result.out) == (3, "")
    assert "MCP server" in result.err
    assert not standin.store.exists()


def test_answers_nothing_ends_well_with_an_empty_reply(standin: Standin) -> None:
    result = standin.chat("hello", [["hi"]], misbehave={"answers_nothing": True})

    assert (result.code, result.out) == (0, "\n")
    assert standin.turns()[0]["result"]["Ok"]["content"][0]["data"] == ""


def test_kinds_combine(standin: Standin) -> None:
    result = standin.chat("hello", [["ü"]], misbehave={"split_utf8": True, "slow": 0, "exit": 5, "huge": 64})

    assert result.code == 5
    assert result.out.endswith("ü\n")
    assert len(result.out) == 64 + 2
