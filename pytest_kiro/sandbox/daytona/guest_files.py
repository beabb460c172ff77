"""What is executed inside a sandbox for its files: pure, values in and `sh` text out, for names of any bytes."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from pytest_kiro.sandbox.daytona import guest

#: Says what is at a path, in `kind` and without another process.
_LOOK = r"""
look() {
  if [ -f "$1" ]; then if [ -r "$1" ]; then kind=f; else kind=u; fi
  elif [ -d "$1" ]; then kind=d
  elif [ -e "$1" ]; then kind=o
  elif [ -L "$1" ]; then kind=m
  else above=${1%/*}
    # A file where a folder should be is another error than nothing there.
    while [ -n "$above" ] && ! [ -e "$above" ]; do above=${above%/*}; done
    if [ -z "$above" ] || [ -d "$above" ]; then kind=m; else kind=n; fi
  fi
}
"""


def words(paths: Iterable[str]) -> tuple[str, str]:
    """Return (what to execute before, the words) for paths of any bytes.

    A command travels as JSON, which has no way to say bytes that are not UTF-8; the shell can make them.
    """
    before, shown = [], []
    for number, path in enumerate(paths):
        try:
            path.encode()
            shown.append(shlex.quote(path))
        except UnicodeEncodeError:
            octal = "".join(f"\\{byte:03o}" for byte in path.encode("utf-8", "surrogateescape"))
            # A dot at the end, taken off again: $( ) would drop a newline there.
            before.append(f"w{number}=$(printf '{octal}.'); w{number}=${{w{number}%.}}\n")
            shown.append(f'"$w{number}"')
    return "".join(before), " ".join(shown)


def kinds(paths: Sequence[str]) -> str:
    """Return the command that answers what each path is, one letter each.

    f file, u unreadable, d folder, o other, m missing, n below a file.
    """
    before, names = words(paths)
    return f'{_LOOK}{before}set -- {names}\nfor name do look "$name"; printf %s "$kind"; done\necho\n'


def pack(paths: Sequence[str], pack: str, *, inline: int) -> str:
    """Return the command that answers the `kinds` of paths, and packs them if all are files.

    Files of up to `inline` bytes come with the answer, as base64; larger ones are packed into the file `pack` and the
    answer says `big`.
    """
    before, names = words(paths)
    relative, inner = words(path.lstrip("/") for path in paths)
    file = shlex.quote(pack)
    # GNU's tar makes a newline of \n in a name; others have no word against that, and no need of one.
    tar = "tar --no-unquote" if any("\\" in path for path in paths) else "tar"
    return (
        f"{_LOOK}{before}set -- {names}\n"
        'kinds= && for name do look "$name"; kinds=$kinds$kind; done\n'
        'echo "$kinds"\n'
        "case $kinds in *[!f]*) exit 0 ;; esac\n"
        'size=$(cat -- "$@" | wc -c)\n'
        f"{relative}set -- {inner}\n"
        # 1 is "a file changed while it was read": an agent's server may be writing its log.
        f'if [ "$size" -le {inline} ]; then {tar} -chf - -C / -- "$@" 2>/dev/null | base64; exit; fi\n'
        f'said=$({tar} -chf {file} -C / -- "$@" 2>&1)\n'
        f'if [ $? -le 1 ]; then echo big; else echo failed; echo "$said"; rm -f {file}; fi\n'
    )


def place(staged: Sequence[tuple[str, str, int]]) -> str:
    """Return the command that copies uploaded files to where they belong: (uploaded name, path, mode).

    What is there is checked first, so that a pipe that an agent made holds nobody up; a link is followed. It answers
    `f` after all of them, or a letter of `pack` and the number of the one that cannot be.
    """
    lines = [
        f"{_LOOK}put() {{",
        '  look "$2"',
        '  case $kind in d | o | n) echo "$kind $4"; exit 0 ;; esac',
        '  case $2 in */*) [ -d "${2%/*}" ] || mkdir -p -- "${2%/*}" || exit ;; esac',
        '  cat <"$1" >"$2" && chmod "$3" -- "$2" || exit',
        "}",
    ]
    for number, (source, path, mode) in enumerate(staged):
        before, name = words([path])
        lines.append(f"{before}put {shlex.quote(source)} {name} {mode:o} {number}")
    return "\n".join([*lines, "echo f", ""])


def listing(path: str) -> str:
    """Return the command that lists all below a folder: a letter of `pack`, then folders and others as base64."""
    before, name = words([path])
    return (
        f"{_LOOK}{before}set -- {name}\n"
        'look "$1"; echo "$kind"\n'
        '[ "$kind" = d ] || exit 0\n'
        'cd -- "$1" || exit\n'
        "find . -mindepth 1 -type d -print0 | base64\n"
        "echo -\n"
        "find . -mindepth 1 ! -type d -print0 | base64\n"
    )


def remove(path: str, tags: Sequence[str], tasks: str) -> str:
    """Return the command that removes a path although an agent may have taken the permission to."""
    before, name = words([path])
    return (
        f"{guest.reap(tags, tasks)}{before}set -- {name}\n"
        'rm -rf -- "$1" 2>/dev/null && exit\n'
        'chmod -R u+rwX -- "$1" 2>/dev/null\n'
        'rm -rf -- "$1"\n'
    )
