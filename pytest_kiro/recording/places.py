"""Says where a recording lies, in names that every file system holds."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from pytest_kiro.agent.bench import Owner
from pytest_kiro.recording.text import digest_of

#: The names in a trial's folder, and in the one above it.
RECORDING, CONTENTS, TRIAL = "recording.json", "files", "trial-"
#: Bytes of a name: file systems hold 255, and some editors put something in front.
_LONGEST = 120
_UNSAFE = re.compile(r"[^\w.,=+@\[\]()-]|[. ]\Z|\A[.-]")
#: What Windows takes for devices.
_DEVICE = re.compile(r"(?:con|prn|aux|nul|(?:com|lpt)\d)(?:\..*)?", re.IGNORECASE)


def safe(name: str) -> str:
    """Return a name that file systems can hold; other names do not become the same.

    >>> safe("test_shop[eur-2]"), safe("test_shop[a/b]")
    ('test_shop[eur-2]', 'test_shop[a_b]~615f7f4d')
    """
    changed = _UNSAFE.sub("_", name) or "_"
    if _DEVICE.fullmatch(changed):
        changed = f"_{changed}"
    if changed == name and len(name.encode()) <= _LONGEST:
        return name
    short = changed.encode("utf-8", "replace")[:_LONGEST].decode("utf-8", "ignore")
    return f"{short}~{digest_of(name.encode('utf-8', 'surrogatepass'))[:8]}"


def trial_folder(table: Path, trial: int, variant: str | None = None) -> Path:
    """Return the folder of one trial, below that of its test."""
    return table / (f"{TRIAL}{trial}" if variant is None else f"{TRIAL}{trial}@{safe(variant)}")


def content_name(data: bytes, path: str) -> str:
    """Return the name of contents: their digest, and what the file was called."""
    base = re.sub(r"[^\w.-]", "_", path.rpartition("/")[2], flags=re.ASCII)
    return f"{digest_of(data)}-{base[-40:]}"


class Places:
    """The folders of all recordings of a run.

    `recordings` is the name of the folder beside a test's file, or the path of one for all; there the files are told
    apart by where they lie below `base`. `hide` takes the secrets out of the names of tests.
    """

    def __init__(self, recordings: str, base: Path | None = None, hide: Callable[[str], str] = str) -> None:
        self._recordings, self._base, self.hide = recordings, base, hide

    def top(self, file: Path) -> Path:
        """Return the folder of all recordings beside a file."""
        return file.parent / self._recordings

    def of_file(self, file: Path) -> Path:
        """Return the folder that has the recordings of a file's tests."""
        top = self.top(file)
        if Path(self._recordings).is_absolute() and self._base and file.is_relative_to(self._base):
            top = top.joinpath(*map(safe, file.parent.relative_to(self._base).parts))
        return top / safe(file.stem)

    def of_table(self, file: Path, table: str) -> Path:
        """Return a test's or fixture's folder, by its name in scenario files."""
        return self.of_file(file) / safe(self.hide(table).replace("fixture:", "fixture-"))

    def of(self, owner: Owner) -> Path:
        """Return the folder of one trial of a test or fixture."""
        return trial_folder(self.of_table(owner.file, owner.tables[0]), owner.trial, owner.variant)
