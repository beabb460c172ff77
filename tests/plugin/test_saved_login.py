"""`--kiro-login=saved`: no terminal is needed, the login comes in, and goes out again when it was renewed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from eval_runs import Evals
from login_data import login
from login_runs import VERSION, Logins

from pytest_kiro.errors import LoginError
from pytest_kiro.login.credentials import Credentials
from pytest_kiro.login.device import LoginTerminal
from pytest_kiro.login.login import LoginMeans, expect_login
from pytest_kiro.login.saved import SavedLogin
from pytest_kiro.sandbox.protocol import SandboxSpec
from pytest_kiro.secrecy.redaction import Secrets
from pytest_kiro.settings import table

LONG_AGO, SOME_DAY = "2001-01-01T00:00:00.123456789Z", "2999-01-01T00:00:00Z"
HELLO = """
def test_it(kiro, kiro_login):
    assert (kiro_login.how, kiro_login.who) == ("saved login", "BuilderId")
    assert kiro.run("Hello.").text == "Hi."
"""


@pytest.fixture
def logins(evals: Evals, monkeypatch: pytest.MonkeyPatch) -> Logins:
    # For processes of their own.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent), prepend=os.pathsep)
    return Logins(evals)


def save(name: str = "one", *, scripted: bool = False, **more: Any) -> SavedLogin:
    saved = SavedLogin()
    saved.save(login(name, scripted=scripted, **{"who": "BuilderId", **more}))
    return saved


def newest() -> Credentials:
    found = SavedLogin().newest()
    assert found is not None
    return found


def test_neither_a_worker_nor_its_controller_needs_a_terminal(logins: Logins) -> None:
    save()
    source = HELLO.replace("def test_it(", '@__import__("pytest").mark.parametrize("n", range(3))\ndef test_it(n, ')
    logins.evals.write(
        "test_it.py",
        source
        + """
    for home in (kiro.sandbox.home, kiro.workspace.home):
        data = f"{home}/.local/share/kiro-cli/data.sqlite3"
        assert kiro.workspace.exec(f"find {data} -perm 600").check().output.strip() == data
    assert "one-access" not in repr(kiro_login) + repr(vars(kiro_login)) + str(kiro_login)
""",
    )
    code, said = logins.detached("--kiro-login=saved", "-n2")
    assert code == 0, said.str()
    assert logins.turns == 3


@pytest.mark.parametrize("how", ["renewed since it ended", "renewed before its end"])
def test_a_renewed_one_is_saved(logins: Logins, how: str) -> None:
    """After the turn in which kiro-cli renewed it, in the HOME of that test."""
    if how == "renewed since it ended":
        save(expires=LONG_AGO)
        then = "assert 'one-access' not in SavedLogin().newest().tokens"
    else:
        save(expires=SOME_DAY)
        put = "credentials.put(kiro.sandbox, login('two', expires='2999-01-01T01:00:00Z'), str(kiro.workspace.home))"
        then = f"{put}; kiro.run('Hello.')"
    logins.evals.write(
        "test_it.py",
        f"""
        from login_data import login
        from pytest_kiro.login import credentials
        from pytest_kiro.login.saved import SavedLogin

        def test_it(kiro):
            kiro.run("Hello.")
            {then}
        """,
    )
    logins.evals.run(logins.cli, "--kiro-login=saved").assert_outcomes(passed=1)
    found = newest()
    assert not set(found.tokens) & {"one-access", "one-refresh"}
    assert found.expires is not None
    assert found.expires.year > 2001
    assert (found.version, found.scripted, found.who) == ("2.29.0", False, "BuilderId")
    assert stat.S_IMODE(SavedLogin().path.stat().st_mode) == 0o600
    # The next run begins with it.
    logins.steer(revoked=["one-access", "one-refresh"])
    logins.evals.write("test_it.py", HELLO)
    logins.evals.run(logins.cli, "--kiro-login=saved").assert_outcomes(passed=1)


def test_one_that_was_not_renewed_is_left_as_it_is(logins: Logins) -> None:
    saved = save(expires=SOME_DAY)
    before = saved.path.stat()
    logins.evals.write("test_it.py", HELLO)
    logins.evals.run(logins.cli, "--kiro-login=saved").assert_outcomes(passed=1)
    after = saved.path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_nothing_of_it_is_written(logins: Logins) -> None:
    """Neither of the tokens that came in nor of those that it was renewed with, by a test that shows all it can."""
    save(name="canary", expires=LONG_AGO)
    logins.evals.write(
        "test_it.py",
        """
        from pytest_kiro.login import credentials

        def test_it(kiro, kiro_login, record_property):
            turn = kiro.run("Hello.")
            found = credentials.take(kiro.sandbox, version="1", scripted=False, home=str(kiro.workspace.home))
            tokens = found.tokens
            print(tokens, kiro_login)
            record_property("found", tokens[0])
            assert False, (tokens, turn, kiro_login, kiro_login.renewal, found)
        """,
    )
    result = logins.evals.run(
        logins.cli,
        *("--kiro-login=saved", "-vv", "-l", "--full-trace", "--kiro-results=r.json"),
        *("--junitxml=j.xml", "-o", "junit_family=xunit1"),
    )
    result.assert_outcomes(failed=1)
    saved = newest()
    SavedLogin().forget()
    shown = result.stdout.str() + result.stderr.str()
    for token in ("canary-access", "canary-refresh", *saved.tokens):
        assert token not in shown
        assert logins.written(token) == []
    assert json.loads((logins.path / "r.json").read_text())["tests"]


@pytest.mark.parametrize("engine", ["v1", "v2", "v3"])
def test_a_token_that_one_test_renews_is_used_in_the_next(logins: Logins, engine: str) -> None:
    save(expires=LONG_AGO)
    logins.evals.write(
        "test_it.py",
        """
        import json
        import pytest
        from pytest_kiro.login import credentials

        def tokens(kiro, home):
            found = credentials.take(kiro.sandbox, version="1", scripted=False, home=str(home))
            return found.tokens

        @pytest.fixture(scope="module")
        def wide(kiro):
            return kiro.conversation()

        SEEN = []

        def test_a_renews_it(kiro, wide):
            assert wide.run("Hello.").ok  # it is renewed in the module's HOME
            SEEN.extend(tokens(kiro, wide.workspace.home))
            assert "one-access" not in SEEN and "one-access" in tokens(kiro, kiro.sandbox.home)

        def test_b_uses_it(kiro, wide):
            (kiro.workspace.home / ".kiro-standin/login.json").write_text('{"revoked": ["one-access", "one-refresh"]}')
            assert kiro.run("Hello.").ok and list(tokens(kiro, kiro.workspace.home)) == SEEN
            # Another one comes, in this test's HOME: the older HOME goes on with it.
            from login_data import login
            credentials.put(kiro.sandbox, login("three", expires="2999-01-01T01:00:00Z"), str(kiro.workspace.home))
            assert kiro.run("Hello.").ok
            assert wide.run("Hello.").ok and "three-access" in tokens(kiro, wide.workspace.home)
        """,
    )
    logins.evals.run(logins.cli, "--kiro-login=saved", f"--kiro-engine={engine}").assert_outcomes(passed=2)
    assert "three-access" in newest().tokens


# -- refused in mid-run

ELSEWHERE = """
import sys
from login_data import login
from pytest_kiro.login.saved import SavedLogin
SavedLogin().offer(login(sys.argv[1], who="BuilderId", scripted=False))
"""


def test_a_refused_token_is_replaced_once(logins: Logins) -> None:
    save()
    logins.evals.write("elsewhere.py", ELSEWHERE)
    logins.evals.write(
        "test_it.py",
        """
        import json, subprocess, sys
        import pytest
        from pathlib import Path
        from login_data import login
        from pytest_kiro import LoginError, TurnFailed
        from pytest_kiro.login.saved import SavedLogin

        def revoke(kiro, what):
            (kiro.workspace.home / ".kiro-standin/login.json").write_text(json.dumps({"revoked": what}))

        def elsewhere(name):
            subprocess.run([sys.executable, Path(__file__).with_name("elsewhere.py"), name], check=True, timeout=120)

        def test_a_replaced(kiro):
            kiro.run("Hello.")
            elsewhere("two")
            revoke(kiro, ["one-access"])
            turn = kiro.conversation().run("Hello.")
            assert turn.text == "Hi." and "(auth: infrastructure)" in turn.warnings[0]
            assert [old.cause for old in turn.conversation.retried] == ["auth"]

        def test_b_goes_on(kiro):
            assert kiro.run("Hello.").warnings == ()

        def test_c_once(kiro):
            SavedLogin().offer(login("three", who="BuilderId", scripted=False))
            revoke(kiro, ["two-access", "three-access"])
            with pytest.raises(TurnFailed, match="(?s)auth"):
                kiro.run("Hello.")

        def test_d_no_more(kiro):
            kiro.run("Hello.")
        """,
    )
    result = logins.evals.run(logins.cli, "--kiro-login=saved")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *LoginError: no turn was begun, since an earlier one was refused: kiro-cli said: *bearer token *; "
            "log in anew: python -m pytest_kiro login",
        ]
    )
    assert logins.turns == 6


@pytest.mark.parametrize("engine", ["v1", "v2"])
def test_a_conversation_goes_on_with_the_new_one(logins: Logins, engine: str) -> None:
    """The turn that was refused failed; what was said before is not lost with the old login."""
    recalling = '[["Heard: {recall:word is (\\\\w+)|nothing}."]]'
    (logins.path / "replies.json").write_text(recalling)
    save()
    logins.evals.write(
        "test_it.py",
        """
        from login_data import login
        from pytest_kiro.login.saved import SavedLogin

        def test_it(kiro):
            kiro.run("The word is donut.")
            SavedLogin().offer(login("two", who="BuilderId", scripted=False))
            (kiro.workspace.home / ".kiro-standin/login.json").write_text('{"revoked": ["one-access"]}')
            assert kiro.run("And?", check=False).cause == "auth"
            assert "Heard: donut." in kiro.run("And?").output
        """,
    )
    logins.evals.run(logins.cli, "--kiro-login=saved", f"--kiro-engine={engine}").assert_outcomes(passed=1)


def test_a_refused_one_with_nothing_newer_ends_it(logins: Logins) -> None:
    save()
    logins.steer(revoked=True)
    source = HELLO.replace("def test_it(", '@__import__("pytest").mark.parametrize("n", range(3))\ndef test_it(n, ')
    logins.evals.write("test_it.py", source)
    result = logins.evals.run(logins.cli, "--kiro-login=saved")
    result.assert_outcomes(failed=3)
    early = "E *LoginError: no turn was begun, since an earlier one was refused: *"
    result.stdout.fnmatch_lines(["E *TurnFailed: *auth*", early, early])
    assert logins.turns == 1


# -- when it is used


def test_auto_takes_it_where_there_is_no_key(logins: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    save()
    logins.evals.write("test_it.py", HELLO)
    code, said = logins.detached()
    assert code == 0, said.str()
    monkeypatch.setenv("KIRO_API_KEY", "ksk_0123456789abcdef")
    code, said = logins.detached()
    assert code == 1
    said.fnmatch_lines(["E *'api key'*"])


def test_auto_does_not_take_it_in_ci(logins: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    save()
    monkeypatch.setenv("CI", "true")
    logins.evals.write("test_it.py", HELLO)
    code, said = logins.detached()
    assert code == 1
    said.fnmatch_lines(
        [
            "E *LoginError: kiro-cli is not logged in, KIRO_API_KEY is not set, the saved login is not used in CI "
            "unless asked for by --kiro-login=saved, and nobody is asked in CI unless by --kiro-login=device; *",
            "*remedies: set KIRO_API_KEY *",
        ]
    )
    code, said = logins.detached("--kiro-login=saved")
    assert code == 0, said.str()


@pytest.mark.parametrize("ci", ["true", "1", "yes", "TRUE", "", "0", "false", "False"])
def test_what_is_ci(evals: Evals, ci: str) -> None:
    settings = table.read(option=lambda name: None, environ={}, ini=lambda name: None)
    means = LoginMeans(settings, LoginTerminal(tell=lambda url, code: None), Secrets(), {"CI": ci}, save())
    refused = pytest.raises(LoginError, match="the saved login is not used in CI unless")
    with refused if ci.lower() in ("true", "1", "yes") else contextlib.nullcontext():
        expect_login(means, SandboxSpec(), installed=True)


def test_nothing_to_log_in_with_is_said_by_every_worker(logins: Logins) -> None:
    source = "import pytest\n\n@pytest.mark.parametrize('n', range(4))\ndef test_it(n, kiro): pass"
    logins.evals.write("test_it.py", source)
    code, said = logins.detached("-n2")
    assert code == 1
    told = r"^E .*LoginError: kiro-cli is not logged in, KIRO_API_KEY"
    assert len(re.findall(told, said.str(), re.MULTILINE)) == 4
    assert len(re.findall(f"{told} is not set, no login is saved, and there is no term", said.str(), re.MULTILINE)) == 1
    assert logins.turns == 0


def test_the_stand_in_needs_none(evals: Evals) -> None:
    save()
    evals.passes("def test_it(kiro, kiro_login):\n    assert kiro_login.how == 'scripted'\n", {})
    save(name="other", scripted=True)
    evals.passes(
        "def test_it(kiro, kiro_login):\n    assert kiro_login.how == 'saved login'\n    kiro.run('Hello.')\n",
        {"test_it": ["Hi."]},
        "--kiro-login=saved",
    )


# -- what is none


def test_none_is_saved(logins: Logins) -> None:
    logins.evals.write("test_it.py", HELLO)
    result = logins.evals.run(logins.cli, "--kiro-login=saved")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            f"E *LoginError: no login is saved ({SavedLogin().path} is not there)",
            "E * save one with python -m pytest_kiro login, on a machine with a terminal; or this machine's: python -m "
            "pytest_kiro login --from-this-machine",
        ]
    )


def test_one_of_the_other_cli(logins: Logins) -> None:
    logins.evals.write("test_it.py", HELLO, {"test_it": ["Hi."]})
    save(scripted=True)
    result = logins.evals.run(logins.cli, "--kiro-login=saved")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "E *LoginError: the saved login is of the stand-in, and kiro-cli here is the real one; save another with *",
        ]
    )
    save(scripted=False)
    result = logins.evals.run("--kiro-login=saved")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["E *LoginError: the saved login is a real one, and kiro-cli here is the stand-in; save another with *"]
    )


@pytest.mark.parametrize("broken", ["text", "data", "open"])
def test_one_that_cannot_be_used(logins: Logins, broken: str) -> None:
    saved = save()
    logins.evals.write("test_it.py", HELLO)
    if broken == "text":
        saved.path.write_text("{")
        said = f"E *LoginError: the saved login {saved.path} is not one: *"
    elif broken == "data":
        told = json.loads(saved.path.read_text())
        saved.path.write_text(json.dumps({**told, "data": told["data"][:4000]}))
        said = f"E *LoginError: the data file in the saved login {saved.path}, with the login in it, cannot be read: *"
    else:
        saved.path.chmod(0o644)
        said = f"E *LoginError: the saved login {saved.path} can be read by others; *"
    result = logins.evals.run(logins.cli, "--kiro-login=saved")
    result.assert_outcomes(errors=1)
    advice = f"chmod 600 {saved.path}" if broken == "open" else "log in anew: python -m pytest_kiro login*"
    result.stdout.fnmatch_lines([said + advice])
    assert logins.turns == 0
    assert "one-access" not in result.stdout.str()


def test_one_of_another_version_that_is_not_taken(logins: Logins) -> None:
    """As of a kiro-cli that keeps its logins elsewhere."""
    save()
    script = logins.path / "bin/kiro-cli"
    script.write_text(script.read_text().replace(VERSION, VERSION + '\n[ "$1" = whoami ] && echo \'{"account":null}\''))
    logins.evals.write("test_it.py", HELLO)
    result = logins.evals.run(logins.cli, "--kiro-login=saved")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "E *LoginError: kiro-cli 2.30.1 does not count itself as logged in with the saved login, which kiro-cli "
            "2.29.0 has written; log in anew: python -m pytest_kiro login, or --kiro-login=device",
        ]
    )
