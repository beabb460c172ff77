"""Recordings are altered as worse agents would have made them; what they have nothing of is not applicable."""

from __future__ import annotations

from collections.abc import Sequence

from recorded import call, file, recorded, recording, write

from pytest_kiro import Cause
from pytest_kiro.recording.altered import Case
from pytest_kiro.recording.mutants import KINDS, Mutant, mutants
from pytest_kiro.recording.values import RecordedFile, RecordedTurn

GONE = RecordedFile(path="old.txt", kind="deleted")


def all_of(case: Case, *others: Case) -> dict[str, Mutant]:
    found = list(mutants(case, others, lambda path: f"{path} as it is".encode()))
    assert len({one.name for one in found}) == len(found), "a name that tells no two apart"
    assert {one.kind for one in found} <= set(KINDS)
    return {one.name: one for one in found}


def names(found: dict[str, Mutant]) -> list[str]:
    return [name for name in found if name not in ("nothing", "only-says")]


def only(mutant: Mutant, owner: str = "test_it") -> RecordedTurn:
    (turn,) = mutant.case[owner].turns.values()
    return turn


def left(mutant: Mutant, turns: Sequence[tuple[int, int]] = ((1, 1),), owner: str = "test_it") -> list[dict[str, str]]:
    """What each turn leaves: a file's content, of others their kind."""
    altered = mutant.case[owner]
    return [
        {
            one.path: altered.read(one.content).decode() if one.kind == "file" else one.kind
            for one in altered.turns[key].files
        }
        for key in turns
    ]


def test_an_agent_that_does_nothing_says_nothing_either_and_ends_well() -> None:
    turn = recorded(
        "Done.",
        calls=[write("a", "1")],
        files=[file("a", "1")],
        outside=[file("b")],
        printed="Done.",
        status="stopped",
        cause=Cause.STOPPED,
        detail="why",
        exit_code=130,
    )
    found = all_of({"test_it": recording(turn)})
    nothing, says = only(found["nothing"]), only(found["only-says"])

    for one in (nothing, says):
        assert (one.files, one.outside, one.turn.tool_calls) == ((), (), ())
        assert not one.turn.known_changes
        assert not one.turn.known_outside
        assert one.turn.ok
        assert one.turn.exit_code == 0
        assert one.turn.cause is None
    assert (nothing.chunks, nothing.turn.messages) == ((), ())
    assert (says.chunks, says.turn.messages) == (turn.chunks, ("Done.",))


def test_who_did_nothing_cannot_only_say_it() -> None:
    assert list(all_of({"test_it": recording(recorded("42"))})) == ["nothing"]
    assert all_of({"test_it": recording()}) == {}


def test_turns_beyond_the_recording_do_and_say_nothing_but_not_for_ever() -> None:
    turns = all_of({"test_it": recording(recorded("Done.", files=[file("a", "1")]))})["missing a"].case["test_it"].turns

    assert (1, 1) in turns
    assert len(turns) == 1
    assert turns[1, 2].turn.number == 2
    assert not turns[1, 2].files
    assert not turns[1, 2].turn.text
    assert turns[2, 1].conversation == 2
    assert (1, 999) not in turns


def test_a_file_is_missing_emptied_or_halved() -> None:
    found = all_of({"test_it": recording(recorded(files=[file("a.py", "12345"), file("e"), file("one", "1")]))})

    assert names(found) == [
        "missing a.py",
        "emptied a.py",
        "halved a.py",
        "missing e",
        "missing one",
        "emptied one",
    ]
    assert left(found["missing a.py"]) == [{"e": "", "one": "1"}]
    assert left(found["emptied a.py"]) == [{"a.py": "", "e": "", "one": "1"}]
    assert left(found["halved a.py"]) == [{"a.py": "12", "e": "", "one": "1"}]
    assert only(found["missing a.py"]).turn.changes.added == {"e", "one"}
    assert only(found["halved a.py"]).turn.changes.added == {"a.py", "e", "one"}


def test_a_file_that_was_there_is_deleted_or_as_it_was() -> None:
    found = all_of({"test_it": recording(recorded(files=[file("a", "12"), GONE], before=["a", "old.txt"]))})

    assert names(found) == ["missing a", "emptied a", "halved a", "as-before a", "as-before old.txt"]
    assert left(found["missing a"]) == [{"a": "deleted", "old.txt": "deleted"}]
    assert only(found["missing a"]).turn.changes.deleted == {"a", "old.txt"}
    assert left(found["as-before a"]) == [{"old.txt": "deleted"}]
    assert only(found["as-before a"]).turn.changes.paths == {"old.txt"}
    assert left(found["as-before old.txt"]) == [{"a": "12"}]


def test_a_file_of_several_turns_is_altered_in_all_of_them() -> None:
    first = recorded(files=[file("a", "1234")])
    second = recorded(files=[file("a", "123456"), file("b", "b")], before=["a"], number=2)
    elsewhere = recorded(files=[file("a", "other")], conversation=2)
    found = all_of({"test_it": recording(first, second, elsewhere)})

    keys = [(1, 1), (1, 2), (2, 1)]
    assert left(found["halved a of conversation 1"], keys)[:2] == [{"a": "12"}, {"a": "123", "b": "b"}]
    assert left(found["missing a of conversation 1"], keys) == [{}, {"b": "b"}, {"a": "other"}]
    assert "missing a of conversation 2" in found


def test_what_programs_make_by_the_way_is_not_altered() -> None:
    from pytest_kiro import Changes

    ignored = Changes(added=frozenset({"node_modules/x"}))
    turn = recorded(files=[file("node_modules/x", "1")], known_changes=Changes(by_the_way=ignored))
    assert names(all_of({"test_it": recording(turn)})) == []


def test_a_file_in_home_is_altered_too() -> None:
    found = all_of({"test_it": recording(recorded(outside=[file(".profile", "12")]))})
    assert names(found) == ["missing ~/.profile", "emptied ~/.profile", "halved ~/.profile"]
    assert only(found["missing ~/.profile"]).outside == ()
    assert only(found["missing ~/.profile"]).turn.outside.paths == set()


def test_files_that_were_not_touched_are_touched_a_few_of_them() -> None:
    turn = recorded(files=[file("a", "1")], before=["a", "e/", *"bcdfg"])
    found = all_of({"test_it": recording(turn)})

    assert [name for name in found if name.startswith("touched")] == ["touched b", "touched c", "touched d"]
    assert left(found["touched b"]) == [{"a": "1", "b": "b as it is\n"}]
    assert only(found["touched b"]).turn.changes.modified == {"a", "b"}
    assert found["touched b"].idea == "assert turn.changes.paths == {'a'}"


def test_each_call_is_missing_and_each_command_fails() -> None:
    calls = [
        call("shell", command="make"),
        call("read", path="a"),
        call("shell", command="make"),
        call("shell", command="x", status="denied"),
    ]
    found = all_of({"test_it": recording(recorded(calls=calls))})

    assert names(found) == [
        "no-call shell 'make' (1)",
        "exit-code shell 'make' (1)",
        "no-call read 'a'",
        "no-call shell 'make' (2)",
        "exit-code shell 'make' (2)",
        "no-call shell 'x' (denied)",
    ]
    assert [one.command for one in only(found["no-call shell 'make' (2)"]).turn.tool_calls] == ["make", None, "x"]
    assert [one.exit_code for one in only(found["exit-code shell 'make' (2)"]).turn.tool_calls] == [0, None, 1, 0]
    assert found["no-call read 'a'"].idea == 'assert turn.used("read")'


def test_another_evals_answer_is_one_that_differs() -> None:
    mine = {"test_it": recording(recorded("Mine.", files=[file("a", "1")]))}
    alike = {"test_too": recording(recorded("Mine.", files=[file("a", "1")]), owner="test_too")}
    other = {"test_other": recording(recorded("Other.", files=[file("b", "2")]), owner="test_other")}

    assert "other-answer" not in all_of(mine, alike)
    found = all_of(mine, alike, other)["other-answer"]
    assert left(found) == [{"b": "2"}]
    assert only(found).turn.text == "Other."
    assert only(found).asked == only(all_of(mine)["nothing"]).asked


def test_the_last_of_several_turns_is_missing() -> None:
    case = {"test_it": recording(recorded("One."), recorded("Two.", files=[file("a", "1")], number=2))}
    last = all_of(case)["last-turn"].case["test_it"].turns

    assert (last[1, 1].turn.text, last[1, 2].turn.text, last[1, 2].files) == ("One.", "", ())
    assert "last-turn" not in all_of({"test_it": recording(recorded("One."), recorded("Two.", conversation=2))})


def test_the_turns_of_a_wide_fixture_are_altered_with_the_evals_own() -> None:
    case = {
        "fixture:shop": recording(recorded("Shop.", calls=[call("read", path="x")])),
        "test_it": recording(recorded("Mine.")),
    }
    found = all_of(case)

    assert [only(found["nothing"], owner).turn.text for owner in case] == ["", ""]
    assert names(found) == ["no-call read 'x' in turn 1 of fixture:shop"]


def test_there_is_a_bound_on_files_and_calls() -> None:
    turn = recorded(
        files=[file(f"f{number:03}", "1") for number in range(100)],
        calls=[call("read", path=f"f{number}") for number in range(100)],
    )
    assert len(all_of({"test_it": recording(turn)})) < 100
