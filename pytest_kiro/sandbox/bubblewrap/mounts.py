"""Says what a sandbox of bubblewrap sees: a read-only system, and of the developer's files what is named."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pytest_kiro.sandbox.environment import base_interpreter

#: Where things are, seen from inside: in the usual places of a machine, of which the user's home is none.
HOMES, USER, TOOLS, CLI, START = "/var/home", "user", "/run/tools", "/run/cli", "/run/start.py"
HOME = f"{HOMES}/{USER}"
#: The system, as far as this machine has it.
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix", "/gnu")
#: What links of /etc and of PATH lead to on some distributions.
_BESIDE = ("/run/current-system", "/var/lib/ca-certificates")
#: Devices that bubblewrap shows: their numbers.
_DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}


@dataclass
class View:
    """The arguments of bwrap that make the sandbox's files.

    `texts` are small files, by the path at which they shall be read.
    """

    arguments: list[str] = field(default_factory=list)
    texts: dict[str, bytes] = field(default_factory=dict)
    _seen: list[str] = field(default_factory=list)

    def add(self, *arguments: str) -> None:
        self.arguments += arguments

    def show(self, path: str, at: str = "") -> None:
        """Let a file or folder be seen, read-only; a link stays one."""
        if Path(path).is_symlink() and not at:
            self.add("--symlink", str(Path(path).readlink()), path)
        elif Path(path).exists():
            self.add("--ro-bind", path, at or path)
        else:
            return
        self._seen.append(at or path)

    def has(self, path: str) -> bool:
        """Return whether a path of this machine is the same one inside.

        >>> view = View(_seen=["/usr"])
        >>> view.has("/usr/bin/node"), view.has("/home/ada/bin/node")
        (True, False)
        """
        return any(Path(path).is_relative_to(seen) for seen in self._seen)


def view(folder: Path, *, cli: Mapping[str, str], names: bool) -> View:
    """Return what a sandbox sees; its own files are in `folder`.

    `cli` are kiro-cli's programs, by name; with `names`, the resolver of names is asked as on this machine.
    """
    made = View()
    for path in (*_SYSTEM, *_BESIDE):
        made.show(path)
    _hide(made)
    made.add("--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev")  # the kernel's settings are in it
    for name, own in _devices(folder / "devices").items():
        made.add("--dev-bind", str(own), f"/dev/{name}")
    made.add("--tmpfs", "/dev/shm", "--remount-ro", "/dev")
    made.add("--bind", str(folder / "tmp"), "/tmp", "--symlink", "/tmp", "/var/tmp")
    resolver = os.path.realpath("/etc/resolv.conf")
    if names and not made.has(resolver):
        made.show(resolver)
    _show_python(made)
    for name, path in cli.items():
        made.show(path, f"{CLI}/{name}")
    made.add("--bind", str(folder / "homes"), HOMES, "--remount-ro", "/", "--chdir", "/")
    return made


def _devices(folder: Path) -> dict[str, Path]:
    """Return devices of the sandbox's own: root could change this machine's."""
    made = dict[str, Path]()
    if os.getuid() == 0:
        folder.mkdir()
        for name, numbers in _DEVICES.items():
            os.mknod(folder / name, stat.S_IFCHR, os.makedev(*numbers))
            (folder / name).chmod(0o666)
            made[name] = folder / name
        try:
            made["null"].open("rb").close()
        except PermissionError:  # a file system without devices
            return {}
    return made


def _hide(made: View) -> None:
    """Take out what not everybody may read: whoever runs this may be root, or in a group of its readers."""
    for path, mode in _unreadable("/etc"):
        made.add(*(("--tmpfs", path, "--remount-ro", path) if stat.S_ISDIR(mode) else ("--ro-bind", "/dev/null", path)))
    user, group = os.getuid(), os.getgid()
    lines = {0: "root:x:0:0::/root:/bin/sh", user: f"{USER}:x:{user}:{group}::{HOME}:/bin/sh"}
    made.texts["/etc/passwd"] = "".join(f"{line}\n" for line in lines.values()).encode()
    made.texts["/etc/group"] = f"{USER}:x:{group}:\n".encode()


def _unreadable(top: str) -> Iterator[tuple[str, int]]:
    """Yield what is there for some only, with its mode; folders are not gone into."""
    try:
        entries = [*os.scandir(top)]
    except OSError:
        return
    for entry in entries:
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            if mode & 0o005 == 0o005:
                yield from _unreadable(entry.path)
            else:
                yield entry.path, mode
        elif stat.S_ISREG(mode) and not mode & 0o004:
            yield entry.path, mode


def _show_python(made: View) -> None:
    """Show the base interpreter, where it is not the system's."""
    interpreter = base_interpreter()
    for path in (interpreter, os.path.realpath(interpreter)):
        if not made.has(path):
            made.show(str(Path(path).parents[1]))
    for name in ("python", "python3"):
        made.add("--symlink", interpreter, f"{TOOLS}/{name}")


def path_of(inherited: str, made: View) -> str:
    """Return the PATH inside: of the developer's folders those that can be seen.

    >>> path_of("/home/ada/bin:/usr/bin:", View(_seen=["/usr"]))
    '/run/tools:/run/cli:/usr/bin:/var/home/user/.local/bin'
    """
    folders = [folder for folder in inherited.split(os.pathsep) if folder.startswith("/") and made.has(folder)]
    return os.pathsep.join([TOOLS, CLI, *folders, f"{HOME}/.local/bin"])


def siblings(program: Path, prefix: str) -> dict[str, str]:
    """Return a program and those beside it whose names begin alike.

    They are by their names; links are followed to their ends, beside which there may be more of them.
    """
    found = dict[str, str]()
    for folder in dict.fromkeys((program.parent, program.resolve().parent)):
        for entry in sorted(folder.glob(f"{prefix}*")):
            if entry.is_file():
                found.setdefault(entry.name, str(entry.resolve()))
    return found


def with_texts(made: View, descriptors: Sequence[int]) -> list[str]:
    """Return all arguments, with the small files read from these descriptors."""
    small = [word for path, descriptor in zip(made.texts, descriptors, strict=True) for word in _text(path, descriptor)]
    place = made.arguments.index("--proc")  # behind the system, before it is made read-only
    return [*made.arguments[:place], *small, *made.arguments[place:]]


def _text(path: str, descriptor: int) -> tuple[str, str, str]:
    return "--ro-bind-data", str(descriptor), path
