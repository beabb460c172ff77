"""Files over a network that loses, refuses and repeats: many in one request, any size, and nothing half."""

from __future__ import annotations

import base64
import os
import random
import shlex
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from emulator import Emulator
from helpers import NOBODY, open_folder

from pytest_kiro.errors import SandboxError, SandboxTimeout
from pytest_kiro.sandbox.daytona import guest
from pytest_kiro.sandbox.daytona.files import _archive
from pytest_kiro.sandbox.daytona.sandbox import DaytonaSandbox
from pytest_kiro.sandbox.guarded import clearing
from pytest_kiro.sandbox.protocol import SandboxSpec
from pytest_kiro.settings.waits import DaytonaWaits

#: More than comes back with an answer; two of `MUCH` are so as well.
LARGE = random.Random(1).randbytes(1 << 20) * 5
MUCH = LARGE[: 3 << 20]
PLAIN = 0o644


@pytest.fixture
def sandbox(provider: Callable[..., Any], clock: Any) -> Iterator[DaytonaSandbox]:
    """One whose pauses between two attempts take no time."""
    made = provider(clock=clock).create(SandboxSpec())
    yield made
    made.close()


def requests(emulator: Emulator) -> list[str]:
    """The requests since this was asked last."""
    routes = [entry["route"] for entry in emulator.log()]
    emulator.reset_log()
    return routes


def on_host(emulator: Emulator) -> Path:
    return Path(emulator.sandboxes()[0]["home"])


@pytest.mark.parametrize("size", [8, 100])
def test_megabytes_go_both_ways(emulator: Emulator, sandbox: DaytonaSandbox, size: int) -> None:
    data = b"".join(number.to_bytes(4) + LARGE[: 1 << 20] for number in range(size))
    for write in (lambda: sandbox.write_file("a", data), lambda: sandbox.write_files({"a": (data, PLAIN)})):
        write()
        assert (on_host(emulator) / "a").read_bytes() == data
        assert sandbox.read_file("a") == data
        sandbox.remove("a")
    sandbox.exec("true").check()
    assert sandbox.list_files("../../tmp/tasks") == [], "what was on its way lies nowhere"


@pytest.mark.parametrize("count", [600, 2000])
def test_many_files_are_one_request_each_way(emulator: Emulator, sandbox: DaytonaSandbox, count: int) -> None:
    wanted = {f"shop/src/module_{n % 50}/a rather long name of a file {n}.py": b"%d\n" % n for n in range(count)}
    requests(emulator)
    sandbox.write_files({path: (data, PLAIN) for path, data in wanted.items()})
    assert requests(emulator) == ["exec"]
    assert sandbox.read_files(wanted) == wanted
    assert requests(emulator) == ["exec"]
    sandbox.write_new({f"new/{path}": (data, PLAIN) for path, data in wanted.items()})
    assert requests(emulator) == ["files_bulk_upload"]


@pytest.mark.parametrize("size", [1, 1000])
def test_modes_and_odd_names_are_one_request_and_two_when_there_is_much(
    emulator: Emulator, sandbox: DaytonaSandbox, size: int
) -> None:
    wanted = {f"plain/{n}": (b"%d" % n, PLAIN) for n in range(500)}
    wanted |= {"run.sh": (b"#!/bin/sh\necho ran\n", 0o755), "secret": (b"s", 0o600), "new\nline": (b"n", PLAIN)}
    wanted["much"] = (random.Random(2).randbytes(size * 1000), PLAIN)
    requests(emulator)
    sandbox.write_files(wanted)
    assert requests(emulator) == ["files_bulk_upload", "exec"][size == 1 :]
    assert sandbox.read_files(wanted) == {path: data for path, (data, _) in wanted.items()}
    home = on_host(emulator)
    modes = {path: (home / path).stat().st_mode & 0o777 for path in wanted}
    assert modes == {path: mode for path, (_, mode) in wanted.items()}
    assert sandbox.exec("./run.sh").output == "ran\n"


#: One for each kind of request, which is retried by itself; a download is the last.
FAULTS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "lost": [
        ("files_bulk_upload", {"lose_response": True}),
        ("exec", {"lose_response": True}),
        ("files_bulk_download", {"lose_response": True}),
    ],
    "torn": [("files_bulk_upload", {"drop": True, "times": 2}), ("files_bulk_download", {"drop": True})],
    "refused": [
        ("files_bulk_upload", {"status": 503, "times": 3}),
        ("exec", {"status": 502, "times": 2}),
        ("files_bulk_download", {"status": 500, "times": 2}),
    ],
    "limited": [
        ("files_bulk_upload", {"status": 429, "headers": {"Retry-After": "30"}, "times": 2}),
        ("files_bulk_download", {"status": 429, "headers": {"Retry-After": "30"}}),
    ],
    "cut in its head": [("files_bulk_download", {"cut_body": 40})],
    "cut": [("files_bulk_download", {"cut_body": 5_000_000, "times": 2})],
    "truncated in its head": [("files_bulk_download", {"truncate": 40})],
    "truncated": [("files_bulk_download", {"truncate": 5_000_000, "times": 2})],
    "truncated at once": [("files_bulk_download", {"truncate": 0})],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_byte_arrives_although(emulator: Emulator, sandbox: DaytonaSandbox, fault: str) -> None:
    for route, rule in FAULTS[fault]:
        emulator.fault(route, **rule)
    sandbox.write_files({"plain": (MUCH, PLAIN), "script": (b"s", 0o700)})
    sandbox.write_file("careful", MUCH[::-1])
    assert sandbox.read_files(["plain", "careful", "script"]) == {
        "plain": MUCH,
        "careful": MUCH[::-1],
        "script": b"s",
    }
    for route, rule in FAULTS[fault]:
        assert len(emulator.log(route)) > rule.get("times", 1), "it was asked again"


@pytest.mark.parametrize("fault", [{"truncate": 5_000_000}, {"cut_body": 5_000_000}, {"status": 500}])
def test_a_download_that_never_succeeds_is_an_error(
    emulator: Emulator, sandbox: DaytonaSandbox, fault: dict[str, Any]
) -> None:
    sandbox.write_file("large", LARGE)
    emulator.fault("files_bulk_download", times=None, **fault)
    with pytest.raises(SandboxError, match="download"):
        sandbox.read_file("large")


FULL = r"(upload|write) .*: the sandbox's disk is full(?s:.*)free space in it, or ask for a larger disk"


@pytest.mark.parametrize("write", [lambda s: s.write_file("a", b"x"), lambda s: s.write_files({"a": (b"x", PLAIN)})])
def test_a_full_disk_is_named_with_what_to_do(
    emulator: Emulator, sandbox: DaytonaSandbox, write: Callable[[DaytonaSandbox], None]
) -> None:
    emulator.configure(disk_full=True)
    with pytest.raises(SandboxError, match=FULL):
        write(sandbox)
    emulator.configure(disk_full=False)
    write(sandbox)


def test_a_disk_that_is_full_when_files_are_placed_is_named_too(emulator: Emulator, sandbox: DaytonaSandbox) -> None:
    """And what is too large to come with an answer cannot be packed there."""
    sandbox.write_file("large", LARGE)
    emulator.configure(disk_full=True)
    with pytest.raises(SandboxError, match=r"read files: the sandbox's disk is full(?s:.*)free space in it"):
        sandbox.read_file("large")


def test_what_an_agent_put_in_the_place_of_a_file_holds_nobody_up(sandbox: DaytonaSandbox) -> None:
    sandbox.exec("mkfifo pipe pipe2; ln -s pipe2 to-pipe; ln -s /dev/full device").check()
    sandbox.exec("python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"socket\")'").check()
    names = ("pipe", "to-pipe", "socket", "device")
    for name in names:
        with pytest.raises(OSError, match="neither a file nor a folder"):
            sandbox.read_file(name)
    with pytest.raises(OSError, match=r"neither a file nor a folder.*/dev/full"):
        sandbox.write_file("/dev/full", b"x")
    sandbox.write_files({name: (name.encode(), 0o600) for name in names})
    assert sandbox.read_files(names) == {name: name.encode() for name in names}
    assert sandbox.list_files("") == [".daytona/", ".zshrc", "device", "pipe", "pipe2", "socket", "to-pipe"]


@pytest.mark.parametrize("waits", [DaytonaWaits(upload=0.5)], ids=["quick"])
def test_an_upload_that_is_held_up_is_not_waited_for(emulator: Emulator, sandbox: DaytonaSandbox) -> None:
    emulator.fault("files_bulk_upload", delay=30)
    with pytest.raises(SandboxTimeout, match=r"upload 2 files, 2 bytes: Daytona did not answer in time"):
        sandbox.write_new({"fine": (b"x", PLAIN), "other": (b"x", PLAIN)})


@pytest.mark.parametrize("mode", [PLAIN, 0o600])
def test_folders_in_the_way_are_named(sandbox: DaytonaSandbox, mode: int) -> None:
    sandbox.exec("mkdir -p folder/in; echo x >file; ln -s file link; ln -s nowhere lost; ln -s folder way").check()
    with pytest.raises(IsADirectoryError, match="/folder'"):
        sandbox.write_files({"fine": (b"x", PLAIN), "folder": (b"x", mode)})
    with pytest.raises(NotADirectoryError, match="/file'"):
        sandbox.write_files({"fine": (b"x", PLAIN), "file/below": (b"x", mode)})
    new = {"link": (b"new", mode), "lost": (b"made", mode), "way/in/a": (b"on the way", mode), "way/../b": (b"b", mode)}
    sandbox.write_files(new)
    assert sandbox.read_files(["file", "link", "lost", "folder/in/a", "b"]) == {
        "file": b"x\n",
        "link": b"new",
        "lost": b"made",
        "folder/in/a": b"on the way",
        "b": b"b",
    }


@pytest.mark.parametrize("count", [1000, 5000])
def test_a_folder_with_many_entries(sandbox: DaytonaSandbox, count: int) -> None:
    make = f"seq -f 'a rather long name of a file %g' {count} | xargs -d '\\n' touch"
    sandbox.exec(f"mkdir -p many/inner && cd many && {make}").check()
    found = sandbox.list_files("many")
    assert len(found) == count + 1
    assert "inner/" in found
    assert found == sorted(found)
    paths = [f"many/{name}" for name in found if not name.endswith("/")]
    assert sandbox.read_files(paths) == dict.fromkeys(paths, b"")


def test_more_names_than_one_command_holds(sandbox: DaytonaSandbox, emulator: Emulator) -> None:
    folder = "/".join(["d" * 200] * 8)
    wanted = {f"{folder}/{n}": b"%d" % n for n in range(600)}
    sandbox.write_files({path: (data, 0o600) for path, data in wanted.items()})
    requests(emulator)
    assert sandbox.read_files(wanted) == wanted
    assert requests(emulator) == ["exec"] * 3, "more than 200 of these names fit into one, and 300 do not"


def test_links_that_lead_in_circles(sandbox: DaytonaSandbox) -> None:
    sandbox.exec("mkdir loop; ln -s ../loop loop/again; ln -s b a; ln -s a b").check()
    assert sandbox.list_files("loop") == ["again"]
    with pytest.raises(FileNotFoundError):
        sandbox.read_file("a")
    sandbox.write_file("a", b"x")
    assert sandbox.read_file("b") == b"x"
    sandbox.remove("loop")
    assert sandbox.list_files("") == [".daytona/", ".zshrc", "a", "b"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_what_may_not_be_read_or_written_is_named(sandbox: DaytonaSandbox) -> None:
    sandbox.exec("echo x >secret; chmod 000 secret; mkdir closed; chmod 500 closed").check()
    with pytest.raises(PermissionError, match="/secret'"):
        sandbox.read_file("secret")
    for mode in (PLAIN, 0o600):
        with pytest.raises(PermissionError, match="/closed/file'"):
            sandbox.write_files({"closed/file": (b"x", mode)})
    sandbox.remove("closed")
    sandbox.remove("secret")


def test_files_that_are_one_file_and_files_that_change(sandbox: DaytonaSandbox) -> None:
    sandbox.exec("echo one >a; ln a b; ln -s a c; : >empty; setsid sh -c 'while :; do echo line; done >log' &").check()
    found = sandbox.read_files(["a", "b", "c", "empty", "log"])
    assert {name: found[name] for name in ("a", "b", "c", "empty")} == {
        "a": b"one\n",
        "b": b"one\n",
        "c": b"one\n",
        "empty": b"",
    }
    assert found["log"].startswith(b"line\n")


@pytest.mark.parametrize("waits", [DaytonaWaits(stalled=1.0)], ids=["quick"])
def test_a_download_that_stalls_is_begun_anew(emulator: Emulator, sandbox: DaytonaSandbox) -> None:
    sandbox.write_file("large", LARGE)
    emulator.fault("files_bulk_download", delay=60)
    assert sandbox.read_file("large") == LARGE


VERBS: dict[str, Callable[[DaytonaSandbox], Any]] = {
    "read": lambda sandbox: sandbox.read_file("large"),
    "write": lambda sandbox: sandbox.write_file("large", LARGE),
    "write_new": lambda sandbox: sandbox.write_new({"a": (b"x", PLAIN), "b": (b"x", PLAIN)}),
    "list": lambda sandbox: sandbox.list_files(""),
    "remove": lambda sandbox: sandbox.remove("large"),
}


@pytest.mark.parametrize("waits", [DaytonaWaits(stalled=2.0)], ids=["quick"])
@pytest.mark.parametrize(
    ("verb", "route"),
    [
        ("read", "exec"),
        ("read", "files_bulk_download"),
        ("write", "files_bulk_upload"),
        ("write", "exec"),
        ("write_new", "files_bulk_upload"),
        ("list", "exec"),
        ("remove", "exec"),
    ],
)
def test_a_sandbox_that_dies_meanwhile_is_gone(
    emulator: Emulator, sandbox: DaytonaSandbox, verb: str, route: str
) -> None:
    sandbox.write_file("large", LARGE)
    # What was being sent may have been read from the disk already, so the link is cut as well.
    cut = {"cut_body": 100_000} if route == "files_bulk_download" else {}
    emulator.fault(route, kill_sandbox="destroyed", **cut)
    with pytest.raises(SandboxError, match="is gone: Daytona says it is destroyed"):
        VERBS[verb](sandbox)


def test_what_a_name_means_is_not_for_the_shell(sandbox: DaytonaSandbox) -> None:
    names = [
        "$(touch hit)",
        "`touch hit`",
        "; touch hit",
        "-rf",
        "~",
        "a\\nb",
        "%s",
        "!!",
        "'",
        '"',
        "[a]*?",
        "#x",
        "=",
    ]
    wanted = {f"in/{name}": name.encode() for name in names}
    sandbox.write_files({path: (data, PLAIN) for path, data in wanted.items()})
    assert sandbox.read_files(wanted) == wanted
    assert sandbox.list_files("in") == sorted(names)
    for path in wanted:
        sandbox.remove(path)
    assert sandbox.exec(f"find {shlex.quote(sandbox.home)} -name hit; ls in").output == ""


@pytest.mark.parametrize("has_gzip", [True, False], ids=["gzip", "no gzip"])
def test_a_large_file_that_has_the_line_by_which_downloads_are_cut(sandbox: DaytonaSandbox, has_gzip: bool) -> None:
    data = b"x" * (5 << 20) + b"\r\n--DAYTONA-FILE-BOUNDARY\r\n" + b"y" * 20_000
    sandbox.write_file("large file", data)
    if has_gzip:
        assert sandbox.read_file("large file") == data
        return
    command = guest.pack([f"{sandbox.home}/large file"], f"{sandbox.home}/pack", inline=0)
    answer = sandbox.exec(f"gzip() {{ return 1; }}; {command}").output.splitlines()
    assert answer[:2] == ["f", "failed"]
    assert answer[2].endswith("/large file")
    assert "by which Daytona cuts what is downloaded" in answer[3]


CLOSED = """
mkdir -p ws/closed ws/readonly/__pycache__ ws/new.py/full
touch ws/closed/kept ws/new.py/full/x ws/readonly/__pycache__/a.x.pyc
chmod 500 ws/readonly ws/readonly/__pycache__ ws
chmod 0 ws/closed ws/new.py/full ws/new.py
"""


@pytest.mark.skipif(os.getuid() != 0, reason="not root, so nobody else can be asked")
@pytest.mark.parametrize("by", ["archive", "each"])
def test_a_folder_that_was_closed_is_opened_by_who_is_not_root(by: str) -> None:
    """Sandboxes in Daytona have a user of their own; the emulated ones are whose the emulator is."""
    files = dict.fromkeys(("closed/in", "readonly/a.py", "readonly/deep/b", "new.py"), (b"new", PLAIN))
    with open_folder() as folder:
        ask = partial(subprocess.run, cwd=folder, user=NOBODY, group=NOBODY, extra_groups=[], text=True, check=True)
        ask(["sh", "-c", CLOSED])
        if by == "archive":
            inline = base64.b64encode(_archive({f"0/{path}": entry for path, entry in files.items()})).decode()
            values = {"stage": f"{folder}/stage", "inline": inline, "archive": "", "unpack": "tar -xpof -"}
            command = guest.on_files("place", [f"{folder}/ws", "1"], **values)
        else:
            placed = {f"{folder}/ws/{path}": entry for path, entry in files.items()}
            command = clearing(placed, folder, [f"{folder}/ws"])
            command += "".join(f"echo new >{folder}/ws/{path} || exit\n" for path in files)
        ask(["sh", "-c", command])
        left = {str(path.relative_to(folder)) for path in Path(folder, "ws").rglob("*") if path.is_file()}
    assert left == {f"ws/{path}" for path in (*files, "closed/kept")}
