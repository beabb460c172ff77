"""`login --use-device-flow`: the selector, the code, the wait, and what is kept of it."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from standin_process import CHAT, DEADLINE, Standin, ended, read_until

from pytest_kiro.standin import STAND_IN

LOGIN = ("login", "--use-device-flow")
FREE = (*LOGIN, "--license", "free")
UP, DOWN, ENTER, ESCAPE, CTRL_C = "\x1b[A", "\x1b[B", "\r", "\x1b", "\x03"
TOKEN, SOCIAL = "kirocli:odic:token", "kirocli:social:token"
START_URL = "https://acme.awsapps.com/start"
# The shell reports what the terminal was like before and after.
BETWEEN = 'stty -a > before; "$@"; echo "ended with $?"; stty -a > after'


@pytest.fixture(autouse=True)
def nobody_has_a_key(standin: Standin) -> None:
    """And the service says yes at once."""
    del standin.env["KIRO_API_KEY"]
    standin.steer(approve_after=0)


def whoami(standin: Standin) -> str:
    return standin.run("whoami").out


def restored(standin: Standin) -> bool:
    return (standin.cwd / "before").read_text() == (standin.cwd / "after").read_text() != ""


# -- the selector


@pytest.mark.parametrize(
    ("keys", "row", "who"),
    [
        (ENTER, "Use with Builder ID", "Logged in with Builder ID\n"),
        ("\n", "Use with Builder ID", "Logged in with Builder ID\n"),
        (DOWN + ENTER, "Use with Google", "Logged in with Google\nEmail: someone@example.com\n"),
        ("\x1bOB\x1bOB" + ENTER, "Use with GitHub", "Logged in with GitHub\nEmail: someone@example.com\n"),
        (DOWN + DOWN + UP + "\x1bOA" + ENTER, "Use with Builder ID", "Logged in with Builder ID\n"),
        ("x\x1b[3~\x1b[200~é" + DOWN + ENTER, "Use with Google", "Logged in with Google\nEmail: someone@example.com\n"),
    ],
    ids=["enter", "newline", "down", "other-arrows", "up", "keys-without-meaning"],
)
def test_a_row_is_chosen_with_the_arrow_keys(standin: Standin, keys: str, row: str, who: str) -> None:
    terminal = standin.terminal(*LOGIN, script=BETWEEN)
    terminal.expect_exact("? Select login method")
    for name in ("Builder ID", "Google", "GitHub", "Your Organization"):
        terminal.expect_exact(f"Use with {name}")
    terminal.send(keys)
    terminal.expect_exact(f"✔\x1b[0m Select login method · {row}")
    terminal.expect_exact("Logged in successfully\r\nended with 0\r\n")
    ended(terminal)

    assert whoami(standin) == who
    assert restored(standin)


def test_above_the_first_row_is_the_last(standin: Standin) -> None:
    terminal = standin.terminal(*LOGIN)
    terminal.expect_exact("Your Organization")
    terminal.send(UP + ENTER)
    terminal.expect_exact("Enter Start URL")


def test_rows_are_drawn_over_the_old_ones_however_narrow_the_terminal_is(standin: Standin) -> None:
    terminal = standin.terminal(*LOGIN, columns=20)
    terminal.expect_exact("  Use with Your Org\r\n")
    terminal.send(DOWN)
    terminal.expect_exact("\x1b[4A\r\x1b[2K")
    terminal.expect("❯ Use with Google")
    terminal.expect_exact("  Use with Your Org")
    terminal.send(ENTER)
    terminal.expect_exact("\x1b[6A\r\x1b[J")  # four rows, and a title that takes two lines
    code, shown = ended(terminal)

    assert code == 0
    assert "Logged in successfully" in shown


def test_keys_that_were_typed_before_are_keys(standin: Standin) -> None:
    terminal = standin.terminal(*LOGIN, script='read line; exec "$@"')
    terminal.send("go\n" + DOWN + "\n")

    assert ended(terminal)[0] == 0
    assert whoami(standin).startswith("Logged in with Google")


@pytest.mark.parametrize("key", [ESCAPE, CTRL_C, ESCAPE + ESCAPE])
def test_the_selector_can_be_left(standin: Standin, key: str) -> None:
    terminal = standin.terminal(*LOGIN, script=BETWEEN)
    terminal.expect_exact("Your Organization")
    terminal.send(key)
    terminal.expect_exact("error: No login method selected\r\nended with 1\r\n")
    ended(terminal)

    assert restored(standin)
    assert not standin.data.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_the_terminal_as_it_was(standin: Standin, number: signal.Signals) -> None:
    script = 'stty -a > before; sh -c \'echo $$ > pid; exec "$@"\' sh "$@"; stty -a > after; echo over'
    terminal = standin.terminal(*LOGIN, script=script)
    terminal.expect_exact("Your Organization")
    os.kill(int((standin.cwd / "pid").read_text()), number)
    terminal.expect_exact("over")
    ended(terminal)

    assert restored(standin)


# -- an organisation


def test_an_organisation_is_asked_for_what_the_flags_have_told_already(standin: Standin) -> None:
    terminal = standin.terminal(
        *LOGIN, "--license", "pro", "--identity-provider", START_URL, "--region", "eu-west-9", script=BETWEEN
    )
    terminal.expect_exact(f"Enter Start URL ›\x1b[0m {START_URL}")
    terminal.send(ENTER)
    terminal.expect_exact("Enter Region ›\x1b[0m eu-west-9")
    terminal.send("\x7f1" + ENTER)
    terminal.expect_exact(f"Open this URL: {START_URL}/#/device?user_code=")
    terminal.expect_exact("? Select an IAM Identity Center profile")
    terminal.send(DOWN + ENTER)
    terminal.expect_exact("Profile set\r\nLogged in successfully\r\nended with 0\r\n")
    ended(terminal)

    arn = "arn:aws:codewhisperer:us-east-1:111122223333:profile/TRIAL"
    assert standin.kept("api.codewhisperer.profile", "state") == {"arn": arn, "profile_name": "trial"}
    token = standin.kept(TOKEN)
    assert (token["start_url"], token["region"]) == (START_URL, "eu-west-1")
    assert whoami(standin) == f"Logged in with IAM Identity Center ({START_URL})\n\nProfile:\ntrial\n{arn}\n\n"
    first, *more = standin.run("whoami", "-f", "json").out.splitlines()
    assert json.loads(first)["startUrl"] == START_URL
    assert "Profile:" in more
    assert restored(standin)


@pytest.mark.parametrize(
    ("url", "region", "message"),
    [
        ("http://acme.awsapps.com/start", "us-east-1", "Invalid start url provided: http://acme"),
        ("https://acme.awsapps.com/strat", "us-east-1", "Invalid start url provided: https://acme"),
        ("acme", "us-east-1", "Invalid start url provided: acme."),
        (START_URL, "mars", "failed to lookup oidc.mars.amazonaws.com"),
    ],
)
def test_the_service_refuses_a_wrong_organisation(standin: Standin, url: str, region: str, message: str) -> None:
    terminal = standin.terminal(*LOGIN, "--license=pro")
    terminal.expect_exact("Enter Start URL")
    terminal.send(ENTER + "mistake\x15" + url + ENTER)  # nothing is no answer
    terminal.expect_exact("Enter Region")
    terminal.send(region + ENTER)
    code, shown = ended(terminal)

    assert code == 1
    assert message in shown
    assert "Use " in shown
    assert not standin.data.exists()


@pytest.mark.parametrize("step", ["Enter Start URL", "Enter Region"])
def test_the_questions_can_be_left(standin: Standin, step: str) -> None:
    argv = ("--license=pro", "--identity-provider", START_URL)
    terminal = standin.terminal(*LOGIN, *argv, script=BETWEEN)
    terminal.expect_exact("Enter Start URL")
    if step == "Enter Region":
        terminal.send(ENTER)
        terminal.expect_exact(step)
    terminal.send(CTRL_C)
    terminal.expect_exact("ended with 1\r\n")
    ended(terminal)

    assert restored(standin)


def test_who_chooses_no_profile_is_logged_in_all_the_same(standin: Standin) -> None:
    terminal = standin.terminal(*LOGIN, "--license=pro", "--identity-provider", START_URL, "--region=us-east-1")
    terminal.expect_exact("Enter Start URL")
    terminal.send(ENTER + ENTER)
    terminal.expect_exact("Select an IAM Identity Center profile")
    terminal.send(ESCAPE)
    code, shown = ended(terminal)

    assert code == 1
    assert "No profile selected" in shown
    assert whoami(standin) == f"Logged in with IAM Identity Center ({START_URL})\n"


# -- the code and the wait


def test_the_screens_of_a_login_without_a_terminal(standin: Standin) -> None:
    standin.steer(approve_after=0.3, code="ABCD-EFGH")
    result = standin.run(*FREE)

    assert (result.code, result.err) == (0, "")
    assert result.out == (
        "\nConfirm the following code in the browser\nCode: ABCD-EFGH\n\n"
        "Open this URL: https://view.awsapps.com/start/#/device?user_code=ABCD-EFGH\n"
        "Device authorized\nLogged in successfully\n"
    )


def test_a_terminal_sees_a_spinner_until_it_is_approved(standin: Standin) -> None:
    standin.steer(approve_when="approved")
    terminal = standin.terminal(*FREE, "-v")
    terminal.expect(r"Code: ([A-Z]{4}-[A-Z]{4})\r\n\r\nOpen this URL: (\S+)\r\n")
    code, url = terminal.match.groups()
    terminal.expect_exact("\r⠋ Logging in...\r⠙ Logging in...\r")
    assert not standin.data.exists()
    (standin.home / "approved").touch()
    terminal.expect_exact("\r\x1b[2K\x1b[?25hDevice authorized\r\nLogged in successfully\r\n")

    assert ended(terminal) == (0, "")
    assert url == f"https://view.awsapps.com/start/#/device?user_code={code}"


def test_codes_and_tokens_are_new_each_time(standin: Standin) -> None:
    seen = set()
    for _ in range(2):
        found = re.search("Code: (.*)", standin.run(*FREE).out)
        assert found
        seen |= {found[1], standin.kept(TOKEN)["access_token"], standin.kept(TOKEN)["refresh_token"]}
        standin.run("logout")
    assert len(seen) == 6


def test_what_is_kept_of_a_login(standin: Standin) -> None:
    standin.steer(approve_after=0, access_token="canary-a", refresh_token="canary-r", client_secret="canary-c")
    assert standin.run(*FREE).code == 0

    token = standin.kept(TOKEN)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", token.pop("expires_at"))
    scopes = token.pop("scopes")
    assert token == {
        "access_token": "canary-a",
        "refresh_token": "canary-r",
        "region": "us-east-1",
        "start_url": "https://view.awsapps.com/start",
        "oauth_flow": "DeviceCode",
    }
    registration = standin.kept("kirocli:odic:device-registration")
    assert (registration["client_secret"], registration["scopes"]) == ("canary-c", scopes)
    assert registration["client_id"]
    assert stat.S_IMODE(standin.data.stat().st_mode) == 0o600
    assert whoami(standin) == "Logged in with Builder ID\n"
    assert list(standin.data.parent.iterdir()) == [standin.data]


@pytest.mark.parametrize(("provider", "name"), [("google", "Google"), ("github", "GitHub")])
def test_a_social_login_needs_no_selector(standin: Standin, provider: str, name: str) -> None:
    standin.steer(approve_after=0, email="ada@example.com")
    assert standin.run(*LOGIN, "--social", provider).code == 0

    assert whoami(standin) == f"Logged in with {name}\nEmail: ada@example.com\n"
    assert standin.kept(SOCIAL)["provider"] == provider


def test_a_login_lives_beside_the_conversations_of_v1(standin: Standin) -> None:
    key = {"KIRO_API_KEY": "ksk_1"}
    standin.chat("before", [["one"]], "--classic", env=key)
    os.chmod(standin.data, 0o644)
    assert standin.run(*FREE).code == 0
    assert standin.chat("after", [["two"]], "--classic", "--resume").code == 0

    ((_, _, value),) = standin.rows()
    assert len(value["history"]) == 2
    assert stat.S_IMODE(standin.data.stat().st_mode) == 0o600
    assert standin.run("logout").code == 0
    assert len(standin.rows()) == 1


def test_ctrl_c_ends_the_wait(standin: Standin) -> None:
    standin.steer(approve_when="never")
    terminal = standin.terminal(*FREE, script=BETWEEN.replace('"$@"', 'trap : INT; "$@"', 1))
    terminal.expect_exact("Logging in...")
    terminal.sendintr()
    terminal.expect_exact("\x1b[?25h")
    terminal.expect_exact("ended with 1\r\n")
    ended(terminal)

    assert restored(standin)
    assert not standin.data.exists()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"deny": True}, "error: access denied\n"),
        ({"expire_after": 0.1}, "the device code has expired"),
        ({"cut_after": 0}, "error: dispatch failure: io error: error trying to connect: tcp connect error: connection"),
    ],
)
def test_a_login_that_the_service_refuses(standin: Standin, answer: dict[str, Any], message: str) -> None:
    standin.steer(approve_when="never", **answer)
    result = standin.run(*FREE)

    assert result.code == 1
    assert message in result.err
    assert "authorized" not in result.out
    assert not standin.data.exists()


def test_the_service_may_change_its_mind_while_it_is_asked(standin: Standin) -> None:
    standin.steer(approve_when="never")
    terminal = standin.terminal(*FREE)
    terminal.expect_exact("Logging in...")
    standin.steer(deny=True)
    code, shown = ended(terminal)

    assert code == 1
    assert "error: access denied" in shown


def test_a_login_may_only_pretend(standin: Standin) -> None:
    standin.steer(approve_after=0, pretend=True)
    result = standin.run(*FREE)

    assert result.code == 0
    assert result.out.endswith("Logged in successfully\n")
    assert json.loads(standin.run("whoami", "-f", "json").out) == {"account": None}


# -- misuse


def test_a_second_login_is_refused(standin: Standin) -> None:
    standin.run(*FREE)
    result = standin.run("login")

    assert result.code == 1
    assert result.err == "error: Already logged in, please logout with kiro-cli logout first\n"


def test_without_the_device_flow_a_browser_is_needed(standin: Standin) -> None:
    result = standin.run("login", "--license=free")

    assert (result.code, result.out) == (1, "")
    assert "Failed to open browser" in result.err
    assert "Please try again with: kiro-cli login --use-device-flow" in result.err


def test_the_selector_needs_a_terminal(standin: Standin) -> None:
    result = standin.run(*LOGIN, stdin=ENTER)
    terminal = standin.terminal(*LOGIN, script='exec "$@" <&-')
    code, shown = ended(terminal)

    assert result.code == code == 1
    assert "not a terminal" in result.err
    assert "use --license free" in shown


def test_a_terminal_that_goes_away_ends_the_selector(standin: Standin) -> None:
    leader, follower = pty.openpty()
    command, env = [*standin.command, *LOGIN], standin.environment(None, None, None)
    process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=env, cwd=standin.cwd)
    standin.started.append(process)
    os.close(follower)
    read_until(leader, b"Your Organization")
    os.close(leader)

    assert process.wait(DEADLINE) == 1


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--license", "gold"], "invalid value 'gold' for '--license <LICENSE>'"),
        (["--social"], "a value is required for '--social <PROVIDER>'"),
        (["--social=facebook"], "[possible values: google, github]"),
        (["--license=free", "--social=google"], "cannot be used with '--social <PROVIDER>'"),
        (["--user-device-flow"], "unexpected argument '--user-device-flow' found"),
        (["google"], "unexpected argument 'google' found"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error_of_login(standin: Standin, argv: list[str], message: str) -> None:
    result = standin.run("login", *argv)

    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert "kiro-cli login [OPTIONS]" in result.err


def test_login_has_help(standin: Standin) -> None:
    assert "--use-device-flow" in standin.run("login", "--help").out
    assert "login   Log in" in standin.run("--help").out


@pytest.mark.parametrize("content", [b"not a database, and long enough to be noticed as such by the library", None])
def test_a_damaged_data_file_is_told_before_anybody_is_asked(standin: Standin, content: bytes | None) -> None:
    standin.data.parent.mkdir(parents=True)
    if content is None:
        standin.data.mkdir()
    else:
        standin.data.write_bytes(content)
    result = standin.run(*FREE)

    assert (result.code, result.out) == (1, "")
    assert f"{standin.data} cannot be used" in result.err
    assert "Move it away" in result.err
    assert json.loads(standin.run("whoami", "-f", "json").out) == {"account": None}
    assert "You are not logged in" in standin.run(*CHAT, "hi", replies=[["hi"]]).err


def test_a_data_folder_that_cannot_be_made(standin: Standin) -> None:
    (standin.home / ".local").write_text("a file")
    result = standin.run(*FREE)

    assert result.code == 1
    assert "cannot be used" in result.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"aprove_after": 1}', "unknown key 'aprove_after'; known: access_token, approve_after"),
        ('{"approve_after": "soon"}', 'approve_after is "soon"; use a number of seconds'),
        ('{"approve_after": true}', "use a number of seconds"),
        ('{"approve_after": 1, "approve_when": "x"}', "use one of them"),
        ('{"code": "abcd-efgh"}', "use a code such as ABCD-EFGH"),
        ('{"revoked": "token"}', "use true, or a list of tokens"),
        ('{"deny": 1}', "use true or false"),
        ('{"email": ""}', "use a text"),
        ("[]", "it is not a JSON object"),
        ("{", "it is not JSON"),
        (None, "it cannot be read"),
    ],
)
def test_a_wrong_answer_of_the_service_is_told(standin: Standin, text: str | None, message: str) -> None:
    file: Path = standin.home / ".kiro-standin" / "login.json"
    file.unlink()
    if text is None:
        file.mkdir()
    else:
        file.write_text(text)
    results = [standin.run(*FREE), standin.run(*CHAT, "hi", replies=[["hi"]], env={"KIRO_API_KEY": "ksk_1"})]

    for result in results:
        assert (result.code, result.out) == (2, "")
        assert f"{file} is wrong: " in result.err
        assert message in result.err


def test_without_a_file_the_service_says_yes_after_two_seconds(standin: Standin) -> None:
    (standin.home / ".kiro-standin" / "login.json").unlink()
    code = "from kiro_cli import device; print(device._answer(1.99) is None, device._answer(2.0) is None)"

    command = [sys.executable, "-c", code]
    ran = subprocess.run(
        command, cwd=STAND_IN.parent, env=standin.env, capture_output=True, timeout=DEADLINE, check=True
    )

    assert ran.stdout == b"True False\n"
