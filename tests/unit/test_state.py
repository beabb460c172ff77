"""What is prepared in a HOME before kiro-cli starts, through a real `sh`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as settings_of
from hypothesis import strategies as st

from pytest_kiro.agent.answered import not_as_asked
from pytest_kiro.agent.request import RunOptions
from pytest_kiro.kirocli import state
from pytest_kiro.kirocli.commands import ENGINES
from pytest_kiro.turn.transcript import Transcript

linux = pytest.mark.skipif(sys.platform != "linux", reason="without /proc nothing tells when a process began")


def unlock(home: Path, before: str = "", *, alone: bool = True) -> None:
    text = before + state.unlocking(ENGINES["v2"], "s-1", {}, "/w", str(home), alone=alone)
    done = subprocess.run(["sh", "-ec", text], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), "it is no reason for a turn to fail"


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    lock = tmp_path / ".kiro/sessions/cli/s-1.lock"
    lock.parent.mkdir(parents=True)
    return lock


@pytest.fixture(scope="module")
def dead() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.fixture(scope="module")
def living() -> Iterator[int]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process.pid
        process.kill()


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def text(pid: object, **more: object) -> str:
    return json.dumps({"pid": pid, "started_at": "2026-06-11T23:26:46.268779Z", **more})


@pytest.mark.parametrize("spaced", [False, True], ids=["compact", "indented"])
def test_a_dead_process_holds_no_session(tmp_path: Path, lock: Path, dead: int, spaced: bool) -> None:
    lock.write_text(json.dumps(json.loads(text(dead)), indent=2) if spaced else text(dead))
    unlock(tmp_path, alone=False)
    assert not lock.exists()


def test_a_living_process_keeps_its_session(tmp_path: Path, lock: Path, living: int) -> None:
    for pid in (living, os.getpid(), 1):
        lock.write_text(text(pid))
        unlock(tmp_path)
        assert lock.exists(), pid


def test_a_process_of_somebody_else_lives(tmp_path: Path, lock: Path) -> None:
    lock.write_text(text(12927))
    unlock(tmp_path, "kill() { echo 'kill: (12927) - Operation not permitted' >&2; return 1; }\n")
    assert lock.exists()


@linux
def test_a_number_that_another_process_has_by_now_holds_nothing(tmp_path: Path, lock: Path, living: int) -> None:
    lock.write_text(text(living))
    age(lock, 3600)
    unlock(tmp_path)
    assert not lock.exists()


@linux
def test_what_may_be_kiro_itself_keeps_its_session_whatever_the_clock_says(tmp_path: Path, lock: Path) -> None:
    with subprocess.Popen(["kiro-cli-chat", "600"], executable="/bin/sleep") as process:
        lock.write_text(text(process.pid))
        age(lock, 3600)
        unlock(tmp_path)
        process.kill()
    assert lock.exists()


@linux
def test_one_that_nobody_has_waited_for_is_dead(tmp_path: Path, lock: Path) -> None:
    with subprocess.Popen(["kiro-cli-chat", "600"], executable="/bin/sleep") as process:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        lock.write_text(text(process.pid))
        unlock(tmp_path)
    assert not lock.exists()


@pytest.mark.parametrize(("alone", "seconds", "kept"), [(True, 60, False), (True, 0, True), (False, 60, True)])
def test_an_empty_lock_is_of_one_that_died_as_it_wrote_it(
    tmp_path: Path, lock: Path, alone: bool, seconds: int, kept: bool
) -> None:
    """Only in a HOME that others' sessions are not in; and a living one may be about to write it."""
    lock.touch()
    age(lock, seconds)
    unlock(tmp_path, alone=alone)
    assert lock.exists() is kept


@pytest.mark.parametrize(("host", "kept"), [("elsewhere", True), (socket.gethostname(), False)])
def test_of_another_host_nothing_is_known(tmp_path: Path, lock: Path, dead: int, host: str, kept: bool) -> None:
    lock.write_text(text(dead, hostname=host))
    age(lock, 60)
    unlock(tmp_path)
    assert lock.exists() is kept


@pytest.mark.parametrize("pid", ["x", -1, 0, "0123", 1.5, None, [1]], ids=str)
def test_what_is_no_number_is_nobodys_to_remove(tmp_path: Path, lock: Path, pid: object) -> None:
    lock.write_text(text(pid))
    age(lock, 60)
    unlock(tmp_path, alone=False)
    assert lock.exists()


def test_a_link_a_folder_and_a_pipe_are_left_and_not_followed(tmp_path: Path, lock: Path, dead: int) -> None:
    target = tmp_path / "elsewhere.lock"
    target.write_text(text(dead))
    lock.symlink_to(target)
    unlock(tmp_path)
    assert lock.is_symlink()
    assert target.exists()
    lock.unlink()
    lock.mkdir()
    unlock(tmp_path)
    lock.rmdir()
    os.mkfifo(lock)
    unlock(tmp_path)
    assert lock.exists()


def test_where_the_lock_is(tmp_path: Path) -> None:
    """Beside the session, which KIRO_HOME moves; an engine that was not seen to lock has none, nor a first turn."""

    def where(engine: str, session: str | None, **env: str) -> str:
        return state.unlocking(ENGINES[engine], session, env, "/w", "/h", alone=True).partition("\n")[0]

    assert where("v2", "s-1") == "unlock_file=/h/.kiro/sessions/cli/s-1.lock"
    assert where("v2", "s-1", KIRO_HOME="/k") == "unlock_file=/k/sessions/cli/s-1.lock"
    assert [where("v2", None), where("v2", "../s"), where("v1", "s-1"), where("v3", "s-1")] == [""] * 4


# -- what answers


def test_the_agents_version_is_that_of_its_package() -> None:
    engine, path = ENGINES["v3"], "/h/.local/share/kiro-cli/kas/2.29.0-ab/node_modules/@kiro/agent/package.json"
    assert state.package_version(engine, {"/h/a": b"", path: b'{"version": "0.66.26"}'}) == "0.66.26"
    for content in (b"", b"[", b"[]", b'{"version": 1}', b'{"version": "a b"}', b'{"version": "%s"}' % (b"1" * 99)):
        assert state.package_version(engine, {path: content}) is None
    assert state.package_version(ENGINES["v2"], {path: b'{"version": "0.66.26"}'}) is None
    assert state.package_files(ENGINES["v2"], "2.29.0") == ()
    assert state.package_files(engine, "2.29.0$(x) *")[0].startswith(".local/share/kiro-cli/kas/2.29.0??x???-*/")


def test_another_effort_than_was_asked_for_is_told() -> None:
    def told(asked: str | None, answered: str | None) -> list[str]:
        return list(not_as_asked(RunOptions(timeout=1, effort=asked), Transcript("", effort=answered)))

    assert told("high", "low") == ["effort high was asked for, and the session says low"]
    assert [told("high", "high"), told("high", None), told(None, "low")] == [[]] * 3


@pytest.mark.parametrize(
    ("env", "features"),
    [
        ({}, ()),
        ({"KIRO_ROLLOUT_FEATURES": "b, a;b", "KIRO_ENABLED_FEATURES": "c"}, ("a", "b", "c")),
        ({"KIRO_FEATURE_MEMORY_EXTERNAL_ENABLED": "true", "KIRO_FEATURE_X_ENABLED": "0"}, ("memory_external", "x=0")),
        ({"KIRO_FEATURE_CASCADE_CONFIG": '{"a": 1}', "KIRO_HOME": "/k"}, ('cascade_config={"a": 1}',)),
    ],
    ids=str,
)
def test_features_by_the_environment(env: dict[str, str], features: tuple[str, ...]) -> None:
    assert state.switched(" ", env, ()) == features
    assert state.switched("z ", env, ["a"]) == tuple(sorted({*features, "a", "z"}))


# -- memory

OFF = {"memory.mode": "disabled", "memory.reflection": False, "memory.enabled": False}
ON = {"memory.mode": "read_write", "memory.reflection": True, "memory.enabled": True}


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    settings = tmp_path / ".kiro/settings/cli.json"
    settings.parent.mkdir(parents=True)
    return settings


def remember(home: Path, *, memory: bool, alone: bool = True) -> None:
    text = state.remembering(ENGINES["v3"], {}, str(home), memory=memory, alone=alone)
    done = subprocess.run(["sh", "-ec", text], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "old",
    [
        {},
        {"a": 1},
        {"memory.mode": "read_write"},
        {"memory.mode": "read_only", "a": [1, {"b": "{,}"}]},
        {"a": "x", "memory.mode": None, "memory.reflection": True},
        {"a": {"b": {}}, "memory.enabled": True, "é": 'it says "memory.mode": "read_write", or so', "z": "\\"},
        {"memory.model": "kept", "my.memory.mode": "kept"},
        OFF,
        ON,
    ],
    ids=json.dumps,
)
@pytest.mark.parametrize("indent", [None, 2], ids=["line", "lines"])
def test_the_memory_is_switched_and_all_else_is_kept(
    tmp_path: Path, settings: Path, old: dict[str, object], indent: int | None
) -> None:
    settings.write_text(json.dumps(old, ensure_ascii=False, indent=indent))
    for memory, wanted in ((False, OFF), (True, ON), (False, OFF)):
        remember(tmp_path, memory=memory)
        assert json.loads(settings.read_text()) == {**old, **wanted}
    assert [path.name for path in settings.parent.iterdir()] == ["cli.json"]


@pytest.mark.parametrize("old", [None, "", "  \n"], ids=repr)
def test_where_there_are_no_settings_there_are_some_now(tmp_path: Path, settings: Path, old: str | None) -> None:
    if old is None:
        settings.parent.rmdir()
    else:
        settings.write_text(old)
    remember(tmp_path, memory=False)
    assert json.loads(settings.read_text()) == OFF


def test_settings_that_say_it_are_not_written_again_but_those_that_take_it_back(tmp_path: Path, settings: Path) -> None:
    remember(tmp_path, memory=False)
    before = settings.stat()
    remember(tmp_path, memory=False)
    assert (settings.stat().st_ino, settings.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    settings.write_text(settings.read_text().replace("}", ',"memory.mode":"read_write"}'))
    remember(tmp_path, memory=False)
    assert json.loads(settings.read_text()) == OFF


@pytest.mark.parametrize("old", ["[1]", "nothing", '{"a": 1'])
def test_what_is_no_object_stays_as_it_is(tmp_path: Path, settings: Path, old: str) -> None:
    settings.write_text(old)
    remember(tmp_path, memory=False)
    assert settings.read_text() == old


@pytest.mark.parametrize("up", [0, 1, 2])
def test_no_link_to_settings_is_followed(tmp_path: Path, settings: Path, up: int) -> None:
    settings.write_text("{}")
    link = [settings, *settings.parents][up]
    link.rename(tmp_path / "elsewhere")
    link.symlink_to(tmp_path / "elsewhere")
    remember(tmp_path, memory=False)
    assert link.is_symlink()
    assert settings.read_text() == "{}"


def test_a_pipe_in_the_place_of_settings_holds_nothing_up(tmp_path: Path, settings: Path) -> None:
    os.mkfifo(settings)
    remember(tmp_path, memory=False)


@pytest.mark.parametrize("inner", ["", "/memories.jsonl"], ids=["folder", "file"])
@pytest.mark.parametrize(("memory", "alone", "kept"), [(True, True, False), (True, False, True), (False, True, True)])
def test_a_memory_that_is_a_link_is_one_of_its_own_again(
    tmp_path: Path, settings: Path, inner: str, memory: bool, alone: bool, kept: bool
) -> None:
    """Only where it is used, and is one test's: where it leads, another test's may lead as well."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "memories.jsonl").write_text("{}")
    link = tmp_path / f".kiro/memories{inner}"
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(f"{theirs}{inner}")
    remember(tmp_path, memory=memory, alone=alone)
    assert link.is_symlink() is kept
    assert (theirs / "memories.jsonl").exists()


def test_what_is_known_of_the_memory() -> None:
    places = ("/h/cli.json", "/w/cli.json")

    def known(
        engine: str, files: dict[str, object] | None, *, memory: bool = False, alone: bool = True, **env: str
    ) -> tuple[str, str]:
        brought = None if files is None else {path: str(text).encode() for path, text in files.items()}
        return state.memory_of(ENGINES[engine], env, brought, places, memory=memory, alone=alone)

    off, on = ({"/h/cli.json": json.dumps(settings)} for settings in (OFF, ON))
    assert known("v3", off) == ("off", "")
    assert known("v3", on, memory=True) == ("on", "")
    assert known("v3", None) == ("unknown", "")
    assert [known("v1", None), known("v2", None)] == [("off", "")] * 2
    assert known("v2", None, memory=True) == ("off", "memory=True: engine v2 has no memory")
    memory, doubt = known("v3", on, memory=True, alone=False)
    assert (memory, "--kiro-home=shared" in doubt) == ("on", True)
    for files, env, why in [
        (on, {}, 'memory.mode should be disabled, and /h/cli.json says "read_write"'),
        ({}, {}, "/h/cli.json does not say it"),
        ({"/h/cli.json": "[1]"}, {}, "/h/cli.json does not say it"),
        ({"/h/cli.json": "[" * 100_000}, {}, "/h/cli.json does not say it"),
        ({**off, "/w/cli.json": json.dumps(ON)}, {}, '/w/cli.json says "read_write"'),
        (off, {"KIRO_HOME": "/k"}, "KIRO_HOME moves its settings"),
    ]:
        memory, doubt = known("v3", files, **env)  # type: ignore[arg-type] # mypy takes the variables for the keywords
        assert (memory, why in doubt) == ("unknown", True), doubt
    assert known("v3", {**off, "/w/cli.json": '{"a": 1}'}) == ("off", "")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.dictionaries(st.text(), inner)
)


@settings_of(max_examples=100, database=None)
@given(st.binary() | JSON.map(lambda value: json.dumps({"memory.mode": value, "version": value}).encode()))
def test_no_file_of_the_sandboxs_is_an_error(data: bytes) -> None:
    engine, package = ENGINES["v3"], "/h/kas/node_modules/@kiro/agent/package.json"
    memory, doubt = state.memory_of(engine, {}, {"/h/cli.json": data}, ("/h/cli.json",), memory=True, alone=True)
    assert (memory, bool(doubt)) in [("unknown", True), ("on", False)]
    assert len(doubt) < 300
    assert len(state.package_version(engine, {package: data}) or "") <= 60


def test_where_nothing_is_remembered_nothing_is_written() -> None:
    for engine, env in (("v1", {}), ("v2", {}), ("v3", {"KIRO_HOME": "/k"})):
        assert state.remembering(ENGINES[engine], env, "/h", memory=True, alone=True) == ""
    assert [state.settings_files(ENGINES[engine], "/w") for engine in ("v1", "v2")] == [(), ()]
