"""The emulator as a process: it starts, it steers, and it leaves nothing."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daytona_client import ask, create
from emulator import Emulator, handle
from emulator.handle import EmulatorError
from helpers import is_alive, wait_until

ROOT = Path(__file__).parents[2]
#: Each leaves its marks behind in another way.
ESCAPES = {
    "plain": "sleep 1000 &",
    "setsid": "setsid sleep 1000 &",
    "env -i": "env -i sleep 1000 &",
    "cd": "cd /; setsid sleep 1000 &",
    "all of it": "(cd /; env -i setsid sh -c 'cd /; exec -a other sleep 1000' || env -i setsid sleep 1000) &",
    "orphan": "env -i setsid sh -c 'cd /; setsid sleep 1000 & exit' &",
}


def launch(emulator: Emulator, box: dict[str, Any], command: str) -> int:
    """Start something in the background of a sandbox and return its process, seen from outside."""
    before = set(pids(emulator, box["id"]))
    redirected = f"{{ {command} }} >/dev/null 2>&1 </dev/null"
    assert ask(emulator, "POST", f"/toolbox/{box['id']}/process/execute", {"command": redirected}).status == 200
    (pid,) = wait_until(lambda: [pid for pid in pids(emulator, box["id"]) if pid not in before and _sleeps(pid)])
    return pid


def pids(emulator: Emulator, id: str) -> list[int]:
    return next(box["pids"] for box in emulator.sandboxes() if box["id"] == id)


def _sleeps(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"1000" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return False


@pytest.fixture
def own() -> Iterator[Emulator]:
    """An emulator of the test's own, to be ended in its own way."""
    emulator = Emulator()
    yield emulator
    emulator.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux shows processes well enough")
@pytest.mark.parametrize("escape", ESCAPES)
def test_what_runs_in_a_sandbox_ends_with_it(emulator: Emulator, escape: str) -> None:
    box, other = create(emulator), create(emulator)
    pid, stays = launch(emulator, box, ESCAPES[escape]), launch(emulator, other, ESCAPES[escape])
    assert ask(emulator, "DELETE", f"/api/sandbox/{box['id']}").status == 200
    assert not is_alive(pid)
    assert is_alive(stays)
    assert [one["id"] for one in emulator.sandboxes()] == [other["id"]]
    emulator.reset()
    assert not is_alive(stays)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux shows processes well enough")
@pytest.mark.parametrize("way", ["close", "SIGTERM", "SIGINT", "parent"])
def test_nothing_is_left_of_it(own: Emulator, way: str) -> None:
    box = create(own)
    running = [launch(own, box, ESCAPES[escape]) for escape in ("plain", "all of it")]
    path = f"/toolbox/{box['id']}/process/pty"
    assert ask(own, "POST", path, {"id": "one"}).status == 201
    emulator = own.pid
    assert emulator is not None
    port = int(own.url.split(":")[2].partition("/")[0])
    assert Path(box_home(own)).is_dir()
    if way == "close":
        own.close()
    elif way == "parent":  # its standard input ends when the process that holds the other end is gone
        own._process.stdin.close()
    else:
        os.kill(emulator, getattr(signal, way))
    wait_until(lambda: not is_alive(emulator))
    assert [pid for pid in running if is_alive(pid)] == []
    assert not Path(own.host_root).exists()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    own.close()
    own.close()


def box_home(emulator: Emulator) -> str:
    return str(emulator.sandboxes()[0]["home"])


def test_a_folder_of_ones_own_is_kept_and_empty(tmp_path: Path) -> None:
    with Emulator(root=tmp_path, rate_limit=5) as emulator:
        assert emulator.host_root == str(tmp_path)
        assert emulator.configure()["rate_limit"] == 5
        box = create(emulator)
        assert emulator.sandboxes()[0]["home"] == f"{tmp_path}/{box['id']}/home/daytona"
    assert list(tmp_path.iterdir()) == []


def test_folders_that_were_closed_are_removed_too(emulator: Emulator) -> None:
    box = create(emulator)
    command = "mkdir -p a/b; touch a/b/c; chmod 000 a/b; chmod 500 a"
    ask(emulator, "POST", f"/toolbox/{box['id']}/process/execute", {"command": command})
    root = Path(emulator.sandboxes()[0]["root"])
    ask(emulator, "DELETE", f"/api/sandbox/{box['id']}")
    assert not root.exists()


def test_a_second_handle_on_the_same_emulator(emulator: Emulator) -> None:
    other = Emulator.at(emulator.url, emulator.key)
    other.fault("config", status=500)
    assert ask(emulator, "GET", "/api/config").status == 500
    assert other.host_root == emulator.host_root
    assert other.pid is None
    other.close()
    assert ask(emulator, "GET", "/api/config").status == 200
    with pytest.raises(EmulatorError, match="401"):
        Emulator.at(emulator.url, "another key")


def test_the_log(emulator: Emulator) -> None:
    box = create(emulator, name="mine")
    ask(emulator, "GET", f"/toolbox/{box['id']}/files/info?path=a%20b")
    ask(emulator, "GET", "/nowhere")
    log = emulator.log()
    assert [entry["route"] for entry in log] == ["sandbox_create", "files_info", "unknown"]
    assert [entry["status"] for entry in log] == [200, 404, 404]
    assert log[0]["body"] == {"name": "mine"}
    assert (log[1]["sandbox"], log[1]["query"]) == (box["id"], {"path": "a b"})
    assert "headers" not in log[0]
    assert emulator.log("unknown", headers=True)[0]["headers"]["Authorization"] == f"Bearer {emulator.key}"
    emulator.reset_log()
    assert emulator.log() == []


def test_a_reset_forgets_everything(emulator: Emulator) -> None:
    create(emulator)
    emulator.configure(latency=0.01, rate_limit=1)
    emulator.fault("config", status=500, times=None)
    emulator.put_snapshot("mine")
    emulator.advance(1e6)
    emulator.reset()
    assert (emulator.configure()["latency"], emulator.configure()["rate_limit"]) == (0, None)
    assert (emulator.sandboxes(destroyed=True), emulator.snapshots(), emulator.log()) == ([], [], [])
    assert ask(emulator, "GET", "/api/config").status == 200


def test_a_bug_in_it_is_not_kept_quiet(own: Emulator) -> None:
    os.rmdir(own.host_root)
    Path(own.host_root).touch()  # so no sandbox can be made
    with pytest.raises(EmulatorError, match="NotADirectoryError"), own:
        assert ask(own, "POST", "/api/sandbox", {}).status == 500
    Path(own.host_root).unlink()


def test_one_that_does_not_end_is_killed_and_told(own: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handle, "_STOP_TIMEOUT", 0.2)
    box = create(own)
    ask(own, "POST", f"/toolbox/{box['id']}/process/execute", {"command": "true"})
    emulator, workers = own.pid, _workers(own)
    assert emulator is not None
    assert len(workers) == sys.platform.startswith("linux")
    os.kill(emulator, signal.SIGSTOP)
    with pytest.raises(EmulatorError, match="did not end within"):
        own.close()
    assert not is_alive(emulator)
    wait_until(lambda: not any(map(is_alive, workers)))
    assert not Path(own.host_root).exists()
    own.close()


def _workers(emulator: Emulator) -> list[int]:
    """The processes that stand for the daemons' own."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cmdline").read_bytes().startswith(f"python3 {emulator.host_root}/".encode()):
                found.append(int(entry.name))
    return found


def test_by_hand() -> None:
    command = [sys.executable, "-m", "tests.emulator", "--key", "a-key", "--memory", "1", "--latency", "0.01"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        said = "".join(process.stdout.readline() for _ in range(4))
        url = re.search(r"export DAYTONA_API_URL=(\S+)\nexport DAYTONA_API_KEY=a-key\n", said)[1]
        emulator = Emulator.at(url, "a-key")
        create(emulator)
        assert ask(emulator, "POST", "/api/sandbox", {}).status == 403
        emulator.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


@pytest.mark.parametrize("options", [["--memory", "-1"], ["--shell", "fish"], ["--port", "x"], ["--latency", "-1"]])
def test_a_wrong_command_line(options: list[str]) -> None:
    command = [sys.executable, "-m", "tests.emulator", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "error:" in done.stderr


def test_the_handle_needs_nothing_but_the_standard_library() -> None:
    script = "import sys; sys.path.insert(0, sys.argv[1]); import emulator; print(*sys.modules)"
    command = [sys.executable, "-W", "error", "-c", script, str(ROOT / "tests")]
    loaded = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.split()
    assert "emulator.handle" in loaded
    assert not {"aiohttp", "daytona", "pydantic", "pytest", "pytest_kiro"} & set(loaded)
