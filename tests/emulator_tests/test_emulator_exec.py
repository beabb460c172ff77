"""exec, by the SDK: what the shell gets, what comes back, and what ends it."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from daytona import AsyncSandbox, DaytonaBadGatewayError, DaytonaError, DaytonaTimeoutError
from daytona_client import ask, create, run_in_sandbox
from emulator import Emulator
from emulator.machine import chosen_shell
from helpers import is_alive, wait_until


def result(emulator: Emulator, command: str, **options: object) -> tuple[int, str]:
    async def use(box: AsyncSandbox) -> tuple[int, str]:
        response = await box.process.exec(command, **options)
        return response.exit_code, response.result

    return run_in_sandbox(emulator, use)


@pytest.fixture(params=["zsh", "bash", "sh"])
def shell(request: pytest.FixtureRequest, emulator: Emulator) -> str:
    if not shutil.which(request.param):
        pytest.skip(f"there is no {request.param} here")
    emulator.configure(shell=request.param)
    return str(request.param)


def test_output_is_merged_and_the_exit_code_is_there(emulator: Emulator, shell: str) -> None:
    code, output = result(emulator, "echo out; echo err >&2; pwd; exit 3")
    assert code == 3
    assert output.splitlines()[:2] == ["out", "err"]
    assert output.endswith("/home/daytona\n")


def test_the_shell_is_the_one_that_is_configured(emulator: Emulator, shell: str) -> None:
    known = {"zsh": "$ZSH_NAME", "bash": "${BASH##*/}", "sh": "sh"}[shell]
    assert result(emulator, f"echo {known}") == (0, f"{shell}\n")


@pytest.mark.parametrize("shell", ["zsh", "bash"], indirect=True)
def test_a_child_that_reads_stdin_eats_what_follows(emulator: Emulator, shell: str) -> None:
    """The command is the shell's standard input. (Some sh read ahead, and leave a child nothing.)"""
    assert result(emulator, "echo first\nhead -1\necho third\n")[1] == "first\necho third\n"


def test_environment_and_directory(emulator: Emulator) -> None:
    command = 'printf "%s|" "$A" "$HOME" "$PWD" "$DAYTONA_SANDBOX_ID"'

    async def use(box: AsyncSandbox) -> list[str]:
        home = await box.get_work_dir()
        assert home == await box.get_user_home_dir()
        await box.fs.create_folder("below", "755")
        said = (await box.process.exec(command, cwd="below", env={"A": "b c"})).result
        assert said == f"b c|{home}|{home}/below|{box.id}|"
        with pytest.raises(DaytonaError, match="invalid environment variable"):
            await box.process.exec("true", env={"A-B": "c"})
        return (await box.process.exec("env")).result.splitlines()

    environment = run_in_sandbox(emulator, use, env_vars={"MINE": "yes"})
    assert "MINE=yes" in environment
    secret = {name for name in os.environ if "KEY" in name or "TOKEN" in name or name.startswith(("AWS_", "PYTEST_"))}
    assert not secret & {line.partition("=")[0] for line in environment}


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"cwd": "/not/there"}, "fork/exec {}: no such file or directory"),
        ({"cwd": ".zshrc"}, "fork/exec {}: not a directory"),
        ({"env": {"A": "x" * 200_000}}, "fork/exec {}: argument list too long"),
        ({"env": {"A": "b\0c"}}, "exec: environment variable contains NUL"),
    ],
)
def test_a_command_that_cannot_start(emulator: Emulator, options: dict[str, Any], why: str) -> None:
    emulator.configure(shell="sh")
    assert result(emulator, "true", **options) == (-1, why.format(shutil.which("sh")))


def test_a_command_that_cannot_start_is_an_error_if_wanted(emulator: Emulator) -> None:
    emulator.configure(start_error=True)
    with pytest.raises(DaytonaError, match="failed to start"):
        result(emulator, "true", cwd="/not/there")


def test_a_timeout_kills_the_group_and_loses_the_output(emulator: Emulator) -> None:
    async def use(box: AsyncSandbox) -> int:
        with pytest.raises(DaytonaTimeoutError, match="request timeout: command execution timeout") as caught:
            await box.process.exec("echo lost; sleep 1000 & echo $! > pid; wait", timeout=1)
        assert (caught.value.status_code, caught.value.source) == (408, None)
        return int(await box.fs.download_file("pid"))

    pid = run_in_sandbox(emulator, use)
    wait_until(lambda: not is_alive(pid))


def test_a_timeout_is_answered_when_nobody_holds_the_output_any_more(emulator: Emulator, tmp_path: Path) -> None:
    """What has left the group is not killed."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)

    async def use(box: AsyncSandbox) -> None:
        command = f"echo $$ > pid; setsid sh -c 'echo > begun; read x < {gate}' & wait"
        calling = asyncio.create_task(box.process.exec(command, timeout=1))
        home = Path(await box.get_work_dir())
        await asyncio.to_thread(wait_until, (home / "begun").exists)
        pid = int((home / "pid").read_text())
        await asyncio.to_thread(wait_until, lambda: not is_alive(pid))
        await box.get_work_dir()  # what was under way has come
        assert not calling.done()
        await asyncio.to_thread(gate.write_text, "go\n")
        with pytest.raises(DaytonaTimeoutError):
            await calling

    run_in_sandbox(emulator, use)


def test_a_signal_is_minus_one(emulator: Emulator) -> None:
    assert result(emulator, "echo before; kill -9 $$") == (-1, "before\n")


def test_a_background_child_that_holds_the_output_holds_the_call(emulator: Emulator, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)

    async def use(box: AsyncSandbox) -> str:
        calling = asyncio.create_task(box.process.exec(f"sh -c 'read x < {gate}; echo late' & echo early"))
        done, _ = await asyncio.wait((calling,), timeout=0.5)
        assert not done
        await asyncio.to_thread(gate.write_text, "go\n")
        return (await calling).result

    assert run_in_sandbox(emulator, use) == "early\nlate\n"


def test_output_that_is_no_utf8_is_replaced(emulator: Emulator) -> None:
    """Byte by byte."""
    assert result(emulator, "printf 'a\\360\\237\\215b'") == (
        0,
        "a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}b",
    )


def test_json_is_compact_and_escaped(emulator: Emulator) -> None:
    path = f"/toolbox/{create(emulator)['id']}/process/execute"
    answer = ask(emulator, "POST", path, {"command": "echo '<ä&>'"})
    assert answer.data.decode() == r'{"exitCode":0,"result":"\u003cä\u0026\u003e\n"}'


def test_a_large_command_and_a_large_output(emulator: Emulator) -> None:
    code, output = result(emulator, f": {'x' * 300_000}\nhead -c 2000000 /dev/zero | tr '\\0' x")
    assert (code, len(output)) == (0, 2_000_000)


def test_what_is_no_command_is_refused(emulator: Emulator) -> None:
    path = f"/toolbox/{create(emulator)['id']}/process/execute"
    for body in (
        {},
        {"command": " "},
        {"command": 1},
        {"command": "true", "timeout": "1"},
        [],
        {"command": "true", "envs": []},
    ):
        answer = ask(emulator, "POST", path, body)
        assert answer.status == 400, body
        assert "source" not in answer.body
    assert ask(emulator, "POST", path, {"command": " "}).body["message"] == "bad request: command is required"


def test_what_no_route_takes(emulator: Emulator) -> None:
    tools = f"/toolbox/{create(emulator)['id']}"
    for method, path in (("GET", f"{tools}/nowhere"), ("PUT", f"{tools}/process/execute")):
        answer = ask(emulator, method, path)
        assert (answer.status, answer.data) == (404, b"404 page not found")
        assert answer.headers.get_content_type() == "text/plain"
    assert ask(emulator, "GET", "/api/nowhere").body["statusCode"] == 404


@pytest.mark.parametrize(
    ("known", "variable", "shell"),
    [
        ("/bin/bash\n/bin/zsh\n/usr/bin/zsh\n", "/bin/dash", "/usr/bin/zsh"),
        ("/bin/bash\n/bin/zsh\n", None, "/bin/zsh"),
        ("# /usr/bin/zsh\n/bin/bash\n", None, "/bin/bash"),
        ("/bin/sh\n/bin/dash\n", "/bin/dash", "/bin/dash"),
        ("", None, "sh"),
    ],
)
def test_the_shell_is_chosen_by_the_list_of_shells(known: str, variable: str | None, shell: str) -> None:
    assert chosen_shell(known, variable) == shell


def test_what_the_daemon_has_in_every_sandbox(emulator: Emulator) -> None:
    argv = "cat /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'"
    command = f'ls -d ~/.daytona "$TMPDIR"/*.py; {argv} | grep "^python3 $TMPDIR/"'

    async def use(box: AsyncSandbox) -> None:
        home = await box.get_work_dir()
        worker = f"{Path(home).parents[1]}/tmp/daytona_repl_worker.py"
        for _ in range(2):
            said = (await box.process.exec(command)).result
            assert said.splitlines() == [f"{home}/.daytona", worker, f"python3 {worker}"]
            await box.stop()
            await box.start()

    run_in_sandbox(emulator, use)
    assert emulator.sandboxes()[0]["pids"] == []


@pytest.mark.parametrize("state", ["destroyed", "error"])
def test_a_machine_that_dies_takes_the_call_with_it(emulator: Emulator, state: str) -> None:
    async def use(box: AsyncSandbox) -> None:
        calling = asyncio.create_task(box.process.exec("sleep 1000"))
        await asyncio.to_thread(wait_until, lambda: len(emulator.sandboxes()[0]["pids"]) >= 1)
        await asyncio.to_thread(emulator.kill_sandbox, box.id, state=state)
        with pytest.raises(DaytonaBadGatewayError):
            await calling
        with pytest.raises(DaytonaError) as caught:
            await box.process.exec("true")
        assert caught.value.status_code == (404 if state == "destroyed" else 502)

    run_in_sandbox(emulator, use)
    assert [box["state"] for box in emulator.sandboxes()] == (["error"] if state == "error" else [])


def test_nothing_can_be_written_to_a_full_disk(emulator: Emulator) -> None:
    emulator.configure(disk_full=True)
    code, output = result(emulator, "echo hello > file; echo $?; wc -c < file")
    assert (code, output.splitlines()[-2:]) == (0, ["1", "0"]), output
