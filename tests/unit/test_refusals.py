"""Machines on which bubblewrap makes no sandbox, each played by a small stand-in for bwrap."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from helpers import open_folder, run_python

from pytest_kiro.errors import SandboxError
from pytest_kiro.sandbox.bubblewrap import refusals
from pytest_kiro.sandbox.bubblewrap.provider import BubblewrapProvider
from pytest_kiro.sandbox.protocol import SandboxSpec
from pytest_kiro.settings.table import read

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="bubblewrap is for Linux")
SETTINGS = read(option={"cli": "scripted"}.get, environ={}, ini=lambda _: None, run_id="0123456789")
INSTEAD = (
    "or use --kiro-sandbox=daytona, a container engine (docs/sandboxes.md has a provider), or --kiro-sandbox=local"
)
FORBIDDEN = (
    "No permissions to create new namespace, likely because the kernel does not allow non-privileged user namespaces"
)
PLAIN, CONTAINER = refusals.Machine({}, container=False), refusals.Machine({}, container=True)


def on(**settings: str) -> refusals.Machine:
    """A machine with settings of its kernel, whose names have __ for the dot."""
    return refusals.Machine({name.replace("__", "."): value for name, value in settings.items()}, container=False)


#: What bwrap says, where, and what becomes of it: what happened, and what to do.
SAID = {
    "debian's switch": (
        FORBIDDEN,
        on(kernel__unprivileged_userns_clone="0"),
        (
            "kernel.unprivileged_userns_clone is 0, which forbids namespaces",
            "sysctl kernel.unprivileged_userns_clone=1",
        ),
    ),
    "none may be made": (
        "Creating new namespace failed: nesting depth or /proc/sys/user/max_*_namespaces exceeded (ENOSPC)",
        on(kernel__unprivileged_userns_clone="1", user__max_user_namespaces="0"),
        ("user.max_user_namespaces is 0, which forbids namespaces", "sudo sysctl user.max_user_namespaces=15000"),
    ),
    "ubuntu 24.04": (
        "setting up uid map: Permission denied",
        on(kernel__apparmor_restrict_unprivileged_userns="1", user__max_user_namespaces="15000"),
        ("kernel.apparmor_restrict_unprivileged_userns is 1", "AppArmor's profile for bwrap (Ubuntu: apt-get install"),
    ),
    "ubuntu 24.04, without a network": (
        "loopback: Failed RTM_NEWADDR: Operation not permitted",
        on(kernel__apparmor_restrict_unprivileged_userns="1"),
        ("kernel.apparmor_restrict_unprivileged_userns is 1", "sysctl kernel.apparmor_restrict_unprivileged_userns=0"),
    ),
    "a container": (FORBIDDEN, CONTAINER, ("this container forbids namespaces", "--security-opt seccomp=unconfined")),
    "a container that hides /proc": (
        "Can't mount proc on /newroot/proc: Operation not permitted",
        CONTAINER,
        ("where /proc is partly hidden, as in a container", "--security-opt systempaths=unconfined"),
    ),
    "something else": (FORBIDDEN, PLAIN, ("this machine forbids namespaces", "ask who looks after it")),
    "a folder of another file system": (
        "Can't bind mount /oldroot/nfs/ada/sandboxes-1/x/homes on /newroot/var/home: Permission denied",
        PLAIN,
        ("/nfs/ada/sandboxes-1/x/homes cannot be shown in it", "file system that allows no more (NFS, FUSE): move it"),
    ),
    "a home that others may not enter": (
        "Can't find source path /home/ada/.local/bin/kiro-cli: Permission denied",
        PLAIN,
        ("/home/ada/.local/bin/kiro-cli cannot be shown in it", "or set TMPDIR elsewhere"),
    ),
    "an older one": ("Unknown option --as-pid-1", PLAIN, ("it does not know --as-pid-1", "upgrade it")),
    "nothing that is known": ("Out of luck", PLAIN, ("bwrap made no sandbox\n", "see docs/sandboxes.md")),
}


@pytest.fixture
def bwrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of the stand-in, which comes first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return folder / "bwrap"


def play(bwrap: Path, script: str, version: str = "bubblewrap 0.8.0") -> None:
    bwrap.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "{version}" && exit\n{script}\n')
    bwrap.chmod(0o755)


def refusal(tmp_path: Path) -> str:
    """What is said of the sandbox that is not made; nothing is left of it."""
    provider = BubblewrapProvider(SETTINGS)
    with pytest.raises(SandboxError) as caught:
        provider.create(SandboxSpec())
    assert list(tmp_path.glob("sandboxes-*/*")) == []
    assert " ".join(INSTEAD.split()) in " ".join(str(caught.value).split())
    return str(caught.value)


@pytest.mark.parametrize("case", SAID)
def test_what_bwrap_says_becomes_a_reason_and_a_way_out(case: str) -> None:
    words, machine, wanted = SAID[case]
    said = str(refusals.refused(f"bwrap: {words}", machine))
    for part in wanted:
        assert part in f"{said}\n"
    assert f"  | bwrap: {words}" in said
    assert INSTEAD in said


@pytest.mark.parametrize(
    "tells", ["", 'while [ "$1" != --info-fd ]; do shift; done; echo "{CHILD}" >/proc/self/fd/$2\n']
)
def test_a_bwrap_that_fails(bwrap: Path, tmp_path: Path, tells: str) -> None:
    """Some things it says only after it has told of its child, which is gone then."""
    before = tells.replace("{CHILD}", '{\\"child-pid\\": $$}')
    play(
        bwrap, f'{before}echo "bwrap: Can\'t bind mount /oldroot/nfs/x on /newroot/tmp: Permission denied" >&2; exit 1'
    )
    said = refusal(tmp_path)
    assert "bwrap made no sandbox: /nfs/x cannot be shown in it\n  | bwrap: Can't bind mount /oldroot/nfs/x" in said


def test_no_bwrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    said = refusal(tmp_path)
    assert "needs bwrap, which is not on your PATH" in said
    assert "install the package bubblewrap" in said


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("bubblewrap 0.3.1", "is bubblewrap 0.3.1, and at least 0.4.0 is needed"),
        ("something 1.2.3", "--version names no version of bubblewrap"),
        ("", "--version names no version of bubblewrap"),
    ],
)
def test_another_version(bwrap: Path, tmp_path: Path, version: str, said: str) -> None:
    play(bwrap, "exit 1", version)
    assert said in refusal(tmp_path)


def test_a_program_that_hangs_or_cannot_be_started(bwrap: Path, tmp_path: Path) -> None:
    bwrap.write_bytes(b"\x7fELF no program")
    bwrap.chmod(0o755)
    assert "--version names no version of bubblewrap" in refusal(tmp_path)
    play(bwrap, "exit 0")
    assert "bwrap made no sandbox" in refusal(tmp_path)


@pytest.mark.skipif(os.getuid() != 0, reason="not root, so nobody else's files can be made")
def test_a_setuid_one_is_root_s_business() -> None:
    source = f"""
import sys, os, tempfile
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from helpers import drop_root
from pytest_kiro.errors import SandboxError
from pytest_kiro.sandbox.bubblewrap import refusals
drop_root()
os.environ["PATH"] = sys.argv[1]
try:
    refusals.find()
except SandboxError as error:
    print(error)
"""
    with open_folder() as folder:
        play(Path(folder) / "bwrap", "exit 1")
        (Path(folder) / "bwrap").chmod(0o4755)
        said = run_python(source, folder)
    assert "bwrap is setuid root: what it makes is root's, and nobody else can look after it" in said
    assert "chmod u-s" in said


def test_another_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(SandboxError, match="--kiro-sandbox=bubblewrap needs Linux, and this is darwin"):
        refusals.find()


def test_this_machine_is_looked_at() -> None:
    settings = refusals.machine().settings
    assert set(settings) <= {
        *(
            "kernel.unprivileged_userns_clone",
            "kernel.apparmor_restrict_unprivileged_userns",
            "user.max_user_namespaces",
        )
    }
    assert settings["user.max_user_namespaces"].isdigit()
