"""Writes the results of a run as one JSON file; results.schema.json, beside this file, says what is in it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pytest_kiro.errors import SettingsError
from pytest_kiro.records.plain import clean
from pytest_kiro.records.run import RunRecord
from pytest_kiro.secrecy.redaction import Secrets

SCHEMA = Path(__file__).with_name("results.schema.json")


class ResultsFile:
    """The file that `--kiro-results` names."""

    def __init__(self, file: Path) -> None:
        self._file = Path(os.path.realpath(file))  # a link stays one
        self._part = self._file.with_name(f".{self._file.name}.{os.getpid()}.part")

    def check(self) -> None:
        """Make the folders above the file; `SettingsError` when the file cannot be written, before anything is run."""
        file, option = self._file, f"--kiro-results={self._file}"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.exists() and not file.is_file():
                raise SettingsError(f"{option} is no regular file", advice="name a file that can be replaced")
            beginning = file.read_bytes()[:1000].strip() if file.exists() else b""
            if beginning and RunRecord.format.encode() not in beginning:
                raise SettingsError(
                    f"{option} is there already, and is no results file: it would be lost",
                    advice="remove it, or name another file",
                )
            self._part.touch()
            self._part.unlink()
        except OSError as error:
            raise SettingsError(
                f"{option} cannot be written: {error.strerror}: {error.filename}", advice="name another file"
            ) from error

    def write(self, run: RunRecord, secrets: Secrets) -> None:
        """Write the file without secrets; readers see the old one or the new one. Raises `OSError`."""
        document = clean(secrets.within(run.to_json(file=True)))
        text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
        try:
            self._part.write_text(text + "\n", encoding="utf-8")
            self._part.replace(self._file)
        finally:
            self._part.unlink(missing_ok=True)
