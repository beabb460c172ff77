"""Folders that hold files of others, runs that are pruned, casts that are cut: the parts of `pytest_kiro.artifacts`."""

from __future__ import annotations

import gc
import itertools
import json
import os
import sys
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import FrameType

import pytest
from helpers import open_folder, run_python

from pytest_kiro.artifacts.cast import Cast, lines_of, settle
from pytest_kiro.artifacts.folder import WRITTEN, Folder, folder_name
from pytest_kiro.artifacts.run import KEPT, RunFolder, run_name
from pytest_kiro.secrecy.redaction import Secrets


def run_folder(top: Path, number: int) -> RunFolder:
    began = datetime(2026, 11, 29, tzinfo=UTC) + timedelta(minutes=number)
    return RunFolder(top / run_name(began, f"{number:06x}"), run_id=f"{number:06x}", when="on")


@pytest.mark.parametrize(
    "name", ["../..", "a/../../b", "..", ".", "", "x" * 999, "试" * 999, "\0", "a\nb", "\ud800", "~"]
)
def test_a_folders_name_is_one(tmp_path: Path, name: str) -> None:
    made = folder_name(name, name)
    assert made not in (".", "..")
    (tmp_path / made).mkdir()
    assert (tmp_path / made).parent == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == [made]
    assert folder_name(name, "another") != made


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "test")
    folder.write("a/b/ours.txt", b"1")
    folder.write("a/b/ours.txt", b"2")
    folder.write("top.txt", b"1")
    (folder.path / "a/theirs.txt").write_text("theirs")
    (folder.path / "there.txt").write_text("theirs")
    with pytest.raises(FileExistsError, match="not ours"):
        folder.write("there.txt", b"ours")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (folder.path / "link").symlink_to(elsewhere)
    with pytest.raises(NotADirectoryError):
        folder.write("link/a.txt", b"ours")
    Folder(folder.path).remove()  # as another process would, later
    assert sorted(str(path.relative_to(folder.path)) for path in folder.path.rglob("*")) == [
        "a",
        "a/theirs.txt",
        "link",
        "there.txt",
    ]
    assert (folder.path / "there.txt").read_text() == "theirs"
    assert list(elsewhere.iterdir()) == []


def test_no_list_leads_out_of_its_folder(tmp_path: Path) -> None:
    """Nor does a folder that has become a link."""
    for name in ("victim.txt", "other/victim.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    folder = Folder(tmp_path / "test")
    folder.write("sub/victim.txt", b"")
    (folder.path / "sub/victim.txt").unlink()
    (folder.path / "sub").rmdir()
    (folder.path / "sub").symlink_to(tmp_path / "other")
    names = ["../victim.txt", str(tmp_path / "victim.txt"), "a/../../victim.txt", 7, None, "not there"]
    with (folder.path / WRITTEN).open("a") as listed:
        listed.writelines(f"{json.dumps(name)}\n" for name in names)
        listed.write("no JSON")
    Folder(folder.path).remove()
    assert (tmp_path / "victim.txt").exists()
    assert (tmp_path / "other/victim.txt").exists()


def test_old_runs_go_and_what_others_put_there_stays(tmp_path: Path) -> None:
    top = tmp_path / "results"
    (top / "mine").mkdir(parents=True)
    (top / "mine/notes.txt").touch()
    for number in range(KEPT + 5):
        run = run_folder(top, number)
        run.begin()
        if number != 8:  # of which nothing was kept
            Folder(run.path / "test--1").write("conversation-1/turn-1.cast", b"")
        if number == 0:
            (run.path / "test--1/theirs.txt").touch()
        if number == 1:  # it was killed, an hour ago
            continue
        run.end(0)
        assert (top / "latest").resolve() == run.path
    there = {path.name for path in top.iterdir()}
    names = [run_folder(top, number).path.name for number in range(KEPT + 5)]
    assert there == {".gitignore", "latest", "mine", names[0], names[1], *names[-KEPT - 2 :]} - {names[8]}
    assert [path.name for path in (top / names[0]).rglob("*")] == ["test--1", "theirs.txt"]
    day_ago = datetime.now().timestamp() - 25 * 3600
    os.utime(top / names[1] / "run.json", (day_ago, day_ago))
    last = run_folder(top, 99)
    last.begin()
    last.end(1)
    assert not (top / names[1]).exists(), "of a run that died long ago nothing stays"
    assert json.loads((last.path / "run.json").read_text())["exit_status"] == 1


def test_latest_is_a_link_of_ours_or_stays(tmp_path: Path) -> None:
    first, second = run_folder(tmp_path, 1), run_folder(tmp_path, 2)
    first.begin()
    again = RunFolder(first.path, run_id="1", when="on")  # another worker
    again.begin()
    assert (tmp_path / "latest").readlink() == Path(first.path.name)
    second.begin()
    assert (tmp_path / "latest").readlink() == Path(second.path.name)
    (tmp_path / "latest").unlink()
    (tmp_path / "latest").write_text("mine")
    run_folder(tmp_path, 3).begin()
    assert (tmp_path / "latest").read_text() == "mine"


def test_a_folder_that_is_read_only_is_an_error_of_the_file_system() -> None:
    with open_folder() as folder:
        os.chmod(folder, 0o555)
        said = run_python(
            "import sys; sys.path.insert(0, sys.argv[2])\n"
            "from pathlib import Path\n"
            "from helpers import drop_root\n"
            "from pytest_kiro.artifacts.run import RunFolder\n"
            "import os\n"
            "os.getuid() or drop_root()\n"
            "try: RunFolder(Path(sys.argv[1]) / 'a/b', run_id='1', when='on').begin()\n"
            "except PermissionError as error: print('refused')\n",
            folder,
            str(Path(__file__).parents[1]),
        )
        os.chmod(folder, 0o777)
    assert said == "refused\n"


def interrupted(at: int, work: Callable[[], object]) -> bool:
    """Do something, with Ctrl-C at the so manieth call or return; return whether it came so far."""
    steps = itertools.count(1)

    def step(frame: FrameType, event: str, argument: object) -> None:
        # Before a call of C code Python looks for no signal, but after it.
        if event != "c_call" and frame.f_code is not interrupted.__code__ and next(steps) == at:
            raise KeyboardInterrupt

    sys.setprofile(step)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
    return False


def test_ctrl_c_leaves_no_file_open(tmp_path: Path) -> None:
    """Wherever it comes: a file that nobody has closed is a ResourceWarning."""

    def write(at: int) -> None:
        folder = Folder(tmp_path / str(at))
        folder.write("a.txt", b"text\n")
        lines_of(folder.path / "a.txt")

    write(0)
    before = len(os.listdir("/dev/fd"))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        at = next(at for at in itertools.count(1) if not interrupted(at, partial(write, at)))
        gc.collect()
    assert at > 100, "steps were counted"
    assert [str(one.message) for one in warned] == []
    assert len(os.listdir("/dev/fd")) == before


def test_a_cast_that_ctrl_c_has_found_closing_is_closed_once(tmp_path: Path) -> None:
    """Its descriptor's number may be another file's by then."""

    def end(cast: Cast) -> None:
        cast.add(1.0, b"more")
        cast.close(Secrets())

    for at in itertools.count(1):
        cast = Cast(Folder(tmp_path / str(at)), "turn-1.cast", size=(80, 24), title="", most=(100, 100))
        cast.add(0.0, b"text " * 20)
        over = not interrupted(at, partial(end, cast))
        cast.close(Secrets())  # no OSError of a descriptor that is closed
        assert len(lines_of(tmp_path / str(at) / "turn-1.cast")) >= 2
        assert not (tmp_path / str(at) / "turn-1.cast.1").exists(), "its parts are put together"
        if over:
            break


def test_a_cast_is_on_disk_at_once_and_its_middle_goes(tmp_path: Path) -> None:
    cast = Cast(Folder(tmp_path), "turn-1.cast", size=(80, 24), title="a\u2028title", most=(1000, 1000))
    euro = "€".encode()
    cast.add(0.1234, b"one " + euro[:1])
    cast.add(0.2, euro[1:] + "\u2028\x85".encode())
    assert [json.loads(line) for line in lines_of(tmp_path / "turn-1.cast")] == [
        {"version": 2, "width": 80, "height": 24, "title": "a\u2028title"},
        [0.123, "o", "one "],
        [0.2, "o", "€\u2028\x85"],
    ]
    for number in range(500):
        cast.add(number, f"line {number}\r\n".encode())
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 6000
    cast.close(Secrets())
    cast.close(Secrets())
    assert sorted(path.name for path in tmp_path.iterdir()) == [WRITTEN, "turn-1.cast"]
    text = "".join(json.loads(line)[2] for line in lines_of(tmp_path / "turn-1.cast")[1:])
    assert text.startswith("one €")
    assert "the middle of this output was not kept" in text
    assert text.endswith("line 498\r\nline 499\r\n")
    times = [json.loads(line)[0] for line in lines_of(tmp_path / "turn-1.cast")[3:]]
    assert times == sorted(times)


def test_a_cast_hides_what_colours_have_torn_apart(tmp_path: Path) -> None:
    secrets = Secrets()
    secrets.add("ksk_0123456789", "KEY")
    cast = Cast(Folder(tmp_path), "turn-1.cast", size=(80, 24), title="")
    for at, data in enumerate([b"before ", b"ksk_0\x1b[31m1234", b"56789\x1b[0m", b" after"]):
        cast.add(at, data)
    cast.close(secrets)
    told = [json.loads(line) for line in lines_of(tmp_path / "turn-1.cast")[1:]]
    assert "".join(text for _, _, text in told) == "before [KEY]\x1b[0m after"
    assert (told[0][:2], told[-1][:2]) == ([0, "o"], [3, "o"])


def test_a_cast_whose_writer_was_killed_is_put_in_order(tmp_path: Path) -> None:
    """By another process, which knows the folder's own files."""
    secrets = Secrets()
    secrets.add("ksk_0123456789", "KEY")
    cast = Cast(Folder(tmp_path), "turn-1.cast", size=(80, 24), title="", most=(200, 200))
    for number in range(40):
        cast.add(number, f"line {number}\r\n".encode())
    cast.add(40, b"ksk_0\x1b[31m123456789 ")
    parts = sorted(path.name for path in tmp_path.iterdir() if path.name[-1].isdigit())
    assert len(parts) > 1
    (tmp_path / "turn-1.cast.99").write_text('[99, "o", "theirs"]\n')
    with (tmp_path / f"turn-1.cast.{max(int(part.rpartition('.')[2]) for part in parts)}").open("a") as torn:
        torn.write('[41, "o", "half of a li')
    for _ in range(2):
        settle(Folder(tmp_path), "turn-1.cast", secrets)
    assert sorted(path.name for path in tmp_path.iterdir()) == [WRITTEN, "turn-1.cast", "turn-1.cast.99"]
    text = "".join(json.loads(line)[2] for line in lines_of(tmp_path / "turn-1.cast")[1:])
    assert text.startswith("line 0")
    assert text.endswith("line 39\r\n[KEY] "), "neither half a line nor what is theirs"
    assert "was not kept" in text
