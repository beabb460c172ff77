"""Who is logged in: whoami is read, whatever its exit code says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cli_scripts import cli

from pytest_kiro.errors import LoginError
from pytest_kiro.kirocli.install import Installation
from pytest_kiro.login.device import LoginTerminal
from pytest_kiro.login.login import Identity, LoginMeans, login
from pytest_kiro.login.saved import SavedLogin
from pytest_kiro.login.whoami import KiroAccount, whoami
from pytest_kiro.sandbox.local import LocalSandbox
from pytest_kiro.secrecy.redaction import Secrets
from pytest_kiro.settings import table
from pytest_kiro.settings.waits import Waits

OUT = """echo '{"account":null}'"""
IN = """echo '{"accountType":"BuilderId","email":"ada@example.com"}'"""
DEVICE = r"""printf 'Confirm the following code in the browser\nCode: ABCD-EFGH\n\nOpen this URL: https://x\n'
sleep 1000"""
#: Logged in if and only if it is given a key.
BY_KEY = f"""if [ -n "$KIRO_API_KEY" ]; then echo '{{"accountType":"API key"}}'; else {OUT}; fi"""
REMEDIES = "remedies: set KIRO_API_KEY .*; save a login .*; or run pytest in a terminal .*--kiro-cli=scripted needs no"


def installed(sandbox: LocalSandbox, script: str, *, scripted: bool = False) -> Installation:
    return Installation(cli(sandbox, script), "2.29.0", scripted)


def ask(sandbox: LocalSandbox, script: str, timeout: float = 30) -> KiroAccount | None:
    return whoami(sandbox, installed(sandbox, script), timeout=timeout)


def enter(sandbox: LocalSandbox, script: str, how: str = "auto", key: str = "", timeout: float = 30) -> Identity:
    return login(sandbox, installed(sandbox, script), how, means(sandbox, key, timeout=timeout))


def means(sandbox: LocalSandbox, key: str = "", *, timeout: float = 30) -> LoginMeans:
    """What is there to log in with: a key, nothing that is saved, and nobody at a terminal."""
    environ = {"KIRO_API_KEY": key} if key else {}
    settings = table.read(option={"setup_timeout": str(timeout)}.get, environ={}, ini=lambda name: None)
    terminal = LoginTerminal(tell=lambda url, code: None)
    saved = SavedLogin(Path(sandbox.home, "saved", "login.json"))
    return LoginMeans(settings, terminal, Secrets(), environ, saved)


@pytest.mark.parametrize(
    "script",
    [
        OUT,
        f"{OUT}; exit 1",
        "echo '{}'",
        "echo 'Not logged in'; exit 1",
        """echo '{"account": null}'; echo 'You are not logged in'""",
        f"echo 'a warning' >&2; {OUT}; exit 1",
    ],
)
def test_logged_out(sandbox: LocalSandbox, script: str) -> None:
    assert ask(sandbox, script) is None


@pytest.mark.parametrize(
    "script",
    [
        IN,
        f"{IN}; exit 1",
        f"{IN}; echo; echo 'Profile: something'; echo '{{not json'",
        f"echo 'a new version is there' >&2; {IN}",
        """echo '{"account":{"accountType":"BuilderId","email":"ada@example.com"}}'""",
    ],
)
def test_logged_in(sandbox: LocalSandbox, script: str) -> None:
    assert ask(sandbox, script) == KiroAccount("ada@example.com", None, stored=True)


@pytest.mark.parametrize("script", ["true", "echo hello", "echo '{broken'; exit 3", "exit 127"])
def test_an_answer_that_is_no_answer_is_told(sandbox: LocalSandbox, script: str) -> None:
    with pytest.raises(LoginError, match=f"(?s)whoami --format json said nothing that is JSON.*{REMEDIES}"):
        ask(sandbox, script)


def test_an_answer_that_never_comes_is_told(sandbox: LocalSandbox) -> None:
    with pytest.raises(LoginError, match=rf"(?s)did not answer within 0.3 s; it seems to wait.*\| Opening.*{REMEDIES}"):
        ask(sandbox, "echo Opening browser...; sleep 1000", timeout=0.3)


def test_whoami_has_less_time_than_other_steps(sandbox: LocalSandbox) -> None:
    few = means(sandbox)
    few = replace(few, settings=replace(few.settings, waits=Waits(whoami=0.2)))
    with pytest.raises(LoginError, match=r"did not answer within 0\.2 s"):
        login(sandbox, installed(sandbox, "exec sleep 1000"), "auto", few)


def test_a_device_login_says_that_nobody_is_in(sandbox: LocalSandbox) -> None:
    """It is ended at once, not at its limit, which is an error of its own."""
    assert ask(sandbox, DEVICE, timeout=5) is None


def test_whoami_is_asked_quietly(sandbox: LocalSandbox) -> None:
    script = """printf '{"accountType":"%s"}\\n' "$*,$KIRO_NO_AUTO_UPDATE,$KIRO_DISABLE_TELEMETRY" """
    assert ask(sandbox, script) == KiroAccount("whoami --format json,1,1", None, stored=False)


# -- strategies


def test_auto_takes_a_stored_login_first(sandbox: LocalSandbox) -> None:
    assert enter(sandbox, IN, key="ksk_1") == Identity("stored login", "ada@example.com")


def test_a_plan_is_told_where_whoami_knows_it(sandbox: LocalSandbox) -> None:
    identity = enter(sandbox, """echo '{"accountType":"Google","email":"ada@example.com","plan":"Pro"}'""")
    assert identity.plan == "Pro"
    assert identity.described == "ada@example.com (stored login, plan Pro)"
    assert enter(sandbox, IN).plan is None
    assert enter(sandbox, """echo '{"accountType":"Google","plan":{"name":"Pro"}}'""").plan is None, "no text"


def test_auto_takes_the_key_when_nobody_is_in(sandbox: LocalSandbox) -> None:
    assert enter(sandbox, BY_KEY, key="ksk_1") == Identity("api key", "API key", env={"KIRO_API_KEY": "ksk_1"})


def test_auto_takes_the_key_when_the_cli_would_wait_for_a_human(sandbox: LocalSandbox) -> None:
    script = f"""[ -n "$KIRO_API_KEY" ] && {{ {BY_KEY}; exit; }}; {DEVICE}"""
    assert enter(sandbox, script, key="ksk_1", timeout=5).how == "api key"


def test_auto_without_a_key_names_the_remedies(sandbox: LocalSandbox) -> None:
    with pytest.raises(
        LoginError, match=f"is not logged in, KIRO_API_KEY is not set, no login is saved, and .*\n{REMEDIES}"
    ) as caught:
        enter(sandbox, OUT)
    assert "a login of this machine's own kiro-cli is not seen in the sandbox" in str(caught.value)
    assert str(caught.value).endswith("own login: python -m pytest_kiro login --from-this-machine")


def test_api_key_does_not_ask_for_a_stored_login(sandbox: LocalSandbox) -> None:
    counted = f"echo x >>asked; {BY_KEY}"
    assert enter(sandbox, counted, "api-key", "ksk_1").how == "api key"
    assert sandbox.read_file("asked") == b"x\n"


def test_api_key_without_one(sandbox: LocalSandbox) -> None:
    with pytest.raises(LoginError, match=f"KIRO_API_KEY is not set\n{REMEDIES}"):
        enter(sandbox, BY_KEY, "api-key")


def test_a_key_that_the_cli_does_not_take(sandbox: LocalSandbox) -> None:
    with pytest.raises(LoginError, match=f"2.29.0 does not count itself as logged in although .* is set\n{REMEDIES}"):
        enter(sandbox, OUT, "api-key", "ksk_1")


def test_a_key_that_a_stored_login_goes_before(sandbox: LocalSandbox) -> None:
    with pytest.raises(LoginError, match=r"is logged in as ada@example\.com \(stored login\); use --kiro-login=auto"):
        enter(sandbox, IN, "api-key", "ksk_1")


def test_none_does_not_look(sandbox: LocalSandbox) -> None:
    assert enter(sandbox, "echo x >asked", "none", "ksk_1") == Identity("unknown")
    assert "asked" not in sandbox.list_files("")


def test_the_stand_in_needs_no_account(sandbox: LocalSandbox) -> None:
    cli = installed(sandbox, "echo x >asked", scripted=True)
    identity = login(sandbox, cli, "auto", means(sandbox, "ksk_real"))
    assert identity == Identity("scripted", env={"KIRO_API_KEY": "ksk_scripted"}), "never the real key"
    assert "asked" not in sandbox.list_files("")


def test_a_key_is_never_shown(sandbox: LocalSandbox) -> None:
    identity = enter(sandbox, BY_KEY, key="ksk_secret")
    assert "ksk_secret" not in repr(identity)
    for script in ('echo "bad key: $KIRO_API_KEY"', 'echo "bad key: $KIRO_API_KEY"; sleep 1000'):
        with pytest.raises(LoginError, match=r"bad key: \[KIRO_API_KEY\]") as caught:
            enter(sandbox, script, "api-key", "ksk_secret", timeout=0.7)
        assert "ksk_secret" not in str(caught.value)
        assert caught.value.__cause__ is None, "its text would have the key"
