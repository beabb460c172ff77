"""`exec` over a network that loses, refuses and repeats: each command is carried out exactly once, and answered."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from emulator import Emulator
from helpers import is_alive, wait_until

from pytest_kiro.errors import SandboxError, SandboxTimeout
from pytest_kiro.sandbox.daytona.sandbox import DaytonaSandbox
from pytest_kiro.sandbox.protocol import SandboxSpec

TIMES = 'echo x >>"$HOME/times"'


@pytest.fixture
def sandbox(provider: Callable[..., Any], clock: Any) -> Iterator[DaytonaSandbox]:
    """One whose pauses between two attempts take no time."""
    made = provider(clock=clock).create(SandboxSpec())
    yield made
    made.close()


def times(sandbox: DaytonaSandbox) -> int:
    return len(sandbox.read_file("times").split())


def tasks(sandbox: DaytonaSandbox) -> list[str]:
    """What is in the folder of our tasks now, the question's own excepted."""
    return sandbox.list_files(sandbox.exec('echo "${TMPDIR:-/tmp}/tasks"').output.strip())


FAULTS: dict[str, list[dict[str, Any]]] = {
    "answer lost": [{"lose_response": True}],
    "answer lost three times": [{"lose_response": True, "times": 3}],
    "answer cut": [{"cut_body": 5}],
    "torn before": [{"drop": True, "times": 2}],
    "nobody lets us in": [{"refuse": 0.2}],
    "502 and 503": [{"status": 503, "times": 2}, {"status": 502, "times": 2}],
    "500 and 504": [{"status": 500}, {"status": 504}],
    "answer lost, then 502": [{"lose_response": True}, {"status": 502, "after": 1, "times": 2}],
    "too many requests": [{"status": 429, "headers": {"Retry-After": "30"}, "times": 3}],
    "408 of a proxy": [{"lose_response": True}, {"status": 408, "after": 1}],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_command_is_carried_out_once_and_answered(emulator: Emulator, sandbox: DaytonaSandbox, fault: str) -> None:
    for rule in FAULTS[fault]:
        emulator.fault("exec", **rule)
    result = sandbox.exec(f"{TIMES}; echo out; echo err >&2; exit 7")
    assert (result.output, result.exit_code) == ("out\nerr\n", 7)
    assert times(sandbox) == 1


def test_a_command_whose_answer_is_lost_while_it_works_is_waited_for(
    emulator: Emulator, sandbox: DaytonaSandbox
) -> None:
    """A proxy gives up on the first request; the second finds the command at work."""
    results: list[str] = []
    emulator.fault("exec", cut_body=0)
    wait = "while ! [ -e go ]; do sleep 0.02; done"
    thread = threading.Thread(target=lambda: results.append(sandbox.exec(f"{TIMES}; echo begun; {wait}").output))
    thread.start()
    wait_until(lambda: "times" in sandbox.list_files(""))
    sandbox.exec("touch go").check()
    thread.join(30)
    assert results == ["begun\n"]
    assert times(sandbox) == 1


def test_a_refusal_that_stays_is_an_error_that_names_it(emulator: Emulator, sandbox: DaytonaSandbox) -> None:
    emulator.fault("exec", status=503, times=None)
    with pytest.raises(SandboxError, match=r"exec: Daytona answered: HTTP 503(?s:.*)status\.daytona\.io"):
        sandbox.exec("true")
    emulator.clear_faults()
    assert sandbox.exec("echo on").output == "on\n"


def test_what_the_service_refuses_is_not_asked_again(emulator: Emulator, sandbox: DaytonaSandbox, clock: Any) -> None:
    emulator.fault("exec", status=401, message="Invalid credentials")
    with pytest.raises(SandboxError, match="DAYTONA_API_KEY"):
        sandbox.exec("true")
    assert clock.pauses == []


@pytest.mark.parametrize("state", ["destroyed", "error"])
def test_a_sandbox_that_dies_in_mid_exec_is_gone(emulator: Emulator, sandbox: DaytonaSandbox, state: str) -> None:
    emulator.fault("exec", kill_sandbox=state)
    with pytest.raises(SandboxError, match=rf"is gone: Daytona says it is {state}"):
        sandbox.exec("sleep 600")


def test_ctrl_c_kills_the_command(emulator: Emulator, sandbox: DaytonaSandbox) -> None:
    pid_file = Path(emulator.sandboxes()[0]["home"]) / "pid"

    def press() -> None:
        wait_until(lambda: pid_file.exists() and pid_file.read_text().strip())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        sandbox.exec("trap '' INT TERM HUP; setsid sleep 600 & echo $$ >pid; wait")
    thread.join()
    wait_until(lambda: not is_alive(int(pid_file.read_text())))
    wait_until(lambda: emulator.sandboxes()[0]["pids"] == [])
    assert sandbox.exec("echo on").output == "on\n"


def test_a_command_whose_time_is_over_before_it_could_begin_does_not_begin(
    provider: Callable[..., Any], emulator: Emulator
) -> None:
    """Its request comes through late, after its end."""
    sandbox = provider().create(SandboxSpec())
    emulator.fault("exec", delay=1.5)
    with pytest.raises(SandboxTimeout):
        sandbox.exec(TIMES, timeout=0.3)
    assert sandbox.list_files("") == [".daytona/", ".zshrc"]
    sandbox.close()


def test_nothing_piles_up(sandbox: DaytonaSandbox) -> None:
    for number in range(20):
        assert sandbox.exec(f"echo {number}").output == f"{number}\n"
    with pytest.raises(SandboxTimeout):
        sandbox.exec("sleep 600", timeout=0.2)
    sandbox.write_file("file", b"x" * 100_000, mode=0o600)
    sandbox.read_file("file")
    assert len(tasks(sandbox)) < 6


NONSENSE = {
    "PATH": "/nowhere",
    "IFS": "abc/0123456789",
    "ENV": "/dev/null/rc",
    "BASH_ENV": "/dev/null/rc",
    "HOME": "/nowhere/at/all",
    "TMPDIR": "/nowhere",
    "CDPATH": "/:/tmp",
    "SANDBOX_TASK_GIVEN_PATH": "confused",
    "tasks": "x",
    "status": "x",
    "command": "echo confused",
    "LC_ALL": "xx_YY.latin1",
    "PS4": "$(exit 9)",
}


def test_no_variable_of_the_commands_is_one_of_ours(sandbox: DaytonaSandbox) -> None:
    names = [name for name in NONSENSE if name != "IFS"]
    shown = "".join(f'echo "{name}=${name}"; ' for name in names)
    result = sandbox.exec(shown, env=NONSENSE)
    assert result.output == "".join(f"{name}={NONSENSE[name]}\n" for name in names)
    assert result.ok
    assert sandbox.exec('echo "$SANDBOX_TASK_GIVEN_PATH$tasks"').output == "\n"


def test_no_variable_of_the_sandbox_is_one_of_ours(provider: Callable[..., Any]) -> None:
    names = ("tasks", "task", "name", "tag", "folder", "given", "command", "status", "session", "size", "dead")
    sandbox = provider().create(SandboxSpec(env={**dict.fromkeys(names, "mine"), "IFS": "/", "ENV": "/dev/null/x"}))
    assert sandbox.exec('printf "%s," $tasks $status $session $size; exit 3').output == "mine,mine,mine,mine,"
    sandbox.write_file("folder/file", b"x", mode=0o600)
    assert sandbox.read_file("folder/file") == b"x"
    sandbox.remove("folder")
    sandbox.close()


@pytest.mark.parametrize("env", [None, {"GIVEN": "it's"}])
def test_a_command_of_100_kilobytes(sandbox: DaytonaSandbox, env: dict[str, str] | None) -> None:
    text = 'it\'s "quoted" \\ $ ` é ' * 4800
    command = f"wc -c <<'END'\n{text}\nEND\n"
    assert 100_000 < len(command.encode()) < 128_000
    assert sandbox.exec(command, env=env).output.strip() == str(len(text.encode()) + 1)


def test_a_variable_of_100_kilobytes(sandbox: DaytonaSandbox) -> None:
    value = "it's 'é'\n$x" * 10_000
    output = sandbox.exec('printf %s "$LARGE" | wc -c; env | grep -c GIVEN', env={"LARGE": value}).output
    assert output.split() == [str(len(value.encode())), "0"]


@pytest.mark.parametrize(("command", "env"), [("true #" + "x" * 131_072, {}), ("true", {"LARGE": "x" * 131_072})])
def test_what_no_process_can_be_given_is_refused_before_it_is_sent(
    emulator: Emulator, sandbox: DaytonaSandbox, command: str, env: dict[str, str]
) -> None:
    emulator.reset_log()
    with pytest.raises(SandboxError, match=r"no command can be started.*pass it in a file"):
        sandbox.exec(command, env=env)
    assert emulator.log() == []


HOSTILE = {
    "closes its output": ("echo before; exec >&- 2>&-; echo lost; exit 4", 4, "before\n"),
    "clears the temporary folder": ('echo before; rm -rf "$TMPDIR"/*; echo after; exit 5', 5, "before\nafter\n"),
    "removes the temporary folder": ('rm -rf "$TMPDIR"; echo after', 0, "after\n"),
    "says what our answers say": (r'printf "\n%s 0 ended\n" "${SANDBOX_TASK%.}"; exit 6', 6, None),
    "reads what is not there": ("cat; read line; echo $?", 0, "1\n"),
    "makes its output a binary": (r"head -c 300 /dev/zero; printf '\n\377'", 0, "\0" * 300 + "\n�"),
    "ends with many lines": (r"printf 'x\n\n\n'", 0, "x\n\n\n"),
    "leaves a line unended": ("printf x", 0, "x"),
    "goes into the background": ("(sleep 0.1; echo late) & echo now", 0, "now\n"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_command_that(sandbox: DaytonaSandbox, what: str) -> None:
    command, code, output = HOSTILE[what]
    result = sandbox.exec(command)
    assert result.exit_code == code
    assert output is None or result.output == output
    assert sandbox.exec("echo on").output == "on\n"


def test_a_command_that_kills_what_started_it_is_an_error_and_no_hang(sandbox: DaytonaSandbox) -> None:
    with pytest.raises(SandboxError, match="the command killed what had started it"):
        sandbox.exec("kill -9 $PPID; echo on")
    assert sandbox.exec("echo on").output == "on\n"


def test_a_command_that_kills_what_started_it_and_whose_answer_is_lost_is_no_hang_either(
    emulator: Emulator, sandbox: DaytonaSandbox
) -> None:
    emulator.fault("exec", lose_response=True)
    with pytest.raises(SandboxError, match="the command killed what had started it"):
        sandbox.exec("kill -9 $PPID; echo on", timeout=30)


def test_a_full_disk_is_named_and_can_be_cleared(emulator: Emulator, sandbox: DaytonaSandbox) -> None:
    sandbox.write_file("work/large", b"x")
    sandbox.exec("cat large", cwd="work").check()
    emulator.configure(disk_full=True)
    with pytest.raises(SandboxError, match=r"the sandbox's disk is full(?s:.*)free space in it"):
        sandbox.exec("echo out; exit 3")
    assert sandbox.read_file("work/large") == b"x"
    sandbox.remove("work")
    assert sandbox.list_files("") == [".daytona/", ".zshrc"]
    emulator.configure(disk_full=False)
    assert sandbox.exec("echo on").output == "on\n"


@pytest.mark.parametrize("shell", ["zsh", "bash", "sh"])
def test_whatever_shell_the_service_finds_a_command_is_one_of_sh(
    emulator: Emulator, sandbox: DaytonaSandbox, shell: str
) -> None:
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell} here")
    emulator.configure(shell=shell)
    command = "x='a b'; set -- $x; echo $#; echo no-such-*.file; echo 'it''s \"!!\" %s \\'; cat <<E\nhere\nE\n"
    for env in ({}, {"GIVEN": "it's\n!! %s"}):
        result = sandbox.exec(f'printf %s "$GIVEN"; {command}', env=env)
        assert result.output == env.get("GIVEN", "") + '2\nno-such-*.file\nits "!!" %s \\\nhere\n'
    sandbox.write_file("in/a\nb", b"x", mode=0o600)
    assert sandbox.read_files(["in/a\nb"]) == {"in/a\nb": b"x"}


def test_many_threads_execute_at_once(emulator: Emulator, sandbox: DaytonaSandbox) -> None:
    emulator.fault("exec", lose_response=True, after=3, times=3)
    results: dict[int, str] = {}

    def run(number: int) -> None:
        results[number] = sandbox.exec(f"{TIMES}; echo {number}; printf '%s' $GIVEN", env={"GIVEN": str(number)}).output

    threads = [threading.Thread(target=run, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == {number: f"{number}\n{number}" for number in range(12)}
    assert times(sandbox) == 12
    assert [t.name for t in threading.enumerate()].count("kiro-daytona") == 1


def test_removing_one_folder_leaves_the_commands_of_another(sandbox: DaytonaSandbox) -> None:
    """Also of the tenth and eleventh in which something was executed, whose number begins as the first one's does."""
    folders = [f"folder{number}" for number in range(1, 13)]
    sandbox.write_files({f"{folder}/file": (b"", 0o644) for folder in folders})
    for folder in folders:
        sandbox.exec("env -i sleep 1000 & echo $! >pid", cwd=folder).check()
    pids = [int(sandbox.read_file(f"{folder}/pid")) for folder in folders]
    sandbox.remove(folders[0])
    wait_until(lambda: not is_alive(pids[0]))
    assert [pid for pid in pids[1:] if not is_alive(pid)] == []
