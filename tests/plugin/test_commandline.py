"""`python -m pytest_kiro login, logout, whoami, chat`, as people type them."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from eval_runs import Evals, program, stand_in, toml, wait_until
from login_data import TOKEN, database, login, tokens
from plugin.device_runs import CTRL_C, DOWN, ENTER, SELECTOR, Device

from pytest_kiro.commandline.ready import for_a_login
from pytest_kiro.errors import SettingsError
from pytest_kiro.kirocli.commands import DATABASE
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


# -- the login of this machine


@pytest.fixture
def owner(evals: Evals) -> Iterator[Path]:
    """A HOME in which kiro-cli has a login and a conversation, and holds its data file open."""
    home = evals.path / "owner"
    file = home / DATABASE
    file.parent.mkdir(parents=True)
    file.write_bytes(database({}))
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        token = json.dumps(tokens("machine", expires_at="2099-01-01T00:00:00Z", provider="google"))
        connection.execute("INSERT INTO auth_kv VALUES (?, ?)", (TOKEN, token))
        connection.execute("CREATE TABLE conversations_v2 (key TEXT, value TEXT)")
        connection.execute("INSERT INTO conversations_v2 VALUES ('/w', 'what was said in private')")
        connection.commit()
        assert b"machine-access" not in file.read_bytes(), "it is in the write-ahead log"
        yield home


FROM_HERE = ("login", "--from-this-machine", "--kiro-cli=scripted")


def test_the_login_of_this_machine_is_copied_with_consent(device: Device, owner: Path) -> None:
    evals, told = device.evals, f"The login in {owner / DATABASE}, without the conversations beside it, is copied to "
    for answer, code in (("", 1), ("n", 1), ("y", 0)):
        child = device.begin(*FROM_HERE, module="pytest_kiro", env={"HOME": str(owner)}, size=(300, 40))
        child.expect_exact("Copy it? [y/N]")
        assert f"{told}{login_file(evals)}." in device.said(child.before)
        child.send(f"{answer}\r")
        ended, shown = device.ends(child)
        assert ended == code, shown
        assert ("nothing was copied" in shown) is bool(code)
        assert login_file(evals).exists() is not bool(code)
    kept = SavedLogin(login_file(evals)).newest()
    assert kept is not None
    assert kept.tokens == ("machine-access", "machine-refresh")
    assert (kept.scripted, kept.version) == (True, "2.29.0")
    assert b"in private" not in kept.data
    assert stat.S_IMODE(login_file(evals).stat().st_mode) == 0o600
    evals.write("test_it.py", "def test_it(kiro, kiro_login):\n    assert kiro_login.how == 'saved login'\n", {})
    evals.run("--kiro-login=saved").assert_outcomes(passed=1)


def test_the_login_of_this_machine_without_a_terminal(evals: Evals, owner: Path) -> None:
    told = command(evals, *FROM_HERE, HOME=str(owner))
    assert told.returncode == 1
    assert "is copied only if you agree, and there is no terminal to ask you at; run it in a terminal, or agree by" in (
        told.stderr
    )
    assert not login_file(evals).exists()
    assert not evals.tmp.joinpath(f"sandboxes-{os.getuid()}").exists(), "nothing was made for it"
    told = command(evals, *FROM_HERE, "--yes", HOME=str(owner))
    assert told.returncode == 0, told.stderr
    assert f"saved as {login_file(evals)}" in told.stdout
    assert "machine-" not in told.stdout + told.stderr


def test_there_is_no_login_of_this_machine(evals: Evals, owner: Path) -> None:
    elsewhere, moved = evals.path / "nobody", evals.path / "data" / "kiro-cli" / "data.sqlite3"
    told = command(evals, *FROM_HERE, "--yes", HOME=str(elsewhere))
    looked = f"kiro-cli has stored nothing on this machine; looked for {moved} and {elsewhere / DATABASE}"
    assert (told.returncode, looked in told.stderr) == (1, True), told.stderr
    for content, said in (
        (database({}), f"there is no login in {elsewhere / DATABASE}\nlog in with kiro-cli login first"),
        (b"no database" * 99, f"{elsewhere / DATABASE}, with the login in it, cannot be read: file is not a database"),
        (database({"kirocli:other:token": tokens()}), "2.29.0 does not count itself as logged in on this machine"),
    ):
        elsewhere.joinpath(DATABASE).parent.mkdir(parents=True, exist_ok=True)
        elsewhere.joinpath(DATABASE).write_bytes(content)
        told = command(evals, *FROM_HERE, "--yes", HOME=str(elsewhere))
        assert (told.returncode, said in told.stderr) == (1, True), told.stderr
        assert "Traceback" not in told.stderr
    told = command(evals, "login", "--from-this-machine", "--kiro-sandbox=daytona")
    assert (told.returncode, "takes no login from --kiro-sandbox=daytona" in told.stderr) == (1, True)
    assert not login_file(evals).exists()
    SavedLogin(login_file(evals)).save(login(scripted=False))
    told = command(evals, *FROM_HERE, "--yes", HOME=str(owner))
    assert (told.returncode, "and this one would be the stand-in's" in told.stderr) == (1, True)


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
        (("login", "--yes"), "--yes agrees to --from-this-machine, which is not here"),
        (("export", "r.json"), "the following arguments are required: --format"),
    ],
)
def test_a_wrong_command_line(evals: Evals, words: tuple[str, ...], said: str) -> None:
    told = command(evals, *words)
    assert told.returncode == 2
    assert said in told.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--kiro-login-timeout=0",),
            "--kiro-login-timeout: '0' is not right; wanted: a number of seconds above 0, or 90s, 2m, 1h30m",
        ),
        (("--kiro-sandbox=moon",), "--kiro-sandbox=moon: no such provider\nknown here: local, bubblewrap, daytona"),
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
