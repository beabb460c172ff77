"""exec, by the SDK: what the shell gets, what comes back, and what ends it."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest
from daytona import AsyncSandbox, DaytonaBadGatewayError, DaytonaError, DaytonaTimeoutError
from daytona_client import ask, create, run_in_sandbox
from emulator import Emulator
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


def test_a_command_that_cannot_start(emulator: Emulator) -> None:
    assert result(emulator, "true", cwd="/not/there") == (-1, "")
    emulator.configure(start_error=True)
    with pytest.raises(DaytonaError, match="failed to start"):
        result(emulator, "true", cwd="/not/there")


def test_a_timeout_kills_the_group_and_loses_the_output(emulator: Emulator) -> None:
    async def use(box: AsyncSandbox) -> int:
        with pytest.raises(DaytonaTimeoutError, match="command execution timeout") as caught:
            await box.process.exec("echo lost; sleep 1000 & echo $! > pid; wait", timeout=1)
        assert caught.value.status_code == 408
        return int(await box.fs.download_file("pid"))

    pid = run_in_sandbox(emulator, use)
    wait_until(lambda: not is_alive(pid))


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
    assert result(emulator, "printf 'a\\377b'") == (0, "a\N{REPLACEMENT CHARACTER}b")


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
        assert ask(emulator, "POST", path, body).status == 400, body


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
