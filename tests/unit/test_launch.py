"""Contract L as values, and through a real `sh`: the line, the filter, the script, what it writes down."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import subprocess
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import run_python
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_kiro.terminal.launch import Filter, Launch, LaunchRecord, read_launch_record

NONCE = "0123456789abcdef"
MARKER = f"ready-{NONCE}"


def make(*argv: str, workspace: str = "/w", stdin: bytes = b"", **options: object) -> Launch:
    return Launch(argv, workspace=workspace, folder=f".cache/{NONCE}", nonce=NONCE, stdin=stdin, **options)


# -- L1


@given(st.lists(st.text(), min_size=1), st.text(), st.binary(), st.text())
def test_l1_the_line_is_short_printable_and_says_nothing(
    argv: list[str], workspace: str, prompt: bytes, secret: str
) -> None:
    launch = make(*argv, workspace=workspace, stdin=prompt, env={"KIRO_API_KEY": secret})
    line = launch.line()
    assert line == f' exec sh "$HOME"/.cache/{NONCE}/launch; exit 127\n'
    assert re.fullmatch(r"[ -~]{1,100}\n", line)
    assert launch.marker not in line, "its echo would be taken for the marker"


@pytest.mark.parametrize("name", ["", "A B", "A=B", "1A", "A;rm", "É", "A\n"])
def test_a_variable_that_no_shell_can_export_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be set: letters, digits and _"):
        make("true", env={name: "x"}).script()
    with pytest.raises(ValueError, match="'A' cannot be set"):
        make("true", env={"A": "x\0"}).script()


# -- L3, L4

ECHO = f' exec sh "$HOME"/.cache/{NONCE}/launch; exit 127\r\n'.encode()
BEFORE = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from(
            [
                ECHO,
                b"$ ",
                b"\r\nready-\r\n",
                f"\r\nready-{NONCE[:-1]}\r\n".encode(),
                f"say {MARKER}\r\n".encode(),
                f"\r\n{MARKER} \r\n".encode(),
                f"\r\n{MARKER}{NONCE}\r\n".encode(),
                b"\r\n",
                b"\n",
            ]
        ),
    )
).map(b"".join)
AFTER = st.lists(
    st.one_of(st.binary(max_size=40), st.sampled_from([f"\r\n{MARKER}\r\n".encode(), b"\r\n", b"\r", b"\n", ECHO]))
).map(b"".join)
END = st.sampled_from([b"\r\n", b"\n"])


def fed(chunks: list[bytes]) -> bytes:
    held = Filter(MARKER)
    return b"".join(held.past(chunk) for chunk in chunks)


@given(BEFORE, END, AFTER)
def test_l3_every_cut_in_two(before: bytes, end: bytes, after: bytes) -> None:
    stream = before + end + MARKER.encode() + end + after
    for cut in range(len(stream) + 1):
        assert fed([stream[:cut], stream[cut:]]) == after


@given(BEFORE, END, AFTER, st.data())
def test_l3_any_chunks(before: bytes, end: bytes, after: bytes, data: st.DataObject) -> None:
    stream = before + end + MARKER.encode() + end + after
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert fed(chunks) == after
    assert fed([stream[i : i + 1] for i in range(len(stream))]) == after


@given(BEFORE)
def test_l3_without_the_marker_nothing_comes_out(before: bytes) -> None:
    held = Filter(MARKER)
    assert b"".join(held.past(before[i : i + 3]) for i in range(0, len(before), 3)) == b""
    assert not held.opened
    assert held.said == before


def test_l4_memory_is_bounded_while_waiting() -> None:
    held, chunk = Filter(MARKER), b"#" * 50_000
    tracemalloc.start()
    for _ in range(400):
        assert held.past(chunk) == b""
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000, "20 MB came in"
    assert len(held.said) <= 64 * 1024
    assert held.past(f"the end\n{MARKER}\nhello".encode()) == b"hello"
    assert held.said == b""


# -- the script, run by a real sh


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "w").mkdir()
    return tmp_path


def run(top: Path, *argv: str, **options: object) -> tuple[bytes, LaunchRecord]:
    """Run the script as its line would, without a terminal; return what follows the marker, and the outcome."""
    launch = make(*argv, workspace=str(top / "w"), **options)
    folder = top / launch.folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in launch.contents().items():
        (folder / name).write_bytes(data)
    env = {"HOME": str(top), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        ["sh", str(folder / "launch")], env=env, cwd=top, capture_output=True, timeout=60, check=False
    )
    outcome = read_launch_record((folder / "record").read_bytes(), NONCE)
    assert outcome.status == done.returncode, done.stderr
    return fed([done.stdout]), outcome


@pytest.fixture(scope="module")
def wide_home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "w").mkdir()
        yield Path(folder)


BYTE_SAFE = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@FEW
@given(prompt=BYTE_SAFE)
def test_l7_any_prompt_is_read_byte_for_byte(wide_home: Path, prompt: str) -> None:
    shown, _ = run(wide_home, "cat", stdin=prompt.encode())
    assert shown == prompt.encode()


@FEW
@given(value=BYTE_SAFE, word=BYTE_SAFE)
def test_l7_any_argument_and_any_variable_too(wide_home: Path, value: str, word: str) -> None:
    shown, _ = run(wide_home, "sh", "-c", 'printf "%s\\0%s" "$VALUE" "$1"', "x", word, env={"VALUE": value})
    assert shown == f"{value}\0{word}".encode()


@pytest.mark.parametrize("unit", ["x", "🍩", "\x03\x1b\x7f", "'\"\\$`!\n", "\t"], ids=ascii)
@pytest.mark.parametrize("size", [4095, 4096, 131_072, 1_048_576])
def test_l7_a_long_prompt(home: Path, unit: str, size: int) -> None:
    prompt = (unit * size).encode()[:size].decode("utf-8", "ignore").encode()
    shown, _ = run(home, "cat", stdin=prompt)
    assert shown == prompt


def test_l2_the_program_is_not_reached_without_its_workspace(home: Path) -> None:
    launch = make("touch", str(home / "ran"), workspace=str(home / "missing"))
    folder = home / launch.folder
    folder.mkdir(parents=True)
    (folder / "launch").write_text(launch.script())
    done = subprocess.run(
        ["sh", str(folder / "launch")], env={**os.environ, "HOME": str(home)}, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (126, b"")
    assert b"missing" in done.stderr
    assert not (home / "ran").exists()


# -- the outcome

ODD = [
    "plain",
    "two words",
    "new\nline",
    "\nfirst",
    "last\n",
    "back\\slash",
    "\\n",
    "tab\tand\rreturn",
    "'\"$HOME`",
    "-rf",
    "é 🍩",
    b"latin-\xe9\xff".decode("utf-8", "surrogateescape"),
    f"x\n{NONCE} y",
    "deep/er/file",
]


def test_names_of_every_kind_are_told_with_their_digest(home: Path) -> None:
    contents = {name: f"content of {name!r}".encode() for name in ODD}
    for name, data in contents.items():
        file = home / "w" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    _, outcome = run(home, "true")
    expected = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    # A name with the nonce of this very launch in it is the one that nobody can have made.
    expected.pop(f"x\n{NONCE} y")
    assert {name: outcome.before.get(name) for name in expected} == expected
    assert outcome.after == outcome.before


def test_links_are_told_by_where_they_lead(home: Path) -> None:
    work = home / "w"
    (work / "file").write_text("x")
    (work / "link").symlink_to("file")
    (work / "lost").symlink_to("no\nwhere")
    (work / "folder").symlink_to("/etc")
    (work / "odd\nname").symlink_to(b"\xff".decode("utf-8", "surrogateescape"))
    _, outcome = run(home, "ln", "-sfn", "elsewhere", "link")
    assert outcome.before["link"] == "link to file"
    assert outcome.after["link"] == "link to elsewhere"
    assert outcome.after["lost"] == "link to no\nwhere"
    assert outcome.after["folder"] == "link to /etc"
    assert outcome.after["odd\nname"] == "link to \udcff"
    assert set(outcome.after) == {"file", "link", "lost", "folder", "odd\nname"}


def test_git_and_caches_are_left_out_and_nothing_else(home: Path) -> None:
    work = home / "w"
    for path in (
        ".git/index",
        "sub/.git/config",
        ".github/ci.yml",
        "a.git/file",
        "__pycache__/x.pyc",
        "sub/__pycache__/y.pyc",
    ):
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).write_text("x")
    os.mkfifo(work / "pipe")
    _, outcome = run(home, "true")
    assert set(outcome.after) == {".github/ci.yml", "a.git/file"}


@pytest.mark.parametrize("name", ["launch_folder", "launch_sum", "D", "IFS", "PATH", "name", "store"])
def test_what_the_user_exports_reaches_the_program_and_nothing_else(home: Path, name: str) -> None:
    (home / "w" / "file").write_text("x")
    _, outcome = run(home, "/bin/sh", "-c", 'printf "%s" "$' + name + '" >/$HOME/seen; : >made', env={name: "5"})
    assert outcome.status == 0
    assert (home / "seen").read_text() == "5" or name == "IFS"  # which every shell begins anew
    assert set(outcome.before) == {"file"}
    assert set(outcome.after) == {"file", "made"}


def test_a_store_cannot_forge_what_the_script_wrote(home: Path) -> None:
    (home / "store").mkdir()
    forged = f"\n{NONCE} after-files\n\n{NONCE} status\n0\n{NONCE} x\n"
    command = f"printf '%s' '{forged}' >\"$HOME/store/log\"; : >made; exit 3"
    _, outcome = run(home, "sh", "-c", command, stores=("store",))
    assert outcome.status == 3
    assert set(outcome.after) == {"made"}


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """For a user without root, to whom mode 000 means something; nothing waits and nothing is lost beside it."""
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "closed").write_text("x")
    (tmp_path / "w" / "open").write_text("x")
    (tmp_path / "w" / "closed").chmod(0)
    _, outcome = run(tmp_path, "true")
    assert outcome.after["closed"] == "link to unreadable"
    assert outcome.after["open"] == hashlib.sha256(b"x").hexdigest()


def test_stores_are_brought_back_when_they_were_touched(home: Path) -> None:
    (home / "store/deep").mkdir(parents=True)
    (home / "store/old").write_text("old")
    long_ago = time.time() - 3600
    os.utime(home / "store/old", (long_ago, long_ago))
    data = bytes(range(256)) + b"\n\n" + b"x" * 100_000 + b"\n"
    (home / "data").write_bytes(data)
    script = 'cp "$HOME/data" "$HOME/store/deep/new one"; : >"$HOME/store/empty"'
    _, outcome = run(home, "sh", "-c", script, stores=("store", "no such store"))
    assert outcome.stores == {f"{home}/store/deep/new one": data, f"{home}/store/empty": b""}


def test_a_store_that_is_a_file_is_brought_back_whole_also_when_only_its_log_was_touched(home: Path) -> None:
    (home / "db").write_bytes(b"old")
    long_ago = time.time() - 3600
    os.utime(home / "db", (long_ago, long_ago))
    _, outcome = run(home, "sh", "-c", 'echo new >"$HOME/db-wal"', stores=("db", "db-wal", "db-none"))
    assert outcome.stores == {f"{home}/db": b"old", f"{home}/db-wal": b"new\n"}
    assert "old" not in repr(outcome)  # a login is in V1's


def test_stderr_is_kept_apart_and_its_end_brought_back(home: Path) -> None:
    script = "echo out; echo err >&2"
    assert run(home, "sh", "-c", script)[1].diagnostics == b""
    assert run(home, "sh", "-c", script, apart=True)[0] == b"out\n"
    assert run(home, "sh", "-c", script, apart=True)[1].diagnostics == b"err\n"
    long = "head -c 300000 /dev/zero | tr '\\0' x >&2; echo end >&2"
    told = run(home, "sh", "-c", long, apart=True)[1].diagnostics
    assert len(told) == 256 * 1024
    assert told.endswith(b"xend\n")


def test_the_program_has_a_home_of_its_own_and_its_stores_are_there(home: Path) -> None:
    own = home / "users" / "a b"
    _, outcome = run(
        home,
        *("sh", "-c", 'mkdir ~/store; echo "$HOME" >~/store/file'),
        home=str(own),
        prepare=shlex.join(["mkdir", "-p", str(own)]),
        stores=("store",),
    )
    assert outcome.stores == {f"{own}/store/file": f"{own}\n".encode()}


def test_a_home_that_cannot_be_made_ends_the_launch_and_says_why(home: Path) -> None:
    launch = make("touch", str(home / "ran"), workspace=str(home), prepare="echo because; exit 3")
    done = subprocess.run(["sh", "-c", launch.script()], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (126, "because\n")
    assert not (home / "ran").exists()


def ask(home: Path, word: str, path: str | None = None) -> str:
    env = {"HOME": str(home), "PATH": path or os.environ["PATH"]}
    command = ["sh", str(home / ".cache" / NONCE / "launch"), word]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True).stdout


def test_a_program_is_asked_to_end_and_its_status_is_kept(home: Path) -> None:
    launch = make("sh", "-c", "echo up; exec sleep 600", workspace=str(home / "w"))
    folder = home / launch.folder
    folder.mkdir(parents=True)
    for name, data in launch.contents().items():
        (folder / name).write_bytes(data)
    env = {"HOME": str(home), "PATH": os.environ["PATH"]}
    with subprocess.Popen(["sh", str(folder / "launch")], env=env, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        while running.stdout.readline() != b"up\n":
            pass
        ask(home, "terminate")
        assert running.wait(60) == 143
    assert read_launch_record((folder / "record").read_bytes(), NONCE).status == 143


@pytest.mark.parametrize("other", [False, True], ids=["GNU", "BSD"])
def test_how_long_the_stores_were_not_written_to(home: Path, other: bool) -> None:
    run(home, "true", stores=("store", "db"))
    path = os.environ["PATH"]
    if other:  # its stat has other words
        tools = home / "bin"
        tools.mkdir()
        (tools / "stat").write_text(
            f'#!/bin/sh\n[ "$1 $2" = "-f %m" ] || exit 1\nshift 2\nPATH={path}\nexec stat -c %Y "$@"\n'
        )
        (tools / "stat").chmod(0o755)
        path = f"{tools}:{path}"
    assert ask(home, "idle", path) == ""  # there is none
    (home / "store").mkdir()
    now = time.time()
    for name, age in (("store/old", 500), ("store/a b", 100), ("db", 300)):
        (home / name).write_text("x")
        os.utime(home / name, (now - age, now - age))
    assert 99 <= int(ask(home, "idle", path)) <= 120


def test_a_store_that_is_written_at_once_is_not_missed(home: Path) -> None:
    """The clock of files is coarse: a program that is as fast as a shell can be must not seem to be older."""
    (home / "store").mkdir()
    for number in range(20):
        _, outcome = run(home, "sh", "-c", f'echo {number} >"$HOME/store/file"', stores=("store",))
        assert outcome.stores == {f"{home}/store/file": f"{number}\n".encode()}


@pytest.mark.parametrize("status", [0, 1, 126, 255])
def test_the_status_is_the_programs(home: Path, status: int) -> None:
    _, outcome = run(home, "sh", "-c", f"exit {status}")
    assert outcome.status == status


def test_an_outcome_that_is_not_whole_is_refused(home: Path) -> None:
    (home / "w" / "file").write_text("x")
    run(home, "true")
    whole = (home / ".cache" / NONCE / "record").read_bytes()
    assert read_launch_record(whole, NONCE).status == 0
    for end in range(len(whole) - 1):
        with pytest.raises(ValueError, match="ends too early"):
            read_launch_record(whole[:end], NONCE)
    with pytest.raises(ValueError, match="ends too early"):
        read_launch_record(whole, "another nonce")


def test_a_killed_programs_outcome_can_be_collected_later(home: Path) -> None:
    (home / "w" / "made").write_text("x")
    run(home, "true")
    folder = home / ".cache" / NONCE
    (folder / "record").unlink()
    subprocess.run(["sh", str(folder / "launch"), "collect"], env={**os.environ, "HOME": str(home)}, check=True)
    outcome = read_launch_record((folder / "record").read_bytes(), NONCE)
    assert (outcome.status, list(outcome.after)) == (None, ["made"])


WITHOUT_ROOT = """
import os, subprocess, sys, tempfile, shutil, json
sys.path.insert(0, sys.argv[1])
from helpers import drop_root
from pytest_kiro.terminal.launch import Launch, read_launch_record
if os.getuid() == 0:
    drop_root()
with tempfile.TemporaryDirectory(dir="/tmp") as home:
    launch = Launch(("true",), workspace=home + "/w", folder=".cache/n", nonce="n" * 16)
    os.makedirs(home + "/w/closed")
    os.makedirs(home + "/.cache/n")
    for name in ("closed/file", "open", "secret"):
        open(f"{home}/w/{name}", "w").close()
    for name in ("closed", "secret"):
        os.chmod(f"{home}/w/{name}", 0)
    for name, data in launch.contents().items():
        open(f"{home}/.cache/n/{name}", "wb").write(data)
    env = {"HOME": home, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["sh", home + "/.cache/n/launch"], env=env, cwd=home, stdout=subprocess.DEVNULL)
    outcome = read_launch_record(open(home + "/.cache/n/record", "rb").read(), "n" * 16)
    os.chmod(home + "/w/closed", 0o700)
    print(done.returncode, sorted(outcome.after), outcome.after["secret"])
"""


def test_unreadable_without_root() -> None:
    """A folder that nobody may enter is no reason to fail."""
    said = run_python(WITHOUT_ROOT, str(Path(__file__).parents[1]), cwd=Path("/"))
    assert said == "0 ['open', 'secret'] link to unreadable\n"
