"""What people see: the header, live output, a failing test's turns, the summary; and when they see nothing."""

from __future__ import annotations

import os
import sys
from xml.etree import ElementTree

import pytest
from eval_runs import DEADLINE, QUIET, Evals, program, shell, stand_in, turn, wait_until

HEADER = "kiro: sandbox local, kiro-cli scripted: the stand-in answers, Kiro is not asked"
SCRIPTED = "scripted: the stand-in answered; nothing above was said by Kiro"
TWO = "def test_a(kiro): kiro.run('Hello.')\n\ndef test_b(kiro): kiro.run('Hello.')\n"
ANSWERS = {"test_a": ["Hi, I am Kiro."], "test_b": ["Hi, I am Kiro."]}

# -- nothing


def test_without_evals_nothing_is_started_or_said(evals: Evals) -> None:
    evals.note()
    evals.write(
        "conftest.py",
        """
        import sys
        from note import note

        def pytest_unconfigure():
            heavy = ("daytona", "pexpect", "ptyprocess", "pytest_kiro.agent.kiro", "pytest_kiro.sandbox.local")
            note([name for name in heavy if name in sys.modules])
        """,
    )
    evals.write("test_plain.py", "def test_plain(kiro_settings): assert kiro_settings.timeout == 600")
    evals.write("test_it.py", TWO, ANSWERS)
    # One after another in one interpreter: what any of them imports is there when the next one ends.
    runs = [["test_plain.py"], ["--collect-only"], ["--collect-only", "-q"], ["test_plain.py", "-n1"], ["--markers"]]
    evals.forks = False  # a zygote has imported more than a fresh interpreter
    done = evals.detached(
        "-c",
        f"import pytest\nfor args in {runs}:\n"
        f"    print(f'run: {{args}}', flush=True)\n    assert pytest.main([*{QUIET}, *args]) == 0\n",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shown = done.stdout.partition(f"run: {runs[-1]}")[0] + done.stderr
    ours = [line for line in shown.splitlines() if "kiro" in line and "plugins:" not in line]
    assert [line for line in ours if "test_" not in line] == []
    assert evals.story == ["[]"] * (len(runs) + 1)  # and a worker's
    assert evals.sandboxes == []
    evals.run("test_plain.py", "-v").stdout.fnmatch_lines([HEADER])


def test_setup_plan_starts_nothing(evals: Evals) -> None:
    evals.write("test_it.py", TWO, ANSWERS)
    result = evals.run("--setup-plan")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["SETUP    S kiro (fixtures used: kiro_trial)"])
    assert "turns:" not in result.stdout.str()
    assert not (evals.tmp / f"sandboxes-{os.getuid()}").exists()


# -- header and summary


@pytest.mark.parametrize("args", [(), ("-v",), ("-q",), ("-n2",), ("-n2", "--dist=loadfile")], ids=" ".join)
def test_header_and_summary_stand_there_once(evals: Evals, args: tuple[str, ...]) -> None:
    evals.write("test_it.py", TWO, ANSWERS)
    result = evals.run(*args)
    result.assert_outcomes(passed=2) if "-q" not in args else None
    assert result.ret == 0
    lines = result.outlines
    assert lines.count(HEADER) == 1
    assert lines.count(SCRIPTED) == 1
    workers = 2 if args[:1] == ("-n2",) and "--dist=loadfile" not in args else 1
    assert lines.count("kiro: 2 turns, 2 completed") == 1
    assert lines.count(f"sandboxes: created {workers}, deleted {workers}, leaked 0") == 1
    assert "I am Kiro" not in result.stdout.str() + result.stderr.str()


def test_wide_fixtures_on_several_workers_are_named(evals: Evals) -> None:
    source = """
        import pytest

        @pytest.fixture(scope="session")
        def shop(kiro):
            return kiro.run("Hello.")

        @pytest.mark.parametrize("n", range(4))
        def test_it(shop, n):
            pass
        """
    evals.write("test_it.py", source, {"fixture:shop": ["OK"]})
    result = evals.process("-n2")
    result.stdout.fnmatch_lines(
        [
            "kiro: 2 turns, 2 completed",
            "fixture:shop ran on 2 workers, once on each; --dist loadscope keeps the tests*together",
        ]
    )
    assert "loadscope keeps" not in evals.process("-n2", "--dist=loadscope").stdout.str()


def test_without_other_plugins(evals: Evals) -> None:
    evals.write("test_it.py", "def test_a(kiro): kiro.run('Hello.')", ANSWERS)
    evals.run("-p", "no:cacheprovider").assert_outcomes(passed=1)
    assert evals.run("-p", "no:terminal").ret == 0
    assert evals.process("-p", "no:terminal", "-n1").ret == 0
    result = evals.process("-p", "no:logging", "-p", "no:capture")
    assert result.ret == 0
    assert "Hi, I am Kiro." in result.outlines
    result = evals.run("-p", "no:kiro")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["E *fixture 'kiro' not found"])


def test_setup_show_tells_the_story(evals: Evals) -> None:
    evals.write("test_it.py", TWO, ANSWERS)
    lines = [line.strip() for line in evals.run("--setup-show").outlines if "SETUP" in line]
    names = [line.split()[2] for line in lines]
    story = ["kiro_settings", "kiro_sandbox_args", "kiro_sandbox", "kiro_cli", "kiro_login", "kiro"]
    assert [name for name in names if name in story] == story


# -- a failing test


def test_a_failing_test_shows_its_turns(evals: Evals) -> None:
    evals.write(
        "test_it.py",
        """
        import pytest

        @pytest.fixture(scope="session")
        def shop(kiro):
            return kiro.run("Build a shop.")

        @pytest.fixture(scope="session")
        def later(kiro):
            return kiro.run("Later on.")

        @pytest.fixture(scope="session")
        def unused(kiro):
            return kiro.run("Not asked for by the failing one.")

        def test_passes(shop, unused):
            pass

        def test_fails(kiro, shop, request):
            request.getfixturevalue("later")
            kiro.run("First\\n  of all " + "x" * 200)
            kiro.run("Count.")
            assert False

        def test_is_throttled(kiro):
            kiro.run("Hello.")

        @pytest.fixture
        def mine(kiro):
            yield
            kiro.run("Clean up.")
            assert 0

        def test_fails_in_teardown(mine):
            pass

        def test_has_no_turns(kiro):
            assert 0
        """,
        {
            "fixture:shop": ["A shop."],
            "fixture:later": ["Later."],
            "fixture:unused": ["No."],
            "test_fails": [turn([shell("true")], ["Done."]), "\n".join(f"line {n}" for n in range(100))],
            "test_is_throttled": [turn(misbehave="throttled")],
            "test_fails_in_teardown": ["Clean."],
        },
    )
    result = evals.run("--tb=short", "-rN")
    result.assert_outcomes(passed=2, failed=3, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*kiro turns*",
            "fixture:shop, turn 1 completed in * s: Build a shop.",
            "fixture:later, turn 1 completed in * s: Later on.",
            "turn 1 completed in * s, 1 tool call: First of all x*…",
            "  shell   true  → exit 0",
            "turn 2 completed in * s: Count.",
            "--- what turn 2 printed, 85 lines before them",
            "| line 85",
        ],
    )
    text = result.stdout.str()
    assert "line 99" in text
    assert "line 84" not in text
    teardown, failing, throttled = text.split("- kiro turns -")[1:]  # and none where there was no turn
    assert "Clean up." in teardown
    assert "Not asked for" not in failing
    assert "turn 1 failed (throttled: infrastructure) in" in throttled
    assert "--- kiro-cli said: request was throttled by the service" in throttled


def test_two_fixtures_of_one_name(evals: Evals) -> None:
    """Each test shows the turns of its own one, in whatever order they were made."""
    source = """
        import pytest

        @pytest.fixture(scope="session")
        def shop(kiro):
            return kiro.run("Build {0}.")

        def test_one(shop): pass

        def test_two(shop): assert 0
        """
    for name in ("test_a", "test_b"):
        evals.write(f"{name}.py", source.format(name), {"fixture:shop": ["OK"]})
    # Interleaved, as xdist and test orderings do.
    order = ["test_a.py::test_one", "test_b.py::test_one", "test_a.py::test_two", "test_b.py::test_two"]
    text = evals.run("-p", "no:cacheprovider", "--tb=short", *order).stdout.str()
    sections = text.split("- kiro turns -")[1:]
    assert ["Build test_a." in section for section in sections] == [True, False]
    assert ["Build test_b." in section for section in sections] == [False, True]


# -- live


def test_live_output_is_live(evals: Evals) -> None:
    """Shown while Kiro works: it goes on only after its beginning was seen."""
    go = evals.tmp / "go"
    hold = shell(f"for i in 1 2 3 4 5 6 7 8 9; do [ -e {go} ] && exit 0; sleep 1; done; exit 1")
    evals.write(
        "test_it.py",
        "def test_a(kiro): assert kiro.run('Hello.').tool_calls[0].exit_code == 0\n",
        {"test_a": [turn(["The beginning.", hold], ["The end."])]},
    )
    ours, theirs = os.pipe()
    with open(theirs, "wb") as both:
        process = evals.pytester.popen([sys.executable, "-mpytest", *QUIET, "-s"], stdout=both, stderr=both)
    with open(ours, "rb") as stdout:
        os.set_blocking(ours, False)
        seen = b""

        def look() -> bool:
            nonlocal seen
            seen += stdout.read() or b""
            return b"The beginning." in seen

        wait_until(look, "the beginning")
        assert b"The end." not in seen
        go.touch()
        os.set_blocking(ours, True)
        seen += stdout.read()
    assert process.wait(DEADLINE) == 0, seen
    lines = seen.decode().splitlines()
    assert "test_a asks: Hello." in lines
    assert "The beginning." in lines
    assert "The end." in lines
    assert any(line.startswith("test_a: turn 1 completed in ") for line in lines)


@pytest.mark.parametrize(
    ("args", "shown"),
    [
        ((), False),
        (("-s",), True),
        (("-s", "--kiro-stream=off"), False),
        (("--kiro-stream=on",), True),
        (("--kiro-stream=on", "--capture=sys"), True),
        (("--kiro-stream=on", "--capture=tee-sys"), True),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_live_output_is_shown_when_asked_for(evals: Evals, args: tuple[str, ...], shown: bool) -> None:
    evals.write("test_it.py", "def test_a(kiro, capfd):\n    kiro.run('Hello.')\n    assert 0\n", ANSWERS)
    text = evals.process("-rN", *args).stdout.str()
    assert ("test_a asks: Hello." in text) == shown
    # In the failing test's section it stands anyway; in what pytest captured, never.
    assert text.count("Hi, I am Kiro.") == 1 + shown
    assert "Captured" not in text


def test_live_output_under_xdist(evals: Evals) -> None:
    evals.write("test_it.py", TWO, {**ANSWERS, "test_b": ["One.\nTwo."]})
    result = evals.process("-n2", "--kiro-stream=on")
    result.assert_outcomes(passed=2)
    assert "I am Kiro" not in result.stdout.str()
    for name, lines in {"test_a": ["Hi, I am Kiro."], "test_b": ["One.", "Two."]}.items():
        ours = [line for line in result.errlines if line.startswith(f"[{name}] ")]
        assert ours[:-1] == [f"[{name}] {line}" for line in [f"{name} asks: Hello.", *lines]]
        assert ours[-1].startswith(f"[{name}] {name}: turn 1 completed in ")
    assert all(line.startswith("[test_") for line in result.errlines if line)


# -- terminals


def test_terminals(evals: Evals, monkeypatch: pytest.MonkeyPatch) -> None:
    evals.write("test_it.py", TWO, {name: [turn([shell("true")], ["Hi."])] for name in ANSWERS})
    monkeypatch.delenv("PY_COLORS", raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    result = evals.process("-s")
    result.assert_outcomes(passed=2)
    assert HEADER in result.outlines
    assert "\x1b" not in result.stdout.str()
    assert SCRIPTED in result.outlines
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert f"\x1b[33m{SCRIPTED}\x1b[0m" in evals.process().stdout.str()
    # No terminal at all, and nobody who reads.
    with open(os.devnull, "w") as nobody:
        command = [sys.executable, "-mpytest", *QUIET, "--kiro-stream=on"]
        assert evals.pytester.popen(command, stdout=nobody, stderr=nobody).wait(DEADLINE) == 0


def test_who_answers_is_corrected_when_the_version_tells_otherwise(evals: Evals) -> None:
    """A path says nothing of what is there, so the header cannot know; nobody gets a scripted green by accident."""
    program(evals, stand_in())
    evals.write("test_it.py", "def test_it(kiro): kiro.run('Hello.')", {"test_it": ["OK"]})
    for extra in ((), ("-n1",)):
        result = evals.run(f"--kiro-cli={evals.path}/bin/kiro-cli", *extra)
        result.assert_outcomes(passed=1)
        result.stdout.fnmatch_lines(
            ["kiro: kiro-cli 2.29.0: the stand-in answers, Kiro is not asked", "scripted: the stand-in answered*"]
        )


def test_a_junit_file_says_that_it_was_scripted(evals: Evals) -> None:
    evals.write("test_it.py", "def test_it(kiro): kiro.run('Hello.')\ndef test_no(): pass", {"test_it": ["OK"]})
    evals.run("--junitxml=report.xml").assert_outcomes(passed=2)
    text = (evals.path / "report.xml").read_text()
    assert text.count('<property name="kiro" value="scripted: the stand-in answered"') == 1


def test_a_junit_file_has_what_every_test_looked_at_and_how_trials_ended(evals: Evals) -> None:
    source = """
        import pytest

        @pytest.fixture(scope="module")
        def shop(kiro): return kiro.run("Hello.")

        def test_first(shop): ...
        def test_second(shop): ...
        def test_third(request): request.getfixturevalue("shop")
        def test_other(kiro): ...

        @pytest.mark.kiro_trials(2, pass_rate=0.5)
        def test_rate(kiro, kiro_trial):
            assert kiro_trial == 1
    """
    evals.write("test_it.py", source, {"fixture:shop": ["OK"]})
    evals.run("--junitxml=report.xml", "--kiro-all-trials").assert_outcomes(passed=5)
    cases = ElementTree.parse(evals.path / "report.xml").iter("testcase")
    properties = {
        case.get("name"): {one.get("name"): one.get("value") for one in case.iter("property")} for case in cases
    }
    assert properties.keys() == {"test_first", "test_second", "test_third", "test_other", "test_rate"} | {
        f"test_rate[trial{number}]" for number in (1, 2)
    }
    for name in ("test_first", "test_second", "test_third"):
        assert properties[name]["kiro"] == "scripted: the stand-in answered", name
        assert (properties[name]["kiro_provenance"] or "").startswith("kiro-cli 2.29.0, engine v2")
    assert properties["test_other"] == {}
    assert properties["test_rate[trial1]"] == {"kiro_trial": "passed"}
    assert (properties["test_rate[trial2]"].pop("kiro_artifacts") or "").startswith("kiro-results/")
    assert properties["test_rate[trial2]"] == {"kiro_trial": "failed (assert 2 == 1)"}
    assert properties["test_rate"] == {"kiro_verdict": "passed"}


def test_a_turn_that_was_broken_off_is_counted(evals: Evals) -> None:
    evals.write("test_it.py", "def test_it(kiro): kiro.run('Hello.')", {"test_it": [turn(misbehave="silent")]})
    evals.write(
        "conftest.py",
        "def pytest_kiro_turn_started(kiro, prompt):\n    raise KeyboardInterrupt",
    )
    result = evals.process()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(
        ["kiro: 1 turn, 1 broken off", "sandboxes: created 1, deleted 1, leaked 0", "scripted: *"]
    )


def test_a_worker_that_died_is_named(evals: Evals) -> None:
    evals.write(
        "test_it.py",
        "import os\ndef test_a(kiro): kiro.run('Hello.')\ndef test_b(kiro): os._exit(3)",
        {"test_a": ["OK"]},
    )
    result = evals.process("-n1", "--max-worker-restart=0")
    result.stdout.fnmatch_lines(
        ["sandboxes: created 1, deleted 1, leaked 0", "workers that died: 1; what they left is cleared away"]
    )


def test_a_fixture_that_is_a_callable_object_is_left_alone(evals: Evals) -> None:
    evals.passes(
        """
        import pytest

        class Four:
            __name__ = "four"

            def __call__(self):
                return 4

        four = pytest.fixture(scope="module", name="four")(Four())

        def test_four(four):
            assert four == 4
        """,
        {},
    )
