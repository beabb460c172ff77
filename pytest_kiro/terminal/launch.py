"""Makes the files and the line that launch a program; holds back what is printed before it begins.

Pure: values in, text out (contract L). The prompt and the launch program are files, because a line that is typed
is edited, echoed, cut at 4,095 bytes and kept in a history (measured: tabs, control characters and 6,000
characters did not survive; `exec` of a missing program left the shell waiting for ever).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from pytest_kiro.errors import LaunchError
from pytest_kiro.sandbox.checks import check_env
from pytest_kiro.sandbox.script import program
from pytest_kiro.terminal.text import plain_text

#: How much of what a shell says is kept while its marker is awaited, in bytes.
_KEPT_WHILE_WAITING = 64 * 1024
_LIST, _LAUNCH = (Path(__file__).with_name(name) for name in ("list.sh", "launch.sh"))


@dataclass(frozen=True)
class Launch:
    """Describes one program to start; `launch.sh` says what each value does.

    `folder` is never inside the workspace; relative ones begin in the sandbox's HOME. `home` is the program's own HOME,
    an absolute path, the sandbox's when empty, and `prepare` the commands that make it; `stores` and `left_out`, the
    folders that are not listed, are relative to it, and so are `patterns`, of files that are brought back as well;
    stores may be absolute. `stdin` is None for what is typed.
    `since` is the time of the last list in seconds, as text; `logs` is whether the sandbox's `script` can keep a log,
    None where that is to be tried; with `lists_all` an equal list comes back as well. `hidden_env` is given to the
    terminal, so that it is on no disk, as `env` is.
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
    left_out: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    since: str = ""
    make: bool = False
    durable: bool = False
    logs: bool | None = None
    lingers: bool = False
    apart: bool = False
    lists_all: bool = False

    def within(self, home: str) -> Launch:
        """Return it with absolute paths, in a sandbox with this HOME."""
        return replace(self, folder=str(PurePosixPath(home, self.folder)), home=self.home or home)

    @property
    def marker(self) -> str:
        """What the line begins with that is printed just before the program."""
        return f"ready-{self.nonce}"

    @property
    def terminal_env(self) -> dict[str, str]:
        """The terminal's variables: no start-up files of an agent's, no history."""
        nowhere = {"HOME": self.folder, "ZDOTDIR": self.folder, "ENV": "", "HISTFILE": "/dev/null"}
        return {**nowhere, **self.hidden_env}

    def line(self) -> str:
        """Return the line that is typed.

        It begins with a blank, since zsh's menu for new users eats the first key, and goes on after `exec`,
        since an interactive shell survives an exec that failed.
        """
        return f" exec /bin/sh {_typed(f'{self.folder}/launch')}; exit 127\n"

    def contents(self) -> dict[str, bytes]:
        """Return the files to write, by name in `folder`."""
        stdin = {} if self.stdin is None else {"stdin": self.stdin}
        return {"launch": self.script().encode("utf-8", "surrogateescape"), **stdin, **self.files}

    def script(self) -> str:
        """Return the launch program that the line runs."""
        check_env(self.env)
        exports = [f"export {name}={shlex.quote(value)}" for name, value in self.env.items()]
        return self.listing() + program(
            _LAUNCH,
            launch_folder=self.folder,
            launch_workspace=self.workspace,
            launch_home=self.home,
            launch_prepare=self.prepare,
            launch_marker=self.marker,
            launch_program="\n".join([*exports, f"exec {shlex.join(self.argv)}"]),
            launch_stdin=self.stdin is not None,
            launch_apart=self.apart,
            launch_make=self.make,
            launch_since=self.since,
            launch_durable=self.durable,
            launch_logs="" if self.logs is None else int(self.logs),
            launch_lingers=self.lingers,
        )

    def listing(self) -> str:
        """Return the program that lists files, for another to stand behind."""
        left_out = shlex.join(self.left_out)
        return program(_LIST, list_home=self.home, list_workspace=self.workspace, list_left_out=left_out)

    @property
    def store_words(self) -> str:
        """The stores' absolute paths, quoted, and the patterns behind HOME's."""
        home = shlex.quote(self.home)
        return " ".join([shlex.join(self.absolute(self.stores)), *(f"{home}/{pattern}" for pattern in self.patterns)])

    def absolute(self, paths: Iterable[str]) -> tuple[str, ...]:
        """Return paths from the program's HOME as absolute ones."""
        return tuple(str(PurePosixPath(self.home, path)) for path in paths)


def _typed(path: str) -> str:
    """Return a path as a word of printable ASCII."""
    if path.isascii() and path.isprintable():
        return shlex.quote(path)
    octal = "".join(f"\\{byte:03o}" for byte in path.encode("utf-8", "surrogateescape"))
    return f"\"$(printf '{octal}')\""


#: What `script` writes when it ends.
LAST_WORDS = re.compile(rb"\nScript done on [^\n]*\n\Z")


def printed_bytes(log: bytes, marker: str) -> int:
    """Return how many bytes of a whole log are the program's."""
    return len(LAST_WORDS.sub(b"", Filter(marker).past(log)))


class Filter:
    """Holds bytes back until the marker's line, then lets every byte pass."""

    def __init__(self, marker: str) -> None:
        self._line = re.compile(rb"[\r\n]%s ([0-9a-f]{64}|-) ([0-9a-f]{64}|-)\r?\n" % re.escape(marker.encode()))
        self.said = b""
        self.opened = False
        #: Of the list of files, and of their contents, as the marker's line has them; empty when it has none.
        self.digests = ("", "")

    def past(self, data: bytes) -> bytes:
        """Return what of the bytes comes from the program."""
        if self.opened:
            return data
        seen = self.said + data
        if marker := self._line.search(seen):
            self.opened, self.said = True, b""
            entries, contents = (digest.decode().strip("-") for digest in marker.groups())
            self.digests = (entries, contents)
            return seen[marker.end() :]
        self.said = seen[-_KEPT_WHILE_WAITING:]
        return b""


def never_began(what: str, said: bytes) -> LaunchError:
    """Return the error for a program that never began; its shell `said` why."""
    return LaunchError(
        f"the program {what}; the shell said:",
        advice="look at the machine's start-up files, such as /etc/profile, and at whether its workspace is there",
        output=plain_text(said),
    )
