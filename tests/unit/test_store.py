"""A login that several sandboxes hold a copy of: what was renewed is handed on, what was refused is replaced once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from login_data import login

from pytest_kiro.errors import SandboxError
from pytest_kiro.login import credentials
from pytest_kiro.login.credentials import Credentials
from pytest_kiro.login.peer import PeerLogin
from pytest_kiro.login.saved import SavedLogin
from pytest_kiro.login.store import LoginStore, Renewal
from pytest_kiro.sandbox.local import LocalSandbox
from pytest_kiro.secrecy.redaction import Secrets

SOON, LATER = "2030-01-01T00:00:00Z", "2030-01-01T01:00:00Z"


@pytest.fixture(params=["saved", "peer"])
def store(request: pytest.FixtureRequest, tmp_path: Path, sandbox: LocalSandbox) -> Iterator[LoginStore]:
    """Each back end, with the login `one` in it."""
    if request.param == "saved":
        saved = SavedLogin(tmp_path / "login.json")
        saved.offer(login("one"))
        yield saved
    else:
        peer = PeerLogin(Path(sandbox.home).parent / "run")
        peer.obtain(lambda: login("one"), timeout=1)
        yield peer
        peer.remove()


class RecordedSecrets(Secrets):
    """Keeps what is to be hidden."""

    def __init__(self) -> None:
        super().__init__()
        self.added: list[str] = []

    def add(self, value: str, name: str) -> None:
        self.added.append(value)


class Machine:
    """A sandbox with the login `one` in it, and what it tells others."""

    def __init__(self, sandbox: LocalSandbox, store: LoginStore, held: Credentials | None = None) -> None:
        self.sandbox, secrets = sandbox, RecordedSecrets()
        self.hidden = secrets.added
        held = held or login("one")
        credentials.put(sandbox, held)
        self.renewal = Renewal(sandbox, store, held, secrets)

    def renews(self, name: str) -> None:
        """As kiro-cli does it in a turn."""
        credentials.put(self.sandbox, login(name))

    @property
    def has(self) -> str:
        found = credentials.take(self.sandbox, version="2.29.0", scripted=True)
        return _name(found)


def _name(found: Credentials | None) -> str:
    return "nothing" if found is None else found.tokens[0].removesuffix("-access")


@pytest.fixture
def machine(sandbox: LocalSandbox, store: LoginStore) -> Machine:
    return Machine(sandbox, store)


def expiring(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


@pytest.mark.parametrize(
    ("expires", "due"),
    [
        (expiring(-3600), True),
        (expiring(60), True),  # kiro-cli may renew it a little before its end
        (expiring(7200), False),
        ("0001-01-01T00:00:00Z", True),
        ("9999-12-31T23:59:59Z", False),
        (None, False),
        ("soon", False),
    ],
    ids=["over", "nearly over", "good", "the first of all", "the last of all", "none", "no time"],
)
def test_when_it_may_have_been_renewed(sandbox: LocalSandbox, tmp_path: Path, expires: str | None, due: bool) -> None:
    held = login("one", expires=expires)
    assert Machine(sandbox, SavedLogin(tmp_path / "login.json"), held).renewal.due is due


def test_what_was_renewed_is_handed_on_and_hidden(machine: Machine, store: LoginStore) -> None:
    assert machine.hidden == ["one-access", "one-refresh"]
    machine.renews("two")
    machine.renewal.hand_on()
    assert _name(store.newest()) == "two"
    assert machine.hidden[2:] == ["two-access", "two-refresh"]


def test_what_was_not_is_not(machine: Machine, store: LoginStore) -> None:
    """Else an old one would replace what another machine has renewed meanwhile."""
    store.offer(login("newer"))
    machine.renewal.hand_on()
    assert _name(store.newest()) == "newer"
    machine.renews("two")
    machine.renewal.hand_on()
    store.offer(login("newer"))
    machine.renewal.hand_on()
    assert _name(store.newest()) == "newer"


@pytest.mark.parametrize("how", ["logged out", "nonsense", "closed"])
def test_what_cannot_be_read_is_no_news(machine: Machine, store: LoginStore, how: str) -> None:
    path = ".local/share/kiro-cli/data.sqlite3"
    if how == "logged out":
        machine.sandbox.remove(path)
    elif how == "nonsense":
        machine.sandbox.write_file(path, b"nonsense" * 100)
    else:
        machine.sandbox.close()
    machine.renewal.hand_on()
    assert _name(store.newest()) == "one"
    assert len(machine.hidden) == 2


def test_a_place_that_cannot_be_written_is_no_obstacle(sandbox: LocalSandbox, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    machine = Machine(sandbox, SavedLogin(tmp_path / "file" / "login.json"))
    machine.renews("two")
    machine.renewal.hand_on()
    assert not machine.renewal.copy_in()
    assert machine.has == "two"


def test_a_refused_one_is_replaced_by_the_newest_once(machine: Machine, store: LoginStore) -> None:
    store.offer(login("two"))
    assert machine.renewal.copy_in()
    assert machine.has == "two"
    assert machine.hidden[2:] == ["two-access", "two-refresh"]
    store.offer(login("three"))
    assert not machine.renewal.copy_in()
    assert machine.has == "two"


def test_the_one_that_was_copied_in_is_not_news(machine: Machine, store: LoginStore) -> None:
    store.offer(login("two"))
    machine.renewal.copy_in()
    store.offer(login("three"))
    machine.renewal.hand_on()
    assert _name(store.newest()) == "three"


def test_the_very_one_that_was_refused_is_no_help(machine: Machine, store: LoginStore) -> None:
    assert not machine.renewal.copy_in()
    store.offer(login("two"))
    assert machine.renewal.copy_in()  # that was not the one time


def test_one_that_was_lost_is_put_back(machine: Machine) -> None:
    """By an agent that has logged itself out, say."""
    machine.sandbox.remove(".local/share/kiro-cli/data.sqlite3")
    assert machine.renewal.copy_in()
    assert machine.has == "one"


def test_nobody_to_have_it_from(machine: Machine, store: LoginStore) -> None:
    if isinstance(store, SavedLogin):
        store.forget()
    elif isinstance(store, PeerLogin):
        store.remove()
    machine.renews("two")
    assert not machine.renewal.copy_in()
    assert machine.has == "two"


def test_one_that_is_broken_is_not_copied_in(sandbox: LocalSandbox, tmp_path: Path) -> None:
    saved = SavedLogin(tmp_path / "login.json")
    machine = Machine(sandbox, saved)
    saved.path.write_text("{")
    assert not machine.renewal.copy_in()
    assert machine.has == "one"


def test_a_sandbox_that_takes_nothing_is_told_by_the_turn(machine: Machine, store: LoginStore) -> None:
    """Copying in is a second try for a turn that has failed: it must not hide how that ended."""
    store.offer(login("two"))
    folder = Path(machine.sandbox.home, ".local/share")
    machine.sandbox.remove(str(folder))
    folder.symlink_to("nowhere")  # nothing is there, and nothing can be made there
    assert not machine.renewal.copy_in()
    machine.sandbox.close()
    assert not machine.renewal.copy_in()
    with pytest.raises(SandboxError):
        machine.sandbox.read_file("x")


def test_an_older_one_is_no_help(sandbox: LocalSandbox) -> None:
    """kiro-cli has renewed its token, and is refused all the same: what it had before would be worse."""
    held = login("one", expires=expiring(60))
    machine = Machine(sandbox, LoginStore(held), held)
    credentials.put(sandbox, login("two", expires=expiring(7200)))
    assert not machine.renewal.copy_in()
    assert machine.has == "two"


def test_a_process_that_is_alone_hides_what_its_login_becomes(sandbox: LocalSandbox) -> None:
    machine = Machine(sandbox, LoginStore(login("one")))
    machine.renews("two")
    machine.renewal.hand_on()
    assert machine.hidden[2:] == ["two-access", "two-refresh"]


@pytest.mark.parametrize("where", ["memory", "saved", "peer"])
@pytest.mark.parametrize(
    ("kept", "offered", "wins"),
    [
        ({"expires": SOON}, {"expires": LATER}, "offered"),
        ({"expires": LATER}, {"expires": SOON}, "kept"),
        ({"expires": SOON}, {"expires": None}, "offered"),
        ({"expires": SOON}, {"expires": LATER, "who": "eve"}, "kept"),
        ({"expires": SOON, "scripted": False}, {"expires": LATER, "scripted": True}, "kept"),
    ],
    ids=["newer", "older", "no end", "somebody else's", "the stand-in's"],
)
def test_every_back_end_keeps_the_same_rule(
    tmp_path: Path, where: str, kept: dict[str, Any], offered: dict[str, Any], wins: str
) -> None:
    first = login("kept", **kept)
    peer, saved = PeerLogin(tmp_path / "run"), SavedLogin(tmp_path / "login.json")
    store = {"memory": LoginStore(first), "saved": saved, "peer": peer}[where]
    try:
        if where == "saved":
            saved.save(first)
        elif where == "peer":
            peer.obtain(lambda: first, timeout=1)
            store = PeerLogin(tmp_path / "run")  # which has it by a call
        store.offer(login("offered", **offered))
        assert _name(store.newest()) == wins
    finally:
        peer.remove()
