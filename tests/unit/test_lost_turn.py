"""Turns whose link is lost, as a test sees them: completed from the sandbox, or lost, and never a pass for nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers import is_alive, wait_until
from links import Cut, LossySandbox, after, without_script

from pytest_kiro import Cause, Identity, Kiro, SandboxError, Turn, TurnFailed
from pytest_kiro.agent.bench import Bench as TurnBench
from pytest_kiro.agent.bench import Owner
from pytest_kiro.errors import LaunchError
from pytest_kiro.kirocli import commands
from pytest_kiro.kirocli.install import install
from pytest_kiro.run.budget import Budget
from pytest_kiro.settings import table as settings
from pytest_kiro.settings.waits import Waits
from pytest_kiro.terminal import follow

CALLS = [
    ["First.", {"name": "write", "args": {"command": "create", "path": "a.txt", "content": "a"}}],
    ["Second."],
]


class Bench:
    """Kiro without pytest around it, in a sandbox whose links are lost, answered by the stand-in."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.sandbox = LossySandbox(**options)
        waits = Waits(link_pauses=(0.05, 0.1, 0.2), last_grace=0.1)
        chosen = settings.read(option=lambda _: None, environ={}, ini=lambda _: None, waits=waits)
        self.scenario = folder / chosen.scenarios / "bench.toml"
        self.scenario.parent.mkdir()
        cli = install(self.sandbox, "scripted", timeout=60)
        identity = Identity("scripted", env={commands.API_KEY: commands.PLACEHOLDER_KEY})
        self.owner = Owner("test_it", ("it",), folder / "bench.py")
        self.kiro = Kiro(TurnBench.set_up(self.sandbox, cli, identity, chosen), lambda: self.owner)
        self.script([["Hello."]])
        self.sandbox.calls.clear()

    def script(self, requests: list[Any], misbehave: dict[str, Any] | None = None) -> None:
        """Say what Kiro answers from now on."""

        def value(item: Any) -> str:
            if isinstance(item, dict):
                return "{ " + ", ".join(f"{key} = {value(inner)}" for key, inner in item.items()) + " }"
            return "[" + ", ".join(map(value, item)) + "]" if isinstance(item, list) else json.dumps(item)

        odd = f"misbehave = {value(misbehave)}\n" if misbehave else ""
        turns = [f"[[it.turn]]\nconversation = {n}\nrequests = {value(requests)}\n{odd}" for n in (1, 1, 2)]
        self.scenario.write_text("".join(turns))

    def wait(self, **waits: float) -> None:
        """Say how long the turns to come wait, in seconds."""
        bench = self.kiro.bench
        settings = replace(bench.settings, waits=replace(bench.settings.waits, **waits))
        self.kiro = Kiro(replace(bench, settings=settings), lambda: self.owner)

    def run(self, cut: Cut, **options: Any) -> Turn:
        self.sandbox.cut = cut
        return self.kiro.run("Work.", check=False, **options)

    def close(self) -> None:
        self.owner.end()
        self.sandbox.close()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = Bench(tmp_path)
    yield made
    made.close()


@pytest.fixture
def scriptless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """The same where no program makes a log of a terminal."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = Bench(tmp_path, env=without_script(tmp_path / "bin"))
    yield made
    made.close()


def is_completed(turn: Turn) -> None:
    assert (turn.status, turn.cause, turn.proof, turn.exit_code) == ("completed", None, "session", 0), turn.detail
    assert turn.messages == ("First.", "Second.")
    assert turn.changes.added == {"a.txt"}
    assert [call.name for call in turn.tool_calls] == ["write"]


# -- completed


@pytest.mark.parametrize("wanted", [b"\nready-", b"Fir", b"First.", b"[tool", b"Second."])
def test_a_turn_is_completed_from_the_log(bench: Bench, wanted: bytes) -> None:
    bench.script(CALLS)
    turn = bench.run(after(wanted))
    is_completed(turn)
    assert turn.output.startswith("First.\n")
    assert turn.output.endswith("Second.\n")
    assert not turn.truncated
    assert len(turn.warnings) == 1
    assert turn.warnings[0].endswith("bytes of output; the rest came from the log in the sandbox")
    bench.sandbox.cut = lambda data: None
    again = bench.kiro.conversation().run("Work.")  # the same again, with a link that holds
    assert (again.output, again.warnings) == (turn.output, ())


def test_only_the_status_was_lost(bench: Bench) -> None:
    bench.script(CALLS)
    bench.sandbox.at_end = True
    is_completed(bench.run(lambda data: None))


def test_a_conversation_goes_on_after_a_lost_link(bench: Bench) -> None:
    bench.script([["The word is norway."]])
    assert bench.run(after(b"The word")).ok
    bench.script([["{recall:word is (\\w+)|unknown}"]])
    assert bench.run(lambda data: None).text == "norway"


def test_streaming_goes_on(bench: Bench) -> None:
    bench.script(CALLS)
    bench.sandbox.cut = after(b"Fir")
    with bench.kiro.stream("Work.") as watched:
        chunks = list(watched)
    assert "".join(chunks) == watched.turn.output
    assert len(chunks) > 1
    is_completed(watched.turn)


def test_without_a_log_the_values_are_known_and_the_output_is_cut(scriptless: Bench) -> None:
    scriptless.script(CALLS)
    turn = scriptless.run(after(b"First."))
    is_completed(turn)
    assert turn.output == "First."
    assert turn.truncated
    assert "no log of the rest is in the sandbox" in turn.warnings[0]


def test_a_sandbox_that_answers_only_at_the_end_tells_what_it_can(bench: Bench) -> None:
    """Whoever is asked in vain for a while, gives the turn up; what it left is still looked for."""
    bench.script(CALLS)

    def fail(command: str) -> None:
        if "='tell " in command:
            # By the time that we give up, it has long ended.
            wait_until(lambda: list(Path(bench.sandbox.home).glob(".local/state/*/status")))
            raise SandboxError("no route to host")

    bench.sandbox.on_exec = fail
    turn = bench.run(after(b"First."))
    is_completed(turn)
    assert turn.truncated
    assert "may be missing" in turn.warnings[0] or "no log" in turn.warnings[0]


# -- ended otherwise


@pytest.mark.parametrize(
    ("misbehave", "expected"),
    [
        ({"mcp": True}, ("failed", Cause.MCP, 3)),
        ({"exit": 7}, ("failed", Cause.CRASH, 7)),
        ({"throttled": True}, ("failed", Cause.THROTTLED, 0)),
        ({"crash": "after"}, ("failed", Cause.CRASH, 139)),
        ({"no_session": True}, ("failed", Cause.UNKNOWN_CLI, 0)),
    ],
    ids=str,
)
@pytest.mark.parametrize("more", [0, 3])
def test_a_failed_turn_fails_as_with_a_link(bench: Bench, misbehave: dict[str, Any], expected: Any, more: int) -> None:
    bench.script([["Hello."]], misbehave)
    turn = bench.run(after(b"ready-", 148 + more))
    assert (turn.status, turn.cause, turn.exit_code) == expected
    assert turn.cause.infrastructure


@pytest.mark.parametrize("misbehave", [{"silent": True}, {"ignores_signals": True}], ids=str)
def test_the_time_goes_on_counting_and_ends_the_tree(bench: Bench, misbehave: dict[str, Any]) -> None:
    bench.wait(grace=0.3)
    bench.script([["Hello."]], misbehave)
    turn = bench.run(after(b"ready-", 148), timeout=1.0)
    assert (turn.status, turn.cause) == ("timed_out", Cause.OUT_OF_TIME)
    assert not turn.changes
    assert_nothing_runs(bench)


def assert_nothing_runs(bench: Bench) -> None:
    home = bench.sandbox.home.encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            argv = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        assert not (home in argv and b"chat" in argv and is_alive(int(entry.name))), argv


def test_a_stopped_turn_is_stopped(bench: Bench) -> None:
    bench.script([["First.", {"name": "shell", "args": {"command": "sleep 600; echo b >b.txt"}}], ["Second."]])
    bench.sandbox.cut = after(b"Fir")
    with bench.kiro.stream("Work.") as watched:
        for _ in watched:
            if "First" in watched.output:
                watched.interrupt()
    assert watched.turn.status == "stopped"
    assert not watched.turn.changes


# -- lost


def test_a_sandbox_that_is_gone_is_a_lost_turn(bench: Bench) -> None:
    bench.wait(link_attempts=3)
    bench.script([["Hello."]], {"silent": True})
    bench.sandbox.on_exec = lambda command: bench.sandbox.destroy() if "='tell " in command else None
    bench.sandbox.cut = after(b"ready-", 148)
    with pytest.raises(TurnFailed, match=r"(?s)lost \(connection: infrastructure\).*run it again; look") as e:
        bench.kiro.run("Work.")
    turn = e.value.turn
    assert (turn.status, turn.cause, turn.exit_code, turn.proof) == ("lost", Cause.CONNECTION, None, None)
    assert "asked 3 times" in turn.detail
    with pytest.raises(SandboxError, match="is not known"):
        _ = turn.changes


def test_a_network_that_is_gone_while_the_time_runs_out_is_no_fault_of_the_agent(
    bench: Bench,
) -> None:
    bench.wait(grace=0.1, link_attempts=1_000_000)
    bench.script([["Hello."]], {"silent": True})

    def fail(command: str) -> None:
        bench.sandbox.deaf = True

    bench.sandbox.on_exec = fail
    turn = bench.run(after(b"ready-", 148), timeout=1)
    assert (turn.status, turn.cause) == ("lost", Cause.CONNECTION)
    assert turn.cause.infrastructure


def test_a_network_that_comes_back_when_the_time_is_over_does_not_tell_who_took_it(
    bench: Bench,
) -> None:
    bench.wait(grace=0.1, link_attempts=1_000_000)
    bench.script([["Hello."]], {"silent": True})

    def fail(command: str) -> None:
        if "='tell " in command or "=interrupt" in command:
            raise SandboxError("no route to host")

    bench.sandbox.on_exec = fail
    turn = bench.run(after(b"ready-", 148), timeout=1)
    assert (turn.status, turn.cause) == ("lost", Cause.CONNECTION)
    assert not turn.changes  # which are known


def test_a_network_that_goes_when_the_time_is_over_is_told_with_the_time(bench: Bench) -> None:
    bench.wait(grace=0.1)
    bench.script([["Hello."]], {"ignores_signals": True})

    def fail(command: str) -> None:
        if "survey_folder" in command:
            raise SandboxError("no route to host")

    bench.sandbox.on_exec = fail
    turn = bench.run(after(b"ready-", 148), timeout=1)
    assert (turn.status, turn.cause) == ("lost", Cause.CONNECTION)
    assert turn.detail == ("what it left could not be read: no route to host; before that: its time of 1 s was over")


def test_a_program_that_was_killed_with_its_link_is_lost(bench: Bench) -> None:
    kill = {"name": "shell", "args": {"command": 'kill -9 $(cat "${KIRO_MOCK_CHAT_RESPONSE%/*}/pid")'}}
    bench.script([["Hello.", kill], ["Never."]])
    turn = bench.run(after(b"Hello."))
    assert (turn.status, turn.cause) == ("lost", Cause.CONNECTION)


def test_an_end_that_cannot_be_brought_about_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.script([["Hello."]], {"ignores_signals": True})
    bench.wait(grace=0.1)

    def fail(command: str) -> None:
        if "=end\n" in command:
            raise SandboxError("no route to host")

    bench.sandbox.on_exec = fail
    monkeypatch.setattr("links.LossyPty.close", lambda self: (_ for _ in ()).throw(SandboxError("bad gateway")))
    turn = bench.run(lambda data: None, timeout=0.3)
    monkeypatch.undo()
    bench.sandbox.on_exec = lambda command: None
    bench.sandbox.links[0].close()
    assert (turn.status, turn.cause) == ("lost", Cause.CONNECTION)
    assert turn.detail == "the program could not be ended: bad gateway"
    bench.script([["Hello."]])
    assert bench.kiro.conversation().run("Work.").ok  # nothing hangs in the air


def test_lost_before_it_began_and_begun_all_the_same(bench: Bench) -> None:
    bench.script(CALLS)
    is_completed(bench.run(lambda data: 0))


def test_lost_before_it_began_and_never_begun(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("links.LossyPty.write", lambda self, data: None)  # the line is not typed
    bench.wait(launch=0.2)
    turn = bench.run(lambda data: 0)
    assert (turn.status, turn.cause) == ("lost", Cause.CONNECTION)
    assert "lost before the program began" in turn.detail


# -- round trips


def test_a_turn_needs_three_requests_before_and_one_after(bench: Bench) -> None:
    bench.script(CALLS)
    turn = bench.run(lambda data: None)
    is_completed(turn)
    assert sorted(bench.sandbox.calls[:2]) == ["open_pty", "write_files"], "at once, over a network"
    assert bench.sandbox.calls[2:] == ["write", "exec", "close"]
    assert bench.sandbox.kept_alive == [turn.conversation.kiro.settings.timeout]
    bench.sandbox.calls.clear()
    assert turn.conversation.run("Work.").ok
    assert bench.sandbox.calls[2:] == ["write", "exec", "close"]
    assert bench.sandbox.exec("ls -A ~/.local/state").output == "", "the same request removes our files"


def test_an_outcome_that_is_too_large_for_an_answer_is_read_as_a_file(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "_INLINE", 10)
    bench.script(CALLS)
    is_completed(bench.run(lambda data: None))
    assert bench.sandbox.calls[2:] == ["write", "exec", "read_file", "close"]


def test_a_killed_turn_needs_two_more(bench: Bench) -> None:
    bench.wait(grace=0.1)
    bench.script([["Hello."]], {"ignores_signals": True})
    with bench.kiro.stream("Work.") as watched:
        for _ in watched:
            watched.interrupt()  # it has begun, and hears nothing
    interrupt, terminate, kill = "write", "exec", ["exec", "close"]
    assert bench.sandbox.calls[3:] == [interrupt, terminate, *kill, "exec"]


@pytest.mark.parametrize(
    "use",
    [
        lambda workspace: workspace.exec("pwd").check(),
        lambda workspace: (workspace / "x").exists(),
        lambda workspace: workspace.contents(),
        lambda workspace: workspace.sandbox.list_files(workspace.path),
        lambda workspace: list((workspace / ".").iterdir()),
        lambda workspace: workspace.seed({"a/b": "x"}),
    ],
    ids=["exec", "path", "contents", "list", "iterdir", "seed"],
)
def test_whoever_uses_a_workspace_first_makes_it(bench: Bench, use: Any) -> None:
    workspace = bench.kiro.workspace
    assert bench.sandbox.calls == []
    assert not Path(workspace._path).exists()
    use(workspace)
    assert Path(workspace._path).is_dir()
    assert workspace.made
    assert bench.kiro.run("Work.").workspace is workspace


def test_a_workspace_that_was_taken_away_is_not_made_again(bench: Bench) -> None:
    workspace = bench.kiro.run("Work.").workspace
    bench.sandbox.remove(workspace._path)
    with pytest.raises(LaunchError, match=r"(?s)terminal ended first.*is no folder of ours any more"):
        bench.kiro.run("Work.")
    assert not Path(workspace.path).exists()


def test_what_never_began_frees_its_budget(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the next one would be refused, as if the first were in flight for ever."""
    budget = Budget(1.0, tmp_path / "budget")
    bench.kiro = Kiro(replace(bench.kiro.bench, budget=budget), lambda: bench.owner)
    with monkeypatch.context() as broken:
        broken.setattr(bench.sandbox, "keep_alive", lambda seconds: (_ for _ in ()).throw(SandboxError("gone")))
        with pytest.raises(SandboxError, match="gone"):
            bench.kiro.run("Work.")
    assert bench.kiro.run("Work.").ok
    budget.remove()
