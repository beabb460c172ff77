"""A path in a sandbox, with the words of pathlib."""

from __future__ import annotations

import operator
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from pytest_kiro.errors import KiroError
from pytest_kiro.sandbox.protocol import Sandbox

#: That a file is not there says the error, and our frames above it say nothing more.
__tracebackhide__ = operator.methodcaller("errisinstance", (KiroError, OSError))


@dataclass(frozen=True, repr=False)
class SandboxPath:
    """A path in the sandbox, with the words of pathlib; each question is asked of the machine.

    >>> def test_config(kiro):
    ...     kiro.run("Write config.json with debug set to true.")
    ...     assert "debug" in (kiro.workspace / "config.json").read_text()
    """

    _sandbox: Sandbox = field(hash=False)
    _path: PurePosixPath

    def __str__(self) -> str:
        return str(self._path)

    def __fspath__(self) -> str:
        raise TypeError(f"{self} is in the sandbox; use its own read_text(), exists(), … or workspace.exec")

    def __repr__(self) -> str:
        return f"SandboxPath({str(self._path)!r})"

    def __truediv__(self, path: str) -> SandboxPath:
        return SandboxPath(self._sandbox, self._path / path)

    @property
    def name(self) -> str:
        """The last part."""
        return self._path.name

    @property
    def suffix(self) -> str:
        """The last part's ending, with its dot."""
        return self._path.suffix

    @property
    def stem(self) -> str:
        """The last part without its ending."""
        return self._path.stem

    @property
    def parent(self) -> SandboxPath:
        """The folder above."""
        return SandboxPath(self._sandbox, self._path.parent)

    def exists(self) -> bool:
        """Whether something is there."""
        return self._test("-e")

    def is_file(self) -> bool:
        """Whether it is a file."""
        return self._test("-f")

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return self._test("-d")

    def _test(self, flag: str) -> bool:
        return self._sandbox.exec(f"test {flag} {shlex.quote(str(self))}").ok

    def read_bytes(self) -> bytes:
        """Return the content; `FileNotFoundError`, `IsADirectoryError`."""
        try:
            return self._sandbox.read_file(str(self))
        except OSError as error:
            raise error.with_traceback(None) from None

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return the content as text, line ends as they are."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, data: bytes) -> None:
        """Write the content; the folders above are made."""
        self._sandbox.write_files({str(self): (data, 0o644)})  # which clears the way on every provider

    def write_text(self, text: str, encoding: str = "utf-8") -> None:
        """Write text; the folders above are made."""
        self.write_bytes(text.encode(encoding))

    def iterdir(self) -> Iterator[SandboxPath]:
        """Yield what is directly in this folder, sorted by name."""
        try:
            entries = self._sandbox.list_files(str(self))
        except OSError as error:
            raise error.with_traceback(None) from None
        yield from (self / name.rstrip("/") for name in entries if "/" not in name.rstrip("/"))

    def unlink(self) -> None:
        """Remove the file; `FileNotFoundError` when there is none."""
        if not self._test("-e") and not self._test("-L"):
            raise FileNotFoundError(2, "No such file or directory", str(self))
        self._sandbox.remove(str(self))
