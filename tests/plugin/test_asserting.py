"""What a failed assert says: the calls, the commands and the changes that there were."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import pytest
from eval_runs import Evals, Turn, shell, turn, write

FILES = [write("a.txt", "a\n"), write("sub/b.txt", "b\n"), shell("echo x >by-shell.txt")]
COMMANDS = [shell("true first"), shell("cd . && true node x.js"), shell("true first")]
MANY = [shell(f"true {n}") for n in range(16)]


def says(evals: Evals, line: str, calls: Sequence[Any], *args: str) -> list[str]:
    """Let one assert fail after a turn with these calls; return pytest's lines on it, and what is listed of it."""
    turns: list[Turn] = [turn(calls, ["Done."])] if calls else ["Done."]
    source = f"def test_it(kiro):\n    turn = kiro.run('Work.')\n    {line}\n"
    evals.write("test_it.py", source, {"test_it": turns})
    result = evals.run("-p", "no:cacheprovider", *args)
    assert result.parseoutcomes() == {"failed": 1} if "-q" not in args else result.ret == 1
    return [text[1:].strip() for text in result.outlines if text.startswith("E  ")]


VERBOSE = pytest.mark.parametrize("args", [(), ("-q",), ("-vv",)], ids=" ".join)


# -- tool calls


@VERBOSE
def test_a_tool_that_was_not_used_tells_the_calls_that_there_were(evals: Evals, args: tuple[str, ...]) -> None:
    lines = says(evals, "assert turn.used('read')", FILES, *args)
    assert lines[0].endswith(
        "assert <ToolCalls: none of name='read'; there were: write 'a.txt', write 'sub/b.txt', "
        "shell 'echo x >by-shell.txt'>"
    )


@VERBOSE
def test_many_calls_are_counted(evals: Evals, args: tuple[str, ...]) -> None:
    (first, *_) = says(evals, "assert turn.used('read')", MANY, *args)
    assert "there were: shell 'true 0', shell 'true 1', " in first
    assert first.endswith(" more>")
    assert "..." not in first, "pytest did not cut it"


def test_a_tool_that_was_used_tells_how(evals: Evals) -> None:
    lines = says(evals, "assert not turn.tool_calls.filter('write', path='sub/**')", FILES)
    assert lines[0].endswith("assert not <ToolCalls: write 'sub/b.txt'>")


def test_what_a_passing_eval_asks(evals: Evals) -> None:
    evals.passes(
        """
        def test_it(kiro):
            turn = kiro.run("Work.")
            assert turn.used("write") and not turn.used("read")
            assert len(turn.used("write")) == 2
            assert turn.files_written == {"a.txt", "sub/b.txt"}
            assert turn.changes.added == {"a.txt", "sub/b.txt", "by-shell.txt"}
            assert turn.tool_calls.filter(path="*.txt") and not turn.tool_calls.filter(path="b.txt")
            assert turn.tool_calls.filter("write", path=f"{kiro.workspace.path}/a.txt")
            assert turn.tool_calls.filter("shell", pattern=r"^echo \\w >", status="completed")
            assert turn.commands == ["echo x >by-shell.txt"]
            assert "echo x >by-shell.txt" in turn.commands and "rm" not in turn.commands
        """,
        {"test_it": [turn(FILES, ["Done."])]},
    )


def test_a_denied_call_was_not_used(evals: Evals) -> None:
    evals.passes(
        """
        def test_it(kiro):
            turn = kiro.run("Work.")
            assert not turn.used("shell") and not turn.commands and turn.commands.denied == ("true a",)
            assert turn.tool_calls.filter("shell", status="denied")
            assert turn.files_written == set() and turn.used("write")
        """,
        {"test_it": [turn([shell("true a"), write("/proc/no/such", "x")], ["Done."], misbehave={"denied": "shell"})]},
    )


# -- commands


@VERBOSE
def test_a_command_that_is_missing(evals: Evals, args: tuple[str, ...]) -> None:
    assert says(evals, "assert 'node x.js' in turn.commands", COMMANDS, *args) == [
        "AssertionError: assert 'node x.js' in 3 commands",
        "Kiro did not execute 'node x.js'; it executed:",
        "'true first'",
        "'cd . && true node x.js'",
        "'true first'",
        "it is part of 'cd . && true node x.js': turn.tool_calls.filter('shell', pattern=…) finds parts",
    ]


@pytest.mark.parametrize("calls", [[], [write("a", "")]], ids=["nothing", "no command"])
def test_no_commands_at_all(evals: Evals, calls: list[Any]) -> None:
    assert says(evals, "assert 'node x.js' in turn.commands", calls) == [
        "AssertionError: assert 'node x.js' in no commands",
        "Kiro did not execute 'node x.js'; it executed nothing",
    ]


def test_a_command_that_was_denied(evals: Evals) -> None:
    source = "def test_it(kiro):\n    assert 'true a' in kiro.run('Work.').commands\n"
    evals.write("test_it.py", source, {"test_it": [turn([shell("true a")], ["Done."], misbehave={"denied": "shell"})]})
    evals.run().stdout.fnmatch_lines(["E * Kiro did not execute 'true a'; it executed nothing", "E * and was denied"])


@pytest.mark.parametrize(
    ("args", "shown", "more"),
    [((), 4, ["and 12 more (-vv)"]), (("-q",), 4, ["and 12 more (-vv)"]), (("-vv",), 16, [])],
    ids=["default", "q", "vv"],
)
def test_many_commands_are_counted(evals: Evals, args: tuple[str, ...], shown: int, more: list[str]) -> None:
    lines = says(evals, "assert 'true' in turn.commands", MANY, *args)
    assert lines[2 : 2 + shown] == [f"'true {n}'" for n in range(shown)]
    assert lines[2 + shown : -1] == more
    assert not any("truncated" in line for line in lines), "pytest did not cut it"


def test_the_nearest_is_not_cut_off(evals: Evals) -> None:
    lines = says(evals, "assert 'false 9' in turn.commands", [*MANY, shell("false 99; true")])
    assert lines[2] == "'false 99; true'"
    assert lines[-2:] == ["and 13 more (-vv)", lines[-1]]


@pytest.mark.parametrize(
    ("args", "around"),
    [
        ((), ["'true 8'", "> 'true 9'", "'true 10'", "'true 11'", "and 12 more (-vv)"]),
        (("-vv",), [f"{'> ' * (n == 9)}'true {n}'" for n in range(16)]),
    ],
    ids=["default", "vv"],
)
def test_a_command_that_should_not_be_there(evals: Evals, args: tuple[str, ...], around: list[str]) -> None:
    assert says(evals, "assert 'true 9' not in turn.commands", MANY, *args) == [
        "AssertionError: assert 'true 9' not in 16 commands",
        "Kiro executed it, as number 10; in order:",
        *around,
    ]


@pytest.mark.parametrize("line", ["turn.commands == {}", "{} == turn.commands"])
def test_commands_that_are_not_equal(evals: Evals, line: str) -> None:
    lines = says(evals, f"assert {line.format(['true first', 'make'])}", COMMANDS)
    assert lines[0].startswith("AssertionError: assert ['true first'")
    assert lines[1:] == [
        "missing: 'make'",
        "too many: 'true first', 'cd . && true node x.js'",
        "Kiro executed:",
        "'true first'",
        "'cd . && true node x.js'",
        "'true first'",
    ]


def test_commands_in_another_order(evals: Evals) -> None:
    wanted = ["true first", "true first", "cd . && true node x.js"]
    assert says(evals, f"assert turn.commands == {wanted}", COMMANDS)[1:3] == [
        "the same commands, in another order",
        "Kiro executed:",
    ]


# -- changes


@VERBOSE
def test_changes_that_should_not_be_there(evals: Evals, args: tuple[str, ...]) -> None:
    lines = says(evals, "assert not kiro.workspace.changes()", FILES, *args)
    assert lines[0].endswith("assert not <Changes added: a.txt, by-shell.txt, sub/b.txt>")


@VERBOSE
@pytest.mark.parametrize("line", ["turn.changes.added == {}", "{} == kiro.workspace.changes().added"])
def test_paths_that_are_not_equal(evals: Evals, line: str, args: tuple[str, ...]) -> None:
    lines = says(
        evals, f"assert {line.format(['missing.txt', 'a.txt']).replace('[', '{').replace(']', '}')}", FILES, *args
    )
    assert lines[1:] == ["missing 'missing.txt'", "too many 'by-shell.txt', 'sub/b.txt'"]


@pytest.mark.parametrize("line", ["turn.changes == {}", "{} == turn.changes"])
def test_changes_that_are_not_equal(evals: Evals, line: str) -> None:
    wanted = "__import__('pytest_kiro').Changes(frozenset({'a.txt', 'x'}), deleted=frozenset({'gone'}))"
    lines = says(evals, f"assert {line.format(wanted)}", FILES)
    assert "<Changes added: a.txt, by-shell.txt, sub/b.txt>" in lines[0]
    assert lines[1:] == ["added: missing 'x'", "added: too many 'by-shell.txt', 'sub/b.txt'", "deleted: missing 'gone'"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("turn.changes.paths <= {'a.txt'}", ["not in the larger one: 'by-shell.txt', 'sub/b.txt'"]),
        ("{'a.txt', 'c'} <= turn.changes.added", ["not in the larger one: 'c'"]),
        ("turn.changes.added >= {'a.txt', 'c'}", ["not in the larger one: 'c'"]),
        ("'c' in turn.changes.added", ["'a.txt'", "'by-shell.txt'", "'sub/b.txt'"]),
    ],
)
def test_paths_that_are_no_part(evals: Evals, line: str, said: list[str]) -> None:
    assert says(evals, f"assert {line}", FILES)[1:] == said


@pytest.mark.parametrize("args", [(), ("-vv",)], ids=["default", "vv"])
def test_many_paths_are_counted(evals: Evals, args: tuple[str, ...]) -> None:
    calls = [shell("for n in 1 2 3 4 5 6 7 8; do touch a-rather-long-name-of-a-file-$n.txt; done")]
    lines = says(evals, "assert turn.changes.added == {'x'}", calls, *args)
    assert lines[2].startswith("too many 'a-rather-long-name-of-a-file-1.txt', ")
    assert lines[2].endswith("'a-rather-long-name-of-a-file-8.txt'" if args else ", and 5 more")
    shown = says(evals, "assert not turn.changes", calls, *args)[0]
    assert shown.endswith(", and 3 more>")


# -- others


def test_what_is_none_of_ours_is_pytests(evals: Evals) -> None:
    evals.write("test_it.py", "def test_it():\n    assert [1] == [2]\ndef test_set():\n    assert {1} == {2}\n")
    lines = [line for line in evals.run().outlines if line.startswith("E  ")]
    assert "E         At index 0 diff: 1 != 2" in lines
    assert "E         Extra items in the left set:" in lines


def test_vv_shows_every_call_and_change(evals: Evals) -> None:
    source = "def test_it(kiro):\n    kiro.run('Work.')\n    assert 0\n"
    evals.write("test_it.py", source, {"test_it": [turn(FILES, ["Done."])]})
    shown = textwrap.dedent(
        """
          write 'a.txt'
          write 'sub/b.txt'
          shell 'echo x >by-shell.txt'
          added a.txt
          added by-shell.txt
          added sub/b.txt
        """
    )
    assert textwrap.indent(shown.strip("\n"), "  ") in evals.run("-vv").stdout.str()
    assert "added a.txt" not in evals.run().stdout.str()


# -- what changed in the files


def test_a_failed_assert_on_changes_shows_the_diff(evals: Evals) -> None:
    (evals.path / "seed/sub").mkdir(parents=True)
    (evals.path / "seed/a.py").write_text("one\ntwo\nthree\n")
    (evals.path / "seed/gone.py").write_text("old")
    (evals.path / "seed/sub/same.py").write_text("x\n")
    (evals.path / "seed/image.bin").write_bytes(b"\0\1")
    source = """
        import pytest

        @pytest.mark.kiro(workspace="seed")
        def test_it(kiro):
            kiro.workspace.exec("echo mine >mine.txt")
            kiro.run("Work.")
            assert not kiro.workspace.changes()

        @pytest.mark.kiro(workspace="seed")
        def test_else(kiro):
            kiro.run("Work.")
            assert 1 == 2
    """
    change = "sed -i s/two/2/ a.py; rm gone.py; printf new >new.py; printf '\\0' >>image.bin; echo more >>mine.txt"
    evals.write(
        "test_it.py", source, {name: [turn(["", shell(change)], ["Done."])] for name in ("test_it", "test_else")}
    )
    result = evals.run("-p", "no:cacheprovider")
    result.assert_outcomes(failed=2)
    shown = result.stdout.str().partition("- kiro changes -")[2].partition("_ test_else _")[0].splitlines()[1:-1]
    assert shown == [
        "--- a/a.py",
        "+++ b/a.py",
        "@@ -1,3 +1,3 @@",
        " one",
        "-two",
        "+2",
        " three",
        "--- a/gone.py",
        "+++ /dev/null",
        "@@ -1 +0,0 @@",
        "-old",
        "\\ No newline at end of file",
        "--- a/image.bin",
        "+++ b/image.bin",
        "(binary, or larger than 256 KiB: 2 bytes to 3 bytes)",
        "--- a/mine.txt",
        "+++ b/mine.txt",
        "(what it was before is not known: no seed has put it there)",
        "--- /dev/null",
        "+++ b/new.py",
        "@@ -0,0 +1 @@",
        "+new",
        "\\ No newline at end of file",
    ]
    assert result.stdout.str().count("- kiro changes -") == 1, "the other one is not about changes"


def test_a_long_diff_is_cut(evals: Evals) -> None:
    source = "def test_it(kiro):\n    assert not kiro.run('Work.').changes\n"
    evals.write("test_it.py", source, {"test_it": [turn(["", shell("seq 100 >n")], ["Done."])]})
    assert "(43 more lines; -vv shows all)" in evals.run("-p", "no:cacheprovider").stdout.str()
    assert "more lines" not in evals.run("-p", "no:cacheprovider", "-vv").stdout.str()


def test_a_diff_by_hand(evals: Evals) -> None:
    evals.passes(
        """
        def test_it(kiro):
            assert kiro.workspace.diff() == ""
            kiro.run("Work.")
            assert kiro.workspace.diff() == "--- /dev/null\\n+++ b/a\\n@@ -0,0 +1 @@\\n+a\\n"
            kiro.workspace.seed({"a": "b\\n"})  # as the file is now
            assert kiro.workspace.diff().endswith("+b\\n")
            kiro.workspace.exec("rm a; mkdir a")
            assert kiro.workspace.diff() == ""
        """,
        {"test_it": [turn(["", shell("echo a >a")], ["Done."])]},
    )
