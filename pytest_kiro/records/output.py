"""Writes a file that an option names: found wrong before anything is run, and never half."""

from __future__ import annotations

import os
from pathlib import Path

from pytest_kiro.errors import SettingsError


class OutputFile:
    """A file that an `option` names; what is there already is replaced only if it has the `mark` of its `kind`."""

    def __init__(self, file: Path, option: str, *, mark: str, kind: str) -> None:
        self._option, self._mark, self._kind = option, mark, kind
        self._file = Path(os.path.realpath(file))  # a link stays one
        self._part = self._file.with_name(f".{self._file.name}.{os.getpid()}.part")

    @property
    def path(self) -> Path:
        """Where it is written."""
        return self._file

    def check(self) -> None:
        """Make the folders above the file; `SettingsError` when the file cannot be written, before anything is run."""
        file, option = self._file, f"{self._option}={self._file}"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.exists() and not file.is_file():
                raise SettingsError(f"{option} is no regular file", advice="name a file that can be replaced")
            beginning = _beginning(file) if file.exists() else b""
            if beginning and self._mark.encode() not in beginning:
                raise SettingsError(
                    f"{option} is there already, and is no {self._kind}: it would be lost",
                    advice="remove it, or name another file",
                )
            self._part.touch()
            self._part.unlink()
        except OSError as error:
            raise SettingsError(
                f"{option} cannot be written: {error.strerror}: {error.filename}", advice="name another file"
            ) from error

    def write_text(self, text: str) -> int:
        """Write the file, and return its bytes; readers see the old one or the new one. Raises `OSError`."""
        data = text.encode("utf-8", "replace")
        try:
            self._part.write_bytes(data)
            self._part.replace(self._file)
        finally:
            self._part.unlink(missing_ok=True)
        return len(data)


def _beginning(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(1000).strip()
