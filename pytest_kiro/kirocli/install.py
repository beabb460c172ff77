"""Puts kiro-cli into a sandbox, and proves it by its version."""

from __future__ import annotations

import hashlib
import io
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from secrets import token_hex

from pytest_kiro.errors import HIDE_FRAMES, InstallError, SandboxTimeout
from pytest_kiro.kirocli import commands, official
from pytest_kiro.sandbox.protocol import Sandbox
from pytest_kiro.sandbox.script import program
from pytest_kiro.standin import STAND_IN
from pytest_kiro.turn.causes import exit_name

__tracebackhide__ = HIDE_FRAMES
_PLACE = Path(__file__).with_name("standin.sh")


@dataclass(frozen=True)
class Installation:
    """Names the kiro-cli that answers.

    `path` is absolute and in the sandbox; `version` is what it says of itself; `scripted` is whether it is the
    stand-in.

    >>> Installation("/home/me/.local/bin/kiro-cli", "2.29.0", scripted=False).folder
    '/home/me/.local/bin'
    """

    path: str
    version: str
    scripted: bool

    @property
    def folder(self) -> str:
        """The folder that has to be on PATH: kiro-cli starts its siblings from there."""
        return str(PurePosixPath(self.path).parent)


def install(sandbox: Sandbox, what: str, *, timeout: float, version: str | None = None) -> Installation:
    """Provide the CLI and prove it.

    `what` is `scripted`, `official`, or an absolute path; `timeout` (seconds) bounds each step; `version` is the
    only one that will do, if given. Raises `InstallError` with what was tried and what the version check printed.
    """
    if what == "official" and sandbox.isolated:
        installed = Installation(*official.provide(sandbox, version, timeout=timeout))
    elif what == "official":
        installed = prove(sandbox, _on_path(), timeout=timeout)
    elif what == "scripted":
        installed = prove(sandbox, _scripted(sandbox, timeout), timeout=timeout)
    elif what.startswith("/"):
        installed = prove(sandbox, what, timeout=timeout)
    else:
        advice = "use official, scripted, or an absolute path in the sandbox"
        raise InstallError(f"--kiro-cli={what} is not known", advice=advice)
    if version not in (None, installed.version):
        raise InstallError(
            f"{installed.path} is version {installed.version}, but --kiro-cli-version asks for {version}",
            advice=f"leave it out, ask for {installed.version}, or use --kiro-cli=official, which installs {version} "
            "into an isolated sandbox",
        )
    return installed


def prove(sandbox: Sandbox, path: str, *, timeout: float) -> Installation:
    """Execute `PATH --version` and read it; `InstallError` for a program that says no version of kiro-cli."""
    folder = shlex.quote(str(PurePosixPath(path).parent))  # its siblings are started by name
    command = f'PATH={folder}:"$PATH" {shlex.join([path, *commands.version()])} </dev/null'
    try:
        result = sandbox.exec(command, env=commands.QUIET, timeout=timeout)
    except SandboxTimeout as error:
        what = f"{path} --version did not answer within {timeout:g} s"
        raise InstallError(what, advice="is it kiro-cli?", output=error.output) from error
    read = commands.read_version(result.output) if result.ok else None
    if read is None:
        what = f"{path} --version exited with {exit_name(result.exit_code)} and printed no kiro-cli version"
        advice = "--kiro-cli takes official, scripted, or the absolute path of an executable kiro-cli in the sandbox"
        raise InstallError(what, advice=advice, output=result.output)
    return Installation(path, *read)


def _on_path() -> str:
    path = shutil.which(commands.NAME)
    if path is None:
        raise InstallError(
            "--kiro-cli=official: there is no kiro-cli on your PATH, and nothing is ever downloaded to your machine",
            advice="install it from kiro.dev, or use --kiro-cli=scripted",
        )
    return str(Path(path).absolute())  # as it is named: where a link leads it has no siblings


def _scripted(sandbox: Sandbox, timeout: float) -> str:
    """Write a launcher for the stand-in: in place on this machine, from one archive elsewhere."""
    path = f"{sandbox.home}/.local/bin/{commands.NAME}"
    if sandbox.isolated:
        _send(sandbox, path, timeout)
    else:
        launcher = _launcher(f"{shlex.quote(sys.executable)} -I -S {shlex.quote(str(STAND_IN / '__main__.py'))}")
        sandbox.write_file(path, launcher.encode(), mode=0o755)
    return path


def _launcher(command: str) -> str:
    return f'#!/bin/sh\nexec {command} "$@"\n'


def _send(sandbox: Sandbox, path: str, timeout: float) -> None:
    """Send the stand-in as one archive, named by its content: a worker that comes second finds it."""
    data = _archive()
    archive = f"{sandbox.home}/.local/share/{commands.NAME}-{hashlib.sha256(data).hexdigest()[:16]}.pyz"
    suffix = f".{token_hex(8)}"
    command = program(
        _PLACE,
        sent=archive + suffix,
        archive=archive,
        launcher=path,
        part=path + suffix,
        text=_launcher(f"python3 -I -S {shlex.quote(archive)}"),
    )
    try:
        result = sandbox.exec(command, timeout=timeout)
        if result.exit_code == 9:  # it was not sent yet
            sandbox.write_file(archive + suffix, data)
            result = sandbox.exec(command, timeout=timeout)
        failure, output = None if result.ok else f"exit code {result.exit_code}", result.output
    except SandboxTimeout as error:
        failure, output = f"it did not end within {timeout:g} s", error.output
    if failure:
        what = f"the stand-in could not be written to {path}: {failure}"
        raise InstallError(what, advice="is the sandbox's home writable, is its disk full?", output=output)


def _archive() -> bytes:
    """Put the stand-in into a zip that python3 executes; its bytes depend on nothing but its files."""
    import zipfile

    files = {f"kiro_cli/{path.relative_to(STAND_IN)}": path.read_bytes() for path in sorted(STAND_IN.rglob("*.py"))}
    files["__main__.py"] = b"import kiro_cli.app\nkiro_cli.app.main()\n"
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # which has a date of its own, always the same
    return data.getvalue()
