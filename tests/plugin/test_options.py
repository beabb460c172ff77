"""Options, ini keys, environment variables, markers: what they do, which one wins, what a wrong one says."""

from __future__ import annotations

import os
from typing import Any

import pytest
from eval_runs import Evals, program, shell, stand_in, turn, write

from pytest_kiro.settings.rows import TABLE, Setting

#: Three values of each setting, as they are written and as they are read.
VALUES: dict[str, list[tuple[str, Any]]] = {
    "sandbox": [("local", "local")] * 3,
    "cli": [("scripted", "scripted"), ("official", "official"), ("/opt/kiro-cli", "/opt/kiro-cli")],
    "replies": [("scenario", "scenario"), ("model", "model"), ("scenario", "scenario")],
    "cli_version": [("2.29.0", "2.29.0"), ("2.30.0-beta.1", "2.30.0-beta.1"), ("10.0.1", "10.0.1")],
    "engine": [("v1", "v1"), ("v2", "v2"), ("v3", "v3")],
    "output": [("stream-json", "stream-json"), ("text", "text"), ("stream-json", "stream-json")],
    "scenarios": [("one", "one"), (" two ", "two"), ("three/four", "three/four")],
    "scenario_seed": [("1", "1"), (" 2 ", "2"), ("tuesday", "tuesday")],
    "record": [("off", "off"), ("all", "all"), ("missing", "missing")],
    "recordings": [("one", "one"), (" two ", "two"), ("three/four", "three/four")],
    "selfcheck": [("off", False), ("off", False), ("on", True)],
    "login": [("none", "none"), ("saved", "saved"), ("device", "device")],
    "login_args": [
        ("--license free", ("--license", "free")),
        ("-v", ("-v",)),
        ("--social=github", ("--social=github",)),
    ],
    "login_timeout": [("1", 1.0), ("2.5", 2.5), ("30", 30.0)],
    "open_browser": [("off", False), ("off", False), ("on", True)],
    "agent": [("one", "one"), ("two", "two"), ("three", "three")],
    "model": [("one", "one"), ("two", "two"), ("three", "three")],
    "effort": [("low", "low"), ("xhigh", "xhigh"), ("max", "max")],
    "trust": [("none", "none"), ("read, write", "read,write"), ("@git/status", "@git/status")],
    "timeout": [("1", 1.0), ("2.5", 2.5), ("1e3", 1000.0)],
    "stall_timeout": [("1", 1.0), ("off", None), ("0.5", 0.5)],
    "setup_timeout": [("1", 1.0), ("2.5", 2.5), ("30", 30.0)],
    "retries": [("0", 0), ("2", 2), ("10", 10)],
    "budget": [("0", 0.0), ("2.5", 2.5), ("1e2", 100.0)],
    "max_turns": [("1", 1), ("20", 20), ("3", 3)],
    "max_calls": [("1", 1), ("200", 200), ("3", 3)],
    "home": [("shared", "shared"), ("fresh", "fresh"), ("shared", "shared")],
    "ignore": [("*.log", ("*.log",)), ("a b", ("a", "b")), ("/build/", ("/build/",))],
    "keep_sandbox": [("always", "always"), ("never", "never"), ("on-failure", "on-failure")],
    "network": [("kiro", "kiro"), ("off", "off"), ("PyPI.org, a.b:1", "pypi.org,a.b:1")],
    "snapshot": [("auto", "auto"), ("none", "none"), ("my/snapshot:1", "my/snapshot:1")],
    "max_sandboxes": [("1", 1), ("20", 20), ("3", 3)],
    "trials": [("1", 1), ("20", 20), ("3", 3)],
    "more": [("1", 1), ("20", 20), ("3", 3)],
    "gate": [("point", "point"), ("refute", "refute"), ("demonstrate", "demonstrate")],
    "all_trials": [("off", False), ("off", False), ("on", True)],
    "aa": [("off", False), ("off", False), ("on", True)],
    "undecided": [("fail", "fail"), ("pass", "pass"), ("fail", "fail")],
    "min_valid": [("1", 1.0), ("0.5", 0.5), ("0.75", 0.75)],
    "terminal": [("80x24", (80, 24)), ("40x10", (40, 10)), ("200x50", (200, 50))],
    "stream": [("on", "on"), ("off", "off"), ("auto", "auto")],
    "artifacts": [("on", "on"), ("off", "off"), ("retain-on-failure", "retain-on-failure")],
    "artifacts_dir": [("one", "one"), ("two/three", "two/three"), ("/four", "/four")],
    "baseline": [("one.json", "one.json"), ("two/r.json", "two/r.json"), ("three", "three")],
    "results": [("one.json", "one.json"), ("two/r.json", "two/r.json"), ("three", "three")],
    "report": [("one.html", "one.html"), ("two/r.html", "two/r.html"), ("three", "three")],
    "github": [("summary", "summary"), ("annotations", "annotations"), ("off", "off")],
}
#: For each, what it refuses, and what it says is wanted.
WRONG = {
    "sandbox": (" ", "a value that is not blank"),
    "cli": ("bin/kiro-cli", "official, scripted, or an absolute path in the sandbox"),
    "replies": ("kiro", "one of model, scenario, recording"),
    "cli_version": ("2.29", "a full version, such as 2.29.0"),
    "engine": ("v4", "one of v1, v2, v3, auto"),
    "output": ("json", "one of text, stream-json"),
    "scenarios": ("", "a value that is not blank"),
    "scenario_seed": (" ", "a value that is not blank"),
    "record": ("on", "one of off, missing, all, prune"),
    "recordings": (" ", "a value that is not blank"),
    "selfcheck": ("yes", "one of on, off"),
    "login": ("browser", "one of auto, api-key, saved, device, none"),
    "login_args": ("--license 'free", "arguments as in a shell, with every quote closed (No closing quotation)"),
    "login_timeout": ("0", "a number of seconds above 0, or 90s, 2m, 1h30m"),
    "open_browser": ("yes", "one of on, off"),
    "agent": ("", "a value that is not blank"),
    "model": (" ", "a value that is not blank"),
    "effort": ("lowest", "one of low, medium, high, xhigh, max"),
    "trust": ("read,,write", "all, none, or tool names joined by commas, such as read,write"),
    "timeout": ("0", "a number of seconds above 0, or 90s, 2m, 1h30m"),
    "stall_timeout": ("nan", "a number of seconds above 0, or 90s, 2m, 1h30m, or off"),
    "setup_timeout": ("soon", "a number of seconds above 0, or 90s, 2m, 1h30m"),
    "retries": ("11", "a whole number from 0 to 10"),
    "budget": ("-1", "a number of credits, 0 or more"),
    "max_turns": ("0", "a whole number above 0"),
    "max_calls": ("1.5", "a whole number above 0"),
    "home": ("own", "one of fresh, shared"),
    "ignore": (" ", "arguments as in a shell, such as '--license free'"),
    "keep_sandbox": ("on failure", "one of never, on-failure, always"),
    "network": ("http://pypi.org", "on, off, kiro, or hosts joined by commas*"),
    "snapshot": (" ", "a value that is not blank"),
    "max_sandboxes": ("0", "a whole number above 0"),
    "trials": ("2.5", "a whole number above 0"),
    "gate": ("prove", "one of point, refute, demonstrate"),
    "all_trials": ("yes", "one of on, off"),
    "more": ("0", "a whole number above 0"),
    "aa": ("yes", "one of on, off"),
    "undecided": ("failed", "one of fail, pass"),
    "min_valid": ("1.2", "a share above 0, at most 1, such as 0.9"),
    "terminal": ("80", "columns x rows, such as 120x30"),
    "stream": ("maybe", "one of auto, on, off"),
    "artifacts": ("failures", "one of off, on, retain-on-failure"),
    "artifacts_dir": (" ", "a value that is not blank"),
    "baseline": (" ", "a value that is not blank"),
    "results": (" ", "a value that is not blank"),
    "report": (" ", "a value that is not blank"),
    "github": ("on", "one of auto, summary, annotations, off"),
}
BY_NAME = {row.name: row for row in TABLE}
#: What only these sandboxes have; nothing is made of them here, since no eval is run.
NEEDS = {
    "network": ["--kiro-sandbox=bubblewrap"],
    "snapshot": ["--kiro-sandbox=daytona"],
    "max_sandboxes": ["--kiro-sandbox=daytona"],
}
#: What a setting is used with.
BESIDE = {**NEEDS, "more": ["--kiro-baseline=base.json"]}


def ini(evals: Evals, *lines: str) -> None:
    evals.path.joinpath("pytest.ini").write_text("\n".join(["[pytest]", *lines, ""]))


# -- every setting, from everywhere


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_option_over_environment_over_ini(evals: Evals, monkeypatch: pytest.MonkeyPatch, row: Setting) -> None:
    evals.write(
        "test_it.py",
        """
        import os
        def test_it(kiro_settings, request):
            name, value, origin = eval(os.environ["EXPECTED"])
            assert getattr(kiro_settings, name) == value
            assert kiro_settings.origins[name] == origin
        """,
    )

    def expect(number: int, origin: str, *args: str) -> None:
        monkeypatch.setenv("EXPECTED", repr((row.name, VALUES[row.name][number][1], origin)))
        result = evals.run("-p", "no:cacheprovider", *BESIDE.get(row.name, []), *args)
        result.assert_outcomes(passed=1)

    if row.name in BESIDE:
        evals.run("--kiro-results=base.json", "--deselect=test_it.py")
    ini(evals, f"kiro_{row.name} = {VALUES[row.name][0][0]}")
    expect(0, f"ini key kiro_{row.name}")
    monkeypatch.setenv(row.variable, VALUES[row.name][1][0])
    expect(1, row.variable)
    expect(2, row.option, f"{row.option}={VALUES[row.name][2][0]}" if row.metavar else row.option)


NATIVE = pytest.param(
    "pyproject.toml", "tool.pytest", marks=pytest.mark.skipif(pytest.version_tuple < (9,), reason="pytest has none")
)


@pytest.mark.parametrize(("file", "table"), [("pyproject.toml", "tool.pytest.ini_options"), NATIVE])
def test_values_of_toml_have_types(evals: Evals, file: str, table: str) -> None:
    """Numbers, booleans and lists, also where warnings are errors: pytest takes our keys for texts."""
    keys = {
        "kiro_timeout": "300",
        "kiro_budget": "1.5",
        "kiro_open_browser": "true",
        "kiro_stall_timeout": "false",
        "kiro_setup_timeout": '"2m"',
        "kiro_trust": '["read", "write"]',
        "kiro_ignore": '["*.log", "a b"]',
        "kiro_model": '["one", "two"]',
    }
    evals.write(file, f"[{table}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items()))
    evals.write(
        "test_it.py",
        """
        def test_it(kiro_settings):
            read = kiro_settings
            assert (read.timeout, read.budget, read.setup_timeout) == (300.0, 1.5, 120.0)
            assert (read.open_browser, read.stall_timeout) == (True, None)
            assert (read.trust, read.ignore) == ("read,write", ("*.log", "a b"))
            assert read.variants.values == ("one", "two")
        """,
    )
    evals.run("-W", "error").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("kiro_timeout = [1]", "ERROR: ini key kiro_timeout: [[]1] is not right; wanted: one value, and no list"),
        ("kiro_timeout = true", "ERROR: ini key kiro_timeout: '*' is not right; wanted: a number of seconds above 0*"),
        ("kiro_timeot = 3", "ERROR: unknown ini key kiro_timeot, did you mean kiro_timeout?; known: *"),
    ],
)
def test_wrong_values_of_toml(evals: Evals, line: str, said: str) -> None:
    evals.write("pyproject.toml", f"[tool.pytest.ini_options]\n{line}\n")
    evals.write("test_it.py", "def test_it(kiro_settings): pass\n")
    result = evals.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([said])


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_a_wrong_value_is_a_usage_error(evals: Evals, monkeypatch: pytest.MonkeyPatch, row: Setting) -> None:
    evals.write("test_it.py", "def test_it(): pass")
    value, wanted = WRONG[row.name]

    def refused(origin: str, *args: str) -> None:
        result = evals.run(*args)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"ERROR: {origin}: {value!r} is not right; wanted: {wanted}"])

    if row.metavar:
        refused(row.option, f"{row.option}={value}")
    monkeypatch.setenv(row.variable, value)
    refused(row.variable)


def test_every_setting_is_tested_here() -> None:
    assert set(VALUES) == set(WRONG) == set(BY_NAME)


@pytest.mark.parametrize("name", NEEDS)
@pytest.mark.parametrize("xdist", [[], ["-n1"]], ids=["alone", "xdist"])
def test_what_would_be_ignored_is_a_usage_error(
    evals: Evals, monkeypatch: pytest.MonkeyPatch, name: str, xdist: list[str]
) -> None:
    evals.write("test_it.py", "def test_it(kiro_settings): pass")
    row, value = BY_NAME[name], VALUES[name][2][0]
    (needed,) = NEEDS[name]
    said = f"ERROR: {{}} is for {needed}, but this run's is local, which would ignore it; leave it out, *"

    def refused(origin: str, *args: str) -> None:
        result = evals.run(*args, *xdist)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([said.format(origin)])

    # A project's ini file is for its runs in Daytona, and does not stand in the way of one without.
    ini(evals, f"kiro_{name} = {value}")
    evals.run("-p", "no:cacheprovider").assert_outcomes(passed=1)
    if row.metavar:
        refused(row.option, f"{row.option}={value}")
    monkeypatch.setenv(row.variable, value)
    refused(row.variable)


# -- unknown names

UNKNOWN = {
    "option": (["--kiro-modell=x"], {}, [], ["*unrecognized arguments: --kiro-modell=x"]),
    "variable": (
        [],
        {"PYTEST_KIRO_MODELL": "x"},
        [],
        ["ERROR: unknown environment variable PYTEST_KIRO_MODELL, did you mean PYTEST_KIRO_MODEL?; known: *"],
    ),
    "ini": (
        [],
        {},
        ["kiro_modell = x"],
        ["ERROR: unknown ini key kiro_modell, did you mean kiro_model?; known: kiro_sandbox, kiro_cli, *"],
    ),
    "provider": (
        ["--kiro-sandbox=locl"],
        {},
        [],
        ["ERROR: --kiro-sandbox=locl: no such provider, did you mean local?", "known: bubblewrap, daytona, local; *"],
    ),
}


@pytest.mark.parametrize("xdist", [[], ["-n1"]], ids=["alone", "xdist"])
@pytest.mark.parametrize("what", UNKNOWN)
def test_an_unknown_name_is_a_usage_error(
    evals: Evals, monkeypatch: pytest.MonkeyPatch, what: str, xdist: list[str]
) -> None:
    args, env, lines, said = UNKNOWN[what]
    evals.write("test_it.py", "def test_it(): pass")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    ini(evals, *lines)
    result = evals.run(*args, *xdist)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(said)
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


MARKS = {
    "keyword": (
        'modell="x"',
        "mark.kiro has no keyword 'modell', did you mean model?; known: workspace, agent, model*",
    ),
    "name": ("kiro_trails(3)", "there is no mark.kiro_trails, did you mean kiro_trials?; known: kiro, kiro_trials, *"),
    "positional": ('"seed"', "mark.kiro takes keywords only; known: workspace, agent, model, effort, timeout, *"),
}


@pytest.mark.parametrize("where", ["alone", "xdist", "collecting"])
@pytest.mark.parametrize("what", MARKS)
def test_a_wrong_marker_is_a_usage_error(evals: Evals, what: str, where: str) -> None:
    given, said = MARKS[what]
    mark = given if given.startswith("kiro") else f"kiro({given})"
    quiet = "import pytest, warnings\nwarnings.simplefilter('ignore')  # pytest's own, of an unknown mark"
    source = f"{quiet}\n\n@pytest.mark.{mark}"
    wanted = "kiro" if mark is given else ""  # of a test that is no eval pytest warns
    evals.write("test_it.py", f"{source}\ndef test_it({wanted}): pass\n\ndef test_b(): pass\n")
    args = {"alone": (), "xdist": ("-n2",), "collecting": ("--collect-only",)}[where]
    result = evals.process(*args) if args else evals.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR, result.stdout.str() + result.stderr.str()
    text = result.stdout.str() + result.stderr.str()
    assert "INTERNALERROR" not in text
    pytest.LineMatcher(text.splitlines()).fnmatch_lines([f"*test_it.py::test_it: {said}"])


def test_wrong_words_of_a_turn(evals: Evals) -> None:
    evals.passes(
        """
        import pytest
        from pytest_kiro import SettingsError

        @pytest.fixture(scope="session")
        def kiro_run_args():
            return ARGS
        ARGS = {}

        @pytest.mark.parametrize(("words", "said"), [
            ({"modell": "x"}, "has no keyword 'modell', did you mean model.; known: timeout, agent, model"),
            ({"timeout": 0}, "timeout=0 is not right; wanted: a number of seconds above 0"),
            ({"timeout": "soon"}, "timeout='soon' is not right; wanted: a number of seconds above 0, or 90s, 2m"),
            ({"timeout": True}, "timeout=True is not right"),
            ({"timeout": float("inf")}, "timeout=inf is not right"),
            ({"agent": ""}, "agent='' is not right; wanted: a str that is not blank"),
            ({"model": 5}, "model=5 is not right; wanted: a str that is not blank"),
            ({"effort": "most"}, "effort='most' is not right; wanted: one of low, medium"),
            ({"trust": "a b"}, "trust='a b' is not right; wanted: all, none, or tool names"),
            ({"trust": [1]}, "trust=.1. is not right"),
            ({"env": ["A=1"]}, "env is not right; wanted: a dict of str to str"),
            ({"env": {"A": 1}}, "env is not right; wanted: a dict of str to str"),
        ], ids=range(12))
        def test_words(kiro, words, said, request):
            with pytest.raises(SettingsError, match="kiro.run.*" + said):
                kiro.run("Hello.", **words)
            with pytest.raises(SettingsError, match="kiro.conversation.*" + said):
                kiro.conversation(**words).run("Hello.")
            ARGS.update(words)
            with pytest.raises(SettingsError, match="kiro_run_args.*" + said):
                kiro.conversation().run("Hello.")
            ARGS.clear()
            request.node.add_marker(pytest.mark.kiro(**words))
            with pytest.raises(SettingsError, match="mark.kiro.*" + said):
                kiro.conversation().run("Hello.")

        def test_a_variable_that_no_shell_can_set(kiro):
            with pytest.raises(SettingsError, match="environment variable 'A-B' cannot be set: letters, digits and _"):
                kiro.run("Hello.", env={"A-B": "1"})
            assert kiro.run("Hello.", env={"A_B": "1"}).ok
        """,
        {"test_a_variable_that_no_shell_can_set": ["OK"]},
    )


# -- what each does

ARGV = shell(r"tr '\0' ' ' </proc/$PPID/cmdline; stty size </dev/tty")


def test_how_kiro_is_called(evals: Evals) -> None:
    """From everywhere at once: argument > marker > kiro_run_args > option > environment > ini > default."""
    evals.write("seed/.kiro/agents/reviewer.json", '{"name": "reviewer", "tools": ["shell"]}')
    evals.passes(
        """
        import os, pytest
        pytestmark = pytest.mark.kiro(workspace="seed")

        @pytest.fixture(scope="module")
        def kiro_run_args():
            return {"agent": "reviewer"}

        def argv(turn):
            return turn.tool_calls[0].output

        def test_options(kiro):
            told = argv(kiro.run("Hello."))
            assert "kiro_cli/__main__.py chat --no-interactive --agent-engine v2 --wrap never " in told
            assert "--trust-tools=shell,ini --agent reviewer --model claude-sonnet-4.5 --effort low" in told
            assert told.split()[-2:] == ["25", "60"]  # rows, columns

        @pytest.mark.kiro(model="claude-haiku-4.5", trust="shell,marker", effort="medium")
        def test_marker(kiro):
            assert "--trust-tools=shell,marker --agent reviewer --model claude-haiku-4.5 --effort medium" in argv(
                kiro.run("Hello.")
            )

        @pytest.mark.kiro(model="claude-haiku-4.5", trust="shell,marker", effort="medium")
        def test_argument(kiro):
            turn = kiro.run("Hello.", model="auto", trust="all", effort="high")
            assert "--trust-all-tools --agent reviewer --model auto --effort high" in argv(turn)
            assert turn.model == "auto"

        @pytest.mark.kiro(effort="max")
        class TestClass:
            @pytest.mark.kiro(model="auto")
            def test_closest_mark_wins_word_by_word(self, kiro):
                assert kiro.workspace.contents()  # the module's
                assert "--model auto --effort max" in argv(kiro.run("Hello."))

        def test_agent(kiro):
            turn = kiro.run("Hello.", check=False, agent="nobody")
            assert (turn.exit_code, turn.cause) == (4, "refused")
            assert 'agent "nobody" not found' in turn.output
            turn = kiro.run("Hello.", check=False, model="nothing")
            assert turn.cause == "refused" and "Model 'nothing' does not exist" in turn.detail
        """,
        {
            **{
                name: [turn([ARGV], ["Done."])]
                for name in (
                    "test_options",
                    "test_marker",
                    "test_argument",
                    "TestClass.test_closest_mark_wins_word_by_word",
                )
            },
            "test_agent": ["OK", "OK"],
        },
        "--kiro-model=claude-sonnet-4.5",
        "--kiro-effort=low",
        "--kiro-agent=nobody",
        "--kiro-trust=shell,ini",
        "--kiro-terminal=60x25",
    )


def test_timeouts(evals: Evals) -> None:
    evals.passes(
        """
        import pytest
        from pytest_kiro import TurnTimeout

        def test_option(kiro):
            with pytest.raises(TurnTimeout, match="its time of 0.3 s was over"):
                kiro.run("Hello.")

        @pytest.mark.kiro(timeout=0.2)
        def test_marker(kiro):
            with pytest.raises(TurnTimeout, match="its time of 0.2 s was over"):
                kiro.run("Hello.")

        @pytest.mark.kiro(timeout="90ms")
        def test_marker_with_a_unit(kiro):
            with pytest.raises(TurnTimeout, match="its time of 0.09 s was over"):
                kiro.run("Hello.")
            with pytest.raises(TurnTimeout, match="its time of 0.2 s was over"):
                kiro.conversation().run("Hello.", timeout="0.2 s")
        """,
        {
            "test_option": [turn(misbehave="silent")],
            "test_marker": [turn(misbehave="silent")],
            "test_marker_with_a_unit": [turn(misbehave="silent", conversation=n) for n in (1, 2)],
        },
        "--kiro-timeout=0.3",
    )


# -- scenarios

SCENARIOS = {
    "missing": (
        None,
        [
            "*SettingsError: there is no scenario file */scenarios/test_missing.toml, *",
            "*test_it.turn*",
            "*--kiro-cli=official*",
        ],
    ),
    "table": (
        '[[test_other.turn]]\nrequests = [["x"]]\n',
        [
            "*SettingsError: */scenarios/test_table.toml has no table [[]test_it]. Tables there are: [[]test_other].",
            "*Add, at */scenarios/test_table.toml:3",
        ],
    ),
    "left": (
        '[[test_it.turn]]\nrequests = [["x"]]\n',
        ["*SettingsError: */scenarios/test_left.toml:1 [[]test_it] has no turn 2 of conversation 1: it has 1 turn*"],
    ),
    "not_toml": ("[[test_it.turn\n", ["*SettingsError: */scenarios/test_not_toml.toml:1 is not TOML: *"]),
    "key": (
        '[[test_it.turn]]\nreqests = [["x"]]\n',
        ["*SettingsError: */test_key.toml:1 [[]test_it] turn 1 has the unknown key 'reqests', did you mean requests?*"],
    ),
    "kind": (
        '[[test_it.turn]]\nmisbehave = "sleepy"\n',
        ["*SettingsError: */test_kind.toml:1 [[]test_it] turn 1: misbehave has the unknown kind 'sleepy'; known*"],
    ),
}


def test_a_scenario_that_does_not_answer(evals: Evals) -> None:
    for what, (text, _) in SCENARIOS.items():
        evals.write(f"test_{what}.py", "def test_it(kiro):\n    kiro.run('Hello.')\n    kiro.run('More.')\n")
        if text is not None:
            evals.write(f"scenarios/test_{what}.toml", text)
    result = evals.run()
    result.assert_outcomes(failed=len(SCENARIOS))
    for _, said in SCENARIOS.values():
        result.stdout.fnmatch_lines(said)
    assert "scenario.py" not in result.stdout.str()


def test_scenarios_are_where_the_option_says(evals: Evals) -> None:
    evals.write("sub/test_it.py", "def test_it(kiro):\n    assert kiro.run('Hello.').text == 'from there'\n")
    evals.write("scripts/deep/test_it.toml", '[[test_it.turn]]\nrequests = [["from there"]]\n')
    evals.run("--kiro-scenarios=../scripts/deep").assert_outcomes(passed=1)
    evals.run(f"--kiro-scenarios={evals.path / 'scripts/deep'}").assert_outcomes(passed=1)


# -- which CLI

HELLO = "def test_it(kiro):\n    assert kiro.run('Hello.').text == 'Hi.'\n"


PLAIN_VERSION = 'if [ "$1" = --version ]; then echo "kiro-cli 2.30.1"; exit; fi'


def test_a_path_that_is_no_cli(evals: Evals) -> None:
    evals.write("test_it.py", HELLO)
    missing = evals.path / "bin/nothing"
    cases = {
        missing: "E *InstallError: */bin/nothing --version exited with 127, not found and printed no kiro-cli version",
        program(evals, "true", mode=0o644): "E *InstallError: */kiro-cli --version exited with 126, could not be exec*",
        program(
            evals, "echo some-cli 1.0", name="bin/other"
        ): "E *InstallError: */other --version exited with 0, ended*",
        program(
            evals, "echo kiro-cli 2.1.0; exit 1", name="bin/sick"
        ): "E *InstallError: */sick --version exited with 1*",
        evals.path: "E *InstallError: * --version exited with 126, could not be executed and printed no kiro-*",
    }
    for path, said in cases.items():
        result = evals.run(f"--kiro-cli={path}")
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines(
            [said, "E *--kiro-cli takes official, scripted, or the absolute path of an executable kiro-cli in the san*"]
        )
    program(evals, "echo working; sleep 600", name="bin/slow")
    result = evals.run(f"--kiro-cli={evals.path}/bin/slow", "--kiro-setup-timeout=0.3")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["E *InstallError: */bin/slow --version did not answer within 0.3 s", "E *| working"])


def test_a_path(evals: Evals) -> None:
    evals.write("test_it.py", HELLO, {"test_it": ["Hi."]})
    path = program(evals, stand_in(), name="bin/my-kiro")
    result = evals.run(f"--kiro-cli={path}")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"kiro: *kiro-cli {path}, not isolated*", "scripted: the stand-in answered; nothing*"])


def test_a_version_that_is_not_the_one_asked_for_is_refused(evals: Evals) -> None:
    evals.write("test_it.py", HELLO, {"test_it": ["Hi."]})
    for extra in ([], [f"--kiro-cli={program(evals, stand_in())}"]):
        evals.run("--kiro-cli-version=2.29.0", *extra).assert_outcomes(passed=1)
        result = evals.run("--kiro-cli-version=2.30.1", *extra)
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines(
            ["E *InstallError: */kiro-cli is version 2.29.0, but --kiro-cli-version asks for 2.30.1; leave it out, *"]
        )


def test_official_is_the_one_on_the_path(evals: Evals, monkeypatch: pytest.MonkeyPatch) -> None:
    evals.write("test_it.py", HELLO, {"test_it": ["Hi."]})
    path = program(evals, stand_in())
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
    result = evals.run("--kiro-cli=official")
    result.assert_outcomes(passed=1)
    # Named, and yet scripted: its version says that it is the stand-in.
    result.stdout.fnmatch_lines([f"kiro: sandbox local, kiro-cli official ({path}), not isolated: Kiro works on this*"])
    result.stdout.fnmatch_lines(["scripted: the stand-in answered; nothing above was said by Kiro"])

    evals.write("replies.json", '[["Hi."]]')
    program(evals, stand_in(PLAIN_VERSION, f"export KIRO_MOCK_CHAT_RESPONSE={evals.path}/replies.json"))
    (evals.path / "scenarios/test_it.toml").unlink()
    monkeypatch.setenv("KIRO_API_KEY", "ksk_very_secret")
    result = evals.run("--kiro-cli=official", "-vv", "--setup-show")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"kiro: sandbox local, kiro-cli official ({path}), not isolated: Kiro works on this*"])
    result.stdout.fnmatch_lines(["kiro: 1 turn, 1 completed"])
    assert "scripted" not in result.stdout.str()
    assert "ksk_very_secret" not in result.stdout.str()


def test_official_without_one(evals: Evals, monkeypatch: pytest.MonkeyPatch) -> None:
    evals.write("test_it.py", HELLO)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    result = evals.run("--kiro-cli=official")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "kiro: sandbox local, kiro-cli official (not on your PATH), not isolated: *",
            "E *InstallError: --kiro-cli=official: there is no kiro-cli on your PATH, and nothing*",
        ]
    )
    assert result.stdout.str().count("kiro: sandbox local, kiro-cli official") == 1


# -- who is logged in


def test_login(evals: Evals, monkeypatch: pytest.MonkeyPatch) -> None:
    evals.write(
        "test_it.py",
        """
        def test_it(kiro, kiro_login):
            assert kiro.identity is kiro_login and kiro_login.how == "api key"
            assert "ksk" not in repr(kiro_login)
            assert "KIRO_API_KEY" not in kiro.workspace.exec("env").output
            turn = kiro.run("Hello.", check=False)
            assert turn.status == "failed" and "ksk" not in turn.detail
            assert False, kiro_login
        """,
    )
    cli = program(evals, stand_in(PLAIN_VERSION))
    result = evals.run(f"--kiro-cli={cli}", "--kiro-login=auto")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["E *LoginError: *KIRO_API_KEY is not set*", "E *remedies: set KIRO_API_KEY*"])
    monkeypatch.setenv("KIRO_API_KEY", "ksk_very_secret")
    result = evals.run(
        f"--kiro-cli={cli}", "--kiro-login=api-key", "-vv", "-l", "--full-trace", "--setup-show", "--kiro-retries=0"
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E *Identity(how='api key', who='ApiKey', plan=None)*", "kiro: 1 turn, 1 failed (crash: infra*"]
    )
    assert "ksk_very_secret" not in result.stdout.str() + result.stderr.str()
    # A key that does not help is not shown either, whatever is asked for.
    program(evals, stand_in(PLAIN_VERSION, """if [ "$1" = whoami ]; then echo '{"account":null}'; exit; fi"""))
    result = evals.run(f"--kiro-cli={cli}", "--kiro-login=auto", "-vv", "-l", "--full-trace")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["E *LoginError: kiro-cli 2.30.1 does not count itself as logged in although*"])
    assert "ksk_very_secret" not in result.stdout.str() + result.stderr.str()


def test_login_is_not_waited_for(evals: Evals) -> None:
    evals.write("test_it.py", HELLO)
    cli = program(evals, stand_in(PLAIN_VERSION, 'if [ "$1" = whoami ]; then echo "Open this URL"; sleep 600; fi'))
    result = evals.run(f"--kiro-cli={cli}", "--kiro-setup-timeout=0.5")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["E *LoginError: * whoami * did not answer within 0.5 s; it seems to wait for a login"])


def test_login_none_does_not_look(evals: Evals) -> None:
    evals.write("test_it.py", "def test_it(kiro):\n    assert kiro.identity.how == 'unknown'\n", {"test_it": []})
    program(evals, 'if [ "$1" = --version ]; then echo "kiro-cli 2.30.1"; exit; fi; touch looked')
    evals.run(f"--kiro-cli={evals.path}/bin/kiro-cli", "--kiro-login=none").assert_outcomes(passed=1)


# -- what pytest shows of them


def test_pytest_knows_them(evals: Evals) -> None:
    evals.write("test_it.py", "import pytest\n\n@pytest.mark.kiro(timeout=5)\ndef test_it(): pass\n")
    evals.run("--strict-markers", "--strict-config").assert_outcomes(passed=1)
    markers = evals.run("--markers").stdout
    markers.fnmatch_lines(["@pytest.mark.kiro([*], workspace=None, agent=None, model=None, effort=None, timeout=None*"])
    shown = " ".join(evals.run("--help").stdout.str().split())
    for row in TABLE:
        assert (f"{row.option}={row.metavar}" if row.metavar else f"{row.option} ") in shown
        assert f"ini {row.ini}; {row.variable}" in shown
        assert f"(default: {row.shown_default or row.default};" in shown
    fixtures = evals.run("--fixtures").stdout.str()
    assert "kiro [session scope]" in fixtures
    assert "Kiro, installed, logged in, ready" in fixtures


def test_a_written_workspace(evals: Evals) -> None:
    """The marker's workspace reaches the first turn of every way to ask for one."""
    evals.write("seed/a.txt", "a")
    evals.passes(
        """
        import pytest

        @pytest.mark.kiro(workspace="seed")
        @pytest.mark.parametrize("ask", ["run", "stream", "workspace", "conversation"])
        def test_it(kiro, ask):
            if ask == "run":
                workspace = kiro.run("Hello.").workspace
            elif ask == "stream":
                workspace = kiro.stream("Hello.").finish().workspace
            elif ask == "workspace":
                workspace = kiro.workspace
            else:
                workspace = kiro.conversation().workspace
            assert "a.txt" in workspace.contents()
        """,
        {"test_it": [turn([write("b.txt", "b")], ["OK"])]},
    )


def test_nothing_depends_on_the_machines_encoding(evals: Evals, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run with all that is written and read, in which Python refuses to guess an encoding."""
    monkeypatch.setenv("PYTHONWARNDEFAULTENCODING", "1")
    monkeypatch.setenv("PYTHONWARNINGS", "error::EncodingWarning")
    evals.forks = False
    tables = {"test_it": [turn(["I write.", write("a.txt", "ü")], ["Done."])], "fixture:shop": ["Done."]}
    source = """
        import pytest

        @pytest.fixture(scope="module")
        def shop(kiro):
            return kiro.run("Go.")

        @pytest.mark.kiro_trials(2)
        def test_it(kiro, shop):
            assert kiro.run("Go.").changes.added == {"a.txt"}
            assert kiro.workspace.exec("cat a.txt").output == "ü"
        """
    evals.write("test_it.py", source, tables)
    result = evals.process("-W", "error", "--kiro-results=r.json", "--junitxml=j.xml", "--kiro-budget=3")
    result.assert_outcomes(passed=2)
    assert "EncodingWarning" not in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize("engine", ["v1", "v2", "v3"])
def test_a_temporary_directory_with_any_name(evals: Evals, monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    """With blanks and what is no ASCII, wherever a path of a sandbox is written or printed."""
    folder = evals.tmp / "ü $HOME  'b'"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    tables = {"test_it": [turn(["I write.", write("a.txt", "a")], ["Done."]), turn([shell("cat a.txt")], ["Read."])]}
    evals.passes(
        """
        def test_it(kiro):
            assert kiro.run("Go.").changes.added == {"a.txt"}
            turn = kiro.run("On.")
            assert turn.tool_calls[0].output.strip() == "a" and not turn.changes
            assert not turn.warnings
        """,
        tables,
        f"--kiro-engine={engine}",
    )
    assert not list(folder.glob("sandboxes-*/*"))
