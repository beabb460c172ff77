"""Turns of the stand-in that are recorded: what is kept of them, what is left out, what is never written."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_kiro import Identity, Kiro, KiroError, SandboxError, Turn
from pytest_kiro.agent.bench import Bench, Owner
from pytest_kiro.agent.launching import launch_for
from pytest_kiro.agent.printed import Printed
from pytest_kiro.agent.request import Request, Resume, RunOptions
from pytest_kiro.kirocli import commands
from pytest_kiro.kirocli.install import install
from pytest_kiro.recording import manifest
from pytest_kiro.recording.leavings import OF_A_FILE, OF_A_TURN, Leavings, Left, fetch, left_by
from pytest_kiro.recording.paths import SandboxPaths
from pytest_kiro.recording.places import Places
from pytest_kiro.recording.recorder import Recorder
from pytest_kiro.recording.store import Store
from pytest_kiro.recording.taken import Taken
from pytest_kiro.recording.values import RecordedFile, RecordedTurn, Recording
from pytest_kiro.sandbox.bounds import LONGEST_PATH
from pytest_kiro.sandbox.local import LocalProvider
from pytest_kiro.sandbox.protocol import SandboxBase, SandboxSpec
from pytest_kiro.secrecy.chunks import without_secrets
from pytest_kiro.secrecy.redaction import Secrets
from pytest_kiro.settings import table as settings
from pytest_kiro.terminal import follow
from pytest_kiro.terminal.record import LaunchRecord
from pytest_kiro.turn.ignore import Ignore
from pytest_kiro.turn.listing import Listing

KEY = "sk-4f9a8b7c6d5e"
PLACES = Places("recordings")


class Recorded:
    """Kiro without pytest around it, in a local sandbox, answered by the stand-in and recorded."""

    def __init__(self, folder: Path) -> None:
        chosen = settings.read(option=lambda _: None, environ={}, ini=lambda _: None)
        self.sandbox = LocalProvider(chosen).create(SandboxSpec())
        self.secrets = Secrets()
        self.secrets.add(KEY, "KIRO_TEST_KEY")
        cli = install(self.sandbox, "scripted", timeout=60)
        identity = Identity("scripted", env={commands.API_KEY: commands.PLACEHOLDER_KEY})
        bench = Bench.set_up(self.sandbox, cli, identity, chosen, secrets=self.secrets)
        self.recorder = Recorder(PLACES, anew=True)
        self.bench = replace(bench, observers=(self.recorder,), fly=self.recorder.fly)
        self.scenario = folder / chosen.scenarios / "test_it.toml"
        self.scenario.parent.mkdir(parents=True)
        self.folder, self.numbers = folder, itertools.count(1)

    def owner(self, *turns: Sequence[Any], **values: Any) -> tuple[Owner, Kiro]:
        """Begin a test whose turns get these model requests."""

        def value(item: Any) -> str:
            if isinstance(item, dict):
                return "{ " + ", ".join(f"{key} = {value(inner)}" for key, inner in item.items()) + " }"
            return "[" + ", ".join(map(value, item)) + "]" if isinstance(item, list) else json.dumps(item)

        name = f"it{next(self.numbers)}"
        tables = [f"[[{name}.turn]]\nrequests = {value(list(requests))}\n" for requests in turns]
        self.scenario.write_text("".join(tables))
        owner = Owner("test_it.py::it", (name,), self.folder / "test_it.py", **values)
        return owner, Kiro(self.bench, lambda: owner)

    def read(self, owner: Owner) -> Recording:
        recording = Store(PLACES).recording(owner)
        assert recording is not None
        return recording


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    made = Recorded(tmp_path_factory.mktemp("evals"))
    yield made
    made.sandbox.close()


def shell(command: str) -> dict[str, Any]:
    return {"name": "shell", "args": {"command": command}}


def files(group: tuple[RecordedFile, ...]) -> dict[str, RecordedFile]:
    return {file.path: file for file in group}


LEAVES = (
    "printf '\\0\\377\\r\\n' >binary; printf '#!/bin/sh\\n' >run.sh; chmod 755 run.sh; ln -s run.sh link;"
    " mkdir -m 700 empty;"
    " mkdir -p node_modules/x; echo 1 >node_modules/x/i.js; rm old.txt; rm -r olds; chmod 600 kept.txt; mkfifo pipe;"
    ' ln -s "$PWD/run.sh" absolute; echo note >"$HOME/note.txt"; mkdir "$HOME/.npm"; echo x >"$HOME/.npm/cache";'
    f" echo 'token={KEY[:6]}''{KEY[6:]}' >env; head -c {OF_A_FILE + 1} /dev/zero >large.bin"
)


def test_what_a_turn_left_is_kept(bench: Recorded) -> None:
    owner, kiro = bench.owner([["I work.", shell(LEAVES)], [f"It is in {{recall:x|the key {KEY}}}."]], [["Two."]])
    seed = {"old.txt": "old", "olds/a.txt": "a", "kept.txt": "kept", "same.txt": "same"}
    kiro.workspace.seed(seed)
    one = kiro.run("Work.")
    (kiro.workspace / "mine.txt").write_text("of the test")
    two = kiro.run("Go on.")
    bench.recorder.ended(owner, "passed")
    recording = bench.read(owner)
    first, second = recording.turns[1, 1], recording.turns[1, 2]

    left = files(first.files)
    assert {path: file.kind for path, file in left.items()} == {
        **dict.fromkeys(("binary", "run.sh", "kept.txt", "env", "node_modules/x/i.js"), "file"),
        **dict.fromkeys(("link", "absolute"), "link"),
        **dict.fromkeys(("old.txt", "olds", "olds/a.txt"), "deleted"),
        "empty": "folder",
    }
    assert recording.read(left["binary"].content) == b"\0\377\r\n"
    assert [left[path].mode for path in ("run.sh", "kept.txt", "empty")] == [0o755, 0o600, 0o700]
    assert [left[path].content for path in ("link", "absolute")] == ["run.sh", "⟨workspace⟩/run.sh"]
    assert recording.read(left["env"].content) == b"token=[KIRO_TEST_KEY]\n"
    assert [path for path, file in left.items() if file.redacted] == ["env"]
    assert [part.partition(": ")[0] for part in first.left_out] == ["large.bin", "pipe"]
    assert {path: recording.read(file.content) for path, file in files(first.outside).items()} == {
        "note.txt": b"note\n"
    }

    assert first.before is not None
    assert sorted(first.before) == sorted(seed)
    assert second.before is not None
    assert sorted(second.before) == sorted(
        {*left, *seed, "mine.txt", "large.bin", "pipe"} - {"old.txt", "olds", "olds/a.txt", "node_modules/x/i.js"}
    )
    assert (second.before["run.sh"][:5], second.before["empty"]) == ("exec ", "folder")
    assert second.before["absolute"] == "link ⟨workspace⟩/run.sh"
    assert second.before["large.bin"] == f"file ~{OF_A_FILE + 1}"
    assert second.files == ()
    assert (recording.whole, recording.outcome, recording.edited) == (True, "passed", False)
    _is_the_same(bench, kiro, first, one)
    _is_the_same(bench, kiro, second, two)
    assert KEY[:8].encode() not in b"".join(path.read_bytes() for path in bench.folder.rglob("recordings/**/*.*"))


def test_a_workspace_without_contents_is_known_as_well(bench: Recorded) -> None:
    """Where a turn changed nothing, also in HOME, the machine's list need not come back, unless it is recorded."""
    owner, kiro = bench.owner([["Hello."]], [["Hello."]])
    kiro.workspace.exec("mkdir empty && ln -s elsewhere link").check()
    kiro.run("Say hello.")
    kiro.run("Say hello.")
    bench.recorder.ended(owner, "passed")
    assert bench.read(owner).turns[1, 2].before == {"empty": "folder", "link": "link elsewhere"}


def test_all_digests_are_asked_for(bench: Recorded) -> None:
    _, kiro = bench.owner([["Hello."]])
    kiro.run("Say hello.")
    request = Request("Say hello.", RunOptions(1.0), Resume())
    assert kiro.workspace.ledger.since
    assert launch_for(request, bench.bench, kiro.workspace).since == kiro.workspace.ledger.since
    assert launch_for(request, bench.bench, kiro.workspace, lists_all=True).since == ""


def _is_the_same(bench: Recorded, kiro: Kiro, recorded: RecordedTurn, turn: Turn) -> None:
    """Whether the turn comes back from what is recorded."""
    paths = SandboxPaths(kiro.workspace.path, str(kiro.workspace.home))
    again = paths.put_turn(recorded)
    printed = Printed("v2", bench.secrets)
    for _, data in again.chunks:
        printed.feed(data)
    printed.feed(b"", final=True)
    assert replace(again.turn, raw=printed.data, output=printed.text) == turn
    assert again.asked.prompt == turn.prompt
    assert "⟨" not in repr(again)


def test_the_same_turn_is_recorded_alike(bench: Recorded) -> None:
    """But for times and names that are random."""

    def record() -> dict[str, Any]:
        owner, kiro = bench.owner([["I look.", shell('echo "$PWD $HOME"; echo hello >a.txt')], ["Done."]])
        kiro.run("Say where you are.")
        bench.recorder.ended(owner, "passed")
        turn = json.loads((PLACES.of(owner) / "1.1.json").read_text())
        owner.end()
        for varies in ("duration", "first_output_after", "session_id", "tool_calls"):
            del turn["turn"][varies]
        return turn

    assert record() == record()


def test_a_failed_turn_is_kept_and_the_world_s_failure_makes_it_less_than_whole(bench: Recorded) -> None:
    owner, kiro = bench.owner([["Hello."]])
    bench.scenario.write_text(f'[[{owner.tables[0]}.turn]]\nmisbehave = "throttled"\n')
    assert kiro.run("Say hello.", check=False).status == "failed"
    bench.recorder.ended(owner, "failed")
    recording = bench.read(owner)
    assert (len(recording.turns), recording.whole) == (1, False)


def test_a_turn_that_is_broken_off_is_not_kept(bench: Recorded) -> None:
    owner, kiro = bench.owner([["Hello."]], [["Bye."]])
    kiro.run("Say hello.")
    with pytest.raises(KeyboardInterrupt), kiro.stream("Say bye."):
        raise KeyboardInterrupt
    bench.recorder.ended(owner, "failed")
    recording = bench.read(owner)
    assert (list(recording.turns), recording.whole) == ([(1, 1)], False)


def test_an_attempt_that_is_run_again_is_not_kept(bench: Recorded) -> None:
    owner, _ = bench.owner([["Hello."]])
    name = owner.tables[0]
    again = f'[[{name}.turn]]\nretry = 1\nrequests = [["Hello."]]\n'
    bench.scenario.write_text(f'[[{name}.turn]]\nmisbehave = "throttled"\n\n{again}')
    patient = replace(bench.bench, settings=replace(bench.bench.settings, retries=1))
    assert Kiro(patient, lambda: owner).run("Say hello.").ok
    bench.recorder.ended(owner, "passed")
    recording = bench.read(owner)
    assert ([turn.turn.status for turn in recording.turns.values()], recording.whole) == (["completed"], True)


def test_events_are_kept_as_they_came_and_play_as_text(bench: Recorded) -> None:
    owner, _ = bench.owner([["I work.", shell('echo "$PWD"')], ["Done."]])
    streaming = replace(bench.bench, settings=replace(bench.bench.settings, output="stream-json"))
    kiro = Kiro(streaming, lambda: owner)
    turn = kiro.run("Work.")
    bench.recorder.ended(owner, "passed")
    recorded = bench.read(owner).turns[1, 1]
    raw = b"".join(data for _, data in SandboxPaths(kiro.workspace.path, "").put_chunks(recorded.chunks))
    assert (raw, recorded.asked.output) == (turn.raw, "stream-json")
    header, *lines = map(json.loads, (PLACES.of(owner) / "1.1.cast").read_text().splitlines())
    assert header["version"] == 2
    assert "".join(text for _, _, text in lines) == turn.output.replace("\n", "\r\n")


def test_a_recording_that_cannot_be_written_is_told_at_the_test_s_end(bench: Recorded, tmp_path: Path) -> None:
    owner, kiro = bench.owner([["Hello."]])
    owner.file = tmp_path / "test_it.py"
    (tmp_path / "scenarios").symlink_to(bench.scenario.parent)
    (tmp_path / "recordings").write_text("in the way")
    assert kiro.run("Say hello.").ok
    with pytest.raises(KiroError, match="could not be written"):
        bench.recorder.ended(owner, "passed")


# -- what of it costs no turn


@pytest.mark.parametrize("size", range(1, 12))
def test_a_secret_with_colours_in_it_is_taken_out_of_chunks(size: int) -> None:
    secrets = Secrets()
    secrets.add(KEY, "KEY")
    data = f"first {KEY[:4]}\x1b[31m{KEY[4:]} last line".encode()
    chunks = tuple((float(at), data[at : at + size]) for at in range(0, len(data), size))
    clean = without_secrets(chunks, secrets)
    assert b"".join(part for _, part in clean) == b"first [KEY] last line"
    assert clean[0] == chunks[0] or size > 5
    assert without_secrets(((0, b"nothing"),), secrets) == ((0, b"nothing"),)


def test_of_an_endless_output_the_middle_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_kiro.recording.taken.OF_EACH", 10)
    taken = Taken()
    for number in range(20):
        taken.add(number, b"%03d" % number)
    chunks = b"".join(data for _, data in taken.chunks(Secrets()))
    start, gap, end = chunks.partition(b"\r\n[")
    assert (start, taken.dropped) == (b"000001002003", 36)
    assert gap
    assert end.decode() == "… the middle of this output was not recorded …]\r\n016017018019"


class Machine(SandboxBase):
    """A sandbox that has these files, and counts requests."""

    home = "/h"

    def __init__(self, contents: dict[str, bytes], broken: Exception | None = None) -> None:
        self.contents, self.broken, self.requests = contents, broken, 0

    def read_files(self, paths: Any) -> dict[str, bytes]:
        self.requests += 1
        if self.broken:
            raise self.broken
        for path in paths:
            if path not in self.contents:
                raise FileNotFoundError(2, "No such file or directory", path)
        return {path: self.contents[path] for path in paths}


Machine.__abstractmethods__ = frozenset()
FOLDERS = {"workspace": "/h/work/1", "home": "/h"}


def fetched(machine: Machine, *left: Left) -> Leavings:
    return fetch(machine, list(left), FOLDERS, Ignore())


def in_workspace(path: str, size: int = 1, **values: Any) -> Left:
    return Left("workspace", path, values.pop("kind", "f"), 0o644, size, **values)


def test_all_contents_come_in_one_request() -> None:
    machine = Machine({"/h/work/1/a": b"a", "/h/b": b"b"})
    got = fetched(machine, in_workspace("a"), Left("home", "b", "f", 0o644, 1))
    assert {(one.place, one.path): data for one, data in got.entries.items()} == {
        ("home", "b"): b"b",
        ("workspace", "a"): b"a",
    }
    assert (machine.requests, got.left_out) == (1, ())
    assert fetched(machine, in_workspace("gone", kind="")).left_out == ()
    assert machine.requests == 1


def test_a_file_that_is_gone_meanwhile_is_left_out() -> None:
    machine = Machine({"/h/work/1/a": b"a"})
    got = fetched(machine, in_workspace("a"), in_workspace("gone"))
    assert [one.path for one in got.entries] == ["a"]
    assert got.left_out == ("gone: it could not be read, No such file or directory",)
    assert machine.requests == 2


@pytest.mark.parametrize("broken", [SandboxError("it is gone\nfor good", advice="look"), OSError(5, "I/O error")])
def test_of_a_machine_that_is_gone_nothing_is_kept(broken: Exception) -> None:
    got = fetched(Machine({}, broken), in_workspace("a"), in_workspace("b", kind=""))
    assert ([one.path for one in got.entries], len(got.left_out)) == (["b"], 1)
    assert got.left_out[0].startswith("a: it could not be read, ")


def test_of_too_much_what_programs_make_by_the_way_goes_first() -> None:
    large = OF_A_TURN // 9
    paths = [f"node_modules/{number}" for number in range(4)] + [f"z{number}" for number in range(8)]
    machine = Machine({f"/h/work/1/{path}": b"" for path in paths})
    got = fetched(machine, *(in_workspace(path, large) for path in paths), in_workspace("huge", OF_A_FILE + 1))
    assert [part.partition(": ")[0] for part in got.left_out] == ["huge", *paths[1:4]]


def test_what_cannot_be_kept_is_named() -> None:
    deep = f"{'d' * 200}/" * (LONGEST_PATH // 200 + 1)
    got = fetched(Machine({}), in_workspace(deep), in_workspace("pipe", kind="p"))
    assert [part.rpartition(": ")[2] for part in got.left_out] == [
        "it lies too deep to be opened",
        "neither a file nor a folder nor a link",
    ]


def raw(kind: str, mode: str = "644", size: int = 1, number: int = 1, target: str = "") -> tuple[bytes, bytes]:
    return f"{kind} {mode} {size} 10.0 {number}".encode(), target.encode()


def listing(digests: dict[bytes, str], **entries: tuple[bytes, bytes]) -> Listing:
    return Listing({f"./work/1/{path}".encode(): one for path, one in entries.items()}, 1, digests, b"./work/1/")


def left(before: Listing, after: Listing) -> dict[str, str]:
    record = LaunchRecord(0, before, after, {})
    return {one.path: one.kind for one in left_by(record, Ignore(), home=True)}


def test_only_what_is_another_thing_than_before_was_left() -> None:
    """A file that was touched is none, one whose mode changed is; of times in seconds the digest tells."""
    digests = {b"./work/1/a": "1" * 64, b"./work/1/b": "2" * 64, b"./work/1/c": "3" * 64}
    before = listing(digests, a=raw("f"), b=raw("f"), c=raw("f"), d=raw("l", target="x"), e=raw("d"), f=raw("d"))
    later = {**digests, b"./work/1/c": "4" * 64}
    after = listing(
        later,
        a=raw("f", number=2),
        b=raw("f", "600", number=2),
        c=raw("f"),
        d=raw("l", target="x", number=2),
        e=raw("d", number=2),
        f=raw("f"),
    )
    assert left(before, after) == {"b": "f", "c": "f", "f": "f"}
    assert left(before, before) == {}
    assert left(before, listing({})) == dict.fromkeys("abcdef", "")


def test_a_manifest_says_what_counts() -> None:
    digests = {b"./work/1/a": "ab" * 32}
    entries = {"a": raw("f"), "x": raw("f", "750", size=9), "l": raw("l", target="a"), "p": raw("p"), "e": raw("d")}
    others = {".git/config": raw("f"), "d": raw("d"), "d/a.pyc": raw("f"), "target/x": raw("f"), "n.log": raw("f")}
    workspace = listing(digests, **entries, **others).split()[0]
    assert manifest.of_listing(workspace, Ignore(["*.log"])) == {
        "a": f"file {'ab' * 16}",
        "x": "exec ~9",
        "l": "link a",
        "p": "other",
        "e": "folder",
        "d/a.pyc": "file ~1",
    }


def test_manifests_differ_where_something_else_is() -> None:
    before = {"a": "file 1", "b": "file 1", "c": "link ", "d": "link x", "e": "link x"}
    now = {"a": "file 1", "b": "exec 1", "c": "link y", "d": "link z", "f": "folder"}
    assert manifest.differing(before, now) == ["b", "d", "e", "f"]


def test_no_contents_are_compared_where_none_are_looked_at() -> None:
    program = (Path(follow.__file__).parent / "list.sh").read_text()
    words = program.partition("list_unread='")[2].partition("'")[0]
    assert set(words.split()) == manifest.UNREAD
