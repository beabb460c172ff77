"""Installs the official kiro-cli, by one recipe for sandboxes and images.

Where the SHA-256 of a pinned version comes from, in this order; without one nothing is installed:

1. `<archive>.sha256` beside the archive. A public CI action reads it for whatever version it is asked for (2.28.0).
2. `stable/<version>/manifest.json`. A guess: the one public reader that asks for it falls back by itself.
3. `stable/latest/manifest.json`, when its entry is `<version>/<archive>`: proven by many, for the latest version only.
"""

from __future__ import annotations

import contextlib
import logging
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from pytest_kiro.errors import HIDE_FRAMES, InstallError, SandboxError, SandboxTimeout
from pytest_kiro.kirocli import commands
from pytest_kiro.sandbox.protocol import Sandbox
from pytest_kiro.sandbox.script import program
from pytest_kiro.turn.causes import exit_name

if TYPE_CHECKING:
    from pytest_kiro.settings.table import Settings

__tracebackhide__ = HIDE_FRAMES
_log = logging.getLogger(__name__)

SCRIPT = "https://cli.kiro.dev/install"
ARCHIVES = "https://prod.download.cli.kiro.dev/stable"
#: What must be reachable for installing, in an allow-list's words.
HOSTS = ("cli.kiro.dev", "prod.download.cli.kiro.dev", "desktop-release.q.us-east-1.amazonaws.com")
#: What Kiro itself must reach, to answer and to be logged in: as others' firewalls have it, not tried here.
SERVICE_HOSTS = (
    "*.kiro.dev",
    *(f"{name}.{region}.amazonaws.com" for region in ("us-east-1", "eu-central-1") for name in ("q", "oidc")),
)
#: They survive this run, unlike `commands.QUIET`: a CLI that is started by hand has no update and no telemetry either.
_SETTINGS = {"telemetry.enabled": "false", "app.disableAutoupdates": "true"}
_PROOF = f'PATH="$HOME/.local/bin:$PATH" "$HOME/.local/bin/{commands.NAME}" {shlex.join(commands.version())}'
_DONE = "pytest-kiro: kiro-cli is in place"
_INSTALL, _FIND = (Path(__file__).with_name(name) for name in ("install.sh", "find.sh"))
#: What curl's exit codes say about the network; 22 (the server said no) is none of them.
_CURL = {
    5: "the proxy's name was not resolved",
    6: "its name was not resolved",
    7: "no connection could be made",
    28: "it did not answer in time",
    35: "the TLS handshake failed",
    52: "it answered nothing",
    56: "the connection broke",
    60: "its TLS certificate is not trusted, as behind a proxy that reads along",
}


def build_lines(version: str | None) -> list[str]:
    """Return one-line shell commands that install kiro-cli for their user.

    `version` is the one to install, None for the latest. They fail unless it answers in `~/.local/bin`.

    >>> build_lines("2.29.0")[-1]
    'PATH="$HOME/.local/bin:$PATH" "$HOME/.local/bin/kiro-cli" --version'
    """
    return [_recipe(version), _PROOF]


def snapshot_lines(settings: Settings) -> Sequence[str]:
    """Return the commands that build a snapshot: what would be installed into each sandbox is in it."""
    return build_lines(settings.cli_version) if settings.cli in (None, "official") else ()


def provide(sandbox: Sandbox, version: str | None, *, timeout: float) -> tuple[str, str, bool]:
    """Return kiro-cli's path and what `commands.read_version` read; it is installed where it is missing.

    A kiro-cli that is there already, and is of this `version` if one is given, stays. `timeout` (seconds) bounds
    each of the two steps. Raises `InstallError` with what was tried and what was printed.
    """
    return _there(sandbox, version, timeout) or _install(sandbox, version, timeout)


def _recipe(version: str | None, token: str = "") -> str:
    """Return the installation as one `sh` line, which an image's RUN takes; `token` names its temporary folder."""
    lines = program(
        _INSTALL,
        version=version or "",
        answer="[0-9]+[.][0-9]+" if version is None else version.replace(".", "[.]").replace("+", "[+]") + "( |$)",
        token=token,
        quiet=" ".join(f"{name}={shlex.quote(value)}" for name, value in commands.QUIET.items()),
        settings=shlex.join(f"{name}={value}" for name, value in _SETTINGS.items()),
        script=SCRIPT,
        archives=ARCHIVES,
        done=_DONE,
    ).splitlines()
    return f"sh -c \"$(printf '%s\\n' {shlex.join(lines)})\" </dev/null"


def _there(sandbox: Sandbox, version: str | None, timeout: float) -> tuple[str, str, bool] | None:
    """Look for a kiro-cli that fits: a snapshot has one, and so has a sandbox that another worker came to first."""
    try:
        result = sandbox.exec(program(_FIND), env=commands.QUIET, timeout=timeout)
    except SandboxTimeout as error:
        what = f"the kiro-cli in sandbox {sandbox.id} did not answer --version within {timeout:g} s"
        advice = "remove it from the image, or give the absolute path of another with --kiro-cli"
        raise InstallError(what, advice=advice, output=error.output) from error
    path, _, said = result.output.partition("\n")
    read = commands.read_version(said) if result.ok else None
    if read is None or read[1] or not path.startswith("/") or version not in (None, read[0]):
        return None
    _log.info("kiro-cli %s is already there", read[0])
    return path, *read


def _install(sandbox: Sandbox, version: str | None, timeout: float) -> tuple[str, str, bool]:
    _log.info("installing kiro-cli %s …", version or "(latest)")
    token = token_hex(8)
    command = f"{_recipe(version, token)} && {_PROOF} </dev/null"
    try:
        result = sandbox.exec(command, env=commands.QUIET, timeout=timeout)
    except SandboxTimeout as error:
        with contextlib.suppress(SandboxError):  # killed, it could not clean up
            sandbox.remove(f"{sandbox.home}/.local/bin/.pytest-kiro-{token}")
        reason = f"it did not end within {timeout:g} s; --kiro-setup-timeout sets how long it may take"
        raise _failed(sandbox, version, reason, error.output) from error
    read = commands.read_version(result.output.rpartition(f"{_DONE}\n")[2]) if result.ok else None
    if read is None:
        raise _failed(sandbox, version, _reason(result.output, result.exit_code), result.output)
    _log.info("installed kiro-cli %s", read[0])
    return f"{sandbox.home}/.local/bin/{commands.NAME}", *read


def _reason(output: str, code: int) -> str:
    """Say why the recipe ended: the network by curl's exit code, else its own last word."""
    if f"{_DONE}\n" in output:
        return f"it is in place, but its --version exited with {exit_name(code)} and said no version"
    last = output.rpartition("pytest-kiro: fetching ")[2].partition("\n")[2]  # what came of the last download
    codes: list[str] = re.findall(r"curl(?: exited with |: \()(\d+)", last)
    if codes and (how := _CURL.get(int(codes[-1]))):
        hosts: list[str] = re.findall(r"(?:https?://|resolve host: |connect to |connection to )([\w.-]+\w)", last)
        host = hosts[-1] if hosts else "a host that the installer needs"
        return f"{host} could not be reached from the sandbox: {how} (curl exit {codes[-1]})"
    words: list[str] = re.findall(r"^pytest-kiro: (.*)", output, re.MULTILINE)
    return words[-1] if words else f"it exited with {exit_name(code)}"


def _failed(sandbox: Sandbox, version: str | None, reason: str, output: str) -> InstallError:
    tried = f"curl -fsSL {SCRIPT} | bash" if version is None else f"{ARCHIVES}/{version}/"
    what = f"kiro-cli {version or '(latest)'} was not installed into sandbox {sandbox.id} ({tried}): {reason}"
    advice = (
        f"installing needs {', '.join(HOSTS)} in the sandbox's network allow-list, and curl, bash, unzip, tar and "
        "sha256sum in its image; or bring kiro-cli along: --kiro-snapshot with one that has it in, or --kiro-cli=/path "
        "of it; --kiro-cli=scripted needs neither"
    )
    return InstallError(what, advice=advice, output=output, lines=20)
