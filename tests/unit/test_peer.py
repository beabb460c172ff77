"""One login for all the processes of a run: one asks, the others are served, and nothing of it is on a disk."""

from __future__ import annotations

import base64
import json
import os
import select
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from helpers import wait_until
from login_data import login

from pytest_kiro.errors import LoginError, SandboxError
from pytest_kiro.login.credentials import Credentials
from pytest_kiro.login.peer import PeerLogin
from pytest_kiro.sandbox import runs
from pytest_kiro.sandbox.locks import locked
from pytest_kiro.settings.waits import Waits

DEADLINE = 120.0
RUN = "run1"


class Worker:
    """A process of the run."""

    def __init__(self, tmp: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("peer_process.py")), RUN],
            env={**os.environ, "TMPDIR": str(tmp), "PYTHONPATH": str(Path(__file__).parent.parent)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._heard = b""
        assert self.says() == "ready"

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def says(self) -> str:
        assert self._process.stdout is not None
        end = time.monotonic() + DEADLINE
        while b"\n" not in self._heard:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0, end - time.monotonic()))
            assert ready, f"nothing more after {self._heard!r}"
            chunk = os.read(self._process.stdout.fileno(), 4096)
            assert chunk, self.complaints()
            self._heard += chunk
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode()

    def does(self, line: str) -> str:
        self.tell(line)
        return self.says()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(DEADLINE)

    def complaints(self) -> str:
        """End it as one that has no more to do, and return what it has said on stderr."""
        return self._process.communicate(timeout=DEADLINE)[1].decode()

    def close(self) -> None:
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None and not stream.closed:
                stream.close()
        self._process.wait(DEADLINE)


class Run:
    """A run's folder, and its processes."""

    def __init__(self, tmp: Path) -> None:
        self.tmp, self.workers, self._peers = tmp, list[Worker](), list[PeerLogin]()
        self.folder = runs.folder_of(RUN)

    def peer(self, waits: Waits | None = None) -> PeerLogin:
        """One in this process."""
        self._peers.append(PeerLogin(self.folder, waits))
        return self._peers[-1]

    def worker(self) -> Worker:
        self.workers.append(Worker(self.tmp))
        return self.workers[-1]

    def end(self) -> None:
        for worker in self.workers:
            worker.close()
        for peer in [*self._peers, PeerLogin(self.folder)]:
            peer.remove()

    @property
    def socket(self) -> Path:
        return Path(json.loads((self.folder / "login.json").read_text())["socket"])

    def connect(self) -> socket.socket:
        link = socket.socket(socket.AF_UNIX)
        link.settimeout(DEADLINE)
        link.connect(str(self.socket))
        return link


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = Run(tmp_path)
    yield made
    made.end()


def not_asked() -> Credentials:
    raise AssertionError("somebody was asked")


ONE = "ada 2.29.0 True one-access one-refresh"
TWO = "ada 2.29.0 True two-access two-refresh"


# -- asked once


def test_four_at_once_ask_once(run: Run) -> None:
    workers = [run.worker() for _ in range(4)]
    for worker in workers:
        worker.tell("obtain good one")
    heard = [worker.says() for worker in workers]
    assert sorted(heard) == [ONE] * 3 + ["asking"]
    assert workers[heard.index("asking")].says() == ONE
    assert [worker.does("newest") for worker in workers] == [ONE] * 4


def test_who_comes_later_is_served(run: Run) -> None:
    first, second = run.peer(), run.peer()
    one = login("one")
    assert first.obtain(lambda: one, timeout=1) is one
    for peer in (second, first):
        assert one.same_login(peer.obtain(not_asked, timeout=1))


def test_who_waits_is_served_when_the_human_is_ready(run: Run) -> None:
    first, second = run.worker(), run.worker()
    assert first.does("obtain wait one") == "asking"
    second.tell("obtain good two")
    first.tell("yes")
    assert first.says() == ONE
    assert second.says() == ONE


def test_the_next_one_asks_when_who_asked_was_killed(run: Run) -> None:
    first, second, third = run.worker(), run.worker(), run.worker()
    assert first.does("obtain wait one") == "asking"
    second.tell("obtain good two")
    third.tell("obtain good two")
    first.kill()
    heard = [second.says(), third.says()]
    assert sorted(heard) == [TWO, "asking"]
    assert (second, third)[heard.index("asking")].says() == TWO


def test_the_next_one_asks_when_who_served_was_killed(run: Run) -> None:
    first, second = run.worker(), run.worker()
    first.does("obtain good one")
    first.says()
    folder = run.socket.parent
    first.kill()
    assert (second.does("obtain good two"), second.says()) == ("asking", TWO)
    assert not folder.exists()
    assert run.socket.exists()


def test_waiting_ends(run: Run) -> None:
    first, second = run.worker(), run.worker()
    assert first.does("obtain wait one") == "asking"
    assert second.does("obtain good two 0.2") == (
        "LoginError: another worker has been asking for the login for more than 0.2 s / "
        "look at the terminal in which it asks; --kiro-login-timeout bounds it"
    )
    first.tell("yes")
    assert first.says() == ONE
    assert second.does("obtain good two") == ONE


# -- refused once


@pytest.mark.parametrize(
    ("raised", "others"),
    [
        (LoginError("access denied", output="the reason", advice="run it again"), None),
        (
            KeyboardInterrupt(),
            "the login was broken off in another worker: KeyboardInterrupt(); run it again",
        ),
        (RuntimeError("a bug"), "the login was broken off in another worker: RuntimeError('a bug'); run it again"),
    ],
    ids=["refused", "interrupted", "a bug"],
)
def test_a_failure_is_everybodys(run: Run, raised: BaseException, others: str | None) -> None:
    """Nobody is asked twice, neither who waited nor who comes later, nor the one who asked."""

    def ask() -> Credentials:
        raise raised

    first, second = run.peer(), run.peer()
    with pytest.raises(type(raised)) as caught:
        first.obtain(ask, timeout=1)
    assert caught.value is raised
    for peer in (second, run.peer(), first):
        with pytest.raises(LoginError) as told:
            peer.obtain(not_asked, timeout=1)
        assert str(told.value) == (others or "access denied\n  | the reason\nrun it again")
        assert peer.newest() is None


def test_who_waits_hears_of_the_failure(run: Run) -> None:
    workers = [run.worker() for _ in range(3)]
    for worker in workers:
        worker.tell("obtain fail one")
    said = "LoginError: access denied /   | the reason / run it again"
    heard = [worker.says() for worker in workers]
    assert sorted(heard) == [said, said, "asking"]
    assert workers[heard.index("asking")].says() == said


def test_a_login_that_cannot_be_served_is_told(run: Run) -> None:
    first = run.worker()
    assert first.does("obtain nowhere one") == "asking"
    place = Path(first.says().removeprefix("binding "))
    said = "LoginError: the login cannot be served to the other workers: [Errno 28] No space left on device / look at "
    assert first.says().startswith(said)
    assert not place.parent.exists()
    assert run.worker().does("obtain good two").startswith(said)


# -- kept in step


def test_a_newer_one_is_everybodys(run: Run) -> None:
    first, second, third = run.peer(), run.peer(), run.peer()
    one, two = login("one"), login("two")
    first.obtain(lambda: one, timeout=1)
    second.offer(two)
    assert all(two.same_login(peer.newest()) for peer in (first, second, third))
    first.offer(one)
    assert one.same_login(third.obtain(not_asked, timeout=1))


def test_before_anybody_has_asked_there_is_none(run: Run) -> None:
    peer = run.peer()
    assert peer.newest() is None
    peer.offer(login("one"))
    assert peer.newest() is None
    assert not run.folder.exists()


@pytest.mark.parametrize("how", ["end", "kill"])
def test_when_who_has_it_has_ended_there_is_none(run: Run, how: str) -> None:
    first, second = run.worker(), run.worker()
    first.does("obtain good one")
    first.says()
    assert second.does("obtain good two") == ONE
    if how == "end":
        assert first.complaints() == ""
    else:
        first.kill()
    assert second.does("newest") == "nothing"
    assert second.does("offer two") == "offered"
    # A worker that starts only now has nobody to have it from.
    third = run.worker()
    assert (third.does("obtain good three"), third.says()) == ("asking", "ada 2.29.0 True three-access three-refresh")


def test_an_answer_that_breaks_off_is_none(run: Run) -> None:
    """Of a process that dies while it answers."""
    # A socket's path must be short, and a test's folder is not.
    with closing(socket.socket(socket.AF_UNIX)) as server, tempfile.TemporaryDirectory(dir="/tmp") as folder:
        place = f"{folder}/socket"
        server.bind(place)
        server.listen()

        def answer() -> None:
            for said in (b"", b'{"data": "', b"null and more\n"):
                link, _ = server.accept()
                with link:
                    link.recv(4096)
                    link.sendall(said)

        answering = threading.Thread(target=answer)
        answering.start()
        with runs.transaction(run.folder / "login.json", {"socket": "", "failed": ""}) as state:
            state["socket"] = place
        peer = PeerLogin(run.folder)
        assert [peer.newest() for _ in range(3)] == [None] * 3
        answering.join(DEADLINE)
        peer.remove()
        assert Path(place).exists()  # it is no folder of ours


# -- nobody else


def test_no_file_holds_it(run: Run) -> None:
    first, second = run.worker(), run.worker()
    first.does("obtain good one")
    first.says()
    assert second.does("obtain good two") == ONE
    second.does("offer two")
    folder = run.socket.parent
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(run.folder.stat().st_mode) == 0o700
    assert [file.name for file in folder.iterdir()] == ["socket"]
    assert stat.S_ISSOCK(run.socket.stat().st_mode)
    files = [file for file in run.tmp.rglob("*") if file.is_file()]
    assert {file.name for file in files} >= {"login.json"}
    words = [word for name in ("one", "two") for word in (f"{name}-access", f"{name}-refresh")]
    for file in files:
        text = file.read_bytes()
        for word in words:
            assert word.encode() not in text
            assert base64.b64encode(b"xx" + word.encode())[4:-4] not in text
        assert len(text) < 200


@pytest.mark.parametrize(
    "said",
    [
        b"garbage\n",
        b"\n",
        b"",
        b"5\n",
        b"[]\n",
        b"{}\n",
        b'{"data": 5}\n',
        b'{"data": "#"}\n',
        b'{"data": "", "more": 1}\n',
        b"[" * 100_000 + b"\n",
        b"\xff\xfe\n",
    ],
)
def test_nonsense_is_not_answered(run: Run, said: bytes) -> None:
    """Nor is it complained of: an exception in a thread would be a warning, which is an error here."""
    served = login("one")
    with closing(PeerLogin(run.folder)) as first:
        first.obtain(lambda: served, timeout=1)
        with run.connect() as link:
            link.sendall(said)
            link.shutdown(socket.SHUT_WR)
            assert link.recv(4096) == b""
        assert served.same_login(PeerLogin(run.folder).newest())
        assert served.same_login(first.newest())


def test_who_says_nothing_holds_nobody_up(run: Run) -> None:
    first, second = run.worker(), run.worker()
    first.does("obtain good one")
    first.says()
    links = [run.connect() for _ in range(30)]
    links[0].sendall(b"nu")
    assert second.does("obtain good two") == ONE
    assert second.does("newest") == ONE
    for link in links:
        link.close()
    assert first.complaints() == ""  # nor does it keep the process from its end


def test_a_call_ends_whoever_is_silent(run: Run) -> None:
    serving, one = run.peer(Waits(peer=0.05)), login("one")
    serving.obtain(lambda: one, timeout=1)
    with run.connect() as link:
        assert link.recv(4096) == b"", "the caller said nothing"
    with closing(socket.socket(socket.AF_UNIX)) as silent, tempfile.TemporaryDirectory(dir="/tmp") as folder:
        silent.bind(f"{folder}/socket")
        silent.listen()
        with runs.transaction(run.folder / "login.json", {}) as state:
            state["socket"] = f"{folder}/socket"
        assert run.peer(Waits(peer=0.05)).newest() is None


def test_many_ask_at_the_same_moment(run: Run) -> None:
    """More than usually may stand in the queue of a socket."""
    run.peer().obtain(lambda: login("one"), timeout=1)
    others = [run.peer() for _ in range(40)]
    heard = []
    gate = threading.Barrier(len(others))

    def ask(other: PeerLogin) -> None:
        gate.wait(DEADLINE)
        heard.append(other.newest())

    threads = [threading.Thread(target=ask, args=(other,)) for other in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert [found is not None and found.tokens for found in heard] == [("one-access", "one-refresh")] * 40


# -- and nothing is left


def test_closing_removes_the_socket(run: Run) -> None:
    peer, one = run.peer(), login("one")
    peer.obtain(lambda: one, timeout=1)
    folder = run.socket.parent
    peer.close()
    peer.close()
    assert not folder.exists()
    assert (peer.newest(), run.peer().newest()) == (None, None)
    peer.offer(one)
    assert run.peer().newest() is None
    assert [thread.name for thread in threading.enumerate() if thread.name == "kiro-login"] == []
    two = login("two")
    assert run.peer().obtain(lambda: two, timeout=1) is two


@pytest.mark.parametrize("how", ["alive", "killed"])
def test_removing_leaves_nothing(run: Run, how: str) -> None:
    first = run.worker()
    first.does("obtain good one")
    first.says()
    folder = run.socket.parent
    (run.folder / "login.part").touch()  # of one that was killed while it wrote
    if how == "killed":
        first.kill()
        peer = PeerLogin(run.folder)
        peer.remove()
        peer.remove()
    else:
        assert (first.does("remove"), first.does("remove")) == ("done", "done")
    assert not folder.exists()
    assert not run.folder.exists()


def test_removing_leaves_what_is_somebody_elses(run: Run) -> None:
    peer = run.peer()
    peer.obtain(lambda: login("one"), timeout=1)
    (run.folder / "sandboxes.json").touch()
    peer.remove()
    assert [file.name for file in run.folder.iterdir()] == ["sandboxes.json"]


@pytest.mark.parametrize("state", ["", "{", "[]", '{"socket": 5}', '{"failed": ""}'])
def test_removing_copes_with_what_is_no_state(run: Run, state: str) -> None:
    with runs.transaction(run.folder / "login.json", {}):
        pass
    (run.folder / "login.json").write_text(state)
    PeerLogin(run.folder).remove()
    assert not run.folder.exists()


def test_a_deep_temporary_directory_is_no_obstacle(tmp_path: Path) -> None:
    one, folder = login("one"), tmp_path / ("d" * 100) / ("e" * 100) / "run"
    folder.parent.mkdir(parents=True)
    with closing(PeerLogin(folder)) as first:
        first.obtain(lambda: one, timeout=1)
        assert one.same_login(PeerLogin(folder).newest())
        first.remove()
    assert not folder.exists()


def test_no_private_place_is_told(run: Run) -> None:
    run.folder.parent.chmod(0o755)
    try:
        with pytest.raises(SandboxError, match="is not a private directory of yours; remove it, or point TMPDIR else"):
            run.peer().obtain(not_asked, timeout=1)
    finally:
        run.folder.parent.chmod(0o700)


def test_what_ask_raises_is_raised_as_it_is(run: Run) -> None:
    error = LoginError("no")

    def ask() -> None:
        raise error

    peer = PeerLogin(run.folder)
    with pytest.raises(LoginError) as caught:
        peer.obtain(ask, timeout=1)  # type: ignore[arg-type]
    assert caught.value is error
    wait_until(lambda: (run.folder / "login.json").exists())


def test_an_older_one_replaces_no_newer(tmp_path: Path) -> None:
    """Two sandboxes renew their tokens, and the later one may be heard first."""
    peer = PeerLogin(tmp_path / "run")
    newer, older = (login(str(day), expires=f"2026-12-0{day}T00:00:00Z") for day in (2, 1))
    try:
        peer.obtain(lambda: newer, timeout=1)
        peer.offer(older)
        assert newer.same_login(peer.newest())
    finally:
        peer.remove()


def test_who_waits_can_keep_its_own_sandbox_meanwhile(tmp_path: Path) -> None:
    peer, kept = PeerLogin(tmp_path / "run", Waits(sign_of_life=0.02)), list[int]()
    (tmp_path / "run").mkdir(mode=0o700)
    with locked(tmp_path / "run" / "login.asking", timeout=1), pytest.raises(LoginError, match="has been asking"):
        peer.obtain(lambda: login("one"), timeout=0.1, waiting=lambda: kept.append(1))
    assert kept
    peer.remove()
