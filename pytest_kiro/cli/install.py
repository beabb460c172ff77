"""Puts kiro-cli into a sandbox, or finds it there, and proves it by its version, by full path."""

from __future__ import annotations

import io
import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pytest_kiro.cli import commands
from pytest_kiro.errors import HIDE_FRAMES, InstallError, SandboxTimeout, message
from pytest_kiro.sandbox.protocol import Sandbox

__tracebackhide__ = HIDE_FRAMES

_STAND_IN = Path(__file__).parents[1] / "scripted" / "kiro_cli"


@dataclass(frozen=True)
class Installation:
    """Which kiro-cli answers: its absolute `path` in the sandbox, its `version`, and whether it is the stand-in.

    >>> Installation("/home/me/.local/bin/kiro-cli", "2.29.0", scripted=False).folder
    '/home/me/.local/bin'
    """

    path: str
    version: str
    scripted: bool

    @property
    def folder(self) -> str:
        """The folder that has to be on PATH, since kiro-cli starts its siblings from there."""
        return str(PurePosixPath(self.path).parent)


def install(sandbox: Sandbox, what: str, *, timeout: float) -> Installation:
    """Provide the CLI and prove it.

    `what` is `scripted`, `official`, or an absolute path; `timeout` (seconds) bounds each step. Raises
    `InstallError` with what was tried and what the version check printed.
    """
    if what == "scripted":
        path = _scripted(sandbox)
    elif what == "official":
        path = _official(sandbox)
    elif what.startswith("/"):
        path = what
    else:
        raise InstallError(f"--kiro-cli={what}: use official, scripted, or an absolute path in the sandbox")
    return prove(sandbox, path, timeout=timeout)


def prove(sandbox: Sandbox, path: str, *, timeout: float) -> Installation:
    """Execute `PATH --version` and read it; a program that says no version is none of ours."""
    try:
        result = sandbox.exec(shlex.join([path, *commands.version()]), timeout=timeout)
    except SandboxTimeout as error:
        what = f"{path} --version did not answer within {timeout:g} s"
        raise InstallError(message(what, output=error.output, advice="is it kiro-cli?")) from error
    read = commands.read_version(result.output) if result.ok else None
    if read is None:
        what = f"{path} --version exited with {commands.exit_name(result.exit_code)} and printed no kiro-cli version"
        advice = "--kiro-cli takes official, scripted, or the absolute path of an executable kiro-cli in the sandbox"
        raise InstallError(message(what, output=result.output, advice=advice))
    return Installation(path, *read)


def _official(sandbox: Sandbox) -> str:
    if sandbox.isolated:
        raise InstallError(
            f"--kiro-cli=official cannot be installed into sandbox {sandbox.id} by this version of pytest-kiro; "
            "bring an image with kiro-cli in it and give its absolute path with --kiro-cli"
        )
    found = shutil.which(commands.NAME)
    if found is None:
        raise InstallError(
            "--kiro-cli=official: there is no kiro-cli on your PATH, and nothing is ever downloaded to your machine; "
            "install it from kiro.dev, or use --kiro-cli=scripted"
        )
    return os.path.abspath(found)  # noqa: PTH100 - resolve() would follow the link away from its siblings


def _scripted(sandbox: Sandbox) -> str:
    """Write a launcher for the stand-in: in place on this machine, from one archive elsewhere."""
    path = f"{sandbox.home}/.local/bin/{commands.NAME}"
    if sandbox.isolated:
        archive = f"{sandbox.home}/.local/share/{commands.NAME}.pyz"
        sandbox.write_file(archive, _archive())
        command = f"python3 -I -S {shlex.quote(archive)}"
    else:
        command = f"{shlex.quote(sys.executable)} -I -S {shlex.quote(str(_STAND_IN / '__main__.py'))}"
    sandbox.write_file(path, f'#!/bin/sh\nexec {command} "$@"\n'.encode(), mode=0o755)
    return path


def _archive() -> bytes:
    import tempfile
    import zipapp

    data = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(_STAND_IN, Path(folder, "kiro_cli"), ignore=shutil.ignore_patterns("__pycache__"))
        zipapp.create_archive(folder, data, main="kiro_cli.app:main")
    return data.getvalue()
