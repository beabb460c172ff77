"""Whether Kiro lets us in, which turns tell: a key that is not taken is said once, and nobody is asked again."""

from __future__ import annotations

import os
import re

import pytest
from eval_runs import Evals
from login_runs import Logins

from pytest_kiro.settings.table import TABLE

KEY = "ksk_canary_key_0123456789_last"
THREE = """
import pytest

@pytest.mark.parametrize("n", range(3))
def test_it(kiro, n):
    assert kiro.run("Hello.").text == "Hi."
"""
EARLY = "E *LoginError: no turn was begun, since an earlier one was refused: kiro-cli said: Authentication failed. *"
ADVICE = "E *set a valid KIRO_API_KEY; whoami cannot tell, it only looks whether there is one"


@pytest.fixture
def logins(evals: Evals) -> Logins:
    return Logins(evals)


def test_a_key_that_is_taken(logins: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIRO_API_KEY", KEY)
    logins.steer(invalid_keys=["ksk_another"])
    logins.evals.write("test_it.py", THREE)
    logins.evals.run(logins.cli, "--kiro-login=api-key").assert_outcomes(passed=3)
    assert logins.turns == 3


def test_a_key_that_is_not_is_said_once(logins: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIRO_API_KEY", KEY)
    logins.steer(invalid_keys=[KEY])
    logins.evals.write("test_it.py", THREE)
    result = logins.evals.run(logins.cli, "-vv", "-l", "--full-trace", "--junitxml=junit.xml", "--kiro-results=r.json")
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        [
            "E *LoginError: KIRO_API_KEY (it ends in last) is not taken: kiro-cli said: Authentication failed. *",
            "E *| Authentication failed. Your API key may be invalid or expired. *",
            ADVICE,
            EARLY,
            ADVICE,
            EARLY,
            ADVICE,
        ]
    )
    assert logins.turns == 1
    text = result.stdout.str() + result.stderr.str()
    assert re.findall(r"\S{5}_last|_last", text) == []
    assert logins.written(KEY[:-4]) == logins.written("canary_key_0") == [logins.path / "steering.json"]


def test_of_a_short_key_nothing_is_shown(logins: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIRO_API_KEY", "ksk_short_wxyz")
    logins.steer(invalid_keys=True)
    logins.evals.write("test_it.py", THREE)
    result = logins.evals.run(logins.cli)
    result.stdout.fnmatch_lines(["E *LoginError: KIRO_API_KEY is not taken: *"])
    assert "wxyz" not in result.stdout.str()


def test_each_worker_is_refused_once(logins: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIRO_API_KEY", KEY)
    logins.steer(invalid_keys=True)
    logins.evals.write("test_it.py", THREE.replace("range(3)", "range(8)"))
    result = logins.evals.process(logins.cli, "-n2")
    result.assert_outcomes(failed=8)
    assert 1 <= logins.turns <= 2
    assert result.stdout.str().count("LoginError: KIRO_API_KEY (it ends in last) is not taken") >= logins.turns


def test_what_an_eval_can_do_about_it(logins: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIRO_API_KEY", KEY)
    logins.steer(invalid_keys=True)
    logins.evals.write(
        "test_it.py",
        """
        import pytest
        from pytest_kiro import LoginError

        def test_it(kiro):
            turn = kiro.run("Hello.", check=False)
            assert (turn.status, turn.cause, turn.ok) == ("failed", "auth", False)
            for check in (True, False):
                with pytest.raises(LoginError, match="no turn was begun"):
                    kiro.run("Hello.", check=check)
                with pytest.raises(LoginError, match="no turn was begun"):
                    with kiro.conversation().stream("Hello.", check=check):
                        pass
            assert kiro.workspace.exec("true").ok  # what needs no login goes on

        def test_another(kiro):
            with pytest.raises(LoginError, match="no turn was begun"):
                kiro.run("Hello.")
        """,
    )
    logins.evals.run(logins.cli).assert_outcomes(passed=2)
    assert logins.turns == 1


@pytest.mark.parametrize("way", ["stream", "fixture"])
def test_it_is_said_wherever_the_first_turn_is(logins: Logins, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.setenv("KIRO_API_KEY", KEY)
    logins.steer(invalid_keys=True)
    stream = """
        def test_it(kiro):
            with kiro.stream("Hello.") as live:
                for chunk in live:
                    pass
        """
    fixture = """
        import pytest

        @pytest.fixture(scope="module")
        def shop(kiro):
            return kiro.run("Build.")

        def test_it(shop):
            pass
        """
    logins.evals.write("test_it.py", stream if way == "stream" else fixture)
    result = logins.evals.run(logins.cli)
    result.assert_outcomes(**{"failed" if way == "stream" else "errors": 1})
    result.stdout.fnmatch_lines(["E *LoginError: KIRO_API_KEY (it ends in last) is not taken: *", ADVICE])


def test_a_key_that_ends_in_mid_run_was_one(logins: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is the turn that failed; those after it are not begun all the same."""
    monkeypatch.setenv("KIRO_API_KEY", KEY)
    logins.evals.write(
        "test_it.py",
        """
        import pytest
        from pytest_kiro import LoginError, TurnFailed

        def test_it(kiro):
            assert kiro.run("Hello.").ok
            (kiro.workspace.home / ".kiro-standin/login.json").write_bytes(b'{"invalid_keys": true}')
            with pytest.raises(TurnFailed, match="(?s)auth.*set a valid KIRO_API_KEY") as caught:
                kiro.run("Hello.")
            assert caught.value.infrastructure
            with pytest.raises(LoginError, match="no turn was begun"):
                kiro.run("Hello.")
        """,
    )
    logins.evals.run(logins.cli).assert_outcomes(passed=1)
    assert logins.turns == 2


def test_what_a_scenario_says_is_of_one_turn(evals: Evals) -> None:
    evals.passes(
        """
        import pytest
        from pytest_kiro import TurnFailed

        def test_it(kiro):
            with pytest.raises(TurnFailed, match="auth"):
                kiro.run("Hello.")

        def test_another(kiro):
            assert kiro.run("Hello.").ok
        """,
        {"test_it": [{"misbehave": "bad_key"}], "test_another": ["Hi."]},
    )


def test_a_stored_login_goes_before_a_key(logins: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    """So with it nothing would be known of the key."""
    monkeypatch.setenv("KIRO_API_KEY", KEY)
    logins.evals.write(
        "conftest.py",
        """
        from login_data import login
        from pytest_kiro.login import credentials

        def pytest_kiro_sandbox_ready(sandbox, settings):
            credentials.put(sandbox, login("stored"))
        """,
    )
    logins.evals.write("test_it.py", THREE)
    result = logins.evals.run(logins.cli, "--kiro-login=api-key")
    result.assert_outcomes(errors=3)
    result.stdout.fnmatch_lines(
        [
            "E *LoginError: KIRO_API_KEY is set, but kiro-cli in this sandbox is logged in as BuilderId (stored "
            "login); use --kiro-login=auto to go on with that login, or log it out there",
        ]
    )
    assert logins.turns == 0
    logins.evals.run(logins.cli, "--kiro-login=auto").assert_outcomes(passed=3)


# -- settings of a device login

DEVICE = {"login_args": "--license free", "login_timeout": "5", "open_browser": "on"}


@pytest.mark.parametrize("how", ["api-key", "saved", "none"])
@pytest.mark.parametrize("name", DEVICE)
@pytest.mark.parametrize("xdist", [[], ["-n1"]], ids=["alone", "xdist"])
def test_a_setting_of_a_device_login_without_one(
    evals: Evals, monkeypatch: pytest.MonkeyPatch, name: str, how: str, xdist: list[str]
) -> None:
    evals.write("test_it.py", "def test_it(kiro_settings): pass")
    row = next(row for row in TABLE if row.name == name)
    option = f"{row.option}={DEVICE[name]}" if row.metavar else row.option

    def refused(origin: str, *args: str) -> None:
        result = evals.run(f"--kiro-login={how}", *args, *xdist)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        said = f"ERROR: {origin} is for a device login, but --kiro-login={how} asks nobody; leave it out, or use *"
        result.stderr.fnmatch_lines([said])

    # A project's ini file says how its people log in; one of them may have a key.
    evals.path.joinpath("pytest.ini").write_text(f"[pytest]\nkiro_{name} = {DEVICE[name]}\n")
    evals.run(f"--kiro-login={how}", "-p", "no:cacheprovider").assert_outcomes(passed=1)
    refused(row.option, option)
    for fits in ("auto", "device"):
        evals.run(f"--kiro-login={fits}", option).assert_outcomes(passed=1)
    monkeypatch.setenv(row.variable, DEVICE[name])
    refused(row.variable)


@pytest.mark.parametrize("value", ["", "  ", "''\0", "--license 'free", "a\\"])
def test_wrong_arguments_of_a_login(evals: Evals, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    evals.write("test_it.py", "def test_it(kiro_settings): pass")
    result = evals.run(f"--kiro-login-args={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --kiro-login-args: * is not right; wanted: arguments as in a shell, *"])
    assert os.environ.get("PYTEST_KIRO_LOGIN_ARGS") is None
