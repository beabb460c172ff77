"""A secret is in the environment of Kiro's own process, and nowhere else: not on screen, and not on disk."""

from __future__ import annotations

import hashlib
import json

import pytest
from eval_runs import Evals, program, shell, stand_in, turn
from secret_evals import HOOK, KEY, LATE, NAMES, leaks, plant

_OUR_ARGS = (
    "--junitxml=junit.xml",
    "--kiro-results=results.json",
    "--continue-on-collection-errors",
    "-p",
    "no:randomly",
)


def test_a_key_is_on_no_disk(evals: Evals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIRO_API_KEY", "ksk_canary_on_disk")
    digest = hashlib.sha256(b"ksk_canary_on_disk").hexdigest()
    evals.passes(
        f"""
        def test_it(kiro):
            search, environment, digest = [call.output for call in kiro.run("Look around.").tool_calls]
            assert search == "nothing\\n"
            seen = dict(line.split("=", 1) for line in environment.splitlines() if "=" in line)
            assert seen["KIRO_API_KEY"] == "[KIRO_API_KEY]"
            assert digest.split()[0] == "{digest}"  # so that it is the real one which the process has
            # And what else the process is given: quiet, and a PATH that begins with its own programs.
            assert seen["KIRO_NO_AUTO_UPDATE"] == seen["KIRO_DISABLE_TELEMETRY"] == "1"
            assert seen["PATH"].split(":")[0] == f"{{kiro.workspace.home}}/.local/bin"
            assert kiro.workspace.exec("env").output.count("ksk_") == 0
        """,
        {
            "test_it": [
                turn(
                    [shell("grep -rl ksk_can[a]ry ~ || echo nothing")],
                    [shell("env")],
                    [shell("printf %s $KIRO_API_KEY | { sha256sum || shasum -a 256; } 2>/dev/null")],
                    ["Done."],
                )
            ]
        },
        "--kiro-login=api-key",
    )


def test_the_folder_of_the_cli_is_on_path(evals: Evals) -> None:
    """kiro-cli 2.x starts its siblings from PATH."""
    program(evals, stand_in())
    evals.passes(
        """
        def test_it(kiro):
            (call,) = kiro.run("Look around.").tool_calls
            assert kiro.installation.folder in call.output.strip().split(":")
        """,
        {"test_it": [turn([shell("echo $PATH")], ["Done."])]},
        f"--kiro-cli={evals.path}/bin/kiro-cli",
    )


@pytest.mark.parametrize(
    "args",
    [
        ("-rA", "-vv"),
        ("-n2", "-rA", "--showlocals", "--tb=long", "--kiro-stream=on", "--kiro-record=all"),
        ("-n1", "--kiro-output=stream-json", "--tb=native", "--kiro-record=all"),
        ("-s", "-k", "not prints", "--kiro-output=stream-json", "--showlocals", "--tb=short", "-ra", "--setup-show"),
        (
            "--showlocals",
            "--tb=long",
            "--color=yes",
            "-vv",
            "-o",
            "log_cli=true",
            "--log-level=INFO",
            "--log-file=run.log",
        ),
        ("--full-trace", "--showlocals", "--tb=long", "--color=yes", "-vv"),
        ("--tb=native", "-rA"),
        ("--tb=line", "-q"),
        ("--capture=tee-sys", "-k", "not prints", "-rA"),
    ],
    ids=" ".join,
)
def test_nothing_is_left_of_a_secret(evals: Evals, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...]) -> None:
    plant(evals, monkeypatch)
    planted = [file for file in evals.path.rglob("*") if file.is_file()]
    cli = f"--kiro-cli={evals.path}/bin/kiro-cli"
    result = evals.pytester.runpytest_subprocess(*_OUR_ARGS, cli, "--kiro-login=api-key", *args, timeout=180)
    printed = result.stdout.str() + result.stderr.str()
    found = list(leaks(evals, printed, planted))
    assert found == [], found[0]
    if "--kiro-record=all" in args:
        casts = [path for path in evals.path.rglob("recordings/**/*.cast") if "[KIRO_API_KEY]" in path.read_text()]
        assert casts
    # And it is not by saying nothing: every secret stands there, by its name.
    told = (evals.path / "results.json").read_text() + (evals.path / "junit.xml").read_text() + printed
    assert [name for name in NAMES if name not in told] == []
    assert "in a fixture [KIRO_API_KEY]" in told
    assert "broken [KIRO_API_KEY]" in told
    assert "own [device code]" in told
    tests = {
        test["nodeid"].partition("::")[2]: test
        for test in json.loads((evals.path / "results.json").read_text())["tests"]
    }
    assert tests["test_turn"]["phases"][1]["message"].startswith("AssertionError: [KIRO_API_KEY]\nassert "), printed
    assert tests["test_turn"]["turns"][0]["prompt"] == "Say [secret]."
    assert "crash" in tests["test_fails"]["phases"][1]["message"]
    wanted = {"test_expects": "did not print '[secret]'", "test_condition": "exit code 3: echo '[secret]'"}
    for name, words in wanted.items():
        assert words in tests[name]["phases"][1]["message"]


@pytest.mark.parametrize("output", ["text", "stream-json"])
def test_what_a_secret_may_begin_with_is_not_held_back_for_long(
    evals: Evals, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    monkeypatch.setenv("KIRO_API_KEY", KEY)
    evals.passes(
        """
        def test_it(kiro):
            with kiro.stream("Hello.") as live:
                live.expect("It is ksk", timeout=120)
            assert live.turn.status == "stopped"
        """,
        {"test_it": [turn(["It is ksk", shell("sleep 300")], ["Done."], misbehave={"hangs": 300})]},
        f"--kiro-output={output}",
    )


def test_the_name_of_a_test_stays_what_others_find_it_by(evals: Evals, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the screen and in files of results it is hidden; pytest's cache keeps it, as --lf needs it."""
    monkeypatch.setenv("KIRO_API_KEY", KEY)
    evals.write(
        "test_it.py",
        """
        import os, pytest
        @pytest.mark.parametrize("value", [os.environ["KIRO_API_KEY"]])
        def test_it(kiro, value): assert kiro.run(value).text == 1
        """,
        {"test_it": ["Hello."]},
    )
    result = evals.process(*_OUR_ARGS, "-v", "-rA", "-s")
    assert result.stdout.str().count("test_it.py::test_it[[KIRO_API_KEY]]") == 2
    for text in (result.stdout.str(), *((evals.path / name).read_text() for name in ("results.json", "junit.xml"))):
        assert KEY not in text
    (test,) = json.loads((evals.path / "results.json").read_text())["tests"]
    assert (test["nodeid"], test["outcome"], len(test["turns"])) == ("test_it.py::test_it[[KIRO_API_KEY]]", "failed", 1)
    evals.run("--lf").assert_outcomes(failed=1)


def test_errors_of_pytest_itself(evals: Evals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIRO_API_KEY", KEY)
    evals.write(
        "test_it.py", "import os, pytest\ndef test_it(): pytest.exit('left with ' + os.environ['KIRO_API_KEY'])"
    )
    result = evals.run()
    result.stdout.fnmatch_lines(["*Exit: left with [[]KIRO_API_KEY[]]*"])
    assert KEY not in result.stdout.str() + result.stderr.str()
    monkeypatch.setenv("LATE", LATE)
    evals.write(
        "conftest.py",
        """
        import os
        from pytest_kiro.plugin.state import STATE

        def pytest_runtest_protocol(item):
            item.config.stash[STATE].secrets.add(os.environ["LATE"], "device code")
            raise ValueError("broken by " + os.environ["LATE"])
        """,
    )
    for args in ((), ("-n1",)):
        result = evals.run(*args)
        assert "ValueError: broken by [device code]" in result.stdout.str()
        assert LATE not in result.stdout.str() + result.stderr.str()


def test_a_setting_that_is_a_secret_is_not_repeated(evals: Evals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIRO_API_KEY", KEY)
    result = evals.run(f"--kiro-login={KEY}")
    result.stderr.fnmatch_lines(["ERROR: --kiro-login: *KIRO_API_KEY*"])
    assert KEY not in result.stderr.str()


# -- the hook


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (repr(HOOK), "a str; wanted: a list of texts"),
        ("{'name': 'value'}", "a dict; wanted: a list of texts"),
        ("7", "a int; wanted: a list of texts"),
        ("[None]", "a list with a NoneType in it; wanted: a list of texts, such as os.environ.get(name, '')"),
        ("[b'12345678']", "a list with a bytes in it; wanted: a list of texts"),
        ("['hunter2']", "a text of 7 characters, which would be found in half of all words; use secrets of 8"),
    ],
)
@pytest.mark.parametrize("args", [(), ("-n1",)], ids=" ".join)
def test_a_hook_that_tells_nothing_of_use(evals: Evals, told: str, message: str, args: tuple[str, ...]) -> None:
    evals.write("conftest.py", f"def pytest_kiro_secrets(): return {told}")
    evals.write("test_it.py", "def test_it(): pass")
    result = evals.run(*args)
    result.stderr.fnmatch_lines([f"ERROR: pytest_kiro_secrets returned {message}*".replace("[", "[[]")])
    assert result.ret == 4
    assert "hunter2" not in result.stderr.str() + result.stdout.str()


@pytest.mark.parametrize("args", [(), ("-n1",)], ids=" ".join)
def test_a_conftest_in_a_folder_is_asked_when_it_is_found_and_once(evals: Evals, args: tuple[str, ...]) -> None:
    evals.note()
    top = "from note import note\ndef pytest_kiro_secrets(config):\n    note('{0}')\n    return ['{0}-c4n4ry', '']"
    evals.write("conftest.py", top.format("outer"))
    evals.write("inner/deep/conftest.py", top.format("inner"))
    evals.write("inner/deep/test_it.py", "def test_it(): assert 'outer-' + 'c4n4ry' == 'inner-' + 'c4n4ry'")
    result = evals.run(*args)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E * AssertionError: assert '[[]secret[]]' == '[[]secret[]]'"])
    assert sorted(evals.story) == (["inner", "outer", "outer"] if args else ["inner", "outer"])


def test_a_hook_in_a_folder_that_is_wrong(evals: Evals) -> None:
    evals.write("inner/deep/conftest.py", "def pytest_kiro_secrets(): return ['short']")
    evals.write("inner/deep/test_it.py", "def test_it(): pass")
    for args in ((), ("-n1",)):
        result = evals.run(*args)
        assert result.ret != 0
        assert "pytest_kiro_secrets returned a text of 5 characters" in result.stderr.str() + result.stdout.str()


def test_who_has_no_secrets_and_no_terminal_is_left_alone(evals: Evals) -> None:
    evals.write("test_it.py", "def test_it(kiro): assert kiro.run('Hello.').text == 'Hi.'", {"test_it": ["Hi."]})
    assert evals.run("-p", "no:terminal").ret == 0
    assert evals.process("-p", "no:logging", "-p", "no:junitxml").ret == 0
