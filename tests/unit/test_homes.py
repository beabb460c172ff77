"""How HOME is noted for owners while it is used, or has files that cannot be read."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers import open_folder, run_python, wait_until

from pytest_kiro.agent.homes import Homes
from pytest_kiro.sandbox.local import LocalProvider
from pytest_kiro.sandbox.protocol import SandboxSpec
from pytest_kiro.settings.table import read

TESTS = Path(__file__).parents[1]
#: Makes and removes files where template.sh looks, as fast as it can.
BUSY = """
import os
for folder in (".kiro", "folder"):
    os.makedirs(folder, exist_ok=True)
names = ["busy", ".kiro/busy", "folder/busy", *(f".busy{number}" for number in range(8))]
os.close(os.open("began", os.O_CREAT))
while True:
    for name in names:
        os.close(os.open(name, os.O_CREAT))
    for name in names:
        os.unlink(name)
"""
CLOSED = f"""
import logging, os, sys, tempfile
sys.path[:0] = [{str(TESTS)!r}, {str(TESTS / "unit")!r}]
from helpers import drop_root
from test_homes import closed
if os.getuid() == 0:
    drop_root()
tempfile.tempdir = sys.argv[1]
logging.basicConfig(stream=sys.stdout, format="%(message)s")
print(closed(), end="")
"""


@contextmanager
def a_provider() -> Iterator[LocalProvider]:
    made = LocalProvider(read(option=lambda _: None, environ={}, ini=lambda _: None, run_id="0123456789"))
    try:
        yield made
    finally:
        made.close()


def has(homes: Homes) -> str:
    """Return what a file says in the HOME of an owner."""
    return homes.begin().exec("cat ~/.stays").check().output


def test_home_is_noted_while_something_works_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What vanishes between two looks at it is left out, and says nothing where an answer is expected."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with a_provider() as provider:
        sandbox = provider.create(SandboxSpec())
        sandbox.exec(f"echo stays >.stays; {shlex.quote(sys.executable)} -c {shlex.quote(BUSY)} >/dev/null 2>&1 &")
        wait_until(lambda: sandbox.exec("[ -e began ]").ok)
        homes = [Homes.prepare(sandbox, "fresh", None) for _ in range(15)]
        assert [one.template.digest for one in homes if one.template and len(one.template.digest) != 64] == []
        assert has(homes[-1]) == "stays\n"


def closed() -> str:
    with a_provider() as provider:
        sandbox = provider.create(SandboxSpec())
        sandbox.exec("echo stays >.stays; echo no >.closed; chmod 000 .closed").check()
        return has(Homes.prepare(sandbox, "fresh", None))


def test_a_file_that_cannot_be_read_is_told() -> None:
    """For a user without root, to whom mode 000 means something."""
    with open_folder() as folder:
        *told, stays = run_python(CLOSED, folder).splitlines()
    assert stays == "stays"
    assert told[0].startswith("tests do not find in their HOME what is reached by its path, and is not copied: ")
    assert ".closed: " in told[0]
    assert len(told) == 1
