"""`python -m pytest_kiro login, logout, whoami, chat`, as people type them."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from eval_runs import Evals, program, stand_in, toml, wait_until
from login_data import login
from plugin.device_runs import CTRL_C, DOWN, ENTER, SELECTOR, Device

from pytest_kiro.commandline.ready import for_a_login
from pytest_kiro.errors import SettingsError
from pytest_kiro.login.saved import SavedLogin


@pytest.fixture
def device(evals: Evals) -> Iterator[Device]:
    made = Device(evals)
    yield made
    made.close()


def command(evals: Evals, *words: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command where no terminal is."""
    return evals.detached("pytest_kiro", *words, stdin=stdin, **env)


def login_file(evals: Evals) -> Path:
    return evals.path / "data" / "pytest-kiro" / "login.json"


# -- login, whoami, logout


def test_login_whoami_logout(device: Device) -> None:
    evals = device.evals
    child = device.begin("login", "--kiro-cli=scripted", module="pytest_kiro")
    child.expect(SELECTOR)
    child.send(DOWN + ENTER)
    code, shown = device.ends(child)
    assert code == 0, shown
    assert "worth nothing to Kiro" in shown
    assert stat.S_IMODE(login_file(evals).stat().st_mode) == 0o600
    assert stat.S_IMODE(login_file(evals).parent.stat().st_mode) == 0o700

    told = command(evals, "whoami")
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("Social, saved ") or "@" in told.stdout, told.stdout
    assert "UTC by the stand-in 2." in told.stdout

    told = command(evals, "logout")
    assert (told.returncode, told.stdout) == (0, f"the saved login {login_file(evals)} is removed\n")
    assert list(login_file(evals).parent.iterdir()) == []
    told = command(evals, "logout")
    assert (told.returncode, told.stdout) == (0, f"no login is saved ({login_file(evals)} is not there)\n")
    told = command(evals, "whoami")
    assert told.returncode == 1
    assert "python -m pytest_kiro login saves one" in told.stdout


@pytest.mark.parametrize("moment", ["the selector", "the code"])
def test_ctrl_c_in_a_login(device: Device, moment: str) -> None:
    child = device.begin("login", "--kiro-cli=scripted", module="pytest_kiro")
    child.expect("Your Organization")
    if moment == "the code":
        child.send(ENTER)
        child.expect("until")
    child.send(CTRL_C)
    code, shown = device.ends(child)
    assert code == 130, shown
    assert "Traceback" not in shown
    assert not login_file(device.evals).exists()


def test_a_login_that_is_told_to_end(device: Device) -> None:
    child = device.begin("login", "--kiro-cli=scripted", module="pytest_kiro")
    child.expect(SELECTOR)
    shell = int(device.path.joinpath("shell").read_text())
    (pid,) = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
    os.kill(int(pid), signal.SIGTERM)
    code, shown = device.ends(child)
    assert code == 128 + signal.SIGTERM, shown


def test_a_login_without_a_terminal(evals: Evals) -> None:
    told = command(evals, "login", "--kiro-cli=scripted")
    assert told.returncode == 1
    assert "a device login needs a terminal" in told.stderr
    assert not evals.tmp.joinpath(f"sandboxes-{os.getuid()}").exists(), "nothing was made for it"
    assert "Traceback" not in told.stderr


def test_a_login_with_nothing_to_log_in_with(evals: Evals) -> None:
    told = command(evals, "login", PATH="/usr/bin:/bin")
    assert told.returncode == 1
    assert "set DAYTONA_API_KEY, or install kiro-cli" in told.stderr


def test_a_login_of_kiros_is_not_lost_to_the_stand_ins(device: Device) -> None:
    saved = SavedLogin(login_file(device.evals))
    saved.save(login(scripted=False))
    child = device.begin("login", "--kiro-cli=scripted", module="pytest_kiro")
    code, shown = device.ends(child)
    assert code == 1, shown
    assert "a login of Kiro's is saved (ada), and this one would be the stand-in's" in shown
    assert login(scripted=False).same_login(saved.newest())


def test_local_means_the_kiro_cli_of_this_machine(evals: Evals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAYTONA_API_KEY", "dtn_not_to_be_used")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(SettingsError, match="nothing is here to log in with"):
        for_a_login({"sandbox": "local"})
    path = program(evals, "exit 1").parent
    monkeypatch.setenv("PATH", f"{path}:/usr/bin:/bin")
    assert for_a_login({"sandbox": "local"}) == {"sandbox": "local", "cli": "official"}
    assert for_a_login({}) == {"sandbox": "daytona"}
    assert for_a_login({"cli": "scripted"}) == {"cli": "scripted"}


def test_two_logins_at_once(evals: Evals) -> None:
    both = [Device(evals) for _ in range(2)]
    children = []
    for number, one in enumerate(both):
        one.path = evals.path / str(number)
        one.path.mkdir()
        children.append(one.begin("login", "--kiro-cli=scripted", module="pytest_kiro"))
    for child in children:
        child.expect(SELECTOR)
        child.send(ENTER)
    for one, child in zip(both, children, strict=True):
        code, shown = one.ends(child)
        assert code == 0, shown
    assert command(evals, "whoami").returncode == 0
    assert sorted(file.name for file in login_file(evals).parent.iterdir()) == ["login.json", "login.json.lock"]


def test_the_browser_is_opened(device: Device) -> None:
    browser = program(device.evals, f'echo "$1" >{device.path}/opened', name="bin/browser")
    device.steer(approve_when="approved")
    child = device.begin("--kiro-login-args=--license free", "--kiro-open-browser", env={"BROWSER": str(browser)})
    device.wait_for_the_code()
    opened = device.path / "opened"
    wait_until(lambda: opened.exists() and opened.read_text(), "the browser")
    assert opened.read_text() == f"{device.evals.story[0].split()[1]}\n"
    device.approve()
    assert device.ends(child)[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("log in",), "invalid choice: 'log in'"),
        (("login", "--kiro-engine=v1"), "unrecognized arguments: --kiro-engine=v1"),
        (("whoami", "me"), "unrecognized arguments: me"),
    ],
)
def test_a_wrong_command_line(evals: Evals, words: tuple[str, ...], said: str) -> None:
    told = command(evals, *words)
    assert told.returncode == 2
    assert said in told.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--kiro-login-timeout=0",), "--kiro-login-timeout: '0' is not right; wanted: a number of seconds above 0"),
        (("--kiro-sandbox=moon",), "--kiro-sandbox=moon: no such provider\nknown here: local, daytona"),
        (("--kiro-login-args='",), '--kiro-login-args: "\'" is not right'),
    ],
)
def test_a_wrong_setting(evals: Evals, words: tuple[str, ...], said: str) -> None:
    told = command(evals, "chat", "--kiro-cli=scripted", *words)
    assert told.returncode == 1
    assert said in told.stderr
    assert "Traceback" not in told.stderr


# -- chat


def test_a_chat_remembers(evals: Evals) -> None:
    scenario = evals.path / "scenarios" / "chat.toml"
    scenario.parent.mkdir()
    scenario.write_text(toml({"chat": ["OK.", r"You are {recall:I am (\w+)|nobody}."]}))
    told = command(evals, "chat", stdin="I am Ada.\n\nWho am I?\n")
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("Agent ready. Press Ctrl+C at any time to exit.\nUser: ")
    assert "OK." in told.stdout
    assert "You are Ada." in told.stdout


def test_a_chat_without_a_scenario(evals: Evals) -> None:
    told = command(evals, "chat", stdin="Hello.\nHow are you?\n")
    assert told.returncode == 0, told.stderr
    assert told.stdout.count("The stand-in heard you. It has no model; --kiro-cli=official asks Kiro.") == 2


def test_a_chat_goes_on_after_a_failed_turn(evals: Evals) -> None:
    scenario = evals.path / "scenarios" / "chat.toml"
    scenario.parent.mkdir()
    scenario.write_text(toml({"chat": [{"requests": [["x"]], "misbehave": "throttled"}, "Better."]}))
    told = command(evals, "chat", stdin="One.\na\0b\nTwo.\n")
    assert told.returncode == 0, told.stderr
    assert "kiro: turn 1 failed (throttled: infrastructure)" in told.stderr
    assert "kiro: the prompt has a NUL character at position 1; remove it" in told.stderr
    assert "Better." in told.stdout


@pytest.mark.parametrize("moment", ["at the prompt", "in a turn"])
def test_ctrl_c_in_a_chat(device: Device, moment: str) -> None:
    scenario = device.path / "scenarios" / "chat.toml"
    scenario.write_text(toml({"chat": [{"requests": [["begun"]], "misbehave": "endless"}]}))
    child = device.begin("chat", module="pytest_kiro")
    child.expect("User: ")
    if moment == "in a turn":
        child.sendline("Go.")
        child.expect("Go.\r\n")
        wait_until(lambda: device.evals.processes, "the turn")
    child.send(CTRL_C)
    code, shown = device.ends(child)
    assert code == 130, shown
    assert "Traceback" not in shown


def test_a_chat_ends_by_ctrl_d(device: Device) -> None:
    child = device.begin("chat", module="pytest_kiro")
    child.expect("User: ")
    child.sendeof()
    assert device.ends(child)[0] == 0


def test_a_chat_needs_a_login(evals: Evals) -> None:
    cli = program(evals, stand_in('if [ "$1" = --version ]; then echo kiro-cli 2.30.1; exit; fi'))
    told = command(evals, "chat", f"--kiro-cli={cli}", stdin="Hello.\n")
    assert told.returncode == 1
    assert "remedies: set KIRO_API_KEY" in told.stderr
