"""What tests need to know of a sandbox of bubblewrap from outside."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import cache
from pathlib import Path

from helpers import wait_until

from pytest_kiro.errors import SandboxError
from pytest_kiro.sandbox.bubblewrap.provider import BubblewrapSandbox
from pytest_kiro.sandbox.protocol import Sandbox


@cache
def why_none() -> str:
    """Why there is no sandbox of bubblewrap on this machine; "" when there can be one."""
    from pytest_kiro.sandbox.bubblewrap.provider import BubblewrapProvider
    from pytest_kiro.sandbox.protocol import SandboxSpec
    from pytest_kiro.settings.table import read

    provider = BubblewrapProvider(
        read(option={"cli": "scripted"}.get, environ={}, ini=lambda _: None, run_id=os.urandom(8).hex())
    )
    try:
        provider.create(SandboxSpec()).close()
    except SandboxError as error:
        if not re.search("not on your PATH|forbids namespaces|is partly hidden", str(error)):
            raise
        return str(error)
    return ""


def first_process(sandbox: Sandbox) -> int:
    """The number out here of what is process 1 in a sandbox."""
    assert isinstance(sandbox, BubblewrapSandbox)
    return sandbox._spaces.pid


def number_outside(sandbox: Sandbox, pid: int) -> int:
    """The number out here of a process inside; 0 when there is none."""
    space = Path(f"/proc/{first_process(sandbox)}/ns/pid").readlink()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            numbers = (process / "status").read_text().partition("NSpid:")[2].partition("\n")[0].split()
            if (process / "ns/pid").readlink() == space and numbers[-1:] == [str(pid)]:
                return int(process.name)
    return 0


def end_namespaces(sandbox: Sandbox) -> None:
    """End them, as when memory is short or somebody kills what holds them."""
    os.kill(first_process(sandbox), 9)
    assert isinstance(sandbox, BubblewrapSandbox)
    wait_until(lambda: not sandbox._spaces.alive)
