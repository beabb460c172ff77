"""Which processes end with a terminal in Daytona, by the limit that marks them; here of a /proc of files."""

from __future__ import annotations

import subprocess
from collections.abc import Collection
from pathlib import Path

import pytest

from pytest_kiro.sandbox.daytona import guest
from pytest_kiro.sandbox.protocol import Survivors

PLACE, TERMINAL = "123456789.3.", "123456789.0.50."
#: Another terminal, and what has executed commands, which go on.
ALIVE = frozenset({"123456789.0.20.", "123456789.2.", TERMINAL})
#: Removes a process that is killed, as the kernel would.
KILL = 'kill() { shift; for pid do rm -r "$proc/$pid"; done; }\n'


def begin(proc: Path, pid: str, soft: str, hard: str) -> None:
    folder = proc / pid
    folder.mkdir(parents=True)
    (folder / "environ").write_bytes(b"HOME=/\0")
    (folder / "limits").write_text(f"{'Limit':<26}{'Soft':<21}Hard\n{'Max file locks':<26}{soft:<21}{hard:<21}locks\n")
    (folder / "stat").write_text(f"{pid} (a daemon) S 1 {pid} {pid} 0\n")


def ended(proc: Path, tag: str, alive: Collection[str] | None, *, before: str = "") -> tuple[str, ...]:
    code = guest.reap([tag], "/nowhere", report="word", alive=alive, proc=str(proc))
    there = [folder.name for folder in sorted(proc.iterdir())]
    said = subprocess.run(["sh", "-c", f"{before}{KILL}{code}"], capture_output=True, text=True, check=True)
    assert said.stderr == ""
    left = guest.survivors(said.stdout, "word")
    assert left == Survivors(tuple(f"{pid} a daemon" for pid in there if not (proc / pid).exists()))
    return left.killed


@pytest.mark.parametrize(
    ("soft", "hard", "ends"),
    [
        ("unlimited", "unlimited", False),
        ("5", "unlimited", False),
        (guest.mark(TERMINAL), guest.mark(TERMINAL), True),
        ("5", guest.mark(TERMINAL), True),
        ("5", "5", True),
        ("0", "0", True),
        (guest.mark("123456789.0.20."), guest.mark("123456789.0.20."), False),
        (guest.mark("123456789.0.21."), guest.mark("123456789.0.21."), True),
        (guest.mark("123456789.0.51."), guest.mark("123456789.0.51."), False),
        (guest.mark("123456789.2.9."), guest.mark("123456789.2.9."), False),
        (guest.mark("123456788.0.50."), guest.mark("123456788.0.50."), False),
        ("18446744073709551614", "18446744073709551614", False),
    ],
    ids=lambda value: str(value),
)
def test_with_a_terminal_ends_what_has_its_mark_or_has_lowered_it(
    tmp_path: Path, soft: str, hard: str, ends: bool
) -> None:
    begin(tmp_path, "12", soft, hard)
    begin(tmp_path, "13", guest.mark(TERMINAL), guest.mark(TERMINAL))
    assert ended(tmp_path, TERMINAL, ALIVE) == (("12 a daemon",) if ends else ()) + ("13 a daemon",)


def test_with_a_folder_ends_what_has_lowered_the_mark_below_all_others(tmp_path: Path) -> None:
    """A terminal's number may be lower, and it may begin meanwhile."""
    begin(tmp_path, "12", "5", "5")
    begin(tmp_path, "13", guest.mark("123456789.0.60."), guest.mark("123456789.0.60."))
    assert ended(tmp_path, PLACE, frozenset()) == ("12 a daemon",)


@pytest.mark.parametrize(
    ("alive", "before"),
    [(None, ""), (ALIVE, 'cp -r "$0" "$0/../$$"\n')],
    ids=["a command that is out of time", "a machine with such a limit"],
)
def test_a_lower_limit_that_tells_nothing(tmp_path: Path, alive: Collection[str] | None, before: str) -> None:
    begin(tmp_path, "12", "5", "5")
    assert ended(tmp_path, TERMINAL, alive, before=before.replace("$0", str(tmp_path / "12"))) == ()
