"""Contract C: what the turns of a conversation know of each other, and when one cannot go on."""

from __future__ import annotations

from eval_runs import RECALL, Evals, call, shell, turn

WORD = {"requests": [[RECALL]]}


def test_what_is_resumed(evals: Evals) -> None:
    evals.passes(
        r'''
        import json

        def sessions(kiro):
            """Every session of the store: its id, and the prompts in it."""
            folder = f"{kiro.workspace.home}/.kiro/sessions/cli"
            found = {}
            for name in kiro.sandbox.list_files(folder):
                if name.endswith(".jsonl"):
                    records = map(json.loads, kiro.sandbox.read_file(f"{folder}/{name}").splitlines())
                    found[name.removesuffix(".jsonl")] = [
                        record["data"]["content"][0]["data"] for record in records if record["kind"] == "Prompt"
                    ]
            return found

        def test_by_id(kiro):
            first, second = kiro.run("The word is one."), kiro.run("And?")
            other = kiro.conversation()
            third = other.run("The word is two.")
            fourth, fifth = kiro.run("Again?"), other.run("Again?")
            assert [turn.text for turn in (first, second, third, fourth, fifth)] == [
                "unknown", "one", "unknown", "one", "two",
            ]
            assert [turn.number for turn in (first, second, fourth)] == [1, 2, 3]
            assert sessions(kiro) == {
                first.session_id: ["The word is one.", "And?", "Again?"],
                third.session_id: ["The word is two.", "Again?"],
            }
            assert first.conversation.turns == [first, second, fourth]
            assert first.conversation.kiro is kiro and other is third.conversation
            assert repr(other) == "<Conversation 2 of test_it.py::test_by_id, 2 turns>"

        def test_in_one_folder(kiro):
            """By its id and not by its folder: somebody else may have been here last."""
            first = kiro.run("The word is one.")
            path = kiro.installation.path
            replies = kiro.workspace / "replies.json"
            replies.write_text('[["hm"]]')
            env = {"KIRO_API_KEY": "ksk_x", "KIRO_MOCK_CHAT_RESPONSE": str(replies)}
            kiro.workspace.exec(f"{path} chat --no-interactive 'The word is other.'", env=env).check()
            second = kiro.run("And?")
            assert second.text == "one" and second.session_id == first.session_id

        def test_a_failed_first_turn_is_not_resumed(kiro):
            failed = kiro.run("The word is lost.", check=False)
            assert failed.cause == "throttled"
            fresh = kiro.run("And?")
            assert fresh.text == "unknown" and fresh.session_id != failed.session_id
            assert fresh.warnings == (
                "this turn began the conversation anew: none before it completed, so there was nothing to resume",
            )
            third = kiro.run("And?")
            assert third.session_id == fresh.session_id and fresh.number == 2 and not third.warnings

        def test_a_failed_later_turn_is_left_behind(kiro):
            first = kiro.run("The word is kept.")
            assert not kiro.run("Hm?", check=False).ok
            third = kiro.run("And?")
            assert third.text == "kept" and third.session_id == first.session_id and third.number == 3
            assert third.messages == ("kept",)  # its own, not those before

        def test_options_of_a_conversation(kiro):
            haiku = kiro.conversation(model="claude-haiku-4.5", env={"A": "1", "B": "1"})
            turn = haiku.run("Hello.", env={"B": "2"})
            assert turn.model == "claude-haiku-4.5" and turn.tool_calls[0].output == "1 2\n"
            assert haiku.run("Hello.", model="claude-sonnet-4.5").model == "claude-sonnet-4.5"
            assert haiku.run("Hello.", model=None).model == "claude-haiku-4.5"
        ''',
        {
            "test_by_id": [RECALL] * 3 + [{**WORD, "conversation": 2}] * 2,
            "test_in_one_folder": [RECALL] * 2,
            "test_a_failed_first_turn_is_not_resumed": [turn(misbehave="throttled"), RECALL, RECALL],
            "test_a_failed_later_turn_is_left_behind": ["OK", turn(misbehave="throttled"), RECALL],
            "test_options_of_a_conversation": [turn([shell("echo $A $B")], ["Done."]), "OK", "OK"],
        },
    )


def test_what_cannot_go_on(evals: Evals) -> None:
    evals.passes(
        r"""
        import pytest
        from pytest_kiro import ConversationError, LaunchError, SandboxError, TurnTimeout
        kept = []

        def test_after_a_timeout(kiro):
            with pytest.raises(TurnTimeout):
                kiro.run("Work.", timeout=0.3)
            for run in (kiro.run, kiro.stream):
                with pytest.raises(ConversationError) as caught:
                    run("Go on.")
                assert "1 turn> cannot go on: turn 1 timed_out (out of time) in " in str(caught.value)
                assert "its time of 0.3 s was over" in str(caught.value)
                assert str(caught.value).endswith("; begin another kiro.conversation()")
            assert kiro.workspace.contents() == {}  # what it left can be looked at
            assert kiro.conversation().run("Go on.").text == "unknown"

        def test_lost(kiro):
            turn = kiro.run("Work.", check=False)
            assert (turn.status, turn.cause) == ("lost", "connection")
            assert "no exit status was kept" in turn.detail
            with pytest.raises(ConversationError, match="cannot go on: turn 1 lost .connection: infrastructure."):
                kiro.run("Go on.")
            for ask in (lambda: turn.changes, kiro.workspace.changes):  # "nothing" would be a lie
                with pytest.raises(SandboxError, match="not known.*: turn 1 lost|turn 1 lost.* is not known"):
                    ask()

        def test_a_history_that_kiro_refuses(kiro):
            first = kiro.run("Write much.")
            assert first.ok and "kiro-cli may refuse to resume it" in first.warnings[1]
            second = kiro.run("Go on.", check=False)
            assert (second.status, second.cause, second.cause.infrastructure) == ("failed", "broken history", True)
            with pytest.raises(ConversationError, match="cannot go on: turn 2 failed .broken history.*invalid conver"):
                kiro.run("Go on.")
            assert kiro.conversation().run("Go on.").text == "unknown"

        def test_without_a_workspace(kiro):
            kiro.workspace.seed({"a.txt": ""})
            turn = kiro.run("Work.", check=False)
            assert (turn.status, turn.cause, turn.changes.deleted) == ("failed", "altered", {"a.txt"})
            with pytest.raises(LaunchError, match="did not start"):
                kiro.run("Go on.")

        def test_in_flight(kiro):
            with kiro.stream("Work.") as live:
                for run in (kiro.run, kiro.stream):
                    with pytest.raises(ConversationError, match="already has a turn in flight; wait for it, or use an"):
                        run("And this.")
                assert kiro.conversation().run("Meanwhile.").text == "elsewhere"
                for _ in live:
                    pass
            assert live.turn.text == "Done."
            assert kiro.run("Now.").text == "Free."
            kept.append(live.turn)

        def test_ended(kiro):
            for use in (lambda: kept[0].conversation.run("More."), lambda: kept[0].conversation.stream("More.")):
                with pytest.raises(ConversationError, match="is over: its owner has ended and its workspace is rem"):
                    use()
            over = kept[0].workspace
            for use in (lambda: over.exec("true"), over.contents, lambda: over / "a", lambda: over.seed({"a": "b"})):
                with pytest.raises(SandboxError, match="is removed: the test or fixture that it was of has ended; a f"):
                    use()
            assert kept[0].text == "Done."  # a value, whatever became of its machine
        """,
        {
            "test_after_a_timeout": [turn(misbehave="silent"), turn([RECALL], conversation=2)],
            "test_a_history_that_kiro_refuses": [
                turn(
                    ["", shell("true"), call("write", command="create", path="a", content="a")],
                    ["OK"],
                    misbehave="withheld",
                ),
                "never",
                {**WORD, "conversation": 2},
            ],
            "test_lost": [
                turn([shell('rm -rf "${KIRO_MOCK_CHAT_RESPONSE%/*}"; kill -9 $(ps -o ppid= $(ps -o ppid= $PPID))')])
            ],
            "test_without_a_workspace": [turn([shell('rm -rf "$PWD"')], ["Done."]), "OK"],
            "test_in_flight": [
                turn(["Done."], misbehave={"silent": 0.5}),
                "Free.",
                turn(["elsewhere"], conversation=2),
            ],
        },
    )


def test_a_lock_that_a_killed_turn_has_left_is_in_nobodys_way(evals: Evals) -> None:
    busy = {"requests": [["Hello."], ["x"]], "misbehave": {"hangs": True, "ignores_signals": True}}
    evals.passes(
        """
        import json
        import pytest

        @pytest.mark.parametrize("how", ["interrupted", "terminated", "killed", "crashed"])
        def test_goes_on(kiro, how):
            first = kiro.run("The word is one.")
            broken = kiro.run("Go.", check=False, stop_when=lambda live: how != "crashed" and "Hello." in live.output)
            lock = f"{kiro.workspace.home}/.kiro/sessions/cli/{first.session_id}.lock"
            code = {"interrupted": 130, "terminated": 143, "crashed": 139}.get(how)
            assert broken.status == ("failed" if how == "crashed" else "stopped")
            assert broken.exit_code == code or (code is None and broken.exit_code in (None, 137))
            assert kiro.sandbox.exec(f"cat {lock}").ok is (how != "interrupted"), "the test shows nothing"
            third = kiro.run("And?")
            assert (third.text, third.session_id) == ("one", first.session_id)
            assert not kiro.sandbox.exec(f"cat {lock}").ok

        def test_of_a_living_one_is_left(kiro):
            first = kiro.run("The word is one.")
            lock = f"{kiro.workspace.home}/.kiro/sessions/cli/{first.session_id}.lock"
            kiro.sandbox.write_file(lock, json.dumps({"pid": 1}).encode())
            refused = kiro.run("And?", check=False)
            assert (refused.status, refused.cause) == ("failed", "session in use")
            assert "Session is active in another process (PID 1)" in refused.detail
        """,
        {
            "test_goes_on[interrupted]": ["OK.", {**busy, "misbehave": {"hangs": True}}, WORD],
            "test_goes_on[terminated]": [
                "OK.",
                {**busy, "misbehave": {"hangs": True, "ignores_interrupt": True}},
                WORD,
            ],
            "test_goes_on[killed]": ["OK.", busy, WORD],
            "test_goes_on[crashed]": ["OK.", {"requests": [["Hello."]], "misbehave": "crash"}, WORD],
            "test_of_a_living_one_is_left": ["OK.", WORD],
        },
    )


def test_threads(evals: Evals) -> None:
    evals.passes(
        """
        from concurrent.futures import ThreadPoolExecutor
        from pytest_kiro import ConversationError

        def test_two_conversations_at_once(kiro):
            made = [kiro.conversation() for _ in range(2)]
            with ThreadPoolExecutor() as pool:
                turns = list(pool.map(lambda one: one.run("Hello."), made))
            assert [turn.text for turn in turns] == ["first", "second"]

        def test_one_conversation_twice_at_once(kiro):
            def run(prompt):
                try:
                    return kiro.run(prompt)
                except ConversationError as error:
                    return error
            kiro.workspace
            with kiro.stream("Hello.") as live, ThreadPoolExecutor() as pool:
                refused = list(pool.map(run, ["And?", "And?"]))
                for _ in live:
                    pass
            assert live.turn.ok and [type(error) for error in refused] == [ConversationError] * 2
            assert live.turn.conversation.turns == [live.turn]
        """,
        {
            "test_two_conversations_at_once": ["first", turn(["second"], conversation=2)],
            "test_one_conversation_twice_at_once": [turn(["OK"], misbehave={"silent": 0.5})],
        },
    )


def test_the_machine_is_gone(evals: Evals) -> None:
    evals.write(
        "test_it.py",
        """
        def test_gone(kiro):
            turn = kiro.run("Work.", check=False)
            assert (turn.status, turn.cause) == ("lost", "connection")
            assert turn.cause.infrastructure and "is gone" in turn.detail

        def test_next(kiro):
            kiro.run("Hello.")
        """,
        {"test_gone": [turn([shell('rm -rf "${HOME%/users/*}"')], ["Done."])], "test_next": ["OK"]},
    )
    result = evals.run()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["E *SandboxError: sandbox * is gone: * was removed*", "*leaked 0"])


def test_nobody_can_take_the_turn(evals: Evals) -> None:
    evals.note()
    evals.write(
        "conftest.py",
        """
        import pytest
        from note import note
        from pytest_kiro import ConversationError

        kept = []

        def attempt(where):
            try:
                kept[0].run("Hello.")
            except ConversationError as error:
                note(where, error)

        @pytest.fixture(scope="session", autouse=True)
        def keep(kiro):
            kept.append(kiro)

        def pytest_runtest_logfinish():
            attempt("logfinish:")

        def pytest_sessionfinish():
            attempt("sessionfinish:")

        def pytest_kiro_turn_started(kiro, prompt):
            attempt("turn_started:")

        def pytest_kiro_turn_finished(kiro, turn):
            attempt("turn_finished:")
        """,
    )
    evals.write(
        "test_it.py", "def test_one(kiro):\n    kiro.run('Hello.')\n    kiro.run('Hello.')", {"test_one": ["OK"] * 2}
    )
    evals.run().assert_outcomes(passed=1)
    nobody = "no test and no fixture is running, so no conversation can take this turn; call kiro.run in a test or in"
    in_flight = "<Conversation 1 of test_it.py::test_one, {}> already has a turn in flight; wait for it"
    wanted = [
        f"turn_started: {in_flight.format('0 turns')}",
        f"turn_finished: {in_flight.format('1 turn')}",
        f"turn_started: {in_flight.format('1 turn')}",
        f"turn_finished: {in_flight.format('2 turns')}",
        f"logfinish: {nobody}",
        f"sessionfinish: {nobody}",
    ]
    assert [line[: len(start)] for line, start in zip(evals.story, wanted, strict=True)] == wanted


def test_at_import_there_is_no_kiro(evals: Evals) -> None:
    evals.write("test_it.py", "import pytest_kiro\npytest_kiro.kiro.run('Hello.')\n")
    result = evals.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["E   AttributeError: module 'pytest_kiro' has no attribute 'kiro'*"])


def test_threads_that_begin_at_once(evals: Evals) -> None:
    """Whoever is first makes the conversation and the workspace; nobody makes another one."""
    evals.passes(
        """
        import sys
        from concurrent.futures import ThreadPoolExecutor
        from threading import Barrier
        from pytest_kiro import ConversationError

        def at_once(*acts):
            barrier, interval = Barrier(len(acts)), sys.getswitchinterval()
            sys.setswitchinterval(1e-6)
            try:
                with ThreadPoolExecutor(len(acts)) as pool:
                    return list(pool.map(lambda act: (barrier.wait(30), act())[1], acts))
            finally:
                sys.setswitchinterval(interval)

        def test_workspace(kiro):
            spaces = at_once(*[lambda: kiro.workspace] * 8)
            assert len(set(map(id, spaces))) == 1

        def test_run(kiro):
            def run():
                try:
                    return kiro.run("Hello.").text
                except ConversationError:
                    return "refused"
            assert sorted(at_once(*[run] * 8)) == ["OK"] + ["refused"] * 7
            assert len(kiro._current_owner().conversations) == 1
        """,
        {"test_run": [turn(["OK"], misbehave={"silent": 1})]},
    )


def test_alternatives_are_drawn_by_the_seed(evals: Evals) -> None:
    """In one run as in the next, whatever the order; by another seed others."""
    file = evals.write(
        "test_it.py",
        """
        import pathlib, pytest

        @pytest.mark.parametrize("case", "bcde")
        def test_it(kiro, case):
            with pathlib.Path(__file__).with_name("answers").open("a") as answers:
                answers.write(f"{case} {kiro.run('Go.').text}\\n")
        """,
        {"test_it": [turn(["yes"], chance=0.5), "no"]},
    )

    def answers(*args: str) -> list[str]:
        evals.run(*args).assert_outcomes(passed=4)
        answered = file.with_name("answers")
        lines = sorted(answered.read_text().splitlines())
        answered.unlink()
        return lines

    cases = [f"test_it.py::test_it[{case}]" for case in "edcb"]
    by_default = answers()
    assert {line[2:] for line in by_default} == {"yes", "no"}
    assert answers("--kiro-scenario-seed=1", *cases) == by_default
    assert answers("--kiro-scenario-seed=2") != by_default
