"""Gives each owner a HOME of its own.

It is made from the sandbox's as it was when that was ready. What one test's agent leaves in its HOME does not reach the
next test, and goes with its owner.
"""

from __future__ import annotations

import hashlib
import logging
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from secrets import token_hex
from typing import NamedTuple

from pytest_kiro.errors import HIDE_FRAMES, LaunchError, SandboxError, SandboxTimeout
from pytest_kiro.kirocli import commands
from pytest_kiro.login.credentials import Credentials
from pytest_kiro.login.store import Renewal
from pytest_kiro.sandbox.checks import check_command
from pytest_kiro.sandbox.protocol import ExecResult, Sandbox
from pytest_kiro.sandbox.script import program

__tracebackhide__ = HIDE_FRAMES
_TEMPLATE, _MAKE, _ABOVE = (Path(__file__).with_name(name) for name in ("template.sh", "home.sh", "above.sh"))
#: KiB that are copied into each HOME.
_MOST = 8 * 1024
_NOTHING = hashlib.sha256().hexdigest()
#: What home.sh says, and how it ends, when it could not make one.
_REFUSED, _REFUSAL = "pytest-kiro: ", 126


class _Answers(NamedTuple):
    """What template.sh says of the machine."""

    path: str
    folder: str
    logs: bool
    features: str
    above: str = ""


@dataclass(frozen=True)
class _File:
    """A file of ours in the sandbox, and its SHA-256."""

    path: str
    digest: str


class Homes:
    """Makes the HOMEs of one sandbox's owners, or lends them its own.

    `folder` has them in it, without links in its path; `path` is the machine's PATH, `logs` whether its `script` can
    keep a terminal's log, `features` what its environment switches on of kiro-cli's, and `above` the names of what
    above.sh looks for. `template` is what is unpacked into each, None where there is only one. `renewal` is of the
    login that they have copies of.
    """

    def __init__(
        self, sandbox: Sandbox, answers: _Answers, template: _File | None = None, renewal: Renewal | None = None
    ) -> None:
        self.sandbox = sandbox
        self.path, self.folder, self.logs, self.features, self.above = answers
        self.template, self.renewal = template, renewal
        self._held = renewal.held if renewal else None  # which the template has in it
        self._login: tuple[Credentials, _File] | None = None

    @classmethod
    def prepare(cls, sandbox: Sandbox, which: str, renewal: Renewal | None) -> Homes:
        """Keep how HOME is, unless it is shared, in one request."""
        shared, base = which == "shared", sandbox.home
        archive = "" if shared else f"{base}/users/{token_hex(8)}.tar"
        command = program(_ABOVE) + program(
            _TEMPLATE,
            template_homes=f"{base}/{'work' if shared else 'users'}",
            template_base=base,
            template_archive=archive,
            template_most=_MOST,
            template_remote=sandbox.remote,
        )
        path, folder, logs, features, *rest = sandbox.exec(command).check().output.splitlines()
        if shared:
            return cls(sandbox, _Answers(path, folder.removesuffix("/work"), logs == "logs", features), renewal=renewal)
        digest, above, *missing = rest
        if missing:
            logging.getLogger(__name__).warning(
                "tests do not find in their HOME what is reached by its path, and is not copied: %s", ", ".join(missing)
            )
        digest = digest.split()[0]
        template = _File("" if digest == _NOTHING else archive, digest)
        return cls(sandbox, _Answers(path, folder, logs == "logs", features, above), template, renewal)

    def begin(self) -> OwnerHome:
        """Return the HOME of one more owner, which is not made yet."""
        return OwnerHome(self, f"{self.folder}/{token_hex(4)}" if self.template else "")

    def close(self) -> None:
        """Hand on a login that was renewed in a shared HOME."""
        if self.renewal and not self.template:
            self.renewal.hand_on(self.folder)

    def making(self, home: str, folder: str) -> str:
        """Return the program that makes a HOME and `folder`.

        The newest login is in it.
        """
        assert self.template is not None
        login = self._newer_login()
        return program(_ABOVE) + program(
            _MAKE,
            home_path=home,
            home_folder=folder,
            home_base=self.sandbox.home,
            home_archive=self.template.path,
            home_sum=self.template.digest,
            home_login=login.path if login else "",
            home_login_sum=login.digest if login else "",
            home_data=commands.DATABASE,
            home_above=self.above,
        )

    def _newer_login(self) -> _File | None:
        """Return the file of a login that is newer than the template."""
        if self.renewal is None or (held := self.renewal.held) is self._held:
            return None
        if self._login is None or self._login[0] is not held:
            file = _File(f"{self.folder}/{token_hex(8)}.login", hashlib.sha256(held.data).hexdigest())
            self.sandbox.write_file(file.path, held.data, mode=0o600)
            self._login = held, file
        return self._login[1]


class OwnerHome:
    """The HOME of one owner.

    `own` is its path, empty where the sandbox's is shared.
    """

    def __init__(self, homes: Homes, own: str) -> None:
        self._homes, self.own = homes, own
        #: Whether it has been made; the first turn's launch script can, which saves a request.
        self.made = not own
        self._login: Credentials | None = None

    @property
    def path(self) -> str:
        """The absolute path; it may still have to be made."""
        return self.own or self._homes.folder

    @property
    def work(self) -> str:
        """The folder of its workspaces."""
        return f"{self.path}/work"

    def making(self, folder: str) -> str:
        """Return the commands that make it, with a folder, unless made.

        Several may run at once: one of them makes it. `made` is to be set when they have run.
        """
        if self.made:
            return ""
        self._login = self._homes.renewal.held if self._homes.renewal else None
        return self._homes.making(self.own, folder)

    def look_above(self, *folders: str) -> str:
        """Return commands that fail when something was put above these folders."""
        if self._homes.template is None:
            return "true"
        own = _same(self._homes.sandbox.home, self._homes.above)
        return "\n".join([program(_ABOVE), *(_same(folder, "") for folder in folders), own])

    def make(self, folder: str) -> None:
        """Make it, and a folder in it, in one request."""
        self.exec(f"mkdir -p -- {shlex.quote(folder)}").check()

    def exec(
        self,
        command: str,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        path: Sequence[str] = (),
        timeout: float | None = None,
    ) -> ExecResult:
        """Execute a command in this HOME, which is made on the way."""
        check_command(command, timeout)
        env = {**self.env(path), **(env or {})}
        if self.made:
            return self._homes.sandbox.exec(command, cwd=cwd, env=env, timeout=timeout)
        both = f"(\n{self.making('')}) || exit {_REFUSAL}\nexec /bin/sh -c {shlex.quote(command)}"
        try:
            result = self._homes.sandbox.exec(both, cwd=cwd, env=env, timeout=timeout)
        except SandboxTimeout as error:
            raise SandboxTimeout(str(error).replace(both, command), error.output) from None
        if result.exit_code == _REFUSAL and result.output.startswith(_REFUSED):
            raise LaunchError("the HOME of this test could not be made", output=result.output, advice="run it again")
        self.made = True
        return replace(result, command=command)

    def env(self, path: Sequence[str] = ()) -> dict[str, str]:
        """Return HOME and PATH of what an eval executes.

        These folders come first, then the system's, then those in a HOME.
        """
        base = PurePosixPath(self._homes.sandbox.home)
        folders = [folder for folder in self._homes.path.split(":") if folder]
        inside = [folder for folder in folders if PurePosixPath(folder).is_relative_to(base)]
        inside.sort(key=lambda folder: folder == f"{base}/.local/bin")
        outside = [folder for folder in folders if folder not in inside]
        names = dict.fromkeys([*path, *outside, *inside, f"{self.path}/.local/bin"])
        return {"PATH": ":".join(names), **({"HOME": self.own} if self.own else {})}

    def guard(self) -> None:
        """Follow no link that Kiro left in what is written here."""
        if self.own and self.made:
            self._homes.sandbox.guard(self.own)

    def keep_in_step(self) -> None:
        """Put a login in that was renewed elsewhere meanwhile."""
        renewal = self._homes.renewal
        if self.own and self.made and renewal and self._login is not renewal.held:
            self.guard()
            renewal.put(self.path)
            self._login = renewal.held

    @property
    def stores(self) -> tuple[str, ...]:
        """What a turn brings back of its login, without a request."""
        return (commands.DATABASE, f"{commands.DATABASE}-wal") if self._homes.renewal else ()

    def hand_on(self, stores: Mapping[str, bytes] = {}) -> None:
        """Hand on a login that kiro-cli has renewed here.

        It is in what a turn brought back; without that, the sandbox is asked.
        """
        renewal = self._homes.renewal
        if renewal is None:
            return
        data, wal = (_ending(stores, name) for name in self.stores)
        if data:
            renewal.hand_on_from(data, wal)
        elif renewal.due:
            renewal.hand_on(self.path)
        else:
            return
        self._login = renewal.held

    def copy_in(self) -> bool:
        """Put another login in, once; return whether there is one."""
        renewal = self._homes.renewal
        self.guard()
        if renewal is None or not renewal.copy_in(self.path):
            return False
        self._login = renewal.held
        return True

    def remove(self) -> None:
        """Remove it; a sandbox that is gone has taken it along."""
        if self.own:
            with suppress(SandboxError):
                self._homes.sandbox.remove(self.own)

    def leave(self) -> None:
        """Let it be, but end what was executed in it."""
        if self.own:
            leave(self._homes.sandbox, self.own)


def leave(sandbox: Sandbox, folder: str) -> None:
    """End what was executed in a folder, which stays.

    What ends programs is that their folder is removed: so it is put aside meanwhile.
    """
    there, aside = shlex.quote(folder), shlex.quote(f"{folder}.kept")
    with suppress(SandboxError):
        sandbox.exec(f"[ ! -d {there} ] || mv -- {there} {aside}", cwd="/")
        try:
            sandbox.remove(folder)
        finally:
            sandbox.exec(f"[ ! -d {aside} ] || mv -- {aside} {there}", cwd="/")


def _same(folder: str, above: str) -> str:
    """Return the command that fails for other names than these."""
    words = shlex.join([folder, above])
    return f'set -- {words}; above "$1"; [ "$above" = "$2" ] || {{ echo "$1 has $above"; exit {_REFUSAL}; }}'


def _ending(stores: Mapping[str, bytes], name: str) -> bytes:
    return next((data for path, data in stores.items() if path.endswith(f"/{name}")), b"")
