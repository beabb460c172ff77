"""Contract T: every way in which a turn can end, and what a test is told of it."""

from __future__ import annotations

from typing import Any

from eval_runs import Evals, call, shell, turn, write

SAYS = [["Hello."]]


def one(misbehave: Any, requests: Any = SAYS) -> list[dict[str, Any]]:
    return [{"misbehave": misbehave, "requests": requests}]


# -- what the rows of outcomes.py do not have: what a turn says of itself; the timeout where one is meant to pass
ENDINGS: dict[str, tuple[Any, dict[str, Any]]] = {
    "silent": ({"silent": 0.1}, {"status": "completed", "proof": "session", "exit_code": 0, "text": "Hello."}),
    "silent_for_ever": (
        "silent",
        {"timeout": 0.5, "status": "timed_out", "cause": "out of time", "detail": "its time of 0.5 s was over"},
    ),
    "crash": ("crash", {"status": "failed", "cause": "crash", "exit_code": 139, "output": "Hello."}),
    "crash_before": ({"crash": "before"}, {"status": "failed", "cause": "crash", "exit_code": 139, "messages": ()}),
    "login": ("login", {"status": "failed", "cause": "auth", "detail": "not logged in and waited for a device login"}),
    "exit_by_name": (
        {"exit": 4},
        {"status": "failed", "cause": "refused", "exit_code": 4, "detail": "exited with 4, agent not found"},
    ),
    "closes_output": ({"closes_output": 0.2}, {"status": "completed", "proof": "session", "text": "Hello."}),
    "closes_output_for_ever": (
        "closes_output",
        {"timeout": 0.5, "status": "timed_out", "cause": "out of time", "output": "Hello."},
    ),
}
INFRASTRUCTURE = {"auth", "throttled", "usage limit", "connection", "crash", "mcp start-up", "refused", "unknown CLI"}
STATES = """
    import pytest
    from pytest_kiro import Cause, TurnError, TurnFailed, TurnTimeout

    EXPECTED = {expected!r}

    @pytest.mark.parametrize("kind", EXPECTED)
    def test_ending(kiro, kind):
        expected = dict(EXPECTED[kind])
        turn = kiro.run("Say hello.", check=False, timeout=expected.pop("timeout", 20))
        for name in ("output", "detail"):
            assert expected.pop(name, "") in getattr(turn, name)
        assert {{name: getattr(turn, name) for name in expected}} == expected
        assert turn.ok == (turn.status == "completed") == (turn.proof is not None) == (turn.cause is None)
        assert turn.cause is None or turn.cause.infrastructure == (turn.cause in {infrastructure!r})
        assert turn.duration < 15 and turn.engine == "v2" and turn.version == "2.29.0" and turn.credits is None

    @pytest.mark.parametrize("kind", ["crash", "silent_for_ever"])
    def test_checked(kiro, kind):
        expected = EXPECTED[kind]
        error = TurnTimeout if expected["status"] == "timed_out" else TurnFailed
        with pytest.raises(error) as caught:
            kiro.run("Say hello.", timeout=expected.get("timeout", 20))
        turn = caught.value.turn
        assert (turn.status, turn.cause) == (expected["status"], expected["cause"])
        assert turn.conversation.turns == [turn] and turn.workspace is kiro.workspace
        text = str(caught.value)
        assert text.startswith(f"turn 1 {{turn.status}} ({{turn.kind}}) in ")
        assert expected.get("detail", "") in text
        assert "kiro.run(..., check=False) returns such a turn instead of raising" in text
        assert turn.kind == (f"{{turn.cause}}: infrastructure" if turn.cause.infrastructure else str(turn.cause))
        assert all(f"  | {{line}}" in text for line in turn.output.splitlines()[-10:])
"""


def test_every_misbehaviour_has_its_ending(evals: Evals) -> None:
    expected = {kind: ending for kind, (_, ending) in ENDINGS.items()}
    tables = {f"test_ending[{kind}]": one(misbehave) for kind, (misbehave, _) in ENDINGS.items()}
    tables |= {f"test_checked[{kind}]": tables[f"test_ending[{kind}]"] for kind in ("crash", "silent_for_ever")}
    evals.write("test_it.py", STATES.format(expected=expected, infrastructure=INFRASTRUCTURE), tables)
    result = evals.run("-rA")
    assert result.parseoutcomes() == {"passed": len(ENDINGS) + 2}


def test_a_turn_that_is_not_checked_away_fails_its_test(evals: Evals) -> None:
    source = """
        def test_exit(kiro):
            kiro.run("Say hello.")

        def test_silent(kiro):
            kiro.run("Say hello.", timeout=0.3)

        def test_throttled(kiro):
            assert not kiro.run("Say hello.", check=False).ok
        """
    tables = {
        "test_exit": one({"exit": 7}),
        "test_silent": one("silent"),
        "test_throttled": one("throttled"),
    }
    evals.write("test_it.py", source, tables)
    result = evals.run("--kiro-retries=0")
    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines(
        [
            "E *pytest_kiro.TurnFailed: turn 1 failed (crash: infrastructure) in * s, exit code 7: *",
            "E *  | Hello.",
            "E *pytest_kiro.TurnTimeout: turn 1 timed_out (out of time) in * s*: its time of 0.3 s was*",
            "kiro: 3 turns, 1 failed (crash: infrastructure), 1 failed (throttled: infrastructure), 1 timed_out (*",
        ]
    )
    # Our own frames are nobody's business: the traceback ends in the eval.
    assert "conversation.py" not in result.stdout.str()


# -- patience


def test_patience(evals: Evals) -> None:
    evals.passes(
        """
        from pathlib import Path

        def alive(pid):  # a dead child that init has not reaped yet is gone, too
            try:
                return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "XZ"
            except OSError:
                return False

        def test_stalled(kiro):
            turn = kiro.run("Hello.", check=False)
            assert (turn.status, turn.cause) == ("timed_out", "stalled")
            assert turn.detail.startswith("it printed nothing for 0.4 s, and wrote") and turn.duration < 60

        def test_printing_is_not_stalling(kiro):
            turn = kiro.run("Hello.")  # longer than the stall timeout, and never silent for so long
            assert turn.ok and turn.duration > 0.4

        def test_stopped_turns_keep_what_was_done(kiro):
            turn = kiro.run("Hello.", check=False, timeout=1)
            assert turn.status == "timed_out"
            assert [call.status for call in turn.tool_calls][:1] == ["completed"]
            assert turn.changes.added == {"a.txt"} == kiro.workspace.changes().added

        def test_login_is_not_waited_for(kiro):
            turn = kiro.run("Hello.", check=False)
            assert turn.cause == "auth" and turn.duration < 60

        def test_signals_are_ignored(kiro):
            turn = kiro.run("Hello.", check=False, timeout=0.3)
            assert turn.status == "timed_out" and turn.duration < 60  # asked, then killed
            assert turn.text == "Hello."  # what it had recorded by then

        def test_children_go_with_the_turn(kiro):
            turn = kiro.run("Hello.")
            pids = turn.output.split("children: ")[1].split()[:2]
            assert len(pids) == 2 and not any(map(alive, pids))
            assert turn.duration < 60
        """,
        {
            "test_stalled": one("silent"),
            "test_printing_is_not_stalling": one({"slow": 0.05}, [["Twenty characters it is"]]),
            "test_stopped_turns_keep_what_was_done": [turn([write("a.txt", "a")], [shell("sleep 600")], ["Done."])],
            "test_login_is_not_waited_for": one("login"),
            "test_signals_are_ignored": one("ignores_signals"),
            "test_children_go_with_the_turn": one("children"),
        },
        "--kiro-stall-timeout=0.4",
    )


# -- prompts


def test_prompts(evals: Evals) -> None:
    evals.passes(
        r"""
        import json, pytest

        def recorded(kiro, turn):
            path = f"{kiro.workspace.home}/.kiro/sessions/cli/{turn.session_id}.jsonl"
            first = json.loads(kiro.sandbox.read_file(path).splitlines()[0])
            return first["data"]["content"][0]["data"]

        def test_refused(kiro):
            for prompt, error, words in (
                ("", ValueError, "the prompt is blank"),
                (" \n\t", ValueError, "the prompt is blank"),
                ("a\0b", ValueError, "NUL character at position 1"),
                ("ab\ud800", ValueError, r"lone surrogate, '\\ud800' at position 2"),
                (b"bytes", TypeError, "a prompt is a str, not bytes"),
                (None, TypeError, "a prompt is a str, not NoneType"),
            ):
                for run in (kiro.run, kiro.stream):
                    with pytest.raises(error, match=words):
                        run(prompt)
            assert kiro.run("And now?").number == 1  # nothing was begun

        @pytest.mark.parametrize("n", range(9))
        def test_byte_for_byte(kiro, n):
            prompt = [
                "/quit", "! ls", "@prompt", "--help", "-- x", "$(touch x) `touch y` 'z' \"q\" \\",
                "tab\tescape\x1b[31m ^C\x03 del\x7f bell\x07", "zwölf Boxkämpfer 🥊\r\nline two\n\n", "x" * 1_000_000,
            ][n]
            turn = kiro.run(prompt)
            assert recorded(kiro, turn) == prompt == turn.prompt
            assert turn.ok and not turn.changes and len(repr(turn)) < 100
        """,
        {"test_refused": ["OK"], "test_byte_for_byte": ["OK"]},
    )


# -- what was said


def test_output(evals: Evals) -> None:
    evals.passes(
        r"""
        def test_huge(kiro):
            turn = kiro.run("Talk.")
            cap = 16 * 1024 * 1024
            assert turn.ok and turn.truncated
            assert cap <= len(turn.raw) < cap + 100 and cap <= len(turn.output) + 2 < cap + 100
            assert "the middle of this output was not kept" in turn.output
            assert turn.output.startswith("0123456789abc") and turn.output.rstrip().endswith("Hello.")
            assert turn.text == "Hello."

        def test_split_characters(kiro):
            turn = kiro.run("Talk.")
            assert turn.text == "grüß 🥊" and "grüß 🥊\n" in turn.output and "�" not in turn.output
            assert "grüß 🥊".encode() in turn.raw and not turn.truncated

        def test_a_spinner_is_drawn_over(kiro):
            turn = kiro.run("Talk.")
            assert turn.output == "Hello.\n"
            assert "⠋ Thinking".encode() in turn.raw and b"\x1b[?25l" in turn.raw and b"\r\n" in turn.raw

        def test_output_is_what_a_terminal_showed(kiro):
            turn = kiro.run("Talk.")
            assert turn.messages == ("First.", "Second.") and turn.text == "Second."
            assert turn.output == "First.\n[tool] Running: echo hidden\n[tool] status: Completed\nSecond.\n"
            assert b"\x1b[38;5;8m[tool]" in turn.raw
            assert 0 < turn.first_output_after < turn.duration
        """,
        {
            "test_huge": one({"huge": 18_000_000}),
            "test_split_characters": one({"split_utf8": 0.001}, [["grüß 🥊"]]),
            "test_a_spinner_is_drawn_over": one("carriage"),
            "test_output_is_what_a_terminal_showed": [turn(["First.", shell("echo hidden")], ["Second."])],
        },
    )


# -- what was done


def test_tool_calls_and_changes(evals: Evals) -> None:
    evals.write("seed/old.txt", "old")
    evals.write("seed/same.txt", "same")
    evals.write("seed/gone.txt", "gone")
    evals.passes(
        r"""
        import pytest

        @pytest.mark.kiro(workspace="seed")
        def test_calls(kiro):
            turn = kiro.run("Work.")
            calls = turn.tool_calls
            assert [call.name for call in calls] == ["write", "read", "shell", "shell", "grep", "read"]
            assert [call.status for call in calls] == ["completed"] * 5 + ["failed"]
            assert calls[0].raw_name == "fs_write" and calls[0].input["content"] == "one"
            assert "one" in calls[1].output
            assert calls[2].output == "hello\n" and calls[2].exit_code == 0
            assert calls[3].exit_code == 3 and calls[3].command == "echo no >&2; exit 3"
            assert calls[3].output == "no\n"
            assert calls[5].exit_code is None and calls[5].command is None
            assert turn.commands == ["echo hello", "echo no >&2; exit 3"]
            assert turn.used("write") and turn.used("read") and turn.used("grep")
            assert not turn.used("glob") and not turn.used("fs_write")
            assert "6 tool calls" in turn.summary and turn.ok
            assert turn.changes.added == {"new/a.txt"} and not turn.changes.modified

        def test_denied(kiro):
            turn = kiro.run("Work.")
            assert turn.ok  # kiro-cli goes on, and exits with 0
            assert [call.status for call in turn.tool_calls] == ["denied", "completed"]
            assert not turn.used("shell") and turn.used("write") and turn.commands == []
            assert not turn.changes.deleted

        @pytest.mark.kiro(workspace="seed")
        def test_changes(kiro):
            kiro.workspace.seed({"late.txt": "late"})
            first = kiro.run("Work.")
            assert first.changes.added == {"b.txt"}
            assert first.changes.modified == {"old.txt", "late.txt"}
            assert first.changes.deleted == {"gone.txt"}
            assert first.changes.paths == {"b.txt", "old.txt", "late.txt", "gone.txt"}
            kiro.workspace.seed({"mine.txt": "not Kiro's"})
            kiro.workspace.exec("rm same.txt; echo 1 > executed.txt").check()
            second = kiro.run("Work on.")
            assert second.changes.added == {"c.txt"} and second.changes.deleted == {"b.txt"}
            assert second.changes.modified == {"old.txt"}  # back to what it was
            whole = kiro.workspace.changes()
            assert (whole.added, whole.modified, whole.deleted) == ({"c.txt"}, {"late.txt"}, {"gone.txt"})
            nothing = kiro.run("Look.")
            assert not nothing.changes and repr(nothing.changes) == "<Changes none>"
            assert kiro.workspace.changes() == whole
        """,
        {
            "test_calls": [
                turn(
                    [
                        call("fs_write", command="create", path="new/a.txt", content="one"),
                        call("read", operations=[{"mode": "Line", "path": "new/a.txt"}]),
                        shell("echo hello"),
                        shell("echo no >&2; exit 3"),
                    ],
                    [call("grep", pattern="one", path=".")],
                    [call("read", operations=[{"mode": "Line", "path": "missing.txt"}])],
                    ["Done."],
                )
            ],
            "test_denied": [
                turn([shell("rm -rf ."), write("a", "a")], ["I was not allowed to."], misbehave={"denied": "shell"})
            ],
            "test_changes": [
                turn([write("b.txt", "b"), write("old.txt", "new"), shell("rm gone.txt; echo x > late.txt")], ["OK"]),
                turn([shell("rm b.txt; printf old > old.txt; echo c > c.txt")], ["OK"]),
                turn([shell("ls; cat c.txt")], ["OK"]),
            ],
        },
    )


def test_trust_decides_what_runs(evals: Evals) -> None:
    calls = [turn([shell("echo x > x.txt"), write("y.txt", "y")], ["Done."])]
    evals.passes(
        """
        import pytest

        @pytest.mark.parametrize(("trust", "made"), [
            ("all", {"x.txt", "y.txt"}), ("none", set()), ("write", {"y.txt"}),
            (["shell", "write"], {"x.txt", "y.txt"}),
        ], ids=range(4))
        def test_trust(kiro, trust, made):
            assert kiro.run("Work.", trust=trust).changes.added == made
        """,
        {"test_trust": calls},
    )
