"""What a test leaves for people: `--kiro-artifacts`, the fixture `kiro_artifacts`, and what is told of them."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from xml.etree import ElementTree

from artifact_runs import NO_CACHE, folders, index, latest, shown
from eval_runs import Evals, shell, turn, write

from pytest_kiro import Turn

SOURCE = """
    import pytest

    @pytest.fixture(scope="module")
    def shop(kiro):
        return kiro.run("Build a shop.")

    @pytest.fixture
    def broken(kiro):
        kiro.run("Set up.")
        raise ValueError("no shop today")

    @pytest.fixture
    def breaks_at_its_end(kiro):
        yield
        kiro.run("Tear down.")
        raise ValueError("not closed")

    def test_wrong_name(kiro, capsys):
        print("said by the test")
        kiro.run("Write donut.py.")
        kiro.workspace.exec("true")
        kiro.run("Run it.")
        assert kiro.workspace.exec("python3 donut.py").ok

    def test_passes(kiro):
        kiro.run("Hello.")

    def test_adds(kiro, kiro_artifacts):
        kiro.run("Hello.")
        (kiro_artifacts / "mine.txt").write_text("mine")

    def test_shop(shop):
        assert shop.text == "a house"

    def test_shop_passes(shop): pass

    def test_broken(broken): pass

    @pytest.mark.xfail
    def test_known(kiro):
        kiro.run("Hello.")
        assert 0

    def test_end(kiro, breaks_at_its_end):
        kiro.run("Hello.")
"""
TABLES = {
    "test_wrong_name": [
        turn(["I'll write it.", write("doughnut.py", "print(1)\n"), shell("mkdir node_modules; touch node_modules/x")]),
        turn(["There it is: \x1b[31mred\x1b[0m"]),
    ],
    "test_passes": ["Hello."],
    "test_adds": ["Hello."],
    "fixture:shop": [turn(["The shop is built.", write("shop/a.py", "a = 1\n")])],
    "test_broken": ["Half of it is set up."],
    "test_known": ["Hello."],
    "test_end": [turn(["Hello.", write("left.txt", "left")]), "Nothing is torn down."],
}


def test_what_failed_tests_leave(evals: Evals) -> None:
    evals.write("test_it.py", SOURCE, TABLES)
    results, junit = evals.tmp / "results.json", evals.tmp / "junit.xml"
    result = evals.run(*NO_CACHE, f"--kiro-results={results}", f"--junit-xml={junit}")
    result.assert_outcomes(failed=2, errors=2, passed=4, xfailed=1)
    run = latest(evals)
    kept = folders(run)
    assert set(kept) == {"test_wrong_name", "test_adds", "test_shop", "fixture-shop", "test_broken", "test_end"}
    assert (evals.path / "kiro-results/latest").readlink() == Path(run.name)
    facts = json.loads((run / "run.json").read_text())
    assert (facts["exit_status"], facts["when"]) == (1, "retain-on-failure")
    assert facts["started"] < facts["ended"]

    wrong = kept["test_wrong_name"]
    told = index(wrong)
    assert (told["nodeid"], told["outcome"], told["attempt"]) == ("test_it.py::test_wrong_name", "failed", 1)
    assert [phase["name"] for phase in told["phases"]] == ["setup", "call", "teardown"]
    conversation = told["conversations"][0]
    assert [(one["number"], one["status"], one["prompt"]) for one in conversation["turns"]] == [
        (1, "completed", "Write donut.py."),
        (2, "completed", "Run it."),
    ]
    place = wrong / conversation["folder"]
    assert sorted(path.name for path in place.iterdir()) == sorted(
        [
            *("files", *(conversation[name] for name in ("transcript", "diff", "executed"))),
            *(one[name] for one in conversation["turns"] for name in ("turn", "cast")),
        ]
    )
    assert conversation["files"] == ["doughnut.py"]
    assert (place / "files/doughnut.py").read_text() == "print(1)\n"
    assert "+print(1)" in (place / "changes.diff").read_text()
    kept_turn = Turn.from_json(json.loads((place / "turn-1.json").read_text()))
    assert kept_turn.tool_calls[0].input["path"].endswith("doughnut.py")
    assert kept_turn.output.startswith("I'll write it.")
    assert "\x1b[31mred" in shown(place / "turn-2.cast")
    executed = json.loads((place / "executed.json").read_text())
    assert [(one["command"], one["exit_code"], one["after_turn"]) for one in executed] == [
        ("true", 0, 1),
        ("python3 donut.py", 2, 2),
    ]
    transcript = (place / "transcript.txt").read_text()
    assert "| Write donut.py." in transcript
    assert "$ python3 donut.py\n| python3: can't open file" in transcript
    assert "\x1b" not in transcript
    failure = (wrong / "failure.txt").read_text()
    assert "assert kiro.workspace.exec" in failure
    assert "said by the test" in failure

    assert [path.name for path in kept["test_adds"].iterdir()] == ["mine.txt"]
    assert (kept["test_shop"] / index(kept["test_shop"])["fixtures"][0]).resolve() == kept["fixture-shop"]
    assert (kept["fixture-shop"] / "conversation-1/files/shop/a.py").is_file()
    assert "no shop today" in (kept["test_broken"] / "failure.txt").read_text()
    assert "Half of it is set up." in shown(kept["test_broken"] / "conversation-1/turn-1.cast")
    end = index(kept["test_end"])
    assert end["outcome"] == "error"
    assert end["conversations"][0]["files"] == ["left.txt"]
    assert len(end["conversations"][0]["turns"]) == 2

    printed = result.stdout.str()
    sections = re.findall(r"^-+ kiro artifacts -+\n(.*)$", printed, re.M)
    assert {evals.path / section for section in sections} == {
        kept[name] for name in ("test_wrong_name", "test_shop", "test_broken", "test_end")
    }
    assert f"\nartifacts: kiro-results/{run.name}\n" in printed
    paths = {test["nodeid"].partition("::")[2]: test["artifacts"] for test in json.loads(results.read_text())["tests"]}
    assert {name: evals.path / path for name, path in paths.items() if path} == {
        name: folder for name, folder in kept.items() if name != "fixture-shop"
    }
    properties = {
        case.attrib["name"]: one.attrib["value"]
        for case in ElementTree.parse(junit).getroot().iter("testcase")
        for one in case.iter("property")
        if one.attrib["name"] == "kiro_artifacts"
    }
    assert properties == {name: path for name, path in paths.items() if path}


def test_what_was_executed_is_kept_without_any_turn(evals: Evals) -> None:
    source = """
        import pytest

        @pytest.fixture(scope="module")
        def tools(kiro):
            return kiro.workspace.exec("echo tools")

        def test_no_turn(kiro, tools):
            kiro.conversation().run("Hello.")
            kiro.workspace.exec("echo one").check()
            assert kiro.workspace.exec("exit 3").ok

        def test_nothing_executed(kiro):
            kiro.workspace
            assert 0

        def test_passes(kiro):
            kiro.workspace.exec("true")
    """
    evals.write("test_it.py", source, {"test_no_turn": ["Hello."]})
    evals.run(*NO_CACHE).assert_outcomes(failed=2, passed=1)
    kept = folders(latest(evals))
    assert set(kept) == {"test_no_turn", "fixture-tools", "test_nothing_executed"}
    told = index(kept["test_no_turn"])
    assert [(one["number"], len(one["turns"]), one["executed"]) for one in told["conversations"]] == [
        (1, 1, None),
        (2, 0, "executed.json"),
    ]
    place = kept["test_no_turn"] / "conversation-2"
    executed = json.loads((place / "executed.json").read_text())
    assert [(one["command"], one["exit_code"], one["after_turn"]) for one in executed] == [
        ("echo one", 0, 0),
        ("exit 3", 3, 0),
    ]
    assert told["started"] <= executed[0]["began"]
    assert "$ echo one\n| one\n" in (place / "transcript.txt").read_text()
    fixture = kept["test_no_turn"] / told["fixtures"][0]
    assert "| tools" in (fixture / "conversation-1/transcript.txt").read_text()
    assert index(kept["test_nothing_executed"])["conversations"] == []


def test_a_run_that_passes_leaves_nothing_but_its_end(evals: Evals) -> None:
    after = "from pathlib import Path\ndef test_after(): assert not [*Path('kiro-results/latest').glob('fixture-*')]"
    evals.write("test_later.py", after)
    source = """
        import pytest

        @pytest.fixture(scope="module")
        def shop(kiro): return kiro.run("Hello.")

        def test_it(shop): pass
    """
    evals.passes(source, {"fixture:shop": ["Hello."]}, *NO_CACHE, "test_it.py", "test_later.py")
    (evals.path / "test_later.py").unlink()
    evals.passes("def test_it(kiro): kiro.run('Hello.')", {"test_it": ["Hello."]}, *NO_CACHE)
    top = evals.path / "kiro-results"
    assert sorted(path.name for path in latest(evals).iterdir()) == [".written", "run.json"]
    assert (top / ".gitignore").read_text() == "*\n"
    evals.passes("def test_it(kiro): kiro.run('Hello.')", {"test_it": ["Hello."]}, *NO_CACHE, "--kiro-artifacts=on")
    on = folders(latest(evals))
    assert index(on["test_it"])["outcome"] == "passed"
    assert len([path for path in top.iterdir() if path.is_dir() and not path.is_symlink()]) == 1, "the empty one went"
    source = "def test_it(kiro, kiro_artifacts):\n    kiro.run('Hello.')\n    (kiro_artifacts / 'a').touch()\n"
    evals.passes(source, {"test_it": ["Hello."]}, "--kiro-artifacts=off", "--kiro-artifacts-dir=elsewhere")
    assert not os.path.lexists(evals.path / "elsewhere")
    evals.write("test_it.py", "def test_plain(kiro_artifacts):\n    (kiro_artifacts / 'a').touch()\n")
    evals.run(*NO_CACHE).assert_outcomes(passed=1)
    assert [path.name for path in folders(latest(evals))["test_plain"].iterdir()] == ["a"]


def test_what_is_too_much_is_named(evals: Evals) -> None:
    many = "for n in $(seq 1000 1501); do : >$n; done"
    much = "for n in 1 2 3 4 5 6 7 8 9; do head -c 4000000 /dev/zero >$n.bin; done; head -c 5000000 /dev/zero >0.bin"
    source = """
        def test_many(kiro):
            assert not kiro.run("?").changes

        def test_much(kiro):
            assert not kiro.run("?").changes
    """
    tables = {"test_many": [turn([shell(f"{many}; mkfifo 0pipe")], [""])], "test_much": [turn([shell(much)], [""])]}
    evals.write("test_it.py", source, tables)
    evals.run(*NO_CACHE).assert_outcomes(failed=2)
    there = folders(latest(evals))
    most = "33554432 bytes and 500 files are kept of a conversation"
    assert index(there["test_many"])["left_out"] == [
        "0pipe: no regular file",
        *(f"{number}: {most}" for number in (1500, 1501)),
    ]
    assert len(list((there["test_many"] / "conversation-1/files").iterdir())) == 500
    too_large = "0.bin: 5000000 bytes, and 4194304 are kept of a file"
    assert index(there["test_much"])["left_out"] == [too_large, f"9.bin: {most}"]
    assert len(list((there["test_much"] / "conversation-1/files").iterdir())) == 8
