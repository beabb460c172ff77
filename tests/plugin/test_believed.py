"""What is believed of a turn whose agent alters what it can reach, and what else is told of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from eval_runs import Evals, shell, turn

from pytest_kiro.agent.flight import Flight
from pytest_kiro.terminal.record import LaunchRecord
from pytest_kiro.turn.causes import Cause, Ending
from pytest_kiro.turn.listing import Listing

LAUNCH = "F=${KIRO_MOCK_CHAT_RESPONSE%/*}; echo TOUCHED >keep.txt;"


def test_what_an_agent_forges_is_not_believed(evals: Evals) -> None:
    evals.passes(
        """
        import pytest

        from pytest_kiro import SandboxError

        @pytest.fixture(autouse=True)
        def keep(kiro):
            kiro.workspace.seed({"keep.txt": "keep", ".gitignore": "*.log"})

        def test_the_list_from_before(kiro):
            turn = kiro.run("Work.", check=False)
            assert (turn.status, turn.cause) == ("failed", "altered")
            with pytest.raises(SandboxError, match="is not known"):
                turn.changes

        def test_the_status(kiro):
            turn = kiro.run("Work.", check=False)
            assert (turn.status, turn.exit_code) != ("completed", 0)
            assert turn.changes.modified == {"keep.txt"}

        def test_programs_of_its_own(kiro):
            assert kiro.run("Work.").changes.modified == {"keep.txt"}

        def test_what_is_told(kiro):
            turn = kiro.run("Work.")
            assert turn.changes.added == {"pipe", "link", ".git/hooks/post-checkout"}
            assert turn.changes.ignored.added == {"a.log", "node_modules/x"}
            assert turn.outside.added == {".npmrc"}
            assert len(turn.survivors) == 1 and "sleep" in turn.survivors[0]
            assert kiro.run("Go on.").changes.paths == set()
        """,
        {
            "test_the_list_from_before": [turn([shell(f"{LAUNCH} : >$F/before")], ["Done."])],
            "test_the_status": [
                turn([shell(f"{LAUNCH} printf 0 >$F/status; kill -9 $(ps -o ppid= $PPID)")], ["Done."])
            ],
            "test_programs_of_its_own": [
                turn(
                    [
                        shell(
                            f"{LAUNCH} mkdir -p ~/.local/bin; for i in find sha256sum tar; do "
                            "printf '#!/bin/sh\\n' >~/.local/bin/$i; chmod +x ~/.local/bin/$i; done"
                        )
                    ],
                    ["Done."],
                )
            ],
            "test_what_is_told": [
                turn(
                    [
                        shell(
                            "mkfifo pipe; ln -s /etc link; mkdir -p .git/hooks node_modules; "
                            ": >.git/hooks/post-checkout; "
                            ": >a.log; : >node_modules/x; : >~/.npmrc; setsid sleep 1000 >/dev/null 2>&1 &"
                        )
                    ],
                    ["Done."],
                ),
                "Done.",
            ],
        },
    )


@pytest.mark.parametrize(
    ("own", "written", "altered", "completed"),
    [(0, 0, "", True), (None, 0, "", True), (7, 0, "", False), (0, None, "", False), (0, 0, "it was altered", False)],
)
def test_a_turn_is_completed_when_terminal_and_file_agree(
    own: int | None, written: int | None, altered: str, completed: bool
) -> None:
    flight = Flight.__new__(Flight)
    flight.running = SimpleNamespace(exit_code=own)
    record = LaunchRecord(status=written, before=None, after=None, stores={}, altered=altered)
    ending = flight._verified(Ending("completed", proof="session"), record)
    assert (ending.status, ending.cause) == (("completed", None) if completed else ("failed", Cause.ALTERED))


@pytest.mark.parametrize(
    ("before", "after", "gone"),
    [
        ({".kiro": b"d"}, {}, ".kiro"),
        ({".kiro": b"d"}, {".kiro": b"d", ".kiro/sessions": b"l"}, ".kiro/sessions"),
        ({}, {".kiro": b"f"}, ".kiro"),
        ({}, {}, ""),
        ({".kiro": b"d"}, {".kiro": b"d"}, ""),
        ({".kiro": b"d", ".kiro/sessions": b"l"}, {".kiro": b"d", ".kiro/sessions": b"l"}, ""),
    ],
)
def test_a_cli_whose_store_was_taken_away_is_not_unknown(
    before: dict[str, bytes], after: dict[str, bytes], gone: str
) -> None:
    flight = Flight.__new__(Flight)
    flight.running = SimpleNamespace(exit_code=0)
    flight.bench = SimpleNamespace(engine=SimpleNamespace(stores=(".kiro/sessions/cli",)))
    lists = [Listing({f"./{path}".encode(): (kind, b"") for path, kind in some.items()}) for some in (before, after)]
    record = LaunchRecord(status=0, before=lists[0], after=lists[1], stores={})
    ending = flight._verified(Ending("failed", Cause.UNKNOWN_CLI), record)
    assert ending.cause is (Cause.ALTERED if gone else Cause.UNKNOWN_CLI)
    assert f"of its HOME, {gone} is gone" in ending.detail or not gone
