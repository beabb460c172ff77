"""What contract L promises of every shell: each story takes a `Shell` and asserts.

They are told by pytest, and once more by a process that has given up root.
"""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from helpers import is_alive, read_all, read_until, wait_until
from listings import changes, inside

from pytest_kiro.errors import LaunchError
from pytest_kiro.sandbox import leases
from pytest_kiro.sandbox.local import LocalSandbox
from pytest_kiro.sandbox.protocol import Pty, Sandbox
from pytest_kiro.settings.waits import Waits
from pytest_kiro.terminal.attach import Attached, attach
from pytest_kiro.terminal.launch import Launch
from pytest_kiro.terminal.record import LaunchRecord
from pytest_kiro.turn.changes import Changes

SHELLS = {
    "bash": ("bash",),
    "bash -l": ("bash", "-l"),
    "sh": ("sh",),
    "sh -l": ("sh", "-l"),
    "zsh": ("zsh",),
    "zsh -l": ("zsh", "-l"),
}
#: Everything that a start-up file can do to us.
NOISY = """
head -c 1000000 /dev/zero | tr '\\0' '#'
printf '\\nready-0123456789abcdef\\n\\033[31mready-\\n'
printf '\nready-%s\n' "$$"
cd /
PATH=/usr/bin:/bin
VALUE=of-the-start-up-file; export VALUE
alias sh='echo no;' exit='echo no;' ls='echo no;' cd='echo no;' printf='echo no;'
PS1='$ ready > '
set -o ignoreeof 2>/dev/null
HISTFILE="$HOME/.my_history"
"""


@dataclass
class Shell:
    """A machine whose terminals have this shell."""

    name: str
    sandbox: Sandbox
    durable: bool

    def rc(self, text: str) -> None:
        """Make this what the machine's shell reads when it starts, as it would /etc/profile."""
        self.sandbox.write_file("../rc", text.encode())

    def launch(self, script: str, stdin: bytes = b"", **options: object) -> tuple[Launch, Attached]:
        nonce = secrets.token_hex(8)
        self.sandbox.exec("mkdir -p work/here").check()
        launch = Launch(
            argv=("/bin/sh", "-c", script, "program"),
            workspace=f"{self.sandbox.home}/work/here",
            folder=f".cache/{nonce}",
            nonce=nonce,
            left_out=(".cache",),
            stdin=stdin,
            durable=self.durable,
            **options,
        )
        return launch, attach(self.sandbox, launch)

    def run(self, script: str, stdin: bytes = b"", **options: object) -> tuple[bytes, LaunchRecord]:
        """Launch, read to the end and return what was shown and what was left."""
        launch, pty = self.launch(script, stdin, **options)
        try:
            shown = read_all(pty)
            status = pty.wait(30)
        finally:
            pty.close()
        outcome = self.record(launch, pty)
        assert outcome.status == status
        return shown, outcome

    def record(self, launch: Launch, pty: Attached) -> LaunchRecord:
        record = pty.collect()
        assert record is not None
        return record


def open_shell(name: str, *, durable: bool = False) -> Shell:
    """A sandbox with an empty HOME; a plain `sh` reads a file there only when it is told which."""
    lease = leases.acquire("shells")
    words = SHELLS[name]
    if name == "bash":
        words = ("bash", "--rcfile", f"{lease.path}/rc")
    else:
        words = ("/bin/sh", "-c", '[ ! -f "$0" ] || . "$0"; exec "$@"', f"{lease.path}/rc", *words)
    sandbox = LocalSandbox(lease, {"ENV": f"{lease.path}/home/.profile"} if name == "sh" else {}, shell=words)
    return Shell(name, sandbox, durable)


def l2_the_program_starts_in_its_workspace_and_nothing_else_is_seen(shell: Shell) -> None:
    shown, outcome = shell.run("pwd; echo hello; exit 3")
    assert shown.decode() == f"{shell.sandbox.home}/work/here\r\nhello\r\n"
    assert outcome.status == 3


def l2_path_and_environment_survive_the_start_up_files(shell: Shell) -> None:
    shell.rc("PATH=/usr/bin:/bin\nexport VALUE=theirs PATH\n")
    value = "a b'c\"d\n$HOME `id` \\ é\t!!"
    env = {"PATH": "/our/own:/usr/bin:/bin", "VALUE": value}
    shown, _ = shell.run('stty -onlcr </dev/tty; printf "%s|%s|" "$PATH" "$VALUE"', env=env)
    assert shown.decode() == f"/our/own:/usr/bin:/bin|{value}|"


def l2_a_failing_cd_does_not_reach_the_program(shell: Shell) -> None:
    launch, pty = shell.launch('touch "$HOME/it-ran"')
    pty.close()
    shell.sandbox.remove("work")
    shell.sandbox.remove("it-ran")  # this one's workspace was there, and it may have been quick
    pty = attach(shell.sandbox, launch)
    with pytest.raises(LaunchError, match=r"(?s)did not start: its terminal ended first.*cd.*work/here"):
        read_all(pty)
    assert pty.wait(30) == 126
    pty.close()
    assert "it-ran" not in shell.sandbox.list_files("")


def l3_nothing_of_a_noisy_start_up_is_seen(shell: Shell) -> None:
    shell.rc(NOISY)
    shown, outcome = shell.run('printf "%s\\n" "$VALUE"; printf "ready-1\\nend"', env={"VALUE": "ours"})
    assert shown == b"ours\r\nready-1\r\nend"
    assert outcome.status == 0


def l2_what_an_agent_left_in_the_home_is_not_read(shell: Shell) -> None:
    """Neither a start-up file nor a program of the same name as one of ours."""
    home = shell.sandbox.home
    for file in (".bashrc", ".bash_profile", ".profile", ".zshenv", ".zshrc", ".zprofile", ".zlogin", ".shrc"):
        shell.sandbox.write_file(file, f"echo {file} >>{home}/read; PATH=$HOME/.local/bin:$PATH\n".encode())
    for name in ("sh", "find", "sha256sum", "mv", "awk", "script", "mkdir", "tar", "base64", "mktemp", "xargs"):
        shell.sandbox.write_file(f".local/bin/{name}", f"#!/bin/sh\necho {name} >>{home}/read\n".encode(), mode=0o755)
    env = {"PATH": f"{home}/.local/bin:/usr/bin:/bin"}
    shell.sandbox.exec("mkdir -p work/here; echo 1 >work/here/old").check()
    shown, outcome = shell.run("echo 2 >old; printf '%s' \"$PATH\"", env=env)
    assert shown.decode() == env["PATH"]
    assert changes(outcome).modified == {"old"}
    assert "read" not in shell.sandbox.list_files("")


def l4_a_shell_that_never_gets_there_is_given_up(shell: Shell) -> None:
    shell.rc("yes busy\n")
    launch, pty = shell.launch("echo never")
    pty.close()
    started = time.monotonic()
    pty = attach(shell.sandbox, launch, waits=Waits(launch=0.2))
    with pytest.raises(TimeoutError):
        pty.read(0.05)
    with pytest.raises(LaunchError, match=r"(?s)did not start within 0.2 s.*busy"):
        pty.read(60)
    assert time.monotonic() - started < 20
    pty.close()


def l5_a_start_up_that_ends_the_shell_is_told(shell: Shell) -> None:
    shell.rc("echo this machine is closed today\nexit 7\n")
    started = time.monotonic()
    _, pty = shell.launch("echo never")
    with pytest.raises(
        LaunchError, match=r"(?s)its terminal ended first.*closed today.*look at the machine's start-up"
    ):
        pty.read(60)
    pty.close()
    assert time.monotonic() - started < 20


class Late:
    """A machine whose terminals are handed out when their shell has ended."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.home, self.remote, self._sandbox = sandbox.home, False, sandbox
        self.write_new, self.exec = sandbox.write_new, sandbox.exec

    def open_pty(self, **options: object) -> Pty:
        pty = self._sandbox.open_pty(**options)
        pty.wait(30)
        return pty


def l5_a_shell_that_has_ended_before_anything_is_typed_is_told_too(shell: Shell) -> None:
    shell.rc("echo this machine is closed today\nexit 7\n")
    launch, pty = shell.launch("echo never")
    pty.close()
    pty = attach(Late(shell.sandbox), launch)
    with pytest.raises(LaunchError, match="closed today"):
        pty.read(60)
    pty.close()


def l5_a_program_that_is_not_there_does_not_leave_the_shell_waiting(shell: Shell) -> None:
    shown, outcome = shell.run("exec /no/such/program")
    assert outcome.status == 127
    assert b"/no/such/program" in shown


def l6_the_status_survives(shell: Shell) -> None:
    for end, status in (("exit 0", 0), ("exit 255", 255), ("kill -9 $$", 137), ("kill -TERM $$", 143)):
        _, outcome = shell.run(end)
        assert outcome.status == status


def l6_size_and_resizing_reach_the_program(shell: Shell) -> None:
    _, pty = shell.launch("trap 'stty size </dev/tty; exit 4' WINCH; stty size </dev/tty; echo up; sleep 1000 & wait")
    assert b"30 120\r\n" in read_until(pty, b"up")
    pty.resize((90, 40))
    assert b"40 90\r\n" in read_all(pty)
    assert pty.wait(30) == 4
    pty.close()


def l6_a_child_that_keeps_the_terminal_does_not_keep_it_open(shell: Shell) -> None:
    launch, pty = shell.launch("trap '' HUP; setsid sleep 1000 & (trap '' HUP; exec sleep 1001) & echo $!; exit 3")
    started = time.monotonic()
    pid = int(read_all(pty))
    assert pty.wait(30) == 3
    assert time.monotonic() - started < 20
    pty.close()
    assert not is_alive(pid)
    assert shell.record(launch, pty).status == 3


def l6_the_log_has_what_was_shown(shell: Shell) -> None:
    shell.rc(NOISY)
    launch, pty = shell.launch("printf 'one\\ntwo'; exit 3")
    shown = read_until(pty, b"two")
    wait_until(lambda: f"{launch.folder}/status" in shell.sandbox.list_files(""))
    if not shell.durable:
        assert not [name for name in shell.sandbox.list_files(launch.folder) if name in ("log", "pid")]
        return
    # `script` ends last.
    wait_until(lambda: b"\nScript done on " in shell.sandbox.read_file(f"{launch.folder}/log"))
    log = shell.sandbox.read_file(f"{launch.folder}/log")
    assert read_all(pty) == b""
    pty.close()
    before, _, rest = log.partition(f"\r\n{launch.marker} ".encode())
    after = rest.partition(b"\r\n")[2]
    assert before.startswith(b"Script started on ")
    assert after.startswith(shown + b"\nScript done on ")


def l2_a_log_changes_nothing_in_the_environment(shell: Shell) -> None:
    shell.rc("export LC_ALL=C.UTF-8 SHELL=/bin/sh.of.mine; unset LANG\n")
    script = "env | grep -v -e ^_= -e ^SANDBOX_TASK= | sort"
    shown, _ = shell.run(script)
    shell.durable = not shell.durable
    assert shell.run(script)[0] == shown
    assert b"launch_" not in shown
    shell.rc("unset LC_ALL SHELL\n")
    shown, _ = shell.run(script)
    assert b"LC_ALL" not in shown


def l6_ctrl_c_interrupts_the_program_and_the_status_is_still_written(shell: Shell) -> None:
    asked = "trap 'echo asked; exit 5' INT; echo made >made; echo up; sleep 1000 & wait"
    for program, status in (("echo made >made; echo up; exec sleep 1000", 130), (asked, 5)):
        launch, pty = shell.launch(program)
        read_until(pty, b"up")
        pty.write(b"\x03")
        read_all(pty)
        assert pty.wait(30) == status
        pty.close()
        outcome = shell.record(launch, pty)
        assert outcome.status == status
        assert "made" in inside(outcome.after)


def l6_a_late_ctrl_c_takes_no_status_away(shell: Shell) -> None:
    """The second one comes while the script writes it: into a pipe that nobody reads yet."""
    launch, pty = shell.launch("echo $$ $PPID; exec sleep 1000")
    program, script = map(int, read_until(pty, b"\n").split())
    status = shlex.quote(f"{launch.folder}/status")
    shell.sandbox.exec(f"mkfifo {status}").check()
    pty.write(b"\x03")
    read_until(pty, b"^C")
    assert wait_until(lambda: not _states(program) and _states(script).startswith("S"))
    pty.write(b"\x03")
    read_until(pty, b"^C")
    assert shell.sandbox.exec(f"cat {status}", timeout=10).check().output == "130"
    read_all(pty)
    assert pty.wait(30) == 130
    pty.close()


def _states(pid: int) -> str:
    """Return what ps tells of a process: nothing when it was reaped."""
    return subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout


def l6_hanging_up_ends_the_program_too(shell: Shell) -> None:
    for number in (signal.SIGHUP, signal.SIGTERM):
        launch, pty = shell.launch("echo x >made; echo $$ $PPID; exec sleep 1000")
        program, script = map(int, read_until(pty, b"\n").split())
        os.kill(script, number)
        assert wait_until(lambda pid=program: not is_alive(pid))
        assert pty.wait(30) == 128 + number
        pty.close()
        outcome = shell.record(launch, pty)
        assert (outcome.status, changes(outcome)) == (None, Changes(frozenset({"made"})))
        shell.sandbox.remove("work/here/made")


def l6_a_closed_terminal_ends_the_program_and_what_ended_before_is_kept(shell: Shell) -> None:
    launch, pty = shell.launch("echo $$; exec sleep 1000")
    program = int(read_until(pty, b"\n"))
    pty.close()
    assert wait_until(lambda: not is_alive(program))
    launch, pty = shell.launch("exit 9")
    wait_until(lambda: f"{launch.folder}/status" in shell.sandbox.list_files(""))
    pty.close()
    assert shell.sandbox.read_file(f"{launch.folder}/status") == b"9"


def l6_what_the_program_did_is_told(shell: Shell) -> None:
    shell.sandbox.exec("mkdir -p work/here store; cd work/here; echo 1 >same; echo 2 >changed; echo 3 >gone").check()
    shell.sandbox.exec("echo old >store/old; touch -d '1 hour ago' store/old").check()
    script = 'rm gone; echo 4 >changed; echo 5 >"new file"; echo told >"$HOME/store/new"'
    _, outcome = shell.run(script, stores=("store", "no store"))
    assert changes(outcome) == Changes(frozenset({"new file"}), frozenset({"changed"}), frozenset({"gone"}))
    assert outcome.stores == {f"{shell.sandbox.home}/store/new": b"told\n"}


PROMPTS = [
    b"/quit",
    b"!ls",
    b"@file and #tag",
    b"-rf --help",
    b"\t\ttabs\tand\x0bmore",
    bytes(range(1, 32)) + b"\x7f",
    b"\x03\x04\x1a\x1c\x15\x16",
    b"'single' \"double\" `id` $(id) ${HOME} \\ \\n !! !$ ^a^b",
    "été 日本 🍩 \u2028 \ufeff".encode(),
    b"lines\nwith\r\nall\rends\n\n",
    b"no newline at the end",
    b"x" * 5000 + b"\n" + b"y" * 5000,
    "🍩".encode() * 262_144,
]


def l7_the_prompt_arrives_byte_for_byte(shell: Shell) -> None:
    for prompt in PROMPTS:
        shell.run('cat >"$HOME/got"', stdin=prompt)
        assert shell.sandbox.read_file("got") == prompt


def nothing_of_the_launch_stays_in_the_home(shell: Shell) -> None:
    """Neither a history file nor what a menu for new users would have made."""
    launch, pty = shell.launch("echo hello")
    read_all(pty)
    pty.close()
    shell.sandbox.remove(launch.folder)
    assert shell.sandbox.list_files("") == [".cache/", "work/", "work/here/"]


def two_programs_at_once_keep_apart(shell: Shell) -> None:
    one, two = shell.launch("read x; cat; echo one"), shell.launch("cat; echo two")
    assert read_all(two[1]) == b"two\r\n"
    assert read_all(one[1]) == b"one\r\n"
    for _, pty in (one, two):
        pty.close()


STORIES: dict[str, Callable[[Shell], None]] = {
    name: story
    for name, story in list(globals().items())
    if callable(story)
    and getattr(story, "__module__", "") == __name__
    and story.__annotations__.get("shell") == "Shell"
}
