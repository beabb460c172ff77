"""How a program is started in a terminal: a script, the one line that runs it, and what it leaves behind.

Pure: values in, text out (contract L). The prompt and the script are files, because a line that is typed
is edited, echoed, cut at 4,095 bytes and kept in a history (measured: tabs, control characters and 6,000
characters did not survive; `exec` of a missing program left the shell waiting for ever).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_kiro.sandbox.protocol import check_env
from pytest_kiro.turn.changes import Manifest

#: How much of what a shell says is kept while its marker is awaited, in bytes.
_KEPT_WHILE_WAITING = 64 * 1024
#: How much of the end of a stderr that was kept apart is brought back, in bytes.
_DIAGNOSTICS_KEPT = 256 * 1024

# Its own names are long, since a variable of the sandbox with the same name would be overwritten for the program;
# what the user exports is for the program alone, since a PATH or IFS of theirs must not change what is found here.
_SCRIPT = r"""
unset IFS
launch_folder={folder}
launch_workspace={workspace}
launch_nonce={nonce}
if command -v sha256sum >/dev/null 2>&1; then launch_sum=sha256sum; else launch_sum='shasum -a 256'; fi
frame() {{ printf '\n%s %s\n' "$launch_nonce" "$1"; }}
# git rewrites its index, and Python its caches, while they only read.
snapshot() {{
  frame "$1-files"
  find . \( -name .git -o -name __pycache__ \) -prune -o -type f -perm -u=r -exec $launch_sum {{}} +
  frame "$1-others"
  find . \( -name .git -o -name __pycache__ \) -prune -o \( -type l -o -type f ! -perm -u=r \) -exec sh -c '
    for name do printf "%s\0" "$name"; readlink "$name" || echo unreadable; printf "\0"; done' sh {{}} +
}}
collect() {{
  {{
    # What nobody but us has written comes first: a frame that stands in a file which Kiro may write is not heard.
    frame status
    printf '%s' "$1"
    ( cd "$launch_workspace" && snapshot after )
    cat "$launch_folder/before"
    if [ -f "$launch_folder/stderr" ]; then frame stderr; tail -c {kept} "$launch_folder/stderr"; fi
    for store in {stores}; do
      # A file is wanted whole, since what belongs to it may be the only one that was touched (SQLite's WAL). In a
      # folder, files that are not older, rather than newer: their clock is coarse.
      if [ -f "$store" ]; then frame "store $store"; cat "$store"; fi
      [ -d "$store" ] && find "$store" -type f -exec sh -c '
        nonce=$0 begun=$1
        shift
        for name do
          [ "$begun" -nt "$name" ] || {{ printf "\n%s %s\n" "$nonce" "store $name"; cat "$name"; }}
        done' "$launch_nonce" "$launch_folder/before" {{}} +
    done
    frame end
  }} >"$launch_folder/outcome.part" 2>/dev/null
  printf '%s' "$1" >"$launch_folder/status"
  mv "$launch_folder/outcome.part" "$launch_folder/outcome"
}}
case ${{1-}} in
collect) collect killed; exit ;;
terminate)
  # The program is the only child of this script's shell, as long as it runs.
  [ -f "$launch_folder/over" ] || {{
    if [ -d /proc/self ]; then cat /proc/[0-9]*/stat 2>/dev/null
    else ps -A -o pid= -o ppid= | sed 's/ *\([0-9]*\) *\([0-9]*\).*/\1 () S \2/'
    fi | awk -v shell="$(cat "$launch_folder/begun")" '
      {{ pid = $1; sub(/.*\) /, ""); if ($2 == shell && $1 !~ /[ZX]/) print pid }}'
  }} | while read -r launch_pid; do kill -s TERM "$launch_pid"; done
  exit ;;
idle)
  # How many seconds ago the stores were written to.
  find {stores} -type f -exec sh -c 'stat -c %Y "$@" 2>/dev/null || stat -f %m "$@"' sh {{}} + 2>/dev/null |
    sort -n | tail -n 1 | while read -r launch_newest; do echo $(($(date +%s) - launch_newest)); done
  exit ;;
esac
trap 'exit 130' INT
{durable}{make}cd "$launch_workspace" || exit 126
snapshot before >"$launch_folder/before" 2>/dev/null
# Ctrl-C is for the program: without the trap this shell would die of it and no status would be written.
# HUP and TERM end both, or a closed terminal would leave the program running.
trap : INT
echo $$ >"$launch_folder/begun"
printf '\n%s\n' {marker}
(
{exports}
exec {command}
){stdin}{apart}
launch_status=$?
true >"$launch_folder/over" # not `:`, with which a folder that is gone would end this shell
trap '' INT # a late one would cut the list of files short, and files would seem to be deleted
collect "$launch_status" 2>/dev/null
exit "$launch_status"
"""

# `script` copies a terminal into a file and hands size, keys and status through (tried, on util-linux 2.38). It goes
# around this whole script, so that in the inner terminal all is as it is without it: what a signal to this shell, a
# hang-up and the end do. It blocks SIGHUP, so a link that is lost by hanging up does not end the program either; that
# is what `close` is for. Other systems have a `script` of other words, so what is needed of it is tried.
# It starts SHELL, which may be none and reads files of its own; and says its last words in the locale's language.
_DURABLE = r"""
if [ "${1-}" != inside ]; then
  echo $$ >"$launch_folder/pid" # and of script, which takes the place of this shell
  launch_again=$launch_folder/launch launch_shell=${SHELL+=$SHELL} launch_locale=${LC_ALL+=$LC_ALL}
  SHELL=/bin/sh LC_ALL=C
  export SHELL LC_ALL launch_again launch_shell launch_locale
  if script -qefc 'exit 3' /dev/null </dev/null >/dev/null 2>&1; [ $? -eq 3 ]; then
    exec script -qefc 'exec sh "$launch_again" inside' "$launch_folder/log"
  fi
fi
case $launch_shell in =*) SHELL=${launch_shell#=} ;; *) unset SHELL ;; esac
case $launch_locale in =*) LC_ALL=${launch_locale#=} ;; *) unset LC_ALL ;; esac
unset launch_again launch_shell launch_locale
"""


@dataclass(frozen=True)
class Launch:
    """One program to start.

    `env` is exported by the script, which is a file; `secrets` are given to the terminal instead, so that they
    are on no disk. `folder` is where our files for it live, relative to HOME and never inside the workspace;
    `stores` are files (relative to HOME, or absolute) that are brought back, and folders whose files are when the
    program touched them. `stdin` is what the program reads, None what is typed in
    its terminal. `make` has the workspace made first; `durable` has the output kept in a log there, for a link that
    may be lost; `apart` keeps stderr out of the terminal, and brings its end back.
    """

    argv: tuple[str, ...]
    workspace: str
    folder: str
    nonce: str
    stdin: bytes | None = b""
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    stores: tuple[str, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    make: bool = False
    durable: bool = False
    apart: bool = False

    @property
    def marker(self) -> str:
        """What the script prints on a line of its own, just before the program begins."""
        return f"ready-{self.nonce}"

    def line(self) -> str:
        """Return the one line that is typed.

        It begins with a blank, since zsh's menu for new users eats the first key, and goes on after `exec`,
        since an interactive shell survives an exec that failed.
        """
        return f' exec sh "$HOME"/{self.folder}/launch; exit 127\n'

    def contents(self) -> dict[str, bytes]:
        """Return the files to write, by name in `folder`."""
        stdin = {} if self.stdin is None else {"stdin": self.stdin}
        return {"launch": self.script().encode(), **stdin, **self.files}

    def script(self) -> str:
        """Return the script that the line runs."""
        check_env(self.env)
        return _SCRIPT.format(
            folder=f'"$HOME"/{self.folder}',
            workspace=shlex.quote(self.workspace),
            nonce=self.nonce,
            exports="\n".join(f"export {name}={shlex.quote(value)}" for name, value in self.env.items()),
            stores=" ".join(map(_in_home, self.stores)) or "''",
            durable=_DURABLE if self.durable else "",
            make='mkdir -p -- "$launch_workspace" && ' if self.make else "",
            marker=self.marker,
            command=shlex.join(self.argv),
            stdin="" if self.stdin is None else ' <"$launch_folder/stdin"',
            apart=' 2>"$launch_folder/stderr"' if self.apart else "",
            kept=_DIAGNOSTICS_KEPT,
        )


def _in_home(path: str) -> str:
    return shlex.quote(path) if path.startswith("/") else f'"$HOME"/{shlex.quote(path)}'


class Filter:
    """Holds everything back until the marker stands on a line of its own, then lets every byte pass."""

    def __init__(self, marker: str) -> None:
        self._line = re.compile(rb"[\r\n]" + re.escape(marker.encode()) + rb"\r?\n")
        self.said = b""
        self.opened = False

    def feed(self, data: bytes) -> bytes:
        """Return what of the bytes comes from the program."""
        if self.opened:
            return data
        seen = self.said + data
        if found := self._line.search(seen):
            self.opened = True
            self.said = b""
            return seen[found.end() :]
        self.said = seen[-_KEPT_WHILE_WAITING:]
        return b""


@dataclass(frozen=True)
class Outcome:
    """What the script wrote down.

    `status` is the program's exit status, None when it was killed before it could end; `before` and `after`
    map relative paths to a digest of their content; `stores` maps absolute paths to contents; `diagnostics` is the
    end of a stderr that was kept apart.
    """

    status: int | None
    before: Manifest
    after: Manifest
    stores: Mapping[str, bytes] = field(repr=False)  # one of them has the login in it
    diagnostics: bytes = b""


def read_outcome(data: bytes, nonce: str) -> Outcome:
    """Take an outcome file apart; `ValueError` when it is not whole."""
    frames: dict[str, bytes] = {}
    for part in data.split(b"\n" + nonce.encode() + b" ")[1:]:
        name, _, content = part.partition(b"\n")
        frames.setdefault(name.decode("utf-8", "surrogateescape"), content)  # a later one stands in a store's file
    if "end" not in frames:
        raise ValueError("the outcome file ends too early")
    status = frames["status"].decode()
    return Outcome(
        status=int(status) if status.isdigit() else None,
        before=_manifest(frames, "before"),
        after=_manifest(frames, "after"),
        stores={name[6:]: content for name, content in frames.items() if name.startswith("store ")},
        diagnostics=frames.get("stderr", b""),
    )


def _manifest(frames: Mapping[str, bytes], when: str) -> Manifest:
    found: dict[str, str] = {}
    for line in frames.get(f"{when}-files", b"").split(b"\n"):
        if not line:
            continue
        escaped = line.startswith(b"\\")  # a name with a newline or backslash in it
        digest, _, name = line.removeprefix(b"\\").partition(b"  ")
        if escaped:
            name = re.sub(rb"\\(.)", lambda m: {b"n": b"\n", b"r": b"\r"}.get(m[1], m[1]), name)
        found[_relative(name)] = digest.decode("ascii", "replace")
    others = frames.get(f"{when}-others", b"").split(b"\0")
    for name, target in zip(others[::2], others[1::2], strict=False):
        found[_relative(name)] = f"link to {target.decode('utf-8', 'surrogateescape').removesuffix(chr(10))}"
    return found


def _relative(name: bytes) -> str:
    return name.removeprefix(b"./").decode("utf-8", "surrogateescape")
