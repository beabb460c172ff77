"""A recording on disk: written, read again, edited, torn, and of another version."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from recordings import MADE, SOURCE, keep, owner, recorded

from pytest_kiro import KiroError, RecordingMiss
from pytest_kiro.recording.cast import from_lines, to_lines, whole_characters
from pytest_kiro.recording.draft import Draft
from pytest_kiro.recording.paths import SandboxPaths
from pytest_kiro.recording.places import Places, content_name, safe
from pytest_kiro.recording.store import Store, read_recording
from pytest_kiro.recording.text import from_text, to_text
from pytest_kiro.recording.values import RecordedFile, Recording
from pytest_kiro.secrecy.redaction import Secrets

STORE = Store(Places("recordings"))


def read(folder: Path) -> Recording:
    recording = STORE.recording(owner(folder))
    assert recording is not None
    return recording


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- there and back


def test_a_recording_is_written_and_read_again(tmp_path: Path) -> None:
    first, second = recorded(), recorded(number=2, left_out=("big.bin (9 MiB)",), files=(), before={})
    keep(tmp_path, first, second)
    recording = read(tmp_path)
    assert dict(recording.turns) == {(1, 1): first, (1, 2): second}
    assert (recording.made, recording.whole, recording.outcome, recording.edited) == (MADE, True, "passed", False)
    assert recording.read(first.files[0].content) == SOURCE


def test_nothing_is_there() -> None:
    assert STORE.recording(owner(Path("/nowhere"))) is None


@pytest.mark.parametrize(
    "file",
    [
        RecordedFile(path="a b\nc", kind="file", mode=0o755, content="0-x", redacted=True),
        RecordedFile(path="link", kind="link", content="../two words"),
        RecordedFile(path="empty", kind="folder", mode=0o700),
        RecordedFile(path="gone \udcff", kind="deleted"),
    ],
    ids=lambda file: file.kind,
)
def test_every_kind_of_file_comes_back(tmp_path: Path, file: RecordedFile) -> None:
    keep(tmp_path, recorded(files=(file,), outside=(file,)))
    turn = read(tmp_path).turns[1, 1]
    assert turn.files == turn.outside == (file,)


@pytest.mark.parametrize(
    "chunks",
    [(), ((0.0, b"\xff\x00\x1b[0m"), (1.0, b"\xc3")), ((0.5, "a\u2028b\x85c\n".encode()),)],
    ids=["none", "no UTF-8", "other line ends"],
)
def test_what_was_printed_comes_back_byte_for_byte(tmp_path: Path, chunks: tuple[tuple[float, bytes], ...]) -> None:
    place = keep(tmp_path, recorded(chunks=chunks))
    assert read(tmp_path).turns[1, 1].chunks == chunks
    assert (place / "1.1.chunks").exists() == any(b"\xff" in data for _, data in chunks)


@pytest.mark.parametrize("printed", [b"\x1b[31mD\xc3\xb6ne\x1b[0m\r\n\xe2\x80\xa8\xc2\x85", b"\xff no UTF-8 \x00"])
def test_asciinema_plays_a_cast(tmp_path: Path, printed: bytes) -> None:
    asciicast = pytest.importorskip("asciinema.asciicast", reason="the group test has it")
    place = keep(tmp_path, recorded(chunks=((0.25, b"I work.\r\n"), (1.5, printed))))
    with asciicast.open_from_url(str(place / "1.1.cast")) as cast:
        assert (cast.version, cast.v2_header) == (2, {"version": 2, "width": 120, "height": 30})
        assert list(cast.events("o")) == [[0.25, "o", "I work.\r\n"], [1.5, "o", printed.decode("utf-8", "replace")]]


def test_the_same_turns_are_the_same_files(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        keep(folder, recorded(), recorded(2))
    assert files(one) == files(two)


def test_contents_are_stored_once(tmp_path: Path) -> None:
    keep(tmp_path, recorded(), recorded(2), recorded(3))
    contents = tmp_path / "recordings/test_shop/test_shop/files"
    assert sorted(path.name.partition("-")[2] for path in contents.iterdir()) == ["a.py", "before.json"]
    assert dict(read(tmp_path).contents) == {path.name: path.read_bytes() for path in contents.iterdir()}


def test_texts_of_several_lines_can_be_reviewed(tmp_path: Path) -> None:
    place = keep(tmp_path, recorded())
    assert '"Done:",\n     "see ⟨workspace⟩/a.py"\n' in (place / "1.1.json").read_text()
    assert '[0.25, "o", "Döne\\n"]\n' in (place / "1.1.cast").read_text()


@pytest.mark.parametrize(
    "value", [{"¶": ["a"]}, {"¶¶": "a\nb"}, {"a": {"¶": "\n"}}, ["\n", "", "\udcff", None, 1.5], {"": "\r\n"}], ids=repr
)
def test_json_comes_back(value: object) -> None:
    assert from_text(to_text(value)) == value


# -- edited, torn, of another version


def test_git_may_change_line_ends(tmp_path: Path) -> None:
    keep(tmp_path, recorded())
    for path in (tmp_path / "recordings").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    recording = read(tmp_path)
    assert recording.turns[1, 1] == recorded()
    assert recording.read(content_name(SOURCE, "a.py")) == SOURCE
    assert not recording.edited


def test_git_is_told_to_keep_line_ends(tmp_path: Path) -> None:
    keep(tmp_path, recorded())
    assert (tmp_path / "recordings/.gitattributes").read_text() == "* -text\n"


@pytest.mark.parametrize("name", ["recording.json", "1.1.json", "1.1.cast", "../files/*-a.py"])
def test_an_edited_recording_is_read_and_says_so(tmp_path: Path, name: str) -> None:
    place = keep(tmp_path, recorded())
    (path,) = place.glob(name)
    path.write_text(path.read_text().replace("hello", "goodbye").replace("passed", "failed").replace("write", "wrote"))
    recording = read(tmp_path)
    assert recording.turns[1, 1]
    assert recording.read(content_name(SOURCE, "a.py"))
    assert recording.edited
    assert {part.rpartition("-")[2] for part in recording.edits} == {name.rpartition("-")[2]}


@pytest.mark.parametrize("name", ["recording.json", "1.1.json", "1.1.cast", "../files/*-before.json"])
@pytest.mark.parametrize("damage", ["cut", "gone", "no UTF-8", "another shape", "too deep"])
def test_a_damaged_recording_is_a_miss(tmp_path: Path, name: str, damage: str) -> None:
    place = keep(tmp_path, recorded())
    (path,) = place.glob(name)
    match damage:
        case "cut":
            path.write_bytes(path.read_bytes()[:-10])
        case "gone":
            path.unlink()
        case "no UTF-8":
            path.write_bytes(b"\xff" + path.read_bytes())
        case "another shape":
            path.write_text('{"format": 1}\n[1]')
        case "too deep":
            path.write_text("[" * 200_000)
    if (damage, name) == ("gone", "recording.json"):
        assert STORE.recording(owner(tmp_path)) is None
        return
    with pytest.raises(RecordingMiss, match="record it anew"):
        _ = read(tmp_path).turns[1, 1]


def test_a_newer_format_is_a_miss(tmp_path: Path) -> None:
    place = keep(tmp_path, recorded())
    path = place / "recording.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(RecordingMiss, match=r"(?s)format 2.*pytest 'evals/test_shop.py::test_shop' --kiro-record=all"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["", "../recording.json", "/etc/passwd", "0-missing"])
def test_contents_lie_in_their_folder(tmp_path: Path, name: str) -> None:
    keep(tmp_path, recorded())
    with pytest.raises(RecordingMiss):
        read(tmp_path).read(name)


# -- names


@pytest.mark.parametrize(
    "name", ["a/b", "..", ".hidden", "con", "NUL.txt", "a:b", "x" * 300, "ü" * 200, "", "a\0b", "a "]
)
def test_a_name_that_no_file_system_holds_becomes_another(name: str) -> None:
    made = safe(name)
    assert made != name
    assert len(made.encode()) < 140
    assert "/" not in made
    assert safe(f"{name}'") != made


@pytest.mark.parametrize("name", ["test_shop[eur-2]", "TestCart.test_add", "test_größe", "gpt-5.2"])
def test_a_usual_name_stays(name: str) -> None:
    assert safe(name) == name


def test_trials_and_variants_have_their_own_folders(tmp_path: Path) -> None:
    places = Places("recordings")
    assert places.of(owner(tmp_path, trial=3)) == tmp_path / "recordings/test_shop/test_shop/trial-3"
    assert places.of(owner(tmp_path, variant="a b")).name.startswith("trial-1@a_b~")
    assert places.of(owner(tmp_path, "fixture:shop[x]")).parent.name == "fixture-shop[x]"


def test_a_secret_in_a_test_s_name_is_on_no_disk(tmp_path: Path) -> None:
    secrets = Secrets()
    secrets.add("sk-4f9a8b7c6d5e", "KEY")
    places = Places("recordings", hide=secrets)
    assert places.of(owner(tmp_path, "test_it[sk-4f9a8b7c6d5e]")).parent.name == "test_it[[KEY]]"


def test_one_folder_for_all_keeps_files_of_one_name_apart(tmp_path: Path) -> None:
    places = Places("/recordings", base=tmp_path)
    assert places.of(owner(tmp_path / "deep")) == Path("/recordings/deep/test_shop/test_shop/trial-1")


def test_a_file_system_that_takes_two_names_for_one(tmp_path: Path) -> None:
    place = keep(tmp_path, recorded())
    other = STORE.places.of(owner(tmp_path, "test_Shop"))
    place.parent.rename(other.parent)
    with pytest.raises(RecordingMiss, match="rename one of them"):
        STORE.recording(owner(tmp_path, "test_Shop"))


def test_others_of_the_same_file_are_found(tmp_path: Path) -> None:
    keep(tmp_path, made=replace(MADE, owner="test_other"))
    keep(tmp_path, made=replace(MADE, trial=2))
    assert [(one.made.owner, one.made.trial) for one in STORE.others(owner(tmp_path))] == [
        ("test_shop", 2),
        ("test_other", 1),
    ]


# -- writing


def drafts(folder: Path, *, anew: bool) -> Draft:
    return Draft(STORE.places.of(owner(folder)), folder / "recordings", anew=anew)


def add(draft: Draft, *keys: tuple[int, int]) -> None:
    for key in keys:
        draft.add(MADE, recorded(*key), {content_name(SOURCE, "a.py"): SOURCE}, (120, 30))


def test_a_recording_is_whole_when_its_owner_has_ended(tmp_path: Path) -> None:
    draft = drafts(tmp_path, anew=True)
    add(draft, (1, 1))
    assert (read(tmp_path).whole, list(read(tmp_path).turns)) == (False, [(1, 1)])
    draft.end(MADE, whole=True, outcome="failed")
    assert (read(tmp_path).whole, read(tmp_path).outcome) == (True, "failed")


@pytest.mark.parametrize(("anew", "kept"), [(True, [(2, 1)]), (False, [(1, 1), (1, 2), (2, 1)])])
def test_what_is_recorded_again_takes_the_place_of_the_old(
    tmp_path: Path, anew: bool, kept: list[tuple[int, int]]
) -> None:
    place = keep(tmp_path, recorded(), recorded(number=2), recorded(2), recorded(2, 2))
    draft = drafts(tmp_path, anew=anew)
    add(draft, (2, 1))
    assert list(read(tmp_path).turns) == kept
    draft.end(MADE, whole=True, outcome="passed")
    names = {path.name for path in place.iterdir()}
    assert names == {"recording.json", *(f"{c}.{n}.{kind}" for c, n in kept for kind in ("json", "cast"))}


@pytest.mark.parametrize("whole", [True, False])
def test_an_owner_without_turns(tmp_path: Path, whole: bool) -> None:
    """One that came to its end has none; one that did not has said nothing against those that are there."""
    keep(tmp_path, recorded())
    drafts(tmp_path, anew=True).end(MADE, whole=whole, outcome="passed")
    assert bool(read(tmp_path).turns) != whole


def test_of_two_that_write_at_once_one_does(tmp_path: Path) -> None:
    one, two = drafts(tmp_path, anew=True), drafts(tmp_path, anew=True)
    add(one, (1, 1))
    add(two, (2, 1))
    add(one, (1, 2))
    two.end(MADE, whole=True, outcome="failed")
    one.end(MADE, whole=True, outcome="passed")
    turns = {(1, 1): recorded(), (1, 2): recorded(number=2)}
    assert (dict(read(tmp_path).turns), read(tmp_path).outcome) == (turns, "passed")
    add(drafts(tmp_path, anew=True), (3, 1))  # the folder is free again
    assert list(read(tmp_path).turns) == [(3, 1)]


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    place = keep(tmp_path, recorded())
    (place / ".writing-0123").write_bytes(b"half")
    (place / ".lock").touch()
    add(drafts(tmp_path, anew=True), (1, 1))
    assert {path.name for path in place.iterdir()} - {".lock"} == {"recording.json", "1.1.json", "1.1.cast"}


def test_a_recording_that_nobody_can_read_is_written_anew(tmp_path: Path) -> None:
    place = keep(tmp_path, recorded())
    (place / "recording.json").write_text("{")
    add(drafts(tmp_path, anew=False), (2, 1))
    assert list(read(tmp_path).turns) == [(2, 1)]


def test_a_folder_that_cannot_be_written_is_an_error_with_advice(tmp_path: Path) -> None:
    (tmp_path / "recordings").write_text("a file")
    with pytest.raises(KiroError, match=r"(?s)recordings.*could not be written.*--kiro-recordings=DIR"):
        add(drafts(tmp_path, anew=True), (1, 1))


# -- chunks and paths


def test_characters_are_not_torn() -> None:
    chunks = ((0.0, b"a\xe2"), (1.0, b"\x82"), (2.0, b"\xac\xf0\x9f"), (3.0, b"\x98"))
    assert whole_characters(chunks) == ((0.0, b"a"), (2.0, "€".encode()), (3.0, b"\xf0\x9f\x98"))


def test_lines_that_are_no_cast() -> None:
    assert from_lines(to_lines([(1, b"a\n")]) + '\n[2, "m", "a marker"]\n') == ((1.0, b"a\n"),)
    with pytest.raises(ValueError, match="no line of a cast"):
        from_lines("[1]")


HERE, THERE = SandboxPaths("/root/work/1a", "/root"), SandboxPaths("/tmp/x/work/2b", "/tmp/x")


@pytest.mark.parametrize(
    "text",
    [
        "/root/work/1a/a.py, /root/b.",
        "(/root)",
        "/rootfs /srv/root /root.d ~/root",
        "⟨home⟩ ⟨⟨ ⟨",
        "file:///root/a",
    ],
)
def test_paths_are_hidden_and_put_back(text: str) -> None:
    hidden = HERE.hide(text)
    assert HERE.put(hidden) == text
    assert "/root/" not in hidden
    assert HERE.put_chunks(HERE.hide_chunks([(0, text.encode())])) == ((0, text.encode()),)


def test_the_paths_of_another_sandbox_are_put_in() -> None:
    assert THERE.put(HERE.hide("/root/work/1a/a /root/b /rootfs")) == "/tmp/x/work/2b/a /tmp/x/b /rootfs"


@pytest.mark.parametrize("size", range(1, 14))
def test_a_path_that_is_torn_is_hidden(size: int) -> None:
    data = b"see /root/work/1a/a.py and /root/b \xff"
    chunks = [(float(at), data[at : at + size]) for at in range(0, len(data), size)]
    hidden = HERE.hide_chunks(chunks)
    assert b"".join(part for _, part in hidden) == "see ⟨workspace⟩/a.py and ⟨home⟩/b ".encode() + b"\xff"
    assert b"".join(part for _, part in HERE.put_chunks(hidden)) == data
    assert all(b"\xe2" not in part or "⟩".encode() in part for _, part in hidden)


def test_the_paths_of_a_turn_are_put_in() -> None:
    link = RecordedFile(path="l", kind="link", content="⟨home⟩/x")
    turn = THERE.put_turn(recorded(files=(link,), before={"l": "link ⟨workspace⟩/a"}))
    assert turn.turn.text == "Done:\nsee /tmp/x/work/2b/a.py"
    assert turn.turn.tool_calls.files_written == {"a.py"}
    assert (turn.files[0].content, turn.before["l"]) == ("/tmp/x/x", "link /tmp/x/work/2b/a")


def test_nothing_else_is_read_to_read_one(tmp_path: Path) -> None:
    """Of 1,000 trials, the other 999 cost nothing."""
    place = keep(tmp_path, recorded())
    (place.parent / "trial-2").write_text("in the way")
    (place / "1.2.json").write_text("no JSON")
    recording = read_recording(place)
    assert recording is not None
    assert json.dumps(list(recording.turns)) == "[[1, 1]]"


def test_what_an_older_version_did_not_know_has_its_default(tmp_path: Path) -> None:
    place = keep(tmp_path, recorded())
    file = place / "1.1.json"
    data = from_text(file.read_text())
    del data["turn"]["provenance"]["recorded"], data["turn"]["given"]["steering"]
    file.write_text(to_text(data))
    assert read(tmp_path).turns[1, 1].turn == recorded().turn
