"""Makes the files and the line that launch a program; reads its record.

Pure: values in, text out (contract L). The prompt and the launch program are files, because a line that is typed
is edited, echoed, cut at 4,095 bytes and kept in a history (measured: tabs, control characters and 6,000
characters did not survive; `exec` of a missing program left the shell waiting for ever).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pytest_kiro.errors import LaunchError
from pytest_kiro.sandbox.protocol import check_env
from pytest_kiro.sandbox.script import program
from pytest_kiro.terminal.text import plain_text
from pytest_kiro.turn.changes import Manifest

#: How much of what a shell says is kept while its marker is awaited, in bytes.
_KEPT_WHILE_WAITING = 64 * 1024
_PROGRAM = Path(__file__).with_name("launch.sh")


@dataclass(frozen=True)
class Launch:
    """Describes one program to start; `launch.sh` says what each value does.

    `folder` is relative to the sandbox's HOME and never inside the workspace. `home` is the program's own HOME, an
    absolute path, the sandbox's when empty, and `prepare` the commands that make it; `stores` are relative to it or
    absolute. `stdin` is None for what is typed. `hidden_env` is given to the terminal, so that it is on no disk, as
    `env` is.
    """

    argv: tuple[str, ...]
    workspace: str
    folder: str
    nonce: str
    home: str = ""
    prepare: str = ""
    stdin: bytes | None = b""
    env: Mapping[str, str] = field(default_factory=dict)
    hidden_env: Mapping[str, str] = field(default_factory=dict, repr=False)
    stores: tuple[str, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    make: bool = False
    durable: bool = False
    apart: bool = False

    @property
    def marker(self) -> str:
        """The line that is printed just before the program begins."""
        return f"ready-{self.nonce}"

    def line(self) -> str:
        """Return the line that is typed.

        It begins with a blank, since zsh's menu for new users eats the first key, and goes on after `exec`,
        since an interactive shell survives an exec that failed.
        """
        return f' exec sh "$HOME"/{self.folder}/launch; exit 127\n'

    def contents(self) -> dict[str, bytes]:
        """Return the files to write, by name in `folder`."""
        stdin = {} if self.stdin is None else {"stdin": self.stdin}
        return {"launch": self.script().encode(), **stdin, **self.files}

    def script(self) -> str:
        """Return the launch program that the line runs."""
        check_env(self.env)
        exports = [f"export {name}={shlex.quote(value)}" for name, value in self.env.items()]
        return program(
            _PROGRAM,
            launch_folder=self.folder,
            launch_workspace=self.workspace,
            launch_home=self.home,
            launch_prepare=self.prepare,
            launch_nonce=self.nonce,
            launch_marker=self.marker,
            launch_program="\n".join([*exports, f"exec {shlex.join(self.argv)}"]),
            launch_stores=" ".join(map(self._store, self.stores)),
            launch_stdin=self.stdin is not None,
            launch_apart=self.apart,
            launch_make=self.make,
            launch_durable=self.durable,
        )

    def _store(self, path: str) -> str:
        if self.home or path.startswith("/"):
            return shlex.quote(str(PurePosixPath(self.home, path)))
        return f'"$HOME"/{shlex.quote(path)}'


class Filter:
    """Holds bytes back until the marker's line, then lets every byte pass."""

    def __init__(self, marker: str) -> None:
        self._line = re.compile(rb"[\r\n]" + re.escape(marker.encode()) + rb"\r?\n")
        self.said = b""
        self.opened = False

    def past(self, data: bytes) -> bytes:
        """Return what of the bytes comes from the program."""
        if self.opened:
            return data
        seen = self.said + data
        if marker := self._line.search(seen):
            self.opened, self.said = True, b""
            return seen[marker.end() :]
        self.said = seen[-_KEPT_WHILE_WAITING:]
        return b""


def never_began(what: str, said: bytes) -> LaunchError:
    """Return the error for a program that never began; its shell `said` why."""
    return LaunchError(
        f"the program {what}; the shell said:",
        advice="look at the shell's start-up files in the sandbox's HOME, and at whether its workspace is there",
        output=plain_text(said),
    )


@dataclass(frozen=True)
class LaunchRecord:
    """Tells how a launched program ended, and what it changed.

    `status` is None when it was killed before it could end; `before` and `after` map relative paths to a digest,
    `stores` absolute paths to contents; `diagnostics` is the end of a stderr that was kept apart.
    """

    status: int | None
    before: Manifest
    after: Manifest
    stores: Mapping[str, bytes] = field(repr=False)  # one of them has the login in it
    diagnostics: bytes = b""


def read_launch_record(data: bytes, nonce: str) -> LaunchRecord:
    """Read a launch record from its bytes; `ValueError` when it is not whole."""
    frames: dict[str, bytes] = {}
    for part in data.split(b"\n" + nonce.encode() + b" ")[1:]:
        name, _, content = part.partition(b"\n")
        frames.setdefault(name.decode("utf-8", "surrogateescape"), content)  # a later one stands in a store's file
    if "end" not in frames:
        raise ValueError("the launch record ends too early")
    status = frames["status"].decode()
    return LaunchRecord(
        status=int(status) if status.isdigit() else None,
        before=_manifest(frames, "before"),
        after=_manifest(frames, "after"),
        stores={name[6:]: content for name, content in frames.items() if name.startswith("store ")},
        diagnostics=frames.get("stderr", b""),
    )


def _manifest(frames: Mapping[str, bytes], when: str) -> Manifest:
    manifest: dict[str, str] = {}
    for line in filter(None, frames.get(f"{when}-files", b"").split(b"\n")):
        digest, _, name = line.removeprefix(b"\\").partition(b"  ")
        if line.startswith(b"\\"):  # a name with a newline or backslash in it
            name = re.sub(rb"\\(.)", lambda m: {b"n": b"\n", b"r": b"\r"}.get(m[1], m[1]), name)
        manifest[_relative(name)] = digest.decode("ascii", "replace")
    others = frames.get(f"{when}-others", b"").split(b"\0")
    for name, target in zip(others[::2], others[1::2], strict=False):
        manifest[_relative(name)] = f"link to {target.decode('utf-8', 'surrogateescape').removesuffix(chr(10))}"
    return manifest


def _relative(name: bytes) -> str:
    return name.removeprefix(b"./").decode("utf-8", "surrogateescape")
