"""What tests leave that came to no end: by Ctrl-C, pytest-timeout, a worker's death, and what cannot be written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from artifact_runs import NO_CACHE, folders, index, latest, shown
from eval_runs import Evals, shell, turn, write

#: It waits in its second turn, when the harness has read what was printed.
WAITS = """
    import os
    import pytest

    def stopped_here(kiro):
        kiro.run("Begin.")
        with kiro.stream("Go on.") as live:
            for chunk in live:
                if "Half of it." in live.output:
                    {here}

    def test_it(kiro):
        stopped_here(kiro)
"""
TABLES = {
    "test_it": [
        turn(["Begun.", write("a.txt", "a\n")]),
        turn([write("half.txt", "half\n")], ["Half of it.", shell("sleep 600")]),
    ]
}
STAGE = "open(os.environ['STAGE'], 'w').close()"
#: What pytest-timeout's time is out by at once: its timer's signal, or what its timer's thread would do.
OUT_OF_TIME = {
    "signal": "signal.setitimer(signal.ITIMER_REAL, 0.01)",
    "thread": """\
for timer in threading.enumerate():
                        if timer.name.startswith("pytest_timeout"):
                            threading.Thread(target=timer.function, args=timer.args).start()""",
}


def broken_off(evals: Evals, run: Path) -> None:
    """Look at what the test has left."""
    folder = folders(run)["test_it"]
    told = index(folder)["conversations"][0]
    assert [(one["status"], one["turn"], one["cast"]) for one in told["turns"]] == [
        ("completed", "turn-1.json", "turn-1.cast"),
        ("broken off", None, "turn-2.cast"),
    ]
    assert "Half of it." in shown(folder / "conversation-1/turn-2.cast")
    transcript = (folder / "conversation-1/transcript.txt").read_text()
    assert "turn 2 was broken off" in transcript
    assert "| Half of it." in transcript
    assert told["files"] == ["a.txt", "half.txt"]
    assert (folder / "conversation-1/files/half.txt").read_text() == "half\n"
    assert index(folder)["left_out"][0].startswith("of the turn that was broken off: its changes")


@pytest.mark.parametrize("workers", [(), ("-n1",)], ids=["alone", "xdist"])
def test_ctrl_c(evals: Evals, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]) -> None:
    monkeypatch.setenv("STAGE", str(evals.stage))
    evals.write("test_it.py", WAITS.format(here=STAGE), TABLES)
    child = evals.start(*NO_CACHE, *workers)
    evals.reaches_its_stage()
    child.sendintr()
    status, printed = evals.ends(child)
    assert status == pytest.ExitCode.INTERRUPTED, printed
    run = latest(evals)
    broken_off(evals, run)
    facts = json.loads((run / "run.json").read_text())
    assert (facts["exit_status"], facts["ended"] is not None) == (2, True)
    assert f"artifacts: kiro-results/{run.name}" in printed
    assert index(folders(run)["test_it"])["outcome"] == "unfinished"


def test_pytest_timeout(evals: Evals) -> None:
    """By its signal the test fails; by its thread the whole process ends."""

    def run(method: str) -> pytest.RunResult:
        source = WAITS.format(here=OUT_OF_TIME[method]).replace("import os", "import signal, threading")
        evals.write("test_it.py", source, TABLES)
        return evals.process(*NO_CACHE, "--timeout=60", "-o", "timeout_func_only=true", f"--timeout-method={method}")

    result = run("signal")
    result.assert_outcomes(failed=1)
    broken_off(evals, latest(evals))
    assert f"\n{folders(latest(evals))['test_it'].relative_to(evals.path)}\n" in result.stdout.str()
    result.stdout.fnmatch_lines(["*- kiro turn that was broken off -*", "turn 2 had printed * lines:", "| Half of it."])
    failure = re.split("-{9} (?:Captured|kiro)", result.stdout.str().partition("= FAILURES =")[2])[0]
    assert "Failed: Timeout (>60.0s) from pytest-timeout." in failure
    assert "pytest_kiro/" not in failure, "it fails in the test's line"
    assert run("thread").ret != 0
    run = latest(evals)
    assert "Half of it." in shown(folders(run)["test_it"] / "conversation-1/turn-2.cast")
    told = index(folders(run)["test_it"])
    assert [one["status"] for one in told["conversations"][0]["turns"]] == ["completed", "unfinished"]
    assert json.loads((run / "run.json").read_text())["ended"] is None
    evals.passes("def test_it(kiro): pass", {})  # which removes the other's sandbox


def test_a_wide_fixtures_turn(evals: Evals) -> None:
    source = WAITS.format(here="raise SystemExit").replace(
        "def test_it(kiro):", "@pytest.fixture(scope='module')\n    def shop(kiro):"
    )
    evals.write("test_it.py", f"{source}\n    def test_it(shop): pass", {"fixture:shop": TABLES["test_it"]})
    result = evals.run(*NO_CACHE)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*- kiro turn that was broken off -*", "turn 2 had printed * lines:", "| Half of it."])
    kept = folders(latest(evals))
    assert index(kept["test_it"])["fixtures"] == [f"../{kept['fixture-shop'].name}"]
    assert "Half of it." in shown(kept["fixture-shop"] / "conversation-1/turn-2.cast")


def test_a_worker_that_dies(evals: Evals, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was writing is put in order, what another one writes meanwhile is left alone.

    The secret in its last words is torn apart by colours, which is seen when all of them are there.
    """
    key = "ksk_0123456789abcdef"
    monkeypatch.setenv("KIRO_API_KEY", key)
    torn = f"{key[:9]}\x1b[1m{key[9:]}"
    said = turn([f"{torn} Half of it.", shell("sleep 600")])
    dead = f"{evals.path}/kiro-results/latest/test_it.py-test_it-*/failure.txt"
    waits = shell(f"for n in $(seq 600); do ls {dead} && exit; sleep 0.1; done")
    slow = f"""
    def test_slow(kiro):
        with kiro.stream("Go on.") as live:
            live.expect("First words.")
            open({str(evals.stage)!r}, "w").close()
            live.finish()
        assert 0
    """
    dies = f"[os.path.exists({str(evals.stage)!r}) or __import__('time').sleep(0.1) for _ in range(600)]"
    here = f"{dies}; os.kill(os.getpid(), 9)"
    tables = {
        "test_it": [TABLES["test_it"][0], said],
        "test_slow": [turn([f"{torn} First words.", waits], ["Later words."])],
    }
    evals.write("test_it.py", WAITS.format(here=here) + slow, tables)
    junit, results = evals.tmp / "junit.xml", evals.tmp / "results.json"
    result = evals.process(*NO_CACHE, "-n2", f"--junit-xml={junit}", f"--kiro-results={results}")
    result.assert_outcomes(failed=2)
    assert "Later words." in shown(folders(latest(evals))["test_slow"] / "conversation-1/turn-1.cast")
    folder = folders(latest(evals))["test_it"]
    path = str(folder.relative_to(evals.path))
    assert "[KIRO_API_KEY] Half of it." in shown(folder / "conversation-1/turn-2.cast")
    assert index(folder)["outcome"] == "failed"
    died = index(folder)["worker"].removeprefix("gw")
    assert "crashed" in (folder / "failure.txt").read_text()
    assert (
        f"\nworker 'gw{died}' crashed while running 'test_it.py::test_it'\nartifacts: {path}\n" in result.stdout.str()
    )
    assert f"artifacts: {path}</error>" in junit.read_text()
    assert path in [test["artifacts"] for test in json.loads(results.read_text())["tests"]]


def test_names_attempts_and_trials_on_two_workers(evals: Evals) -> None:
    """Whatever tests are called, each has a folder of its own in the one of the run."""
    told = "def test_told(request): assert request.config.workerinput['kiro_artifacts'].startswith('/')"
    evals.write("test_told.py", told)
    ids = ["../../../etc/passwd", "..", "a/b", "a-b", "x" * 300, "试" * 200, "-", "a\\b", " "]
    source = f"""
        import pytest

        @pytest.mark.parametrize("name", range({len(ids)}), ids={ids!r})
        def test_named(kiro, name):
            assert 0

        @pytest.mark.kiro_trials(3, pass_rate=0.1)
        def test_rate(kiro, kiro_trial):
            assert kiro_trial == 2

        TRIES = []

        @pytest.mark.flaky(reruns=1)
        def test_flaky(kiro):
            kiro.run("Hello.")
            TRIES.append(1)
            assert len(TRIES) == 2
    """
    evals.write("test_it.py", source, {"test_flaky": ["Hello."]})
    result = evals.process(*NO_CACHE, "-n2", "--kiro-all-trials")
    assert result.parseoutcomes()["failed"] == len(ids), result.stdout.str()
    top = evals.path / "kiro-results"
    assert sorted(path.name for path in top.iterdir()) == sorted([".gitignore", "latest", latest(evals).name])
    names = [path.name for path in latest(evals).iterdir() if path.is_dir()]
    assert [name for name in names if not name.startswith("test_it.py-test_")] == [], "a parameter's / divides nothing"
    kept = [index(folder) for folder in latest(evals).iterdir() if folder.is_dir()]
    assert len(kept) == len(ids) + 2 + 1
    named = [one for one in kept if "test_named" in one["nodeid"]]
    assert len({one["nodeid"] for one in named}) == len(ids)
    assert {one["worker"] for one in kept} == {"gw0", "gw1"}
    assert sorted(one["trial"] for one in kept if "test_rate" in one["nodeid"]) == [1, 3]
    flaky = next(one for one in kept if "test_flaky" in one["nodeid"])
    assert (flaky["attempt"], flaky["outcome"]) == (1, "failed")


def test_where_nothing_can_be_written(evals: Evals) -> None:
    """What nobody asked for is no reason to stop; what was asked for is."""
    evals.write("test_it.py", "def test_it(kiro):\n    kiro.run('Hello.')\n    assert 0", {"test_it": ["Hello."]})
    (evals.path / "kiro-results").write_text("a file")
    result = evals.run(*NO_CACHE)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*- kiro artifacts -*", "could not be written: File exists: */kiro-results"])
    named = evals.run(*NO_CACHE, "--kiro-artifacts-dir=test_it.py/artifacts")
    assert named.ret == pytest.ExitCode.USAGE_ERROR
    named.stderr.fnmatch_lines(
        ["ERROR: --kiro-artifacts-dir: */test_it.py/artifacts cannot be written: Not a directory; *"]
    )
    source = """
        import shutil

        def test_it(kiro):
            kiro.run("Hello.")
            shutil.rmtree("kiro-results")
            kiro.run("Hello.")
            assert 0
    """
    (evals.path / "kiro-results").unlink()
    evals.write("test_it.py", source, {"test_it": ["Hello.", "Hello again."]})
    evals.run(*NO_CACHE).assert_outcomes(failed=1)
    run = next((evals.path / "kiro-results").glob("2*"))
    assert "Hello again." in shown(folders(run)["test_it"] / "conversation-1/turn-2.cast")


def test_secrets_are_in_no_file(evals: Evals, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "ksk_0123456789abcdef"
    monkeypatch.setenv("KIRO_API_KEY", key)
    torn = f"{key[:9]}\x1b[31m{key[9:]}\x1b[0m"
    source = """
        import os

        def test_it(kiro, kiro_artifacts):
            key = os.environ["KIRO_API_KEY"]
            print(key)
            kiro.run(f"The key is {key}.")
            kiro.workspace.exec(f"echo {key}")
            kiro.run("Go on.")
            assert key == 1
    """
    said = turn([f"{key} {torn}", write(f"{key}.txt", f"{key}\n"), shell(f"echo {key}")])
    evals.write("test_it.py", source, {"test_it": [said, turn([torn])]})
    evals.run(*NO_CACHE).assert_outcomes(failed=1)
    run = latest(evals)
    files = [file for file in run.rglob("*") if file.is_file()]
    assert len(files) >= 10
    for file in files:
        assert key not in str(file)
        assert key.encode() not in file.read_bytes(), file
        assert key[9:].encode() not in file.read_bytes(), file
    place = folders(run)["test_it"] / "conversation-1"
    assert (place / "files/[KIRO_API_KEY].txt").read_text() == "[KIRO_API_KEY]\n"
    assert "[KIRO_API_KEY]" in shown(place / "turn-2.cast")


def test_what_answers_otherwise(evals: Evals) -> None:
    """Of a recording as of Kiro, of events as of text; a self-check leaves nothing."""
    source = """
        def test_it(kiro):
            kiro.run("Write a.txt.")
            assert (kiro.workspace / "a.txt").read_text() == "b"
    """
    evals.write("test_it.py", source, {"test_it": [turn(["Some words.", write("a.txt", "a")])]})
    for args in (
        ["--kiro-record=all", "--kiro-output=stream-json"],
        ["--kiro-replies=recording", "--kiro-output=stream-json"],
    ):
        evals.run(*NO_CACHE, *args).assert_outcomes(failed=1)
        place = folders(latest(evals))["test_it"] / "conversation-1"
        assert "Some words." in shown(place / "turn-1.cast"), args
        assert '"type"' not in shown(place / "turn-1.cast"), args
        assert (place / "files/a.txt").read_text() == "a", args
        assert index(place.parent)["conversations"][0]["turns"][0]["turn"] == "turn-1.json"
    evals.write("test_it.py", source.replace('"b"', '"a"'))
    evals.run(*NO_CACHE, "--kiro-selfcheck", "--kiro-artifacts=retain-on-failure")
    assert folders(latest(evals)) == {}
