"""Contract L as values, and through a real `sh`: the line, the filter, the script, what it writes down."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shlex
import shutil
import subprocess
import tarfile
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import run_python
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from listings import changes, inside

from pytest_kiro.errors import SandboxError
from pytest_kiro.sandbox.protocol import ExecResult
from pytest_kiro.settings.waits import Waits
from pytest_kiro.terminal.follow import Launched
from pytest_kiro.terminal.launch import Filter, Launch
from pytest_kiro.terminal.record import LaunchRecord, read_launch_record
from pytest_kiro.turn.changes import Changes

NONCE = "0123456789abcdef"
MARKER = f"ready-{NONCE}"


def make(*argv: str, workspace: str = "/w", stdin: bytes = b"", **options: object) -> Launch:
    return Launch(argv, workspace=workspace, folder=f".cache/{NONCE}", nonce=NONCE, stdin=stdin, **options)


# -- L1


@given(st.lists(st.text(), min_size=1), st.text(), st.binary(), st.text())
def test_l1_the_line_is_short_printable_and_says_nothing(
    argv: list[str], workspace: str, prompt: bytes, secret: str
) -> None:
    launch = make(*argv, workspace=workspace, stdin=prompt, env={"KIRO_API_KEY": secret}).within("/home/me")
    line = launch.line()
    assert line == f" exec /bin/sh /home/me/.cache/{NONCE}/launch; exit 127\n"
    assert re.fullmatch(r"[ -~]{1,100}\n", line)
    assert launch.marker not in line, "its echo would be taken for the marker"


@pytest.mark.parametrize("home", ["/home/my $HOME'", "/home/zoë\udcff", "/tab\t"])
def test_l1_a_home_of_any_name_is_typed_in_printable_ascii(home: str) -> None:
    line = make("true").within(home).line()
    assert re.fullmatch(r"[ -~]+\n", line)
    word = line.removeprefix(" exec /bin/sh ").removesuffix("; exit 127\n")
    told = subprocess.check_output(["sh", "-c", f"printf %s {word}"])
    assert told == f"{home}/.cache/{NONCE}/launch".encode("utf-8", "surrogateescape")


@pytest.mark.parametrize("name", ["", "A B", "A=B", "1A", "A;rm", "É", "A\n"])
def test_a_variable_that_no_shell_can_export_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be set: letters, digits and _"):
        make("true", env={name: "x"}).script()
    with pytest.raises(ValueError, match="'A' cannot be set"):
        make("true", env={"A": "x\0"}).script()


# -- L3, L4

ECHO = f" exec /bin/sh /home/me/.cache/{NONCE}/launch; exit 127\r\n".encode()
LINE = f"{MARKER} {'0' * 64} -".encode()
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
                f"\r\n{MARKER}\r\n".encode(),
                f"\r\n{MARKER} - x\r\n".encode(),
                f"\r\n{MARKER}{NONCE}\r\n".encode(),
                b"\r\n",
                b"\n",
            ]
        ),
    )
).map(b"".join)
AFTER = st.lists(
    st.one_of(st.binary(max_size=40), st.sampled_from([b"\r\n" + LINE + b"\r\n", b"\r\n", b"\r", b"\n", ECHO]))
).map(b"".join)
END = st.sampled_from([b"\r\n", b"\n"])


def fed(chunks: list[bytes]) -> bytes:
    held = Filter(MARKER)
    return b"".join(held.past(chunk) for chunk in chunks)


@given(BEFORE, END, AFTER)
def test_l3_every_cut_in_two(before: bytes, end: bytes, after: bytes) -> None:
    stream = before + end + LINE + end + after
    for cut in range(len(stream) + 1):
        assert fed([stream[:cut], stream[cut:]]) == after


@given(BEFORE, END, AFTER, st.data())
def test_l3_any_chunks(before: bytes, end: bytes, after: bytes, data: st.DataObject) -> None:
    stream = before + end + LINE + end + after
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
    assert held.past(b"the end\n" + LINE + b"\nhello") == b"hello"
    assert held.said == b""
    assert held.digests == ("0" * 64, "")


# -- the script, run by a real sh


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "w").mkdir()
    return tmp_path


class Machine:
    """As much of a sandbox as is asked what a program left; `path` comes before the system's folders."""

    remote = True

    def __init__(self, home: Path, path: str = "") -> None:
        self.home, self.path = str(home), path

    def place(self, text: str) -> str:
        return text.replace("\nPATH=/usr/bin:", f"\nPATH={self.path}:/usr/bin:") if self.path else text

    def exec(self, command: str, *, cwd: str, timeout: float) -> ExecResult:
        words = ["/bin/sh", "-c", self.place(command)]
        done = subprocess.run(words, cwd=cwd, capture_output=True, timeout=60, check=False)
        return ExecResult(command, done.returncode, done.stdout.decode(), 0.0)

    def read_file(self, path: str) -> bytes:
        return Path(path).read_bytes()

    def remove(self, path: str) -> None:
        shutil.rmtree(path)


def launched(top: Path, launch: Launch, path: str = "") -> Launched:
    return Launched(Machine(top, path), launch.within(str(top)), Waits())


def begin(top: Path, launch: Launch, path: str = "") -> subprocess.CompletedProcess[bytes]:
    """Run the script as its line would, without a terminal."""
    launch = launch.within(str(top))
    folder = Path(launch.folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in launch.contents().items():
        (folder / name).write_bytes(data)
    (folder / "launch").write_text(Machine(top, path).place(launch.script()))
    env = {"HOME": str(top), "PATH": os.environ["PATH"]}
    words = ["/bin/sh", str(folder / "launch")]
    return subprocess.run(words, env=env, cwd=top, capture_output=True, timeout=60, check=False)


def run(top: Path, *argv: str, path: str = "", **options: object) -> tuple[bytes, LaunchRecord]:
    """Run a program; return what follows the marker, and what it left."""
    launch = make(*argv, workspace=str(top / "w"), **{"left_out": (".cache",), **options})
    done, held = begin(top, launch, path), Filter(MARKER)
    shown = held.past(done.stdout)
    _, outcome = launched(top, launch, path).survey(held.digests, "", None)
    assert outcome is not None
    assert outcome.status == done.returncode, done.stderr
    assert not (top / launch.folder).exists()
    return shown, outcome


@pytest.fixture(scope="module")
def wide_home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "w").mkdir()
        yield Path(folder)


BYTE_SAFE = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
FEW = settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])


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
    done = begin(home, make("touch", str(home / "ran"), workspace=str(home / "missing")))
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


def test_names_of_every_kind_are_told_with_their_digest(home: Path, find: str) -> None:
    contents = {name: f"content of {name!r}".encode() for name in ODD}
    for name, data in contents.items():
        file = home / "w" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    _, outcome = run(home, "true", path=find)
    assert set(inside(outcome.after)) == set(ODD)
    assert changes(outcome) == Changes()
    # A name with a newline counts by its times.
    expected = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items() if "\n" not in name}
    digests = {name.decode("utf-8", "surrogateescape"): d for name, d in outcome.after.split()[0].digests.items()}
    assert digests == expected


@pytest.fixture(params=["GNU", "others"])
def find(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A PATH with the system's find, or with one that has no -printf."""
    if request.param == "GNU":
        return ""
    tools = tmp_path / "tools"
    tools.mkdir()
    refuses = 'for word do [ "$word" != -printf ] || exit 1; done'
    (tools / "find").write_text(f'#!/bin/sh\n{refuses}\nexec /usr/bin/find "$@"\n')
    (tools / "find").chmod(0o755)
    return str(tools)


MAKES = """
ln -sfn elsewhere link; ln -s "$(printf 'no\\nwhere\\n')" lost; mkfifo pipe; mkdir -p empty/folder full; echo x >full/x
rm same old; mkdir old; echo x >same; touch touched; echo 3 >changed
"""


def test_every_kind_of_change_is_told(home: Path, find: str) -> None:
    work = home / "w"
    for name in ("same", "touched", "changed", "old", "gone/file"):
        (work / name).parent.mkdir(exist_ok=True)
        (work / name).write_text("x\n")
    (work / "link").symlink_to("file")
    (work / "hollow").mkdir()
    _, outcome = run(home, "sh", "-c", f"{MAKES.strip()}; rm -r gone; rmdir hollow", path=find)
    assert changes(outcome) == Changes(
        added=frozenset({"lost", "pipe", "empty/folder/", "full/x"}),
        modified=frozenset({"link", "changed", "old/"}),
        deleted=frozenset({"gone/file", "hollow/"}),
    )


def test_a_link_says_where_it_leads_and_a_file_of_no_content_costs_nothing(home: Path) -> None:
    with (home / "w" / "image").open("wb") as image:
        image.truncate(40 << 30)
    _, outcome = run(home, "sh", "-c", "ln -s 'no\nwhere' lost; printf x | dd of=image conv=notrunc 2>&1")
    assert inside(outcome.after)["lost"][1] == b"no\nwhere"
    assert changes(outcome) == Changes(frozenset({"lost"}), frozenset({"image"}))


def test_a_list_that_was_altered_is_not_believed(home: Path) -> None:
    """Whatever the program writes there: what it was before is known by the digest that was printed."""
    (home / "w" / "keep").write_text("x")
    for script in ("echo y >keep; : >$F/before", "echo y >keep; echo >>$F/sums", "echo y >keep; rm $F/before"):
        _, outcome = run(home, "sh", "-c", f"F={home}/.cache/{NONCE}; {script}")
        assert (outcome.before, outcome.after) == (None, None)
        assert "has altered it" in outcome.altered
    assert outcome.status == 0


@pytest.mark.parametrize("harm", ['echo same >"$made-same"', 'ln -s "$HOME" "$made-after"'])
def test_what_a_survivor_puts_in_the_way_of_the_list_is_not_believed(home: Path, harm: str) -> None:
    """It sees the survey begin, and is ended by it."""
    launch = make("sh", "-c", ": >made", workspace=str(home / "w"), left_out=(".cache",))
    held = Filter(MARKER)
    held.past(begin(home, launch).stdout)
    with pytest.raises(SandboxError, match="put files in the way"):
        launched(home, launch).survey(held.digests, harm, None)
    again = launched(home, launch).survey(held.digests, "", None)[1]
    assert again is not None
    assert changes(again) == Changes(frozenset({"made"}))


def test_names_and_targets_imitate_nothing(home: Path) -> None:
    (home / "w" / "keep").write_text("x")
    script = f"""
    echo y >keep; ln -s "$(printf 'x\\n{NONCE} before\\n')" link; mkdir -p store/listed
    echo 0 >"$(printf 'a\\tb\\n./keep')"
    echo same >store/listed/listed; echo 9 >store/status; exit 3
    """
    _, outcome = run(home, "sh", "-c", script, stores=("w/store",))
    assert outcome.status == 3
    assert changes(outcome).modified == {"keep"}
    assert set(outcome.stores) == {f"{home}/w/store/listed/listed", f"{home}/w/store/status"}


def test_no_program_is_begun_that_is_not_needed(home: Path, tmp_path: Path) -> None:
    """Each turn waits for all of them: one more must be worth a millisecond or two of everybody's."""
    tools = tmp_path / "tools"
    tools.mkdir()
    begun = tmp_path / "begun"
    (tools / ":").write_text(f'#!/bin/sh\necho "${{0##*/}}" >>{begun}\nexec /usr/bin/"${{0##*/}}" "$@"\n')
    (tools / ":").chmod(0o755)
    for file in Path("/usr/bin").iterdir():
        (tools / file.name).symlink_to(":")
    script = "mkdir ~/store; echo x >~/store/file; echo x >made"
    _, outcome = run(home, "/bin/sh", "-c", script, path=str(tools), stores=("store", "w/made"), left_out=("tools",))
    assert set(outcome.stores) == {f"{home}/store/file", f"{home}/w/made"}
    launch, survey = ["find", "sha256sum"], ["find", "awk", "tr", "xargs", "sha256sum", "find", "tar", "base64"]
    assert begun.read_text().split()[:2] == launch
    assert sorted(begun.read_text().split()[2:]) == sorted(survey)
    assert changes(outcome) == Changes(frozenset({"made"}))


def test_names_are_compared_of_folders_and_of_what_changed_only(home: Path) -> None:
    """GNU's find puts the comparison of names first, unless an action stands before it."""
    launch = make("true", workspace=f"{home}/w", left_out=(".kiro/sessions",)).within(str(home))
    tell = 'find() { command find -D tree "$@"; }\n'
    listing = f"{launch.listing()}{tell}cd {home} && list_entries /dev/null -newerct @1"
    said = subprocess.run(["sh", "-c", listing], capture_output=True, text=True, check=False).stderr
    if "Optimized command line" not in said:
        pytest.skip("this find does not tell in which order it compares")
    order = re.sub(r"\[.*?\]", "", said.rpartition("Optimized command line")[2])
    prune, _, rest = order.partition("-prune")
    assert prune.index("-type d") < prune.index("-path ./.kiro/sessions")
    assert rest.index("-newerct") < rest.index("-path ")


def test_contents_that_did_not_change_are_not_read_again(home: Path) -> None:
    (home / "w" / "file").write_text("x")
    _, outcome = run(home, "true", since=f"{time.time() + 60:.0f}")
    assert outcome.before is not None
    assert not outcome.before.digests


def test_a_large_list_is_left_out_only_where_nothing_changed(home: Path) -> None:
    """Of a list above 64 KiB only the digest is compared, where no contents were looked at."""
    for number in range(1_500):
        (home / "w" / f"a file with a long name {number}").touch()
    since = f"{time.time() + 60:.0f}"
    _, unchanged = run(home, "true", since=since)
    assert unchanged.before is unchanged.after
    _, outcome = run(home, "/bin/sh", "-c", ": >made", since=since)
    assert not outcome.altered
    assert set(inside(outcome.after)) - set(inside(outcome.before)) == {"made"}


@pytest.mark.parametrize("name", ["launch_folder", "list_sum", "D", "IFS", "PATH", "name", "store"])
def test_what_the_user_exports_reaches_the_program_and_nothing_else(home: Path, name: str) -> None:
    (home / "w" / "file").write_text("x")
    _, outcome = run(home, "/bin/sh", "-c", 'printf "%s" "$' + name + '" >/$HOME/seen; : >made', env={name: "5"})
    assert outcome.status == 0
    assert (home / "seen").read_text() == "5" or name == "IFS"  # which every shell begins anew
    assert set(inside(outcome.before)) == {"file"}
    assert set(inside(outcome.after)) == {"file", "made"}


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """For a user without root, to whom mode 000 means something; nothing waits and nothing is lost beside it."""
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "closed").write_text("x")
    (tmp_path / "w" / "open").write_text("x")
    (tmp_path / "w" / "closed").chmod(0)
    _, outcome = run(tmp_path, "true")
    assert set(inside(outcome.after)) == {"open", "closed"}
    assert b"open" in outcome.after.split()[0].digests


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
    launch = make("touch", str(home / "ran"), workspace=str(home), prepare="echo because; exit 126")
    done = subprocess.run(["sh", "-c", launch.script()], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (126, "because\n")
    assert not (home / "ran").exists()


def test_a_program_is_asked_to_end_and_its_status_is_kept(home: Path) -> None:
    launch = make("sh", "-c", "echo up; exec sleep 600", workspace=str(home / "w")).within(str(home))
    folder = Path(launch.folder)
    folder.mkdir(parents=True)
    for name, data in launch.contents().items():
        (folder / name).write_bytes(data)
    with subprocess.Popen(["sh", str(folder / "launch")], stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        while running.stdout.readline() != b"up\n":
            pass
        assert launched(home, launch).terminate()
        assert running.wait(60) == 143
    assert (folder / "status").read_text() == "143"


@pytest.mark.parametrize("other", [False, True], ids=["GNU", "BSD"])
def test_how_long_the_stores_were_not_written_to(home: Path, other: bool) -> None:
    path = ""
    if other:  # its stat has other words
        tools = home / "bin"
        tools.mkdir()
        (tools / "stat").write_text(
            '#!/bin/sh\n[ "$1 $2" = "-f %m" ] || exit 1\nshift 2\nexec /usr/bin/stat -c %Y "$@"\n'
        )
        (tools / "stat").chmod(0o755)
        path = str(tools)
    launch = make("true", workspace=str(home / "w"), stores=("store", "db"))
    begin(home, launch)
    asked = launched(home, launch, path)
    assert asked.idle() is None  # there is none
    (home / "store").mkdir()
    now = time.time()
    for name, age in (("store/old", 500), ("store/a b", 100), ("db", 300)):
        (home / name).write_text("x")
        os.utime(home / name, (now - age, now - age))
    assert 98 <= (asked.idle() or 0) <= 120


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


def test_a_program_that_was_killed_leaves_no_status_and_its_changes_are_told(home: Path) -> None:
    launch = make("sh", "-c", ": >made; kill -9 $PPID", workspace=str(home / "w"), left_out=(".cache",))
    held = Filter(MARKER)
    held.past(begin(home, launch).stdout)
    outcome = launched(home, launch).survey(held.digests, "", None)[1]
    assert outcome is not None
    assert (outcome.status, changes(outcome)) == (None, Changes(frozenset({"made"})))


def test_stores_that_are_too_large_are_named_and_not_read(home: Path) -> None:
    script = "mkdir ~/store; echo x >~/store/small; truncate -s 65M ~/store/large"
    _, outcome = run(home, "sh", "-c", script, stores=("store",))
    assert outcome.stores == {f"{home}/store/small": b"x\n"}
    assert outcome.beyond == (f"{home}/store/large",)
    _, outcome = run(home, "sh", "-c", "truncate -s 65M ~/db; echo x >~/db-wal", stores=("db", "db-wal"))
    assert (outcome.stores, outcome.beyond, outcome.cut) == ({f"{home}/db-wal": b"x\n"}, (f"{home}/db",), False)


def test_more_than_is_read_of_all_stores_is_cut_off_and_told() -> None:
    """The survey ends its archive after so many bytes, wherever that is."""
    packed, launch = io.BytesIO(), make("true", workspace="/h/w").within("/h")
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, size in (("made-listed", 0), ("h/store/a", 1000), ("h/store/b", 3000)):
            entry = tarfile.TarInfo(name)
            entry.size = size
            archive.addfile(entry, io.BytesIO(b"x" * size))
    data = packed.getvalue()

    def read(end: int) -> tuple[list[str], bool]:
        record = read_launch_record(data[:end], launch, "/made", ("", ""))
        return list(record.stores), record.cut

    assert read(len(data)) == (["/h/store/a", "/h/store/b"], False)
    assert read(6 * 512) == (["/h/store/a"], True), "in the middle of a file"
    assert read(4 * 512) == (["/h/store/a"], True), "between two files"


@pytest.mark.parametrize(
    ("does", "altered", "intact"),
    [
        (":", "", True),
        (": >made", "", True),
        ('mv "$PWD" "$PWD.old"; mkdir "$PWD"', "", False),
        ('mv "$PWD" "$PWD.old"; ln -s /etc "$PWD"', "", False),
        ('mv "$PWD" "$PWD.old"', "its workspace is gone", False),
        ('cd /; rm -rf "$OWN"', "its HOME is gone", True),  # nothing is known of the workspace then
        ('rm "$LAUNCH/launch"', "the files of its launch", True),
        ('touch -d 2100-01-01 "$LAUNCH/launch"', "the files of its launch", True),
    ],
)
def test_what_it_ran_in_is_looked_for(home: Path, does: str, altered: str, intact: bool) -> None:
    own = home / "users" / "own"
    (own / "work").mkdir(parents=True)
    (own / "file").write_text("x")
    work = str(own / "work" / "w")
    files = str(home / make("true", workspace=work).folder)
    env = {"OWN": str(own), "LAUNCH": files}
    launch = make("sh", "-c", does, workspace=work, home=str(own), make=True, env=env)
    held = Filter(MARKER)
    held.past(begin(home, launch).stdout)
    _, outcome = launched(home, launch).survey(held.digests, "", None)
    assert outcome is not None
    assert (altered in outcome.altered, bool(outcome.altered), outcome.intact) == (True, bool(altered), intact)


def test_what_is_large_is_read_as_a_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "mkdir ~/store; head -c 9000000 /dev/urandom >~/store/log"
    _, outcome = run(home, "sh", "-c", script, stores=("store",))
    assert len(outcome.stores[f"{home}/store/log"]) == 9_000_000


WITHOUT_ROOT = """
import os, sys, tempfile
from pathlib import Path
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/unit"]
import test_launch
from helpers import drop_root
from pytest_kiro.turn.changes import Ledger
from pytest_kiro.turn.ignore import Ignore
if os.getuid() == 0:
    drop_root()
for does in sys.argv[2:]:
    with tempfile.TemporaryDirectory(dir="/tmp") as home:
        os.makedirs(home + "/w/closed/deep")
        for name in ("closed/deep/file", "open", "secret"):
            open(f"{home}/w/{name}", "w").close()
        for name in ("closed/deep", "closed", "secret"):
            os.chmod(f"{home}/w/{name}", 0)
        status, outcome = test_launch.run(Path(home), "sh", "-c", does)
        before, after = outcome.before.split()[0], outcome.after.split()[0]
        print(outcome.status, Ledger().record(before, after, Ignore()))
"""


def test_nothing_is_hidden_in_a_folder_that_is_closed() -> None:
    """Who is not root lists no folder whose permissions an agent, or an eval, has taken."""
    does = [
        "true",
        "echo x >x; chmod 0 .",
        "mkdir -p a/b; echo x >a/b/x; chmod 0 a/b a",
        "cd closed/deep; echo x >file; cd ../..; chmod 0 closed/deep closed",
    ]
    said = run_python(WITHOUT_ROOT, str(Path(__file__).parents[1]), *does, cwd=Path("/")).splitlines()
    assert said == [
        "0 <Changes none>",
        "0 <Changes added: x>",
        "0 <Changes added: a/b/x>",
        "0 <Changes modified: closed/deep/file>",
    ]
