"""A lock between processes: one holds it, a deadline, and an end with the process."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pytest_kiro.sandbox.locks import Taken, locked

HOLD = """
import sys, time
from pathlib import Path
from pytest_kiro.sandbox.locks import locked
with locked(Path(sys.argv[1]), timeout=1):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_is_one_process_s_until_it_ends(tmp_path: Path) -> None:
    file = tmp_path / "a.lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(file)], stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n"
            started = time.monotonic()
            said = r"the lock .*a\.lock was held by another process for more than 0\.1 s"
            with pytest.raises(Taken, match=said), locked(file, timeout=0.1):
                pytest.fail("it was not waited for")
            assert 0.1 <= time.monotonic() - started < 5
        finally:
            other.kill()
        with locked(file, timeout=5):
            pass
    assert file.exists()


def test_one_waits_for_the_other(tmp_path: Path) -> None:
    file, inside, most = tmp_path / "a.lock", list[int](), list[int]()

    def work() -> None:
        for _ in range(20):
            with locked(file, timeout=30):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 80


def test_a_lock_whose_file_was_removed_is_none(tmp_path: Path) -> None:
    """Who comes later locks the new file, so whoever had waited for the old one has to begin anew."""
    file = tmp_path / "a.lock"
    with locked(file, timeout=1):
        file.unlink()
        with locked(file, timeout=1), pytest.raises(Taken), locked(file, timeout=0.05):
            pass


def test_the_file_is_its_owners_where_that_is_asked_for(tmp_path: Path) -> None:
    with locked(tmp_path / "a.lock", timeout=1, mode=0o600):
        assert (tmp_path / "a.lock").stat().st_mode & 0o777 == 0o600
