"""Device logins as people do them: pytest in a shell in a terminal, and somebody who presses keys and approves."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import pexpect
import zygote
from plugin.eval_runs import DEADLINE, QUIET, Evals, wait_until

CODE = "WDJB-MJHT"
TOKENS = {
    "access_token": "aoa-canary-access-1",
    "refresh_token": "aor-canary-refresh-1",
    "client_secret": "canary-oidc-1",
}
SELECTOR = "Select login method"
DOWN, ENTER, CTRL_C = "\x1b[B", "\r", "\x03"

#: Steers the stand-in's login service, and lets the test approve and look into the sandbox while the login waits.
CONFTEST = """
import json, os, threading, time
from pathlib import Path
from note import note

HERE = Path(__file__).parent


def pytest_kiro_sandbox_ready(sandbox, settings):
    sandbox.write_file(".kiro-standin/login.json", HERE.joinpath("steering.json").read_bytes())
    if (HERE / "hold").exists():
        HERE.joinpath("held").touch()
        while (HERE / "hold").exists():
            time.sleep(0.02)
    global watched
    watched = sandbox


def pytest_kiro_device_code(url, code):
    note("code", url, code)
    threading.Thread(target=approve, args=(watched,), daemon=True).start()


def approve(sandbox):
    look = ("for f in /proc/[0-9]*; do if tr '\\\\0' ' ' <$f/cmdline | grep -q 'login --use-device-[f]low'; "
            "then stty size <$f/fd/0; fi; done 2>/dev/null")
    while not (HERE / "approve").exists():
        if (HERE / "look").exists():
            sizes = sandbox.exec(look).output
            HERE.joinpath("sizes.part").write_text(sizes)
            HERE.joinpath("sizes.part").rename(HERE / "sizes")
        time.sleep(0.05)
    sandbox.write_file("approved", b"")
"""
EVAL = """
from note import note

def test_it(kiro, kiro_login):
    note("in", kiro_login.how, kiro_login.who)
    assert kiro.identity is kiro_login
    assert kiro.run("Hello.").text == "Hi."
"""

DUMP = "select value from auth_kv"
STEAL = """
def test_steal(kiro):
    turn = kiro.run("Read the login.")
    assert not turn.tool_calls[0].output
"""


class Device:
    """One folder of evals whose logins somebody approves."""

    def __init__(self, evals: Evals, *args: str) -> None:
        self.evals, self.args = evals, args
        self.path = evals.path
        self.child: pexpect.spawn[str] | None = None
        evals.note()
        evals.write("conftest.py", CONFTEST)
        evals.write("test_it.py", EVAL, {"test_it": ["Hi."]})
        self.steer()

    def steer(self, **steering: Any) -> None:
        """Say what the login service does; by default it waits for `approve`."""
        if "approve_after" not in steering:
            steering["approve_when"] = "approved"
        steering = {"code": CODE, **TOKENS, **steering}
        self.path.joinpath("steering.json").write_text(json.dumps(steering))

    def begin(
        self,
        *args: str,
        size: tuple[int, int] = (100, 40),
        module: str = "pytest",
        stdin: bool = True,
        env: Mapping[str, str] = {},
    ) -> pexpect.spawn[str]:
        """Start pytest in a shell in a terminal, which notes `stty -a` before and after."""
        quiet = (*QUIET, "-p", "no:cacheprovider", "--kiro-login=device", *self.args) if module == "pytest" else ()
        env = {**os.environ, "LC_ALL": "C.UTF-8", "TERM": "xterm-256color", **env}
        if parent := self.evals.zygote(env):
            files = {name: str(self.path / name) for name in ("before", "after", "shell")}
            job = {"cwd": self.path, "env": env, "shell": files, "closed": () if stdin else (0,)}
            self.child = zygote.Terminal(parent, module, [*quiet, *args], size=size, timeout=DEADLINE, **job)
            return self.child
        command = shlex.join([sys.executable, "-m", module, *quiet, *args]) + ("" if stdin else " <&-")
        script = f"trap : INT; stty -a >before; echo $$ >shell; {command}; echo ended $?; stty -a >after; echo over"
        with warnings.catch_warnings():  # of a fork beside threads; the child calls exec at once
            warnings.simplefilter("ignore", DeprecationWarning)
            self.child = pexpect.spawn(
                "/bin/sh",
                ["-c", script],
                cwd=str(self.path),
                timeout=DEADLINE,
                encoding="utf-8",
                dimensions=(size[1], size[0]),
                env=env,
            )
        return self.child

    def close(self) -> None:
        """End what a failed test has left: whoever works in a terminal that is closed is told to end."""
        if self.child is not None and not self.child.closed:
            self.child.close(force=False)
            self.child = None

    def wait_for_the_code(self) -> None:
        wait_until(lambda: any(line.startswith("code") for line in self.evals.story), "the code")

    def approve(self) -> None:
        self.path.joinpath("approve").touch()

    def ends(self, child: pexpect.spawn[str]) -> tuple[int, str]:
        """Wait for the end; return pytest's exit code and what was shown; the terminal is as it was before."""
        child.expect(r"ended (\d+)\r\n")
        code, shown = int(child.match[1]), child.before
        child.expect("over")
        child.expect(pexpect.EOF)
        child.close()
        before, after = (self.path.joinpath(name).read_text() for name in ("before", "after"))
        assert _settled(before) == _settled(after)
        return code, shown

    def said(self, shown: str) -> str:
        """What a reader sees: no colours, no cursor."""
        return re.sub(r"\x1b(\[[0-9;?]*[A-Za-z]|[78])", "", shown)


def _settled(stty: str) -> str:
    """What `stty -a` says, but for the window's size, which a test may change."""
    return re.sub(r"rows \d+; columns \d+; ", "", stty)


# -- what people do


def arrow_keys_reach_the_selector(device: Device) -> None:
    device.evals.forks = bool(device.evals.preloaded)  # where that costs little it is a shell, and what it starts
    child = device.begin()
    child.expect(SELECTOR)
    child.send(DOWN + DOWN + ENTER)
    child.expect("Log Kiro in: open this page")
    child.expect(CODE)
    device.wait_for_the_code()
    device.approve()
    code, shown = device.ends(child)
    assert code == 0, shown
    story = device.evals.story
    assert story[0] == f"code https://view.awsapps.com/start/#/device?user_code={CODE} {CODE}"
    assert story[1].startswith("in device login "), story
    assert "1 passed" in shown
    assert re.search(r"kiro: logged in as \S+ \(device login\)\r\n", shown)


def the_code_is_shown_in_the_box_only(device: Device) -> None:
    """What the login stored is written nowhere. It is asked for as by a hostile prompt."""
    read = f"""python3 -c "
import os, sqlite3
file = os.path.expanduser('~/.local/share/kiro-cli/data.sqlite3')
print(sqlite3.connect(file).execute('{DUMP}').fetchall())" """
    call = {"name": "shell", "args": {"command": read}}
    tables = {"test_it": ["Hi."], "test_steal": [[["I look.", call], ["Done."]]]}
    device.evals.write("test_it.py", EVAL + STEAL, tables)
    begun = datetime.now()
    child = device.begin(
        "--kiro-login-args=--license free", "--junitxml=junit.xml", "--kiro-results=results.json", "-s", "-v"
    )
    device.wait_for_the_code()
    shown_by = datetime.now()
    device.approve()
    code, shown = device.ends(child)
    assert code == 1, shown
    assert "1 failed, 1 passed" in shown
    assert SELECTOR not in shown, "nothing had to be selected"
    assert "Confirm the following code" not in shown
    box = device.said(shown)
    assert box.count(f"Code: {CODE}") == 1
    assert box.count(CODE) == 2, "once in the page's address, once to compare"
    (until,) = re.findall(r"until (\d\d:\d\d)", box)
    moments = (begun + timedelta(seconds=seconds) for seconds in range((shown_by - begun).seconds + 2))
    assert until in {f"{moment + timedelta(minutes=10):%H:%M}" for moment in moments}
    _in_lines(device, shown)
    written = device.path.joinpath("junit.xml").read_text() + device.path.joinpath("results.json").read_text()
    for secret in (CODE, *TOKENS.values()):
        assert secret not in written
    for secret in TOKENS.values():
        assert secret not in shown
    assert "[login token]" in shown


def keys_typed_before_are_not_sent(device: Device) -> None:
    device.path.joinpath("hold").touch()
    child = device.begin("--capture=sys", "-v")
    wait_until(device.path.joinpath("held").exists, "the sandbox to be ready")
    child.send(DOWN + DOWN + ENTER + "rm -rf\r")
    # The terminal echoes what nobody reads: then it is in its queue.
    child.expect("rm -rf")
    device.path.joinpath("hold").unlink()
    child.expect(SELECTOR)
    child.expect("Your Organization")
    child.send(ENTER)
    device.wait_for_the_code()
    device.approve()
    code, shown = device.ends(child)
    assert code == 0, shown
    _in_lines(device, shown)
    assert device.evals.story[-1] == "in device login BuilderId"


def a_resized_window_is_followed(device: Device) -> None:
    """From twenty columns on, which are enough; and nobody needs its stdin."""
    child = device.begin("--kiro-login-args=--license free", size=(20, 24), stdin=False)
    device.wait_for_the_code()
    child.expect(rf"https://view.awsapps.com/start/#/device\?user_code={CODE}(\x1b\[[0-9;?]*[A-Za-z])*\r+\n")
    child.setwinsize(33, 77)
    device.path.joinpath("look").touch()
    sizes = device.path / "sizes"
    wait_until(lambda: sizes.exists() and "33 77" in sizes.read_text(), "the login's terminal to be 77 columns wide")
    device.approve()
    assert device.ends(child)[0] == 0


def ctrl_c_in_the_selector_ends_the_run(device: Device) -> None:
    child = device.begin()
    child.expect("Your Organization")
    child.send(CTRL_C)
    code, shown = device.ends(child)
    assert code == 2, shown
    assert "KeyboardInterrupt" in shown
    assert "sandboxes: created 1, deleted 1, leaked 0" in shown


def ctrl_c_while_the_code_waits_ends_the_run(device: Device) -> None:
    """A chat room that takes its time holds nobody up."""
    hook = "\n\ndef pytest_kiro_device_code(url, code):\n    note('code', url, code)\n    time.sleep(1000)\n"
    device.evals.write("conftest.py", CONFTEST + hook)
    child = device.begin("--kiro-login-args=--license free")
    device.wait_for_the_code()
    child.expect(CODE)
    child.send(CTRL_C)
    code, shown = device.ends(child)
    assert code == 2, shown
    assert "sandboxes: created 1, deleted 1, leaked 0" in shown


def ctrl_c_before_the_login_ends_the_run(device: Device) -> None:
    device.path.joinpath("hold").touch()
    child = device.begin()
    wait_until(device.path.joinpath("held").exists, "the sandbox to be ready")
    child.send(CTRL_C)
    code, shown = device.ends(child)
    assert code == 2, shown
    assert "deleted 1, leaked 0" in shown


def sigterm_gives_the_terminal_back(device: Device) -> None:
    child = device.begin("--kiro-login-args=--license free")
    device.wait_for_the_code()
    os.kill(_pytest_of(device), signal.SIGTERM)
    code, shown = device.ends(child)
    assert code == 128 + signal.SIGTERM, shown
    assert "leaked 0" in shown


def _pytest_of(device: Device) -> int:
    """The process of pytest: the shell's child."""
    shell = int(device.path.joinpath("shell").read_text())
    children = device.path.joinpath(f"/proc/{shell}/task/{shell}/children").read_text().split()
    return int(children[0])


def a_hook_that_fails_ends_the_login(device: Device) -> None:
    hook = "\n\ndef pytest_kiro_device_code(url, code):\n    raise RuntimeError('the room is closed')\n"
    device.evals.write("conftest.py", CONFTEST + hook)
    child = device.begin("--kiro-login-args=--license free")
    code, shown = device.ends(child)
    assert code == 1, shown
    assert "RuntimeError: the room is closed" in shown


def a_wrong_argument_is_told(device: Device) -> None:
    child = device.begin("--kiro-login-args=--licence free")
    code, shown = device.ends(child)
    assert code == 1, shown
    assert "device login ended with exit code 2, usage error" in shown
    assert "look at --kiro-login-args" in shown


def a_denied_approval_is_told(device: Device) -> None:
    _fails(device, {"deny": True}, r"device login ended with exit code 1.*denied.*run it again and approve the code")


def an_expired_code_is_told(device: Device) -> None:
    _fails(device, {"expire_after": 0.3}, r"device login ended with exit code 1.*expired.*run it again and approve")


def a_network_that_is_cut_is_told(device: Device) -> None:
    _fails(device, {"cut_after": 0.3}, r"device login ended with exit code 1.*dispatch failure.*run it again")


def a_login_that_is_none_is_told(device: Device) -> None:
    _fails(
        device,
        {"pretend": True, "approve_after": 0.1},
        r"login ended with exit code 0, but its whoami says that nobody is logged in",
    )


def _fails(device: Device, steering: dict[str, Any], pattern: str) -> None:
    device.steer(**steering)
    child = device.begin("--kiro-login-args=--license free", "-rE")
    code, shown = device.ends(child)
    assert code == 1, shown
    assert re.search(f"(?s){pattern}", shown), shown
    assert "1 error" in shown
    errors = shown[shown.index("= ERRORS =") :]
    assert CODE not in errors, "it is on this terminal once, and in no report"


def a_wrong_start_url_is_told(device: Device) -> None:
    child = device.begin("--kiro-login-args=--license pro --identity-provider ftp://nowhere --region us-east-1")
    child.expect("Enter Start URL")
    child.send(ENTER)
    child.expect(["Enter Region", "ended"])
    child.send(ENTER)
    code, shown = device.ends(child) if child.after != "ended" else (1, child.before)
    assert code == 1, shown
    assert "device login ended with exit code 1" in shown


def nobody_approves_in_time(device: Device) -> None:
    child = device.begin("--kiro-login-args=--license free", "--kiro-login-timeout=1")
    code, shown = device.ends(child)
    assert code == 1, shown
    assert "LoginError: nobody approved the device login within 1 s" in shown
    assert "--kiro-login-timeout gives more of it" in shown


CAPTURES = ("-s", "--capture=fd", "--capture=sys", "--capture=no", "--capture=tee-sys")


def any_capture(device: Device, capture: str) -> None:
    child = device.begin(capture, "-v")
    child.expect(SELECTOR)
    child.send(ENTER)
    device.wait_for_the_code()
    device.approve()
    code, shown = device.ends(child)
    assert code == 0, shown
    _in_lines(device, shown)


def _in_lines(device: Device, shown: str) -> None:
    """Each line begins at its beginning, whatever mode the terminal was in."""
    lines = [line.rstrip() for line in device.said(shown).replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    assert any(line.startswith("test_it.py::test_it PASSED") for line in lines), "\n".join(lines)
    staircase = [line for line in lines if re.match(r" {20,}\S", line)]
    assert not staircase, staircase


# -- many workers, and the commands


MANY = """
import pytest
from note import note

@pytest.mark.parametrize("number", range(8))
def test_it(kiro, kiro_login, worker_id, number):
    note("in", worker_id, kiro_login.how)
    kiro.run("Hello.")
"""


def many(device: Device) -> None:
    tables = {f"test_many.py::test_it[{number}]".partition("::")[2]: ["Hi."] for number in range(8)}
    device.path.joinpath("test_it.py").unlink()
    device.evals.write("test_many.py", MANY, tables)


def four_workers_ask_once(device: Device) -> None:
    many(device)
    child = device.begin("-n", "4")
    child.expect(SELECTOR)
    child.send(DOWN + ENTER)
    device.wait_for_the_code()
    device.approve()
    code, shown = device.ends(child)
    assert code == 0, shown
    assert "8 passed" in shown
    story = device.evals.story
    assert len([line for line in story if line.startswith("code")]) == 1, story
    assert {line.split()[1] for line in story if line.startswith("in")} == {"gw0", "gw1", "gw2", "gw3"}
    assert all(line.endswith("device login") for line in story if line.startswith("in"))


def a_denied_login_is_every_workers(device: Device) -> None:
    many(device)
    device.steer(deny=True)
    child = device.begin("-n", "2", "--kiro-login-args=--license free")
    code, shown = device.ends(child)
    assert code == 1, shown
    assert "8 errors" in shown
    assert len(device.evals.story) == 1, "nobody is asked twice"


def ctrl_c_ends_every_worker(device: Device) -> None:
    many(device)
    child = device.begin("-n", "2", "--kiro-login-args=--license free")
    device.wait_for_the_code()
    child.send(CTRL_C)
    code, shown = device.ends(child)
    assert code == 2, shown
    assert "leaked 0" in shown


def a_saved_login_needs_no_terminal(device: Device) -> None:
    sandbox = [arg for arg in device.args if "sandbox" in arg]
    child = device.begin("login", "--kiro-cli=scripted", *sandbox, module="pytest_kiro")
    child.expect(SELECTOR)
    child.send(DOWN + ENTER)
    child.expect("Code: ")
    code, shown = device.ends(child)
    assert code == 0, shown
    file = device.path / "data" / "pytest-kiro" / "login.json"
    assert f"saved as {file}" in device.said(shown)
    assert file.stat().st_mode & 0o777 == 0o600
    device.evals.nothing_is_left()
    done = without_a_terminal(device, "--kiro-login=saved", "-n", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert device.evals.story[-1].startswith("in saved login ")


def without_a_terminal(device: Device, *args: str) -> subprocess.CompletedProcess[str]:
    """Run pytest where no terminal is, not even this test's own."""
    return device.evals.detached("pytest", *QUIET, "-p", "no:cacheprovider", *device.args, *args)


def without_anything_the_remedies_are_told(device: Device) -> None:
    done = without_a_terminal(device, "--kiro-login=device", "-n", "2")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "LoginError: a device login needs a terminal" in done.stdout
    assert "pytest also takes a KIRO_API_KEY or a saved login" in done.stdout
    assert "sandboxes: created" not in done.stdout, "nobody pays for a sandbox in which nobody can be logged in"


STORIES: dict[str, Callable[[Device], None]] = {
    story.__name__: story
    for story in (
        arrow_keys_reach_the_selector,
        the_code_is_shown_in_the_box_only,
        keys_typed_before_are_not_sent,
        a_resized_window_is_followed,
        ctrl_c_in_the_selector_ends_the_run,
        ctrl_c_while_the_code_waits_ends_the_run,
        ctrl_c_before_the_login_ends_the_run,
        sigterm_gives_the_terminal_back,
        a_hook_that_fails_ends_the_login,
        a_wrong_argument_is_told,
        a_denied_approval_is_told,
        an_expired_code_is_told,
        a_network_that_is_cut_is_told,
        a_login_that_is_none_is_told,
        a_wrong_start_url_is_told,
        nobody_approves_in_time,
        four_workers_ask_once,
        a_denied_login_is_every_workers,
        ctrl_c_ends_every_worker,
        a_saved_login_needs_no_terminal,
        without_anything_the_remedies_are_told,
    )
}
