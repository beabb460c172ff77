"""A login that several sandboxes hold a copy of: what was renewed is handed on, what was refused is replaced once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from login_data import login

from pytest_kiro.errors import SandboxError
from pytest_kiro.login import credentials
from pytest_kiro.login.credentials import Credentials
from pytest_kiro.login.exchange import Exchange
from pytest_kiro.login.renewal import Memory, Renewal, Source
from pytest_kiro.login.saved import Saved
from pytest_kiro.sandbox.local import LocalSandbox


@pytest.fixture(params=["saved", "exchange"])
def source(request: pytest.FixtureRequest, tmp_path: Path, sandbox: LocalSandbox) -> Iterator[Source]:
    """Both places in which a newest login is kept, with the login `one` in it."""
    if request.param == "saved":
        saved = Saved(tmp_path / "login.json")
        saved.offer(login("one"))
        yield saved
    else:
        exchange = Exchange(Path(sandbox.home).parent / "run")
        exchange.obtain(lambda: login("one"), timeout=1)
        yield exchange
        exchange.remove()


class Machine:
    """A sandbox with the login `one` in it, and what it tells others."""

    def __init__(self, sandbox: LocalSandbox, source: Source, held: Credentials | None = None) -> None:
        self.sandbox, self.hidden = sandbox, list[str]()
        held = held or login("one")
        credentials.put(sandbox, held)
        self.renewal = Renewal(sandbox, source, held, lambda found: self.hidden.extend(found.tokens))

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
def machine(sandbox: LocalSandbox, source: Source) -> Machine:
    return Machine(sandbox, source)


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
    assert Machine(sandbox, Saved(tmp_path / "login.json"), held).renewal.due is due


def test_what_was_renewed_is_handed_on_and_hidden(machine: Machine, source: Source) -> None:
    assert machine.hidden == ["one-access", "one-refresh"]
    machine.renews("two")
    machine.renewal.hand_on()
    assert _name(source.newest()) == "two"
    assert machine.hidden[2:] == ["two-access", "two-refresh"]


def test_what_was_not_is_not(machine: Machine, source: Source) -> None:
    """Else an old one would replace what another machine has renewed meanwhile."""
    source.offer(login("newer"))
    machine.renewal.hand_on()
    assert _name(source.newest()) == "newer"
    machine.renews("two")
    machine.renewal.hand_on()
    source.offer(login("newer"))
    machine.renewal.hand_on()
    assert _name(source.newest()) == "newer"


@pytest.mark.parametrize("how", ["logged out", "nonsense", "closed"])
def test_what_cannot_be_read_is_no_news(machine: Machine, source: Source, how: str) -> None:
    path = ".local/share/kiro-cli/data.sqlite3"
    if how == "logged out":
        machine.sandbox.remove(path)
    elif how == "nonsense":
        machine.sandbox.write_file(path, b"nonsense" * 100)
    else:
        machine.sandbox.close()
    machine.renewal.hand_on()
    assert _name(source.newest()) == "one"
    assert len(machine.hidden) == 2


def test_a_place_that_cannot_be_written_is_no_obstacle(sandbox: LocalSandbox, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    machine = Machine(sandbox, Saved(tmp_path / "file" / "login.json"))
    machine.renews("two")
    machine.renewal.hand_on()
    assert not machine.renewal.copy_in()
    assert machine.has == "two"


def test_a_refused_one_is_replaced_by_the_newest_once(machine: Machine, source: Source) -> None:
    source.offer(login("two"))
    assert machine.renewal.copy_in()
    assert machine.has == "two"
    assert machine.hidden[2:] == ["two-access", "two-refresh"]
    source.offer(login("three"))
    assert not machine.renewal.copy_in()
    assert machine.has == "two"


def test_the_one_that_was_copied_in_is_not_news(machine: Machine, source: Source) -> None:
    source.offer(login("two"))
    machine.renewal.copy_in()
    source.offer(login("three"))
    machine.renewal.hand_on()
    assert _name(source.newest()) == "three"


def test_the_very_one_that_was_refused_is_no_help(machine: Machine, source: Source) -> None:
    assert not machine.renewal.copy_in()
    source.offer(login("two"))
    assert machine.renewal.copy_in()  # that was not the one time


def test_one_that_was_lost_is_put_back(machine: Machine) -> None:
    """By an agent that has logged itself out, say."""
    machine.sandbox.remove(".local/share/kiro-cli/data.sqlite3")
    assert machine.renewal.copy_in()
    assert machine.has == "one"


def test_nobody_to_have_it_from(machine: Machine, source: Source) -> None:
    if isinstance(source, Saved):
        source.forget()
    elif isinstance(source, Exchange):
        source.remove()
    machine.renews("two")
    assert not machine.renewal.copy_in()
    assert machine.has == "two"


def test_one_that_is_broken_is_not_copied_in(sandbox: LocalSandbox, tmp_path: Path) -> None:
    saved = Saved(tmp_path / "login.json")
    machine = Machine(sandbox, saved)
    saved.path.write_text("{")
    assert not machine.renewal.copy_in()
    assert machine.has == "one"


def test_a_sandbox_that_takes_nothing_is_told_by_the_turn(machine: Machine, source: Source) -> None:
    """Copying in is a second try for a turn that has failed: it must not hide how that ended."""
    source.offer(login("two"))
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
    machine = Machine(sandbox, Memory(held), held)
    credentials.put(sandbox, login("two", expires=expiring(7200)))
    assert not machine.renewal.copy_in()
    assert machine.has == "two"


def test_a_process_that_is_alone_hides_what_its_login_becomes(sandbox: LocalSandbox) -> None:
    machine = Machine(sandbox, Memory(login("one")))
    machine.renews("two")
    machine.renewal.hand_on()
    assert machine.hidden[2:] == ["two-access", "two-refresh"]
