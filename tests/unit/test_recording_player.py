"""What a recording answers: turns, files and values of it, and an error where it does not fit."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from recordings import MADE, SOURCE, TURN, recorded

from pytest_kiro import Cause, Changes, Identity, Kiro, KiroError, NotPrinted, SettingsError, Turn
from pytest_kiro.agent.bench import Bench, Conversing, Owner
from pytest_kiro.agent.flying import Flying
from pytest_kiro.agent.request import Request
from pytest_kiro.agent.stop import on_text
from pytest_kiro.errors import RecordingMiss
from pytest_kiro.kirocli.install import Installation
from pytest_kiro.recording.manifest import entry
from pytest_kiro.recording.places import content_name
from pytest_kiro.recording.player import Player
from pytest_kiro.recording.present import listed, present
from pytest_kiro.recording.values import RecordedFile, RecordedTurn, Recording, TurnKey
from pytest_kiro.sandbox.local import LocalProvider
from pytest_kiro.sandbox.protocol import Sandbox, SandboxSpec
from pytest_kiro.settings import table

PROMPT = TURN.prompt
#: A prompt that is not recorded, the reason of a miss, and what is to be done.
AGAIN = r"record it: pytest 'test_shop.py::test_shop\[a\]' --kiro-record=all"


class Recordings:
    """Kiro without pytest around it, answered by turns from memory."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox, self.folder = sandbox, folder
        settings = table.read(option={"replies": "recording"}.get, environ={}, ini=lambda _: None)
        self.bench = Bench.set_up(
            sandbox, Installation("kiro-cli", "2.29.0", scripted=True), Identity("unknown"), settings
        )
        self.owners: list[Owner] = []

    def recording(self, owner: Owner) -> Recording | None:
        return self.known

    def kiro(self, *turns: RecordedTurn, beyond: Any = None, strict: bool = True, **values: Any) -> Kiro:
        """Return Kiro for a test with these turns; with none, nothing is recorded."""
        marker, others, owned = (
            values.pop(name, default) for name, default in (("marker", {}), ("others", []), ("owned", {}))
        )
        contents = {content_name(SOURCE, "a.py"): SOURCE, **values.pop("contents", {})}
        known = {"made": MADE, "turns": {turn.key: turn for turn in turns}, "contents": contents, **values}
        self.known = Recording(**known) if turns else None
        self.player = Player(self, others=lambda _: others, beyond=beyond, strict=strict)
        file = self.folder / "test_shop.py"
        owner = Owner("test_shop.py::test_shop[a]", ("test_shop",), file, marker=lambda: marker, **owned)
        self.owners.append(owner)
        return Kiro(replace(self.bench, fly=self.player.fly), lambda: owner)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    provider = LocalProvider(table.read(option=lambda _: None, environ={}, ini=lambda _: None))
    yield provider.create(SandboxSpec())
    provider.close()


@pytest.fixture
def recordings(sandbox: Sandbox, tmp_path: Path) -> Iterator[Recordings]:
    made = Recordings(sandbox, tmp_path)
    yield made
    for owner in made.owners:
        owner.end()


def first(**changes: Any) -> RecordedTurn:
    return recorded(**{"before": {}, **changes})


# -- what is replayed


def test_a_turn_is_as_it_was_recorded(recordings: Recordings) -> None:
    kiro = recordings.kiro(first())
    turn = kiro.run(PROMPT)
    assert turn.ok
    assert turn.provenance.recorded == MADE.day
    assert (turn.output, turn.raw) == ("I write it.\nDöne\n", "I write it.\r\nDöne\n".encode())
    assert turn.text == f"Done:\nsee {kiro.workspace.path}/a.py"
    assert turn.files_written == {"a.py"}
    assert turn.credits == 0.25
    assert turn.conversation.turns == [turn]
    assert turn.changes == kiro.workspace.changes() == Changes(added=frozenset({"a.py"}))
    assert (kiro.workspace / "a.py").read_bytes() == SOURCE
    assert kiro.workspace.exec("python3 a.py").output == "hello\n"
    assert "+print('hello')" in kiro.workspace.diff()


def test_later_turns_change_and_delete_and_the_ledger_adds_up(recordings: Recordings) -> None:
    name = content_name(b"new\n", "b")
    second = recorded(
        number=2,
        before={"a.py": entry("file", digest=content_name(SOURCE, "").partition("-")[0]), "seed.txt": _file(b"old\n")},
        turn=replace(
            TURN,
            number=2,
            known_changes=Changes(frozenset({"d/link", "empty/"}), frozenset({"seed.txt"}), frozenset({"a.py"})),
        ),
        files=(
            RecordedFile(path="a.py", kind="deleted"),
            RecordedFile(path="d/link", kind="link", content="../seed.txt"),
            RecordedFile(path="empty", kind="folder", mode=0o755),
            RecordedFile(path="seed.txt", kind="file", mode=0o4755, content=name),
        ),
    )
    kiro = recordings.kiro(first(before={"seed.txt": _file(b"old\n")}), second, contents={name: b"new\n"})
    kiro.workspace.seed({"seed.txt": "old\n"})
    kiro.run(PROMPT)
    kiro.run(PROMPT)
    folder = Path(kiro.workspace.path)
    assert sorted(path.name for path in folder.iterdir()) == ["d", "empty", "seed.txt"]
    assert (folder / "d/link").readlink() == Path("../seed.txt")
    assert stat.S_IMODE((folder / "seed.txt").stat().st_mode) == 0o755, "no bit that gives rights"
    assert kiro.workspace.changes() == Changes(frozenset({"d/link", "empty/"}), frozenset({"seed.txt"}))
    assert "-old\n+new\n" in kiro.workspace.diff()


def _file(data: bytes) -> str:
    return entry("file", digest=content_name(data, "").partition("-")[0])


def test_a_file_of_home_is_left_there(recordings: Recordings) -> None:
    outside = (RecordedFile(path=".config/tool", kind="file", mode=0o600, content=content_name(SOURCE, "a.py")),)
    kiro = recordings.kiro(first(outside=outside))
    kiro.run(PROMPT)
    assert (kiro.workspace.home / ".config/tool").read_bytes() == SOURCE


def test_chunks_come_as_they_were(recordings: Recordings) -> None:
    kiro = recordings.kiro(first())
    with kiro.stream(PROMPT) as live:
        assert live.expect("wr(i)te")[1] == "i"
        assert live.first_output_after == TURN.first_output_after
        assert list(live) == ["Döne\n"]
        assert live.exit_code == 0
    with pytest.raises(NotPrinted, match="before its turn ended"), recordings.kiro(first()).stream(PROMPT) as live:
        live.expect("never", timeout=600)


def test_an_event_stream_is_read_as_one(recordings: Recordings) -> None:
    lines = b'{"kind":"text","text":"Hello"}\n'
    turn = first(chunks=((0.1, lines),))
    asked = replace(turn.asked, output="stream-json")
    kiro = recordings.kiro(replace(turn, asked=asked))
    with pytest.raises(RecordingMiss, match="has output text, and was recorded with output stream-json"):
        kiro.run(PROMPT)


def test_what_is_left_out_and_edited_is_a_warning(recordings: Recordings) -> None:
    files = (RecordedFile(path=".env", kind="file", content=content_name(SOURCE, "a.py"), redacted=True),)
    kiro = recordings.kiro(first(left_out=("big.bin: 9000000 bytes",), files=files), edits={"1.1.json"})
    warnings = kiro.run(PROMPT).warnings
    assert warnings == (
        "its recording has left out big.bin: 9000000 bytes",
        ".env had a secret in it, which is not recorded",
        "its recording was edited after it was made: 1.1.json",
    )


def test_a_failed_turn_is_replayed_as_one(recordings: Recordings) -> None:
    failed = replace(TURN, status="timed_out", cause=Cause.OUT_OF_TIME, exit_code=None, known_changes=None)
    turn = recordings.kiro(first(turn=failed)).run(PROMPT, check=False)
    assert (turn.status, turn.cause, turn.exit_code) == ("timed_out", Cause.OUT_OF_TIME, None)
    with pytest.raises(KiroError, match="not known"):
        turn.workspace.changes()


def test_a_prompt_that_varies_has_a_name(recordings: Recordings) -> None:
    turn = first()
    named = replace(turn, asked=replace(turn.asked, recorded_as="today"))
    assert recordings.kiro(named).run("It is the 30th.", recorded_as="today").ok
    with pytest.raises(RecordingMiss, match="asked for by recorded_as='now', and was recorded as 'today'"):
        recordings.kiro(named).run(PROMPT, recorded_as="now")


# -- stopping


def test_a_turn_that_was_stopped_so_ends_where_it_did(recordings: Recordings) -> None:
    detail = "on_text('write') stopped it at byte 13 of its output, after 0.4 s"
    turn = first(turn=replace(TURN, status="stopped", cause=Cause.STOPPED, detail=detail, proof=None))
    said = recordings.kiro(turn).run(PROMPT, stop_when=on_text("write"))
    assert (said.status, said.detail) == ("stopped", detail)
    assert said.output.endswith("Döne\n"), "what came after Ctrl-C as well"
    assert recordings.kiro(turn).run(PROMPT).status == "stopped", "it ends where it ended"


@pytest.mark.parametrize("word", ["write", "Döne"])
def test_a_turn_that_was_not_stopped_cannot_be(recordings: Recordings, word: str) -> None:
    with pytest.raises(RecordingMiss, match=r"is stopped \(on_text\(.*recorded as completed: nobody knows"):
        recordings.kiro(first()).run(PROMPT, stop_when=on_text(word))


def test_leaving_a_stream_early_is_stopping(recordings: Recordings) -> None:
    kiro = recordings.kiro(first())
    with pytest.raises(RecordingMiss, match=r"the test stopped it"), kiro.stream(PROMPT) as live:
        live.expect("write")
    detail = "the test stopped it"
    stopped = first(turn=replace(TURN, status="stopped", cause=Cause.STOPPED, detail=detail))
    with recordings.kiro(stopped).stream(PROMPT) as live:
        live.expect("write")
    assert live.turn.status == "stopped"


def test_a_stop_that_comes_earlier_than_recorded_is_a_miss(recordings: Recordings) -> None:
    stopped = replace(TURN, status="stopped", cause=Cause.STOPPED, detail="the test stopped it")
    chunks = tuple((float(time), b"%d\n" % time) for time in range(5))
    recorded = first(turn=stopped, chunks=chunks, stopped_after=2.0)
    with (
        pytest.raises(RecordingMiss, match=r"recorded as stopped \(the test stopped it\) after more output"),
        recordings.kiro(recorded).stream(PROMPT) as live,
    ):
        live.expect("1")
    with recordings.kiro(recorded).stream(PROMPT) as live:
        live.expect("2")
    assert live.turn.output.endswith("4\n"), "what was printed until its end, was recorded"


def test_lenient_an_early_stop_lands(recordings: Recordings) -> None:
    turn = recordings.kiro(first(before={"x": "folder"}), strict=False).run("Otherwise.", stop_when=on_text("write"))
    assert turn.status == "stopped"
    assert "on_text" in turn.detail


# -- misses


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "other"}, "has model other, and was recorded with model none"),
        ({"agent": "reviewer"}, "has agent reviewer, and was recorded with agent none"),
        ({"effort": "high"}, "has effort high, and was recorded with effort none"),
        ({"trust": "none"}, "has trust none, and was recorded with trust all"),
        ({"memory": True}, "has memory True, and was recorded with memory False"),
    ],
)
def test_a_turn_that_is_run_otherwise_is_a_miss(recordings: Recordings, options: Any, words: str) -> None:
    with pytest.raises(RecordingMiss, match=f"{words}; {AGAIN}"):
        recordings.kiro(first()).run(PROMPT, **options)


def test_another_engine_is_a_miss(recordings: Recordings) -> None:
    turn = first()
    turn = replace(turn, asked=replace(turn.asked, engine="v3"))
    with pytest.raises(RecordingMiss, match="has engine v2, and was recorded with engine v3"):
        recordings.kiro(turn).run(PROMPT)
    settings = replace(recordings.bench.settings, engine="auto")
    recordings.bench = replace(recordings.bench, settings=settings)
    assert recordings.kiro(turn).run(PROMPT).ok


def test_another_prompt_is_a_miss_that_shows_the_difference(recordings: Recordings) -> None:
    with pytest.raises(RecordingMiss, match=r"(?s)another prompt.*- Write a\.py\n.*\+ Write b\.py\n.*recorded_as='…'"):
        recordings.kiro(first()).run("Write b.py\nand run it.")


def test_another_order_is_a_miss(recordings: Recordings) -> None:
    second = recorded(number=2)
    second = replace(second, asked=replace(second.asked, prompt="Second."))
    with pytest.raises(RecordingMiss, match=r"asked what turn 2 of conversation 1 was .*: the order of the turns"):
        recordings.kiro(first(), second).run("Second.")


def test_another_workspace_is_a_miss_that_names_files(recordings: Recordings) -> None:
    before = {"seed.txt": _file(b"old\n"), "gone.txt": _file(b"gone\n")}
    kiro = recordings.kiro(first(before=before))
    kiro.workspace.seed({"seed.txt": "new\n", "more.txt": "more\n", "node_modules/x": "ignored"})
    with pytest.raises(
        RecordingMiss,
        match=r"only now: more\.txt; only when it was recorded: gone\.txt; with another content: seed\.txt\n",
    ):
        kiro.run(PROMPT)
    assert "a.py" not in kiro.workspace.contents(), "nothing was written"


def test_a_file_without_its_secret_differs_and_does_not_count(recordings: Recordings) -> None:
    files = (RecordedFile(path=".env", kind="file", mode=0o644, content=content_name(SOURCE, "a.py"), redacted=True),)
    earlier = first(files=files, left_out=("big.bin: too large",))
    second = recorded(number=2, before={".env": _file(b"a secret"), "big.bin": _file(b"big")}, files=())
    kiro = recordings.kiro(earlier, second)
    kiro.run(PROMPT)
    assert kiro.run(PROMPT).ok


def test_more_turns_and_conversations_than_recorded_are_a_miss(recordings: Recordings) -> None:
    kiro = recordings.kiro(first(), whole=False, folder=Path("recordings/x"))
    kiro.run(PROMPT)
    with pytest.raises(RecordingMiss, match=r"turn 2 of its conversation 1 is not recorded: 1 turn .*broke off"):
        kiro.run(PROMPT)
    with pytest.raises(RecordingMiss, match="turn 1 of its conversation 2 is not recorded: no such conversation"):
        kiro.conversation().run(PROMPT)


def test_a_test_that_was_renamed_is_told(recordings: Recordings) -> None:
    other = Recording(
        made=replace(MADE, owner="test_store"), turns={(1, 1): first()}, folder=Path("r/test_store/trial-1")
    )
    with pytest.raises(RecordingMiss, match=r"the recording of test_store is like it \(r/test_store/trial-1\)"):
        recordings.kiro(others=[other]).run(PROMPT)
    with pytest.raises(RecordingMiss, match=rf"there is no recording of it; {AGAIN}"):
        recordings.kiro().run(PROMPT)


def test_more_trials_than_recorded_are_a_miss(recordings: Recordings) -> None:
    others = [Recording(made=replace(MADE, trial=number), turns={}) for number in (1, 2)]
    with pytest.raises(RecordingMiss, match="2 trials are recorded, and this is trial 3"):
        recordings.kiro(others=others, owned={"trial": 3}).run(PROMPT)
    with pytest.raises(RecordingMiss, match="there is no recording of it with haiku, only with none"):
        recordings.kiro(others=others, owned={"variant": "haiku"}).run(PROMPT)


def test_a_version_that_was_bumped_is_a_miss(recordings: Recordings) -> None:
    with pytest.raises(RecordingMiss, match=r"mark.kiro says version='2', and .* was recorded with no version"):
        recordings.kiro(first(), marker={"version": 2}).run(PROMPT)
    assert recordings.kiro(first(), made=replace(MADE, version="2"), marker={"version": 2}).run(PROMPT).ok
    with pytest.raises(SettingsError, match=r"version=1\.5 is not right; wanted: a text, or a whole number"):
        recordings.kiro(first(), marker={"version": 1.5}).run(PROMPT)


def test_a_terminal_is_a_miss(recordings: Recordings) -> None:
    with pytest.raises(RecordingMiss, match="what is typed there is not recorded"):
        recordings.kiro(first()).terminal("chat")


def test_any_sandbox_tells_what_a_workspace_has(recordings: Recordings) -> None:
    workspace = recordings.kiro().workspace
    workspace.seed({"a.txt": "a", "sub/ü b.txt": "b", "node_modules/x": "ignored", ".git/config": "ignored"})
    command = "cp a.txt run; chmod 755 run; mkdir -p empty .hidden/deep; ln -s ../a.txt sub/link; mkfifo pipe"
    workspace.exec(f"{command}; head -c 9000000 /dev/zero > big.bin; rm -f .git/x").check()
    known = present(workspace)
    assert known == listed(recordings.sandbox, workspace.path, workspace.ignore)
    assert {path: what.partition(" ")[0] for path, what in known.items()} == {
        "a.txt": "file",
        "sub/ü b.txt": "file",
        "run": "exec",
        "empty": "folder",
        ".hidden/deep": "folder",
        "sub/link": "link",
        "pipe": "other",
        "big.bin": "file",
    }
    assert (known["sub/link"], known["big.bin"]) == ("link ../a.txt", "file ~9000000")


def test_any_name_is_told_by_any_sandbox(recordings: Recordings) -> None:
    workspace = recordings.kiro().workspace
    workspace.seed({"a\nb": "a", "tab\there": "b", "no \udcff\\text": "c", " -x ": "d"})
    workspace.exec("ln -s \"$(printf 'to\\there\\377')\" link").check()
    known = present(workspace)
    assert known == listed(recordings.sandbox, workspace.path, workspace.ignore)
    assert set(known) == {"a\nb", "tab\there", "no \udcff\\text", " -x ", "link"}
    assert known["link"] == "link to\there\udcff"


def test_a_file_of_which_a_turn_knew_the_size_only_counts_by_it(recordings: Recordings) -> None:
    kiro = recordings.kiro(first(before={"a\nb": "file ~3", "many/c": "exec ~2"}))
    kiro.workspace.seed({"a\nb": "abc", "many/c": "cc"})
    kiro.workspace.exec("chmod +x many/c").check()
    workspace, sized = kiro.workspace, {"a\nb", "many/c", "gone"}
    assert present(workspace, {"a\nb": "file ~9", "many/c": "exec ~9"}) == listed(
        recordings.sandbox, workspace.path, workspace.ignore, sized
    )
    assert kiro.run(PROMPT).ok


def test_a_file_of_another_size_is_a_miss(recordings: Recordings) -> None:
    kiro = recordings.kiro(first(before={"many/c": "file ~2"}))
    kiro.workspace.seed({"many/c": "ccc"})
    with pytest.raises(RecordingMiss, match="with another content: many/c"):
        kiro.run(PROMPT)


# -- what nobody should be able to do


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("../out", "leads out of the workspace"),
        ("/etc/x", "leads out of the workspace"),
        ("a/../../x", "leads out of the workspace"),
        ("a//x", "leads out of the workspace"),
        ("a\0", "leads out of the workspace"),
        ("link/x", "leads through link, which is no folder"),
    ],
)
@pytest.mark.parametrize("kind", ["file", "deleted"])
def test_a_path_that_leads_out_is_refused(recordings: Recordings, path: str, why: str, kind: Any) -> None:
    content = content_name(SOURCE, "a.py")
    files = (
        RecordedFile(path="link", kind="link", content="/tmp"),
        RecordedFile(path=path, kind=kind, content=content),
    )
    kiro = recordings.kiro(first(files=files))
    with pytest.raises(RecordingMiss, match=why):
        kiro.run(PROMPT)
    assert not kiro.workspace.contents()
    with pytest.raises(RecordingMiss, match=why):
        recordings.kiro(first(files=(), outside=files)).run(PROMPT)


def test_nothing_is_deleted_through_a_link_of_the_test(recordings: Recordings, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    kiro = recordings.kiro(first(before=None, files=(RecordedFile(path="node_modules/precious", kind="deleted"),)))
    kiro.workspace.exec(f"ln -s {tmp_path} node_modules").check()
    with pytest.raises(KiroError, match="node_modules/precious leads through a link"):
        kiro.run(PROMPT)
    assert (tmp_path / "precious").exists()


def test_a_name_that_no_file_system_holds_is_an_error_of_ours(recordings: Recordings) -> None:
    files = (RecordedFile(path="x" * 300, kind="file", content=content_name(SOURCE, "a.py")),)
    with pytest.raises(KiroError, match="cannot be put into this file system"):
        recordings.kiro(first(files=files)).run(PROMPT)


# -- missing


def test_what_is_not_recorded_is_run_from_its_first_turn_on(recordings: Recordings) -> None:
    run: list[TurnKey] = []

    def beyond(bench: Bench, conversation: Conversing, request: Request) -> Flying:
        run.append((conversation.owner.conversations.index(conversation) + 1, len(conversation.turns) + 1))
        raise KeyError("asked")  # who has no Kiro

    kiro = recordings.kiro(first(), beyond=beyond)
    assert kiro.run(PROMPT).ok
    assert not run
    with pytest.raises(RecordingMiss, match="turn 2 of its conversation 1 is not recorded"):
        kiro.run(PROMPT)
    other = kiro.conversation()
    for _ in range(2):
        with pytest.raises(KeyError):
            other.run(PROMPT)
    assert run == [(2, 1), (2, 1)]
    assert recordings.player.has_run(other.owner)
    broken_off = recordings.kiro(first(), beyond=beyond, whole=False)
    with pytest.raises(KeyError):
        broken_off.run(PROMPT)


def test_a_turn_is_a_value_of_its_own(recordings: Recordings) -> None:
    turn = recordings.kiro(first()).run(PROMPT)
    assert Turn.from_json(turn.to_json()) == turn
