"""Contract S, Sandbox (pytest_kiro/sandbox/protocol.py), on every provider."""

from __future__ import annotations

import os
import random
import shlex
import stat
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from helpers import wait_until
from machines import Machines

from pytest_kiro.agent.homes import leave
from pytest_kiro.errors import SandboxClosed, SandboxError, SandboxTimeout
from pytest_kiro.sandbox.protocol import OUTPUT_KEPT, CommandFailed, Provider, Pty, Sandbox, SandboxSpec

#: A child in each of the ways by which one leaves its parent behind; each writes its number to a file first.
CHILDREN = {
    "background": "sh -c 'echo $$ >child; exec sleep 1000' &",
    "silent": "sh -c 'echo $$ >child; exec sleep 1000' >/dev/null 2>&1 &",
    "stubborn": "sh -c \"trap '' TERM HUP INT; echo \\$\\$ >child; while :; do sleep 1000; done\" &",
    "setsid": "setsid sh -c 'echo $$ >child; exec sleep 1000' &",
    "no environment": "env -i /bin/sh -c 'echo $$ >child; exec sleep 1000' &",
}
NAMES = [
    "plain.txt",
    "two words.txt",
    "new\nline",
    "back\\slash",
    "tab\tand\rreturn",
    "'quotes' \"and\" $HOME `x`",
    "-rf",
    "*",
    "été 日本 🍩",
    b"latin-\xe9\xff".decode("utf-8", "surrogateescape"),
    " ",
]


def own(sandbox: Sandbox) -> list[str]:
    """What a test has put into the home; a machine's own files there begin with a dot."""
    return [name for name in sandbox.list_files("") if not name.startswith(".")]


def test_the_parts_are_what_the_protocol_says(machines: Machines, sandbox: Sandbox) -> None:
    assert isinstance(machines.provider, Provider)
    assert isinstance(sandbox, Sandbox)
    assert isinstance(sandbox.open_pty(), Pty)
    assert sandbox.isolated is machines.provider.isolated
    assert sandbox.id in repr(sandbox)


def test_s1_output_is_stdout_and_stderr_merged_in_order(sandbox: Sandbox) -> None:
    result = sandbox.exec("echo one; echo two >&2; echo three")
    assert (result.output, result.exit_code, result.ok) == ("one\ntwo\nthree\n", 0, True)
    assert result.command == "echo one; echo two >&2; echo three"
    assert 0 < result.duration < 30


CODES = {
    "true": 0,
    "exit 1": 1,
    "exit 42": 42,
    "exit 255": 255,
    "no-such-program-anywhere": 127,
    "kill -9 $$": 137,
    "kill -TERM $$": 143,
    "if": 2,
}


def test_s2_a_non_zero_exit_is_a_result(sandbox: Sandbox) -> None:
    for command, code in CODES.items():
        result = sandbox.exec(command)
        assert (result.exit_code, result.ok) == (code, code == 0), command


def test_s1_a_huge_output_loses_its_middle_and_says_so(sandbox: Sandbox) -> None:
    output = sandbox.exec("echo start; head -c 40000000 /dev/zero | tr '\\0' x; echo end").output
    assert output.startswith("start\nxxx")
    assert output.endswith("xxxend\n")
    first, said, last = output.partition("\n[... 23222794 bytes in the middle were not kept ...]\n")
    assert said
    assert len(first) == len(last) == OUTPUT_KEPT // 2
    assert len(output) < OUTPUT_KEPT + 100


def test_s2_check_turns_a_failure_into_an_error(sandbox: Sandbox) -> None:
    assert sandbox.exec("true").check().ok
    with pytest.raises(CommandFailed, match=r"exit code 3: echo why; exit 3\n  \| why") as caught:
        sandbox.exec("echo why; exit 3").check()
    assert caught.value.result.output == "why\n"


@pytest.mark.parametrize("child", CHILDREN)
def test_s3_a_timeout_keeps_the_output_and_kills_all_that_was_started(
    machines: Machines, sandbox: Sandbox, child: str
) -> None:
    command = f"echo before; echo $$ >shell; {CHILDREN[child]} while ! [ -s child ]; do :; done; echo up; sleep 1000"
    with pytest.raises(SandboxTimeout, match=r"within 0\.5 s and was killed") as caught:
        sandbox.exec(command, timeout=0.5)
    assert caught.value.output == "before\nup\n"
    assert "| up" in str(caught.value)
    assert str(caught.value).endswith("give exec a longer timeout")
    assert machines.is_over(machines.pid(sandbox, "shell"), machines.pid(sandbox, "child"))
    assert sandbox.exec("echo on").output == "on\n"


def test_s3_a_shell_that_ignores_every_polite_signal_is_ended_too(machines: Machines, sandbox: Sandbox) -> None:
    started = time.monotonic()
    with pytest.raises(SandboxTimeout):
        sandbox.exec("trap '' TERM HUP INT QUIT; echo $$ >shell; while :; do sleep 1000; done", timeout=0.5)
    assert time.monotonic() - started < 60
    assert machines.is_over(machines.pid(sandbox, "shell"))


def test_s4_env_adds_to_the_machines(sandbox: Sandbox) -> None:
    show = 'printf "%s|" "$HOME" "$OF_SPEC" "$MINE"'
    assert sandbox.exec(show).output == f"{sandbox.home}|spec||"
    assert sandbox.exec(show, env={"MINE": "a 'b'\n$c"}).output == f"{sandbox.home}|spec|a 'b'\n$c|"
    assert sandbox.exec(show, env={"OF_SPEC": "call"}).output == f"{sandbox.home}|call||"
    assert sandbox.exec(show).output == f"{sandbox.home}|spec||"


def test_s5_relative_paths_start_at_home(sandbox: Sandbox) -> None:
    assert sandbox.exec("pwd -P").output.strip() == sandbox.exec('cd "$HOME" && pwd -P').output.strip()
    assert sandbox.home.startswith("/")
    sandbox.write_file("folder/file", b"x")
    assert sandbox.read_file(f"{sandbox.home}/folder/file") == b"x"
    assert sandbox.exec("cat file", cwd="folder").output == "x"
    assert sandbox.exec("cat file", cwd=f"{sandbox.home}/folder").output == "x"
    assert sandbox.list_files("folder") == ["file"]
    sandbox.remove("folder/file")
    assert sandbox.exec("ls folder").output == ""


def test_s5_a_folder_that_is_not_there_starts_nothing(sandbox: Sandbox) -> None:
    with pytest.raises(FileNotFoundError):
        sandbox.exec("echo ran >ran", cwd="missing")
    with pytest.raises(FileNotFoundError):
        sandbox.open_pty(cwd="missing")
    assert own(sandbox) == []


def test_s6_write_file_makes_the_folders_above_and_sets_the_mode(sandbox: Sandbox) -> None:
    sandbox.write_file("a/b/c/script", b"#!/bin/sh\necho hi\n", mode=0o755)
    assert sandbox.exec("a/b/c/script").output == "hi\n"
    sandbox.write_file("a/b/c/script", b"short", mode=0o600)
    assert sandbox.read_file("a/b/c/script") == b"short"
    assert sandbox.exec("ls -l a/b/c/script").output.startswith("-rw-------")
    sandbox.write_files({"x/one": (b"1", 0o644), "y/two": (b"2", 0o700)})
    assert sandbox.read_files(["x/one", "y/two"]) == {"x/one": b"1", "y/two": b"2"}
    assert own(sandbox) == ["a/", "a/b/", "a/b/c/", "a/b/c/script", "x/", "x/one", "y/", "y/two"]


def test_s7_what_is_not_there_and_what_is_a_folder(sandbox: Sandbox) -> None:
    sandbox.write_file("folder/file", b"")
    with pytest.raises(FileNotFoundError, match="missing"):
        sandbox.read_file("missing")
    with pytest.raises(FileNotFoundError):
        sandbox.read_file("missing/too")
    with pytest.raises(IsADirectoryError, match="folder"):
        sandbox.read_file("folder")
    with pytest.raises(IsADirectoryError):
        sandbox.write_file("folder", b"")
    with pytest.raises(FileNotFoundError):
        sandbox.list_files("missing")
    with pytest.raises(NotADirectoryError):
        sandbox.list_files("folder/file")
    sandbox.remove("missing")


def test_s8_every_byte_survives(sandbox: Sandbox) -> None:
    data = random.Random(8).randbytes(300_000) + bytes(range(256))
    sandbox.write_file("bytes", data)
    assert sandbox.read_file("bytes") == data
    assert sandbox.exec("wc -c <bytes").output.strip() == str(len(data))
    sandbox.exec("cat bytes >copy").check()
    assert sandbox.read_file("copy") == data
    sandbox.write_file("empty", b"")
    assert sandbox.read_file("empty") == b""


def test_s8_every_file_name_survives(sandbox: Sandbox) -> None:
    deeper = {f"in/{name}.d/{name}": name.encode(errors="surrogateescape") for name in NAMES}
    sandbox.write_files({path: (data, 0o644) for path, data in deeper.items()})
    for name in NAMES:
        sandbox.write_file(f"in/{name}", name[::-1].encode(errors="surrogateescape"))
    below = [path for name in NAMES for path in (f"{name}.d/", f"{name}.d/{name}")]
    assert sandbox.list_files("in") == sorted([*NAMES, *below])
    for name in NAMES:
        assert sandbox.read_file(f"in/{name}") == name[::-1].encode(errors="surrogateescape"), ascii(name)
    assert sandbox.read_files(deeper) == deeper
    for name in NAMES:
        sandbox.remove(f"in/{name}")
    assert sandbox.list_files("in") == sorted(below)
    for name in NAMES:
        sandbox.remove(f"in/{name}.d")
    assert sandbox.list_files("in") == []


def test_s8_a_tree_deeper_than_a_path_may_be_long_is_listed(sandbox: Sandbox) -> None:
    name = "d" * 200
    nest = f"mkdir {name} && cd -P {name} || exit"
    sandbox.exec(
        f"mkdir top; cd top; i=0; while [ $((i += 1)) -le 25 ]; do {nest}; done; : >leaf; ln -s . self"
    ).check()
    folders = ["/".join([name] * depth) + "/" for depth in range(1, 26)]
    assert sandbox.list_files("top") == sorted([*folders, f"{folders[-1]}leaf", f"{folders[-1]}self"])
    assert sandbox.list_files(f"top/{folders[3]}")[0] == f"{name}/"
    sandbox.remove("top")
    with pytest.raises(FileNotFoundError):
        sandbox.list_files("top")


def test_s8_what_is_too_large_to_be_read_is_an_error(sandbox: Sandbox) -> None:
    sandbox.exec("truncate -s 40G large; echo x >small").check()
    for names in (["large"], ["small", "large"]):
        with pytest.raises(SandboxError, match="more than 1 GiB"):
            sandbox.read_files(names)
    assert sandbox.read_files(["small"]) == {"small": b"x\n"}


def test_s8_output_that_is_no_text_is_shown_and_loses_nothing_else(sandbox: Sandbox) -> None:
    assert sandbox.exec(r"printf 'a\377b\303'").output == "a�b�"
    assert sandbox.exec("printf 'é日🍩'").output == "é日🍩"


def test_s8_a_link_is_an_entry_and_is_removed_without_what_it_leads_to(sandbox: Sandbox) -> None:
    sandbox.exec("mkdir real; echo kept >real/file; ln -s real link; ln -s real/file alias; ln -s nowhere lost").check()
    assert own(sandbox) == ["alias", "link", "lost", "real/", "real/file"]
    assert sandbox.read_file("alias") == b"kept\n"
    for name in ("alias", "link", "lost"):
        sandbox.remove(name)
    assert own(sandbox) == ["real/", "real/file"]


VERBS: dict[str, Callable[[Sandbox], Any]] = {
    "exec": lambda s: s.exec("true"),
    "open_pty": lambda s: s.open_pty(),
    "read_file": lambda s: s.read_file("file"),
    "read_files": lambda s: s.read_files(["file"]),
    "write_file": lambda s: s.write_file("file", b""),
    "write_files": lambda s: s.write_files({"file": (b"", 0o644)}),
    "list_files": lambda s: s.list_files(""),
    "remove": lambda s: s.remove("file"),
}


def test_s9_after_close_every_verb_raises(sandbox: Sandbox) -> None:
    sandbox.close()
    sandbox.close()
    for name, verb in VERBS.items():
        with pytest.raises(SandboxClosed, match="is closed"):
            pytest.fail(f"{name} gave {verb(sandbox)}")


@pytest.mark.parametrize("child", CHILDREN)
def test_s9_close_ends_what_runs(machines: Machines, sandbox: Sandbox, child: str) -> None:
    sandbox.exec(CHILDREN[child]).check()
    pid = machines.pid(sandbox, "child")
    assert machines.alive(pid)
    sandbox.close()
    assert machines.is_over(pid)


def test_s9_closing_the_provider_closes_its_sandboxes(machines: Machines) -> None:
    first, second = machines.provider.create(SandboxSpec()), machines.provider.create(SandboxSpec())
    assert first.id != second.id
    machines.provider.close()
    machines.provider.close()
    for sandbox in (first, second):
        with pytest.raises(SandboxClosed):
            sandbox.exec("true")


@pytest.mark.parametrize("verb", VERBS)
def test_s10_a_machine_that_is_gone_is_an_error_of_its_own(machines: Machines, sandbox: Sandbox, verb: str) -> None:
    sandbox.write_file("file", b"")
    machines.destroy(sandbox)
    with pytest.raises(SandboxError, match="gone") as caught:
        VERBS[verb](sandbox)
    assert not isinstance(caught.value, SandboxClosed)
    sandbox.close()


def test_s11_a_command_never_reads_the_harnesss_stdin(sandbox: Sandbox) -> None:
    kept, (end, write) = os.dup(0), os.pipe()
    try:
        os.dup2(end, 0)
        os.write(write, b"secret\n")
        assert sandbox.exec("cat; read line; echo $?", timeout=10).output == "1\n"
        assert os.read(0, 100) == b"secret\n"
    finally:
        os.dup2(kept, 0)
        for descriptor in (kept, end, write):
            os.close(descriptor)


def test_s12_a_pipe_that_an_agent_made_holds_nobody_up(sandbox: Sandbox) -> None:
    sandbox.exec("mkfifo pipe").check()
    started = time.monotonic()
    with pytest.raises(OSError, match="neither a file nor a folder"):
        sandbox.read_file("pipe")
    assert own(sandbox) == ["pipe"]
    sandbox.write_file("pipe", b"in its place")
    assert sandbox.read_file("pipe") == b"in its place"
    sandbox.remove("pipe")
    assert own(sandbox) == []
    assert time.monotonic() - started < 60


def test_s12_a_command_has_a_limit_although_nobody_gave_one(sandbox: Sandbox) -> None:
    from pytest_kiro.sandbox import protocol

    assert 0 < protocol.EXEC_TIMEOUT <= 3600
    done: list[int] = []
    thread = threading.Thread(target=lambda: done.append(sandbox.exec("exit 3").exit_code))
    thread.start()
    thread.join(30)
    assert done == [3]


LINES = {
    "x='a b'; set -- $x; echo $#": "2\n",  # zsh does not split
    "echo no-such-*.file": "no-such-*.file\n",  # zsh calls it an error
    "false | true; echo $?": "0\n",
    "f() { echo f; }; f": "f\n",
    "echo 'a\nb'": "a\nb\n",
    "# a remark": "",
    "": "",
    "cat <<EOF\nhere\nEOF\n": "here\n",
}


def test_s13_a_command_is_a_posix_sh_line(sandbox: Sandbox) -> None:
    for line, output in LINES.items():
        result = sandbox.exec(line)
        assert (result.exit_code, result.output) == (0, output), line


@pytest.mark.parametrize(
    ("command", "timeout", "error"),
    [(["ls"], None, TypeError), ("a\0b", None, ValueError), ("\ud800", None, ValueError), ("ls", "1m", ValueError)],
    ids=["list", "nul", "surrogate", "timeout"],
)
def test_s13_what_is_no_sh_line_is_refused_by_name(
    sandbox: Sandbox, command: Any, timeout: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match=r"^(command|timeout)=.* is not right; wanted: "):
        sandbox.exec(command, timeout=timeout)


@pytest.mark.parametrize("child", CHILDREN)
def test_s14_background_children_do_not_hold_exec(machines: Machines, sandbox: Sandbox, child: str) -> None:
    result = sandbox.exec(f"echo started; {CHILDREN[child]} while ! [ -s child ]; do :; done", timeout=60)
    assert (result.output, result.exit_code) == ("started\n", 0)
    assert result.duration < 20
    assert machines.alive(machines.pid(sandbox, "child")), "a server that a command started shall serve the next one"


def test_two_threads_execute_at_once(sandbox: Sandbox) -> None:
    """Each waits for a file that the other writes."""
    results: list[str] = []

    def run(mine: str, other: str) -> None:
        wait = f"echo {mine} >{mine}; while ! [ -s {shlex.quote(other)} ]; do :; done; echo {mine}"
        results.append(sandbox.exec(wait, timeout=20).output)

    threads = [threading.Thread(target=run, args=names) for names in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(results) == ["a\n", "b\n"]


def test_sandboxes_are_apart(machines: Machines, sandbox: Sandbox) -> None:
    with_other = machines.provider.create(SandboxSpec())
    sandbox.write_file("mine", b"")
    assert own(with_other) == []
    with_other.close()
    assert own(sandbox) == ["mine"]
    assert wait_until(lambda: sandbox.exec("true").ok)


def test_s15_removing_a_folder_ends_what_was_executed_in_it(sandbox: Sandbox) -> None:
    """A server of one workspace would hold its port against the next; what runs elsewhere goes on."""
    sandbox.exec("mkdir -p one/inner two")
    servers = "setsid sh -c 'echo $$ >pid; exec sleep 1000' & while ! [ -s pid ]; do :; done"
    for folder in ("one", "one/inner", "two"):
        sandbox.exec(servers, cwd=folder).check()
    running = {folder: int(sandbox.read_file(f"{folder}/pid")) for folder in ("one", "one/inner", "two")}

    sandbox.remove("one")

    wait_until(lambda: sandbox.exec(f"kill -0 {running['one']} || kill -0 {running['one/inner']}").exit_code)
    assert sandbox.exec(f"kill -0 {running['two']}").ok


def test_s15_what_is_left_has_nothing_running_in_it(sandbox: Sandbox) -> None:
    """By what a provider can do: a folder that stays is put aside while it would be removed."""
    home = sandbox.exec("pwd -P").output.strip()
    sandbox.write_file("one/deep/a.txt", b"kept")
    sandbox.exec("setsid sh -c 'echo $$ >pid; exec sleep 1000' & while ! [ -s pid ]; do :; done", cwd="one").check()
    running = int(sandbox.read_file("one/pid"))
    sandbox.guard(f"{home}/one")

    leave(sandbox, f"{home}/one")
    leave(sandbox, f"{home}/none")

    wait_until(lambda: sandbox.exec(f"kill -0 {running}").exit_code)
    assert sandbox.read_file("one/deep/a.txt") == b"kept"
    assert [name for name in sandbox.list_files(".") if "none" in name or "kept" in name] == []


#: What an agent may leave where a file, or a folder above one, shall be; `out` is outside of the guarded folder.
IN_THE_WAY = {
    "link": "ln -s ../out/file {0}",
    "link to a folder": "ln -s ../out {0}",
    "link to nothing": "ln -s ../out/new {0}",
    "link to a device": "ln -s /dev/null {0}",
    "link to itself": "ln -s {0} {0}",
    "pipe": "mkfifo {0}",
    "socket": "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"{0}\")'",
    "folder": "mkdir -p {0}/full; touch {0}/full/a {0}/-b; chmod 640 {0}/full/a {0}/-b",
    "folder without permissions": "mkdir {0}; touch {0}/a; chmod 640 {0}/a; chmod 0 {0}",
    "folder to read only": "mkdir -p {0}/full; touch {0}/full/a; chmod 640 {0}/full/a; chmod 500 {0}/full {0}",
    "file": "echo >{0}; chmod 600 {0}",
    "hard link": "ln ../out/file {0}",
}


@pytest.fixture
def guarded(sandbox: Sandbox) -> str:
    """The absolute path of a folder in which an agent has worked."""
    sandbox.write_files({"guarded/first": (b"", 0o644), "out/file": (b"kept", 0o644)})
    path = sandbox.exec("pwd -P", cwd="guarded").output.strip()
    sandbox.guard(path)
    return path


@pytest.mark.parametrize("write", ["one", "many"])
def test_s16_what_an_agent_left_in_the_way_is_replaced_and_never_followed(
    sandbox: Sandbox, guarded: str, write: str
) -> None:
    names = [f"{kind}{suffix}" for kind in IN_THE_WAY for suffix in ("", " above")]
    lines = [IN_THE_WAY[name.removesuffix(" above")].format(shlex.quote(name)) for name in names]
    sandbox.exec("; ".join(lines), cwd=guarded).check()
    entries = {f"{guarded}/{name}/deep/file" if " above" in name else f"{guarded}/{name}": name for name in names}
    if write == "one":
        for path, name in entries.items():
            sandbox.write_file(path, name.encode(), mode=0o640)
    else:
        sandbox.write_files({path: (name.encode(), 0o640) for path, name in entries.items()})
    assert sandbox.read_files(entries) == {path: name.encode() for path, name in entries.items()}
    assert sandbox.exec("cat file; ls", cwd="out").output == "keptfile\n"
    assert (
        sandbox.exec("find . -type f ! -name first ! -perm 640; find . ! -type f ! -type d", cwd=guarded).output == ""
    )
    assert {name.partition("/")[0] for name in sandbox.list_files(guarded)} == {"first", *names}
    assert own(sandbox) == sorted(
        ["guarded/", "out/", "out/file", *(f"guarded/{n}" for n in sandbox.list_files(guarded))]
    )


def test_s16_links_and_folders_are_written_as_such(sandbox: Sandbox, guarded: str) -> None:
    sandbox.exec("ln -s ../out below; ln -s ../out link; echo >folder", cwd=guarded).check()
    sandbox.write_files(
        {
            f"{guarded}/below/link": (b"../first", stat.S_IFLNK),
            f"{guarded}/link": (b"to nothing", stat.S_IFLNK),
            f"{guarded}/folder": (b"", stat.S_IFDIR | 0o755),
            f"{guarded}/a/b/folder": (b"", stat.S_IFDIR | 0o755),
        }
    )
    assert sandbox.exec("readlink below/link link", cwd=guarded).output == "../first\nto nothing\n"
    assert sandbox.list_files(guarded) == sorted(
        ["first", "below/", "below/link", "link", "folder/", "a/", "a/b/", "a/b/folder/"]
    )
    assert sandbox.list_files("out") == ["file"]


def test_s16_a_name_is_the_name_that_was_given(sandbox: Sandbox, guarded: str) -> None:
    for folder in (guarded, "elsewhere"):
        names = {f"{folder}/d/{name}": (name.encode(), 0o644) for name in ("trail ", "trail", " lead", "\t", "trail\n")}
        sandbox.write_new(names) if folder == "elsewhere" else sandbox.write_files(names)
        assert sandbox.read_files(names) == {path: data for path, (data, _) in names.items()}
    plain = {f"new/{name}": (name.encode(), 0o644) for name in ("trail ", "trail")}
    sandbox.write_new(plain)
    assert sandbox.read_files(plain) == {path: data for path, (data, _) in plain.items()}


def test_s16_the_mode_is_the_mode_asked_for_and_a_running_program_is_no_obstacle(
    sandbox: Sandbox, guarded: str
) -> None:
    for folder in (guarded, "elsewhere"):
        sandbox.exec(
            f"mkdir -p {folder}; cd {folder}; cp /bin/sleep program; (./program 1000 >/dev/null 2>&1 &)"
        ).check()
        sandbox.exec("echo >private; chmod 600 private; echo >open; chmod 777 open", cwd=folder).check()
        sandbox.write_files({f"{folder}/{name}": (b"new", 0o644) for name in ("private", "open", "program")})
        assert sandbox.exec("find . -type f -name '[op]*' ! -perm 644; cat program", cwd=folder).output == "new"


def test_s16_byte_code_of_what_was_there_before_is_not_run_in_place_of_new_source(
    sandbox: Sandbox, guarded: str
) -> None:
    code = "__pycache__/check.cpython-313.pyc __pycache__/check.x.opt-1.pyc __pycache__/other.pyc"
    plant = f"mkdir -p __pycache__; touch {code}; chmod 500 __pycache__"
    sandbox.exec(f"{plant}; mkdir a; ln -s ../../out a/__pycache__; touch ../out/check.y.pyc", cwd=guarded).check()
    sandbox.write_files({f"{guarded}/{folder}check.py": (b"", 0o644) for folder in ("", "a/")})
    assert sandbox.exec("ls __pycache__ a", cwd=guarded).output == "__pycache__:\nother.pyc\n\na:\ncheck.py\n"
    assert sandbox.list_files("out") == ["check.y.pyc", "file"]


SWAPS = {
    "link": "mv guarded old; ln -s out guarded",
    "removed": "rm -rf guarded",
    "file": "rm -rf guarded; echo >guarded",
    "link above": "cd ..; mv $OLDPWD old-home; ln -s old-home $OLDPWD",
}


@pytest.mark.parametrize("swap", SWAPS)
def test_s16_a_guarded_folder_that_is_none_any_more_is_an_error_of_every_verb(
    sandbox: Sandbox, guarded: str, swap: str
) -> None:
    sandbox.exec("cp out/file out/first").check()
    sandbox.exec(f"cd; cd ..; cd -; {SWAPS[swap]}").check()
    verbs: dict[str, Callable[[], Any]] = {
        "exec": lambda: sandbox.exec("echo ran >ran", cwd=guarded),
        "read_file": lambda: sandbox.read_file(f"{guarded}/first"),
        "read_files": lambda: sandbox.read_files([f"{guarded}/first"]),
        "write_file": lambda: sandbox.write_file(f"{guarded}/ran", b""),
        "write_files": lambda: sandbox.write_files({f"{guarded}/ran": (b"", 0o644)}),
        "list_files": lambda: sandbox.list_files(guarded),
    }
    for name, verb in verbs.items():
        with pytest.raises(SandboxError, match="guarded is no folder of ours any more"):
            pytest.fail(f"{name} gave {verb()}")
    assert sandbox.exec("ls out").output == "file\nfirst\n"
    if swap == "link above":  # or it would not be removed
        sandbox.exec("cd; home=$PWD; cd -P ..; rm $home; mv old-home $home").check()
    else:
        sandbox.remove(guarded)
        sandbox.write_file(f"{guarded}/ran", b"as anywhere")
        assert sandbox.exec("ls out").output == "file\nfirst\n"
