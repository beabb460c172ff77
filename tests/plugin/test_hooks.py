"""The hooks: each docstring's example is a conftest that works; and providers that others bring."""

from __future__ import annotations

import doctest
import os
import textwrap

import pytest
from eval_runs import Evals, program, shell, turn

from pytest_kiro.plugin import hookspecs

HOOKS = [name for name in vars(hookspecs) if name.startswith("pytest_kiro_")]
TOY = """
    from note import note
    from pytest_kiro.sandbox.local import LocalProvider

    class MyCloud:
        name = "mycloud"
        isolated = True

        def __init__(self, settings):
            self._local = LocalProvider(settings)
            note("made")

        def create(self, spec):
            sandbox = self._local.create(spec)
            sandbox.isolated = True
            note("created")
            return sandbox

        def close(self):
            self._local.close()
            note("closed")
"""


def example(hook: str) -> str:
    """The example in a hook's docstring, as the source that a conftest would have."""
    found = doctest.DocTestParser().get_examples(getattr(hookspecs, hook).__doc__)
    assert found, f"{hook} has no example"
    return "".join(part.source for part in found)


def test_every_example(evals: Evals) -> None:
    evals.note()
    evals.write("conftest.py", "\n".join([textwrap.dedent(TOY), *map(example, HOOKS)]))
    evals.write(
        "test_it.py",
        """
        def test_it(kiro):
            assert kiro.workspace.exec("git config --global user.name").output == "Eval\\n"
            turn = kiro.run("Say hello.")
            assert turn.tool_calls[0].output.startswith("python3 -I -S ")
            assert ".pyz chat " in turn.tool_calls[0].output
            assert kiro.run("More.", check=False).cause == "throttled"
        """,
        {
            "test_it": [
                turn([shell(r"tr '\0' ' ' </proc/$PPID/cmdline")], ["Hello."]),
                turn(misbehave="throttled"),
            ]
        },
    )
    # The sandbox counts as isolated, so the stand-in is sent there as one archive.
    result = evals.run("--kiro-sandbox=mycloud", "--kiro-cli=scripted", "-s")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "kiro: sandbox mycloud, kiro-cli scripted: the stand-in answers, Kiro is not asked",
            "*asked: Say hello.",
            "test_it.py::test_it ended: turn 1 completed in * s, 1 tool call",
            "test_it.py::test_it asked: More.",
            "test_it.py::test_it ended: turn 2 failed (throttled: infrastructure) in * s",
            "sandboxes: created 1, deleted 1, leaked 0",
        ]
    )
    assert evals.story == ["made", "created", "closed"]


def test_hooks_of_an_isolated_provider_under_xdist(evals: Evals) -> None:
    evals.note()
    evals.write(
        "conftest.py", f"{TOY}\n    def pytest_kiro_register_providers(register):\n        register('toy', MyCloud)"
    )
    evals.write(
        "test_it.py",
        "import pytest\n\n@pytest.mark.parametrize('n', range(4))\ndef test_it(kiro, n):\n    kiro.run('Hello.')\n",
        {"test_it": ["OK"]},
    )
    result = evals.process("--kiro-sandbox=toy", "--kiro-cli=scripted", "-n2")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(
        ["kiro: sandbox toy, *", "kiro: 4 turns, 4 completed", "sandboxes: created 2, deleted 2, leaked 0"]
    )
    # Two workers each with one, and the controller that looks for what they left.
    assert sorted(evals.story) == ["closed", "created", "created", "made", "made", "made"]


def test_an_isolated_sandbox_gets_the_official_cli_unless_told(evals: Evals, monkeypatch: pytest.MonkeyPatch) -> None:
    evals.note()
    # This one is on our machine after all, to which nothing is to be downloaded.
    curl = program(evals, "exit 6", name="bin/curl")
    monkeypatch.setenv("PATH", f"{curl.parent}:{os.environ['PATH']}")
    evals.write(
        "conftest.py", f"{TOY}\n    def pytest_kiro_register_providers(register):\n        register('toy', MyCloud)"
    )
    evals.write("test_it.py", "def test_it(kiro): pass")
    result = evals.run("--kiro-sandbox=toy")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "kiro: sandbox toy, kiro-cli official",
            "E *InstallError: kiro-cli (latest*) *",
        ]
    )


def test_providers_that_cannot_be_chosen(evals: Evals) -> None:
    evals.note()
    evals.write("test_it.py", "def test_it(): pass")
    register = f"{TOY}\n    def pytest_kiro_register_providers(register):\n        register({{!r}}, MyCloud)"
    evals.write("conftest.py", register.format("toy"))
    result = evals.run("--kiro-sandbox=tony")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --kiro-sandbox=tony: no such provider, did you mean toy?", "known: bubblewrap, daytona, local, toy; *"]
    )
    evals.write("conftest.py", register.format("local"))
    result = evals.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: two plugins register a sandbox provider named 'local'; rename one of them"])
    assert evals.story == []  # none of them was made


def test_a_hook_with_a_wrong_name_or_argument(evals: Evals) -> None:
    """Pluggy says so, since ours are declared."""
    evals.write("test_it.py", "def test_it(): pass")
    evals.write("conftest.py", "def pytest_kiro_turn_finished(kiro, trun): pass")
    result = evals.process()
    assert result.ret != 0
    assert "Argument(s) {'trun'} are declared in the hookimpl but can not be found in the hookspec" in (
        result.stdout.str() + result.stderr.str()
    )


def test_a_provider_that_contradicts_itself_is_refused(evals: Evals) -> None:
    """Else the header would name one CLI, and the other would answer."""
    evals.note()
    evals.write(
        "conftest.py",
        f"{TOY}\n    def pytest_kiro_register_providers(register):\n        register('toy', MyCloud, isolated=False)",
    )
    evals.write("test_it.py", "def test_it(kiro): pass")
    result = evals.run("--kiro-sandbox=toy")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["E *SettingsError: the sandbox provider toy is registered with isolated=False, but *"])


SULKY = """
    class Sulky(MyCloud):
        def create(self, spec):
            sandbox = super().create(spec)
            close = sandbox.close

            def sulk():
                close()
                if {when!r} == "sandbox":
                    raise RuntimeError("the cloud is\\n  broken")

            sandbox.close = sulk
            return sandbox

        def close(self):
            if {when!r} == "provider":
                raise RuntimeError("the cloud is\\n  broken")

    def pytest_kiro_register_providers(register):
        register("toy", Sulky)
"""


@pytest.mark.parametrize("when", ["sandbox", "provider"])
def test_somebody_s_provider_that_fails_at_the_end_costs_no_results(evals: Evals, when: str) -> None:
    """And of a sandbox that failed to close nobody knows whether it is gone: this one's `close` tells nothing."""
    evals.note()
    evals.write("conftest.py", textwrap.dedent(TOY) + textwrap.dedent(SULKY.format(when=when)))
    evals.write("test_it.py", "def test_it(kiro): pass")
    result = evals.run("--kiro-sandbox=toy", "--kiro-cli=scripted")
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
    if when == "sandbox":
        result.assert_outcomes(passed=1, errors=1)
        result.stdout.fnmatch_lines(["E *RuntimeError: the cloud is", "sandboxes: created 1, deleted 0, leaked 1"])
    else:
        result.assert_outcomes(passed=1)
        result.stdout.fnmatch_lines(
            [
                "sandboxes: created 1, deleted 1, leaked 0",
                "what this run may have left could not be cleared away: the cloud is; broken",
            ]
        )
