"""Limits what a sandbox of bubblewrap takes: memory, processes, open files, the size of a file.

Memory and processes are those of the whole sandbox where a control group can be had: root makes one, anybody else asks
the user's systemd. Elsewhere the kernel's limits of processes do: memory then counts for each process, and the number
of processes for nobody that is root.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pytest_kiro.errors import SettingsError

_GIB = 1024**3
#: What `kiro_sandbox_args` may say of resources, with what holds where it says nothing: GiB, or a number.
USUAL = {"memory": 8, "processes": 2048, "open_files": 16384, "file_size": 64}
_GROUPS = Path("/sys/fs/cgroup")
#: Seconds after which a control group without a process belongs to nobody.
_OLD = 60.0


@dataclass(frozen=True)
class Limits:
    """What one sandbox may take; `memory` and `file_size` are bytes."""

    memory: int
    processes: int
    open_files: int
    file_size: int

    def hold(self, pid: int) -> None:
        """Set the limits of a process, which has no children yet."""
        for which, value in (
            (resource.RLIMIT_NPROC, self.processes),
            (resource.RLIMIT_NOFILE, self.open_files),
            (resource.RLIMIT_FSIZE, self.file_size),
            (resource.RLIMIT_DATA, self.memory),
            (resource.RLIMIT_CORE, 0),
        ):
            soft, hard = resource.prlimit(pid, which)
            most = value if hard == resource.RLIM_INFINITY else min(value, hard)
            keeps = which == resource.RLIMIT_NOFILE  # programs that know select only rely on the usual one
            resource.prlimit(pid, which, (min(soft, most) if keeps else most, most))


def limits_of(resources: Mapping[str, int]) -> Limits:
    """Return the limits that a specification asks for; `SettingsError` for those that there are not."""
    for name, value in resources.items():
        if name not in USUAL or type(value) is not int or value < 1:
            what = f"kiro_sandbox_args: resources has {name}={value!r}, which the bubblewrap sandbox cannot give"
            raise SettingsError(what, advice=f"wanted: whole numbers above 0 of {', '.join(USUAL)}")
    asked = {**USUAL, **resources}
    return Limits(asked["memory"] * _GIB, asked["processes"], asked["open_files"], asked["file_size"] * _GIB)


class Group:
    """A control group of one sandbox, made by root; without folders it holds nothing."""

    def __init__(self, folders: Mapping[Path, Mapping[str, int]] | None = None) -> None:
        self._folders = list[Path]()
        for folder, values in (folders or {}).items():
            try:
                folder.mkdir()
                self._folders.append(folder)
                for name, value in values.items():
                    with suppress(FileNotFoundError):  # the kernel counts no swap
                        (folder / name).write_text(str(value), encoding="ascii")
            except OSError:  # as in most containers
                self.close()
                return

    def take(self, pid: int) -> None:
        """Move a process into it."""
        for folder in self._folders:
            (folder / "cgroup.procs").write_text(str(pid), encoding="ascii")

    def close(self) -> None:
        """Remove it once all that was in it has ended; idempotent."""
        deadline = time.monotonic() + 5
        while self._folders and time.monotonic() < deadline:
            try:
                self._folders[-1].rmdir()
                self._folders.pop()
            except FileNotFoundError:
                self._folders.pop()
            except OSError:  # a process is just dying
                time.sleep(0.01)


def group(name: str, limits: Limits) -> Group:
    """Return a sandbox's control group; an empty one where none may be made."""
    if os.getuid() != 0:
        return Group()
    pids = {"pids.max": limits.processes}
    if (_GROUPS / "cgroup.controllers").exists():
        memory = {"memory.max": limits.memory, "memory.swap.max": 0}
        folders: dict[Path, Mapping[str, int]] = {_GROUPS / name: {**memory, **pids}}
    else:
        memory = {"memory.limit_in_bytes": limits.memory, "memory.memsw.limit_in_bytes": limits.memory}
        folders = {_GROUPS / "memory" / name: memory, _GROUPS / "pids" / name: pids}
    for folder in folders:
        _forget(folder.parent, name.partition("-")[0])
    return Group(folders)


def _forget(parent: Path, prefix: str) -> None:
    """Remove what runs that were killed have left."""
    for old in parent.glob(f"{prefix}-*"):
        with suppress(OSError):  # it is in use
            if time.time() - old.stat().st_mtime > _OLD:
                old.rmdir()


def scope(limits: Limits) -> list[str]:
    """Return the words before a command by which systemd limits it.

    That puts it into a control group of the user's. There are none where systemd does not answer, and for root, who
    needs nobody for it.
    """
    program, runtime = shutil.which("systemd-run"), os.environ.get("XDG_RUNTIME_DIR", "")
    if os.getuid() == 0 or program is None or not runtime:
        return []
    properties = {"MemoryMax": limits.memory, "MemorySwapMax": 0, "TasksMax": limits.processes}
    words = [program, "--user", "--scope", "--quiet", "--collect"]
    words += [f"--property={name}={value}" for name, value in properties.items()]
    try:
        done = subprocess.run([*words, "true"], env=environment(), capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return words if done.returncode == 0 else []


def environment() -> dict[str, str]:
    """Return what systemd-run needs of our environment."""
    names = ("DBUS_SESSION_BUS_ADDRESS", "PATH", "XDG_RUNTIME_DIR")
    return {name: os.environ[name] for name in names if name in os.environ}
