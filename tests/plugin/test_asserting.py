"""What a failed assert says: the calls, the commands and the changes that there were."""

from __future__ import annotations

import json
import textwrap

import pytest
from eval_runs import Evals, shell, turn, write

FILES = [write("a.txt", "a\n"), write("sub/b.txt", "b\n"), shell("echo x >by-shell.txt")]
COMMANDS = [shell("true first"), shell("cd . && true node x.js"), shell("true first")]
MANY = [shell(f"true {n}") for n in range(16)]
LONG = [shell("for n in 1 2 3 4 5 6 7 8; do touch a-rather-long-name-of-a-file-$n.txt; done")]
#: Turns by their names, and what each is asked that is not so.
ASKED = {
    "files": (
        FILES,
        [
            "turn.used('read')",
            "not turn.tool_calls.filter('write', path='sub/**')",
            "not kiro.workspace.changes()",
            "turn.changes.added == {'missing.txt', 'a.txt'}",
            "{'missing.txt', 'a.txt'} == kiro.workspace.changes().added",
            "turn.changes == CHANGES",
            "CHANGES == turn.changes",
            "turn.changes.paths <= {'a.txt'}",
            "{'a.txt', 'c'} <= turn.changes.added",
            "turn.changes.added >= {'a.txt', 'c'}",
            "'c' in turn.changes.added",
            "turn.changes == {'a.txt'}",
            "['a.txt'] == turn.changes",
            "kiro.workspace.exec('echo x') == 'x'",
        ],
    ),
    "commands": (
        COMMANDS,
        [
            "'node x.js' in turn.commands",
            "turn.commands == ['true first', 'make']",
            "['true first', 'make'] == turn.commands",
            "turn.commands == ['true first', 'true first', 'cd . && true node x.js']",
        ],
    ),
    "many": (MANY, ["turn.used('read')", "'true' in turn.commands", "'true 9' not in turn.commands"]),
    "near": ([*MANY, shell("false 99; true")], ["'false 9' in turn.commands"]),
    "nothing": ([], ["'node x.js' in turn.commands"]),
    "no_command": ([write("a", "")], ["'node x.js' in turn.commands"]),
    "long": (LONG, ["turn.changes.added == {'x'}", "not turn.changes"]),
}


def said(evals: Evals, *args: str) -> dict[tuple[str, str], list[str]]:
    """Ask each turn all of it, and return what is said of each; pytest's own cutting is in it."""
    source = [
        "import json, pathlib, pytest",
        "from pytest_kiro import Changes",
        "CHANGES = Changes(frozenset({'a.txt', 'x'}), deleted=frozenset({'gone'}))",
        "SAID = []",
        "def test_all():",
        "    pathlib.Path('said.json').write_text(json.dumps(SAID))",
    ]
    for name, (_, lines) in ASKED.items():
        asking = [f"def test_{name}(kiro):", "    turn = kiro.run('Work.')"]
        for line in lines:
            asking += ["    with pytest.raises(AssertionError) as told:", f"        assert {line}"]
            asking += [f"    SAID.append(({name!r}, {line!r}, str(told.value)))"]
        source[4:4] = asking
    evals.passes(
        "\n".join(source),
        {f"test_{name}": [turn(calls, ["Done."]) if calls else "Done."] for name, (calls, _) in ASKED.items()},
        *args,
    )
    told = json.loads((evals.path / "said.json").read_text())
    return {(name, line): [one.strip() for one in text.splitlines()] for name, line, text in told}


@pytest.mark.parametrize("args", [(), ("-q",), ("-vv",)], ids=" ".join)
def test_what_is_said(evals: Evals, args: tuple[str, ...]) -> None:
    told = said(evals, *args)
    verbose = "-vv" in args

    # A tool that was not used tells the calls that there were; many are counted, and pytest does not cut them.
    assert told["files", "turn.used('read')"][0] == (
        "assert <ToolCalls: none of name='read'; there were: write 'a.txt', write 'sub/b.txt', "
        "shell 'echo x >by-shell.txt'>"
    )
    (first, *_) = told["many", "turn.used('read')"]
    assert "there were: shell 'true 0', shell 'true 1', " in first
    assert first.endswith(" more>")
    assert "..." not in first
    # One that was used tells how.
    assert told["files", "not turn.tool_calls.filter('write', path='sub/**')"][0] == (
        "assert not <ToolCalls: write 'sub/b.txt'>"
    )

    # What never equals a value of ours is told what can be compared.
    kinds = "changes have three kinds: compare .added, .modified or .deleted, or all of them, .paths"
    assert told["files", "turn.changes == {'a.txt'}"][1] == kinds
    assert told["files", "['a.txt'] == turn.changes"][1] == kinds
    result = "a result is neither text nor number: compare its .output or its .exit_code"
    assert told["files", "kiro.workspace.exec('echo x') == 'x'"][1] == result

    # A command that is missing; the nearest is named; where there was none at all, that is said.
    assert told["commands", "'node x.js' in turn.commands"] == [
        "assert 'node x.js' in 3 commands",
        "the turn did not execute 'node x.js'; it executed:",
        "'true first'",
        "'cd . && true node x.js'",
        "'true first'",
        "it is part of 'cd . && true node x.js': turn.tool_calls.filter('shell', pattern=…) finds parts",
    ]
    for name in ("nothing", "no_command"):
        assert told[name, "'node x.js' in turn.commands"] == [
            "assert 'node x.js' in no commands",
            "the turn did not execute 'node x.js'; it executed nothing",
        ]
    # Many commands are counted, the nearest is not cut off, and pytest cuts nothing.
    lines, shown = told["many", "'true' in turn.commands"], 16 if verbose else 4
    assert lines[2 : 2 + shown] == [f"'true {n}'" for n in range(shown)]
    assert lines[2 + shown : -1] == ([] if verbose else ["and 12 more (-vv)"])
    assert not any("truncated" in line for line in lines)
    if not verbose:
        lines = told["near", "'false 9' in turn.commands"]
        assert lines[2] == "'false 99; true'"
        assert lines[-2:] == ["and 13 more (-vv)", lines[-1]]
    # One that should not be there is shown among its neighbours.
    around = ["'true 8'", "> 'true 9'", "'true 10'", "'true 11'", "and 12 more (-vv)"]
    assert told["many", "'true 9' not in turn.commands"] == [
        "assert 'true 9' not in 16 commands",
        "the turn executed it, as number 10; in order:",
        *([f"{'> ' * (n == 9)}'true {n}'" for n in range(16)] if verbose else around),
    ]
    # Commands that are not equal, on either side, and those in another order.
    for line in ("turn.commands == ['true first', 'make']", "['true first', 'make'] == turn.commands"):
        assert told["commands", line][0].startswith("assert ['true first'")
        assert told["commands", line][1:] == [
            "missing: 'make'",
            "too many: 'true first', 'cd . && true node x.js'",
            "the turn executed:",
            "'true first'",
            "'cd . && true node x.js'",
            "'true first'",
        ]
    line = "turn.commands == ['true first', 'true first', 'cd . && true node x.js']"
    assert told["commands", line][1:3] == ["the same commands, in another order", "the turn executed:"]

    # Changes that should not be there, that are not equal, and that are no part of others; many are counted.
    assert told["files", "not kiro.workspace.changes()"][0] == (
        "assert not <Changes added: a.txt, by-shell.txt, sub/b.txt>"
    )
    wanted = "{'missing.txt', 'a.txt'}"
    for line in (f"turn.changes.added == {wanted}", f"{wanted} == kiro.workspace.changes().added"):
        assert told["files", line][1:] == ["missing 'missing.txt'", "too many 'by-shell.txt', 'sub/b.txt'"]
    for line in ("turn.changes == CHANGES", "CHANGES == turn.changes"):
        assert "<Changes added: a.txt, by-shell.txt, sub/b.txt>" in told["files", line][0]
        assert told["files", line][1:] == [
            "added: missing 'x'",
            "added: too many 'by-shell.txt', 'sub/b.txt'",
            "deleted: missing 'gone'",
        ]
    larger = "not in the larger one: "
    assert told["files", "turn.changes.paths <= {'a.txt'}"][1:] == [f"{larger}'by-shell.txt', 'sub/b.txt'"]
    assert told["files", "{'a.txt', 'c'} <= turn.changes.added"][1:] == [f"{larger}'c'"]
    assert told["files", "turn.changes.added >= {'a.txt', 'c'}"][1:] == [f"{larger}'c'"]
    assert told["files", "'c' in turn.changes.added"][1:] == ["'a.txt'", "'by-shell.txt'", "'sub/b.txt'"]
    lines = told["long", "turn.changes.added == {'x'}"]
    assert lines[2].startswith("too many 'a-rather-long-name-of-a-file-1.txt', ")
    assert lines[2].endswith("'a-rather-long-name-of-a-file-8.txt'" if verbose else ", and 5 more")
    assert told["long", "not turn.changes"][0].endswith(", and 3 more>")


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


def test_a_command_that_was_denied(evals: Evals) -> None:
    source = "def test_it(kiro):\n    assert 'true a' in kiro.run('Work.').commands\n"
    evals.write("test_it.py", source, {"test_it": [turn([shell("true a")], ["Done."], misbehave={"denied": "shell"})]})
    evals.run().stdout.fnmatch_lines(
        ["E * the turn did not execute 'true a'; it executed nothing", "E * and was denied"]
    )


# -- others


def test_what_is_none_of_ours_is_pytests(evals: Evals) -> None:
    evals.write("test_it.py", "def test_it():\n    assert [1] == [2]\ndef test_set():\n    assert {1} == {2}\n")
    lines = [line for line in evals.run().outlines if line.startswith("E  ")]
    assert "E         At index 0 diff: 1 != 2" in lines
    assert "E         Extra items in the left set:" in lines


def test_vv_shows_every_call_and_change_and_a_long_diff(evals: Evals) -> None:
    source = """
        def test_it(kiro):
            kiro.run("Work.")
            assert 0

        def test_long(kiro):
            assert not kiro.run("Work.").changes
    """
    turns = {"test_it": [turn(FILES, ["Done."])], "test_long": [turn(["", shell("seq 100 >n")], ["Done."])]}
    evals.write("test_it.py", source, turns)
    shown = textwrap.dedent(
        """
          write   a.txt
          write   sub/b.txt
          shell   echo x >by-shell.txt  → exit 0
          added a.txt
          added by-shell.txt
          added sub/b.txt
        """
    )
    brief, verbose = (evals.run("-p", "no:cacheprovider", *args).stdout.str() for args in ((), ("-vv",)))
    assert textwrap.indent(shown.strip("\n"), "  ") in verbose
    assert "added a.txt" not in brief
    assert "(73 more lines of n; -vv shows all)" in brief
    assert "more lines" not in verbose


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
    section = result.stdout.str().partition("- kiro turns -")[2].partition("_ test_else _")[0]
    assert "  changed: a.py +1 −1, gone.py deleted, image.bin changed, mine.txt changed, new.py +1\n" in section
    shown = section.partition("--- what the turn changed\n")[2].partition("--- what turn 1 printed\n")[0].splitlines()
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
        "(binary, not to be read, or larger than 256 KiB: 2 bytes to 3 bytes)",
        "--- a/mine.txt",
        "+++ b/mine.txt",
        "(what it was before is not known: no seed has put it there)",
        "--- /dev/null",
        "+++ b/new.py",
        "@@ -0,0 +1 @@",
        "+new",
        "\\ No newline at end of file",
    ]


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
