"""A recording whose writing fails in the middle, or whose process is killed there: what was whole stays whole."""

from __future__ import annotations

import errno
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from recordings import MADE, SOURCE, keep, owner, recorded

from pytest_kiro import KiroError
from pytest_kiro.recording.draft import Draft
from pytest_kiro.recording.places import Places, content_name
from pytest_kiro.recording.store import Store
from pytest_kiro.recording.values import Recording

PLACES = Places("recordings")
#: What touches the disk.
STEPS = ("mkdir", "write_bytes", "replace", "unlink")


class Killed(BaseException):
    """Nothing of the process goes on."""


@contextmanager
def failing(patch: pytest.MonkeyPatch, at: int, error: Callable[[Path], BaseException]) -> Iterator[list[str]]:
    """Let one step fail, and, where the process was killed in it, all that come after it."""
    steps = list[str]()

    def instrumented(name: str) -> Callable[..., Any]:
        plain = getattr(Path, name)

        def step(path: Path, *args: Any, **options: Any) -> Any:
            steps.append(f"{name} {path.name}")
            killed = error is killed_in
            if len(steps) == at or (killed and len(steps) > at):
                if name == "write_bytes":
                    plain(path, args[0][: len(args[0]) // 2])
                raise error(path)
            return plain(path, *args, **options)

        return step

    with patch.context() as inner:
        for name in STEPS:
            inner.setattr(Path, name, instrumented(name))
        yield steps


def full(path: Path) -> BaseException:
    return OSError(errno.ENOSPC, "No space left on device", str(path))


def read_only(path: Path) -> BaseException:
    return OSError(errno.EROFS, "Read-only file system", str(path))


def killed_in(path: Path) -> BaseException:
    return Killed(str(path))


def record(folder: Path, *keys: tuple[int, int]) -> None:
    """Record these turns; they say another thing than those that were there before."""
    draft = Draft(PLACES.of(owner(folder)), PLACES.top(folder / "test_shop.py"), anew=True)
    try:
        for key in keys:
            turn = recorded(*key, before={"new.txt": "file 9"}, chunks=((0.5, b"new"),))
            draft.add(MADE, turn, {content_name(SOURCE, "a.py"): SOURCE}, (120, 30))
        draft.end(MADE, whole=True, outcome="failed")
    except BaseException:
        draft.release()
        raise


def outcome(work: Callable[[], None]) -> str:
    """Return what was raised."""
    try:
        work()
    except KiroError as error:
        return str(error)
    except Killed:
        return "killed"
    return ""


def whole(recording: Recording | None) -> list[bytes]:
    """What the turns of a recording say, all of whose parts can be read and are as they were written."""
    if recording is None:
        return []
    said = []
    for turn in recording.turns.values():
        said.append(b"".join(data for _, data in turn.chunks))
        assert all(recording.read(file.content) for file in turn.files if file.kind == "file")
    assert not recording.edited
    return said


@pytest.mark.parametrize("error", [full, read_only, killed_in], ids=["full", "read-only", "killed"])
@pytest.mark.parametrize("there", [False, True], ids=["new", "anew"])
def test_wherever_it_fails_what_can_be_read_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Callable[[Path], BaseException], there: bool
) -> None:
    """At every step: the old recording, or the new turns so far; never some of both, never half of one."""
    old = b"".join(data for _, data in recorded().chunks)
    for at in range(1, 100):
        folder = tmp_path / str(at)
        folder.mkdir()
        if there:
            keep(folder, recorded(), recorded(number=2))
        with failing(monkeypatch, at, error) as steps:
            said_so = outcome(lambda: record(folder, (1, 1), (1, 2)))  # noqa: B023 - it is called at once
        advice = "free space there" if error is full else "--kiro-recordings=DIR"
        expected = "killed" if error is killed_in else advice
        assert expected in said_so or at > len(steps) or steps[at - 1].startswith("unlink .lock")
        recording = Store(PLACES).recording(owner(folder))
        said = whole(recording)
        assert said in ([], [old, old], [b"new"], [b"new", b"new"])
        assert recording is None or not recording.whole or said in ([old, old], [b"new", b"new"])
        left = [path.name for path in folder.rglob("*") if path.name.startswith(".writing-")]
        assert left == [] or error is killed_in
        record(folder, (1, 1), (1, 2))  # the next run is not hindered, and clears away
        assert whole(Store(PLACES).recording(owner(folder))) == [b"new", b"new"]
        assert not [path for path in folder.rglob("*") if path.name.startswith((".writing-", ".lock"))]
        if at > len(steps):
            return
    raise AssertionError("so many steps were not meant")


def test_a_file_that_is_too_large_for_the_disk(tmp_path: Path) -> None:
    """The system says so in the middle of a write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024**2, hard))
    draft = Draft(PLACES.of(owner(tmp_path)), PLACES.top(tmp_path / "test_shop.py"), anew=True)
    try:
        with pytest.raises(KiroError, match="free space there"):
            draft.add(MADE, recorded(), {"0-large": bytes(2 * 1024**2)}, (120, 30))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        draft.release()
    assert not [path for path in tmp_path.rglob("*") if path.stat().st_size > 10_000]
