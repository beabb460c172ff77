"""A login that is kept between runs: for its owner's eyes only, the newest one, or a clear error."""

from __future__ import annotations

import base64
import json
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from helpers import run_python
from login_data import TOKEN, database, login, tokens

from pytest_kiro.errors import LoginError
from pytest_kiro.login.credentials import Credentials
from pytest_kiro.login.saved import SavedLogin, data_folder
from pytest_kiro.sandbox.locks import locked
from pytest_kiro.settings.waits import Waits

SOON, LATER = "2030-01-01T00:00:00Z", "2030-01-01T01:00:00Z"
#: In front of scripts: what a test knows is theirs as well.
SCRIPT = f"""
import os, signal, stat, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
from login_data import login
from pytest_kiro.login.saved import SavedLogin
path = Path(sys.argv[1])
saved = SavedLogin(path)
"""


@pytest.mark.parametrize(
    ("environ", "platform", "folder"),
    [
        ({"HOME": "/h"}, "linux", "/h/.local/share"),
        ({"HOME": "/h", "XDG_DATA_HOME": "/data"}, "linux", "/data"),
        ({"HOME": "/h", "XDG_DATA_HOME": "/data"}, "darwin", "/data"),
        ({"HOME": "/h", "XDG_DATA_HOME": "data"}, "linux", "/h/.local/share"),
        ({"HOME": "/h", "XDG_DATA_HOME": " "}, "darwin", "/h/Library/Application Support"),
        ({}, "linux", f"{Path.home()}/.local/share"),
    ],
)
def test_where_data_is_kept(environ: dict[str, str], platform: str, folder: str) -> None:
    assert str(data_folder(environ, platform)) == folder


@pytest.fixture
def saved(tmp_path: Path) -> SavedLogin:
    return SavedLogin(tmp_path / "data" / "pytest-kiro" / "login.json")


def newest(saved: SavedLogin) -> Credentials:
    found = saved.newest()
    assert found is not None
    return found


def kept(saved: SavedLogin) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(saved.path.read_text())
    return told


def edit(saved: SavedLogin, **values: Any) -> None:
    """Change what is in the file; None takes a value away."""
    told = {key: value for key, value in {**kept(saved), **values}.items() if value is not None}
    saved.path.write_text(json.dumps(told))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- kept, found, forgotten


def test_what_is_saved_is_found_again(saved: SavedLogin) -> None:
    assert saved.newest() is None
    offered = login("one", expires=SOON, who="ada@example.com", scripted=False)
    saved.offer(offered)
    found = newest(saved)
    assert found.same_login(offered)
    assert (found.version, found.scripted, found.who) == ("2.29.0", False, "ada@example.com")
    assert newest(SavedLogin(saved.path)).expires == datetime(2030, 1, 1, tzinfo=UTC)
    assert abs(datetime.now(UTC) - saved.saved_at()) < timedelta(minutes=10)
    assert {file.name for file in saved.path.parent.iterdir()} <= {"login.json", "login.json.lock"}


def test_nobody_needs_to_be_named(saved: SavedLogin) -> None:
    saved.offer(login(who=None))
    assert newest(saved).who is None


def test_forgetting_is_idempotent(saved: SavedLogin) -> None:
    assert saved.forget() is False
    saved.offer(login())
    assert saved.forget() is True
    assert saved.newest() is None
    assert list(saved.path.parent.iterdir()) == []
    assert saved.forget() is False


def test_it_is_where_the_platform_keeps_such_things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert SavedLogin().path.is_relative_to(tmp_path)
    assert SavedLogin().path.parts[-2:] == ("pytest-kiro", "login.json")


# -- for its owner only


def test_nobody_else_can_read_it_not_even_for_a_moment(saved: SavedLogin) -> None:
    """Looked at whenever something of C has returned, with a umask that takes nothing away."""
    watched = """
os.umask(0)
seen = set()
def look(frame, event, argument):
    if event == "c_return" and path.parent.exists():
        for file in path.parent.iterdir():
            seen.add((file.name, stat.S_IMODE(file.lstat().st_mode)))
sys.setprofile(look)
saved.offer(login("one"))
saved.offer(login("two"))
sys.setprofile(None)
assert {name for name, _ in seen} == {"login.json", "login.part", "login.json.lock"}, seen
assert {mode for _, mode in seen} == {0o600}, seen
assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
"""
    run_python(SCRIPT + watched, str(saved.path))


@pytest.mark.parametrize("others", [0o640, 0o604, 0o620, 0o601, 0o777])
def test_one_that_others_can_reach_is_refused(saved: SavedLogin, others: int) -> None:
    saved.offer(login())
    saved.path.chmod(others)
    with pytest.raises(LoginError, match=f"(?s){saved.path} can be read by others.*chmod 600 {saved.path}"):
        saved.newest()
    saved.offer(login("two"))
    assert mode(saved.path) == 0o600
    assert "two-access" in newest(saved).tokens


def test_nothing_of_it_is_shown(saved: SavedLogin) -> None:
    saved.offer(login())
    assert "one-access" not in repr(newest(saved)) + repr(saved)
    edit(saved, data=base64.b64encode(newest(saved).data[:5000]).decode())
    with pytest.raises(LoginError) as caught:
        saved.newest()
    assert "one-access" not in str(caught.value)


# -- of two, the newer


@pytest.mark.parametrize(
    ("there", "offered", "wins"),
    [
        ({"expires": SOON}, {"expires": LATER}, "offered"),
        ({"expires": LATER}, {"expires": SOON}, "there"),
        ({"expires": SOON}, {"expires": SOON}, "offered"),
        ({"expires": LATER}, {"expires": None}, "offered"),
        ({"expires": None}, {"expires": SOON}, "offered"),
        ({"expires": LATER}, {"expires": SOON, "who": "eve"}, "there"),
        ({"expires": LATER}, {"expires": SOON, "who": None}, "there"),
        ({"expires": LATER}, {"expires": SOON, "scripted": False}, "there"),
    ],
    ids=["newer", "older", "same", "no end", "from no end", "somebody else", "nobody", "the other CLI"],
)
def test_the_newer_one_wins(saved: SavedLogin, there: dict[str, Any], offered: dict[str, Any], wins: str) -> None:
    saved.offer(login("there", **there))
    saved.offer(login("offered", **offered))
    assert f"{wins}-access" in newest(saved).tokens


def test_two_writers_at_once(saved: SavedLogin) -> None:
    """Each offers logins in another order; a reader in between finds a whole one at any time."""
    offers = """
for minute in map(int, sys.argv[2:]):
    saved.offer(login(f"at-{minute}", expires=f"2030-01-01T00:{minute:02}:00Z"))
"""
    saved.offer(login("at-0", expires="2030-01-01T00:00:00Z"))
    orders = [range(1, 41), range(40, 0, -1), [20, *range(1, 40), 20]]
    writers = [
        subprocess.Popen([sys.executable, "-c", SCRIPT + offers, str(saved.path), *map(str, order)]) for order in orders
    ]
    seen = [newest(saved).expires]
    while any(writer.poll() is None for writer in writers):
        seen.append(newest(saved).expires)
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    moments = [moment for moment in seen if moment is not None]
    assert moments == sorted(moments)
    assert len(moments) == len(seen)
    assert "at-40-access" in newest(saved).tokens
    assert not saved.path.with_suffix(".part").exists()


@pytest.mark.parametrize("then", ["offer", "forget"])
def test_a_killed_writer_leaves_nothing_that_stays(saved: SavedLogin, then: str) -> None:
    """It has written all of it, and dies before that is in place."""
    killed = """
sys.addaudithook(lambda event, args: os.kill(os.getpid(), signal.SIGKILL) if event == "os.rename" else None)
saved.offer(login("killed"))
"""
    saved.offer(login("one"))
    done = subprocess.run([sys.executable, "-c", SCRIPT + killed, str(saved.path)], timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    part = saved.path.with_suffix(".part")
    assert part.exists()
    assert mode(part) == 0o600
    assert "one-access" in newest(saved).tokens
    if then == "offer":
        saved.offer(login("two"))
        assert "two-access" in newest(saved).tokens
    else:
        assert saved.forget() is True
    assert not part.exists()


# -- what is none


def _directory(saved: SavedLogin) -> None:
    saved.path.unlink()
    saved.path.mkdir()


def _link_to_itself(saved: SavedLogin) -> None:
    saved.path.unlink()
    saved.path.symlink_to(saved.path)


def _cut(saved: SavedLogin) -> None:
    edit(saved, data=base64.b64encode(newest(saved).data[:5000]).decode())


BROKEN: dict[str, tuple[Callable[[SavedLogin], object], str]] = {
    "no JSON": (lambda saved: saved.path.write_text("{"), "is not one: JSONDecodeError"),
    "empty": (lambda saved: saved.path.write_text(""), "is not one: JSONDecodeError"),
    "no text": (lambda saved: saved.path.write_bytes(b"\xff\xfe"), "cannot be read: 'utf-8' codec"),
    "no object": (lambda saved: saved.path.write_text("[1]"), "is not one: TypeError"),
    "null": (lambda saved: saved.path.write_text("null"), "is not one: TypeError"),
    "too deep": (lambda saved: saved.path.write_text("[" * 100_000), "is not one: RecursionError"),
    "no format": (lambda saved: edit(saved, format=None), "is not one: KeyError: 'format'"),
    "a later format": (lambda saved: edit(saved, format=2), "has format 2, and this pytest-kiro knows 1"),
    "no data": (lambda saved: edit(saved, data=None), "is not one: KeyError: 'data'"),
    "no Base64": (lambda saved: edit(saved, data="#"), "is not one: "),
    "no text as data": (lambda saved: edit(saved, data=5), "is not one: TypeError"),
    "no database": (
        lambda saved: edit(saved, data=base64.b64encode(b"nonsense").decode()),
        "the data file in the saved login .*login.json, with the login in it, cannot be read",
    ),
    "a cut database": (_cut, "the data file in the saved login .*login.json, with the login in it, cannot be read"),
    "no login": (
        lambda saved: edit(saved, data=base64.b64encode(database({"x": tokens()})).decode()),
        "has no login in it",
    ),
    "no bytes": (lambda saved: edit(saved, data=""), "has no login in it"),
    "a folder": (_directory, "cannot be read: .*Is a directory"),
    "a link to itself": (_link_to_itself, "cannot be read: "),
}


@pytest.mark.parametrize("what", BROKEN)
def test_one_that_cannot_be_used_is_told(saved: SavedLogin, what: str) -> None:
    saved.offer(login())
    broke, said = BROKEN[what]
    broke(saved)
    with pytest.raises(LoginError, match=f"(?s)the saved login {saved.path}.*log in anew: python -m") as caught:
        saved.newest()
    assert caught.match(said)


@pytest.mark.parametrize("what", sorted(BROKEN.keys() - {"a folder"}))
def test_one_that_cannot_be_used_is_replaced_and_forgotten(saved: SavedLogin, what: str) -> None:
    saved.offer(login())
    broke, _ = BROKEN[what]
    broke(saved)
    saved.offer(login("two"))
    assert "two-access" in newest(saved).tokens
    broke(saved)
    saved.forget()
    assert saved.newest() is None


def test_a_place_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    saved = SavedLogin(tmp_path / "file" / "pytest-kiro" / "login.json")
    with pytest.raises(LoginError, match=r"(?s)the login cannot be saved as .*login.json: .*set XDG_DATA_HOME to an"):
        saved.offer(login())
    with pytest.raises(LoginError, match=r"(?s)cannot be read: .*log in anew"):
        saved.newest()


def test_a_folder_in_its_place_is_told(saved: SavedLogin) -> None:
    saved.path.mkdir(parents=True)
    with pytest.raises(LoginError, match=r"(?s)cannot be saved as .*look at that folder"):
        saved.offer(login())
    with pytest.raises(LoginError, match=r"(?s)cannot be removed: .*remove it yourself"):
        saved.forget()
    assert not saved.path.with_suffix(".part").exists()


def test_the_token_is_of_another_kind(saved: SavedLogin) -> None:
    """A further field in the file, of a later version with the same format, is none of ours."""
    saved.offer(login())
    edit(saved, note="hello", data=base64.b64encode(database({TOKEN: {"accessToken": "canary"}})).decode())
    assert newest(saved).tokens == ("canary",)


def test_a_login_that_was_removed_is_not_brought_back(tmp_path: Path) -> None:
    """Somebody logs out while a run is going, whose sandbox then renews its token."""
    running, person = SavedLogin(tmp_path / "login.json"), SavedLogin(tmp_path / "login.json")
    person.save(login())
    assert running.newest() is not None
    person.forget()
    running.offer(login())
    assert person.newest() is None


def test_what_somebody_asked_for_is_kept_whatever_was_there(tmp_path: Path) -> None:
    saved = SavedLogin(tmp_path / "login.json")
    later, earlier = (login(str(day), expires=f"2026-12-0{day}T00:00:00Z") for day in (2, 1))
    saved.save(later)
    saved.offer(earlier)
    assert later.same_login(saved.newest())
    saved.save(earlier)
    assert earlier.same_login(saved.newest())


def test_a_lock_that_another_process_keeps_has_a_deadline(saved: SavedLogin) -> None:
    saved.save(login("one"))
    impatient = SavedLogin(saved.path, Waits(lock=0.05))
    with locked(Path(f"{saved.path}.lock"), timeout=1):
        for store in (impatient.offer, impatient.save):
            with pytest.raises(LoginError, match=r"the login cannot be saved as .*: .*lock"):
                store(login("two"))
    assert login("one").same_login(saved.newest())
