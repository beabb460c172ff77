"""Looks at bwrap, and says why it made no sandbox."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pytest_kiro.errors import SandboxError

#: The first that has all that is asked of it (`--as-pid-1` came before).
OLDEST = (0, 4, 0)
_INSTEAD = (
    "or use --kiro-sandbox=daytona, a container engine (docs/sandboxes.md has a provider), or --kiro-sandbox=local "
    "with --kiro-cli=scripted"
)
_INSTALL = "install the package bubblewrap (apt-get, dnf, zypper, pacman and apk call it so)"
_SETTINGS = (
    "kernel/unprivileged_userns_clone",
    "kernel/apparmor_restrict_unprivileged_userns",
    "user/max_user_namespaces",
)
_NO_NAMESPACE = re.compile(
    r"No permissions to creat|Creating new namespace failed|[Uu]id map|user namespaces|userns|uid_map|"
    r"No space left on device|loopback|setgroups"
)


class Bwrap(NamedTuple):
    """The program that is used."""

    path: str
    version: tuple[int, ...]


@dataclass(frozen=True)
class Machine:
    """What decides whether namespaces can be made; `settings` are the kernel's, as far as it has them."""

    settings: dict[str, str]
    container: bool


def machine() -> Machine:
    """Look at this machine."""
    settings = {}
    for name in _SETTINGS:
        place = Path("/proc/sys") / name
        if place.exists():
            settings[name.replace("/", ".")] = place.read_text(encoding="ascii").strip()
    container = any(map(os.path.exists, ("/.dockerenv", "/run/.containerenv"))) or "container" in os.environ
    return Machine(settings, container)


def find() -> Bwrap:
    """Return this machine's bwrap; `SandboxError` for one that will not do."""
    if not sys.platform.startswith("linux"):
        raise _error(f"--kiro-sandbox=bubblewrap needs Linux, and this is {sys.platform}", "use it there")
    path = shutil.which("bwrap")
    if path is None:
        raise _error("--kiro-sandbox=bubblewrap needs bwrap, which is not on your PATH", _INSTALL)
    if Path(path).stat().st_mode & stat.S_ISUID and os.getuid() != 0:
        what = f"{path} is setuid root: what it makes is root's, and nobody else can look after it"
        raise _error(what, f"sudo chmod u-s {path} where users may make namespaces, as most distributions have it")
    try:
        done = subprocess.run([path, "--version"], capture_output=True, timeout=10, check=False, text=True)
        said = f"{done.stdout}{done.stderr}"
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        said = str(error)
    read = re.search(r"bubblewrap (\d+)\.(\d+)\.(\d+)", said)
    if read is None:
        raise _error(f"{path} --version names no version of bubblewrap", _INSTALL, said)
    version = tuple(map(int, read.groups()))
    if version < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise _error(f"{path} is bubblewrap {'.'.join(read.groups())}, and at least {wanted} is needed", "upgrade it")
    return Bwrap(path, version)


def refused(said: str, where: Machine) -> SandboxError:
    """Return the error for a sandbox that bwrap did not make.

    >>> print(refused("bwrap: No permissions to create new namespace", Machine({}, container=True)))
    ... # doctest: +ELLIPSIS
    bwrap made no sandbox: this container forbids namespaces
      | bwrap: No permissions to create new namespace
    start it with what they need (docker run --security-opt seccomp=unconfined ...
    """
    why, advice = _reason(said, where)
    return _error(f"bwrap made no sandbox{why}", advice, said)


def _reason(said: str, where: Machine) -> tuple[str, str]:
    settings = where.settings
    if option := re.search(r"[Uu]nknown option ('?[\w-]+'?)", said):
        return f": it does not know {option[1]}", "upgrade it"
    if "mount proc" in said:
        why = "where /proc is partly hidden, as in a container, nobody may mount one of their own"
        return f": {why}", "start the container with --security-opt systempaths=unconfined, or run outside of it"
    if source := re.search(r"(?:bind mount|source path|bind) (\S+?):? ", said):
        why = f": {source[1].removeprefix('/oldroot')} cannot be shown in it"
        return why, "it may be on a file system that allows no more (NFS, FUSE): move it, or set TMPDIR elsewhere"
    if not _NO_NAMESPACE.search(said):
        return "", "see docs/sandboxes.md"
    for name, bad, how in (
        ("kernel.unprivileged_userns_clone", "0", "sudo sysctl kernel.unprivileged_userns_clone=1"),
        ("user.max_user_namespaces", "0", "sudo sysctl user.max_user_namespaces=15000"),
        (
            "kernel.apparmor_restrict_unprivileged_userns",
            "1",
            "install AppArmor's profile for bwrap (Ubuntu: apt-get install apparmor-profiles, then load "
            "bwrap-userns-restrict), or sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ):
        if settings.get(name) == bad:
            return f": {name} is {bad}, which forbids namespaces", how
    if where.container:
        return ": this container forbids namespaces", (
            "start it with what they need (docker run --security-opt seccomp=unconfined --security-opt "
            "apparmor=unconfined --security-opt systempaths=unconfined), run outside of it"
        )
    return ": this machine forbids namespaces", "ask who looks after it for user namespaces"


def _error(what: str, advice: str, output: str = "") -> SandboxError:
    return SandboxError(what, advice=f"{advice}, {_INSTEAD}", output=output)
