"""`init`: writes a first eval into a project, beside what is there."""

from __future__ import annotations

import configparser
import os
import shutil
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_kiro.commandline import first, say
from pytest_kiro.errors import SettingsError

#: Where pytest looks for its settings in each folder, in its order, and the table that makes it stop there.
_SETTINGS = {
    "pytest.toml": "",  # whatever is in it
    ".pytest.toml": "",
    "pytest.ini": "",
    ".pytest.ini": "",
    "pyproject.toml": "[tool.pytest.ini_options]",
    "tox.ini": "[pytest]",
    "setup.cfg": "[tool:pytest]",
}
#: Those that a project may have for other reasons; where there is none, a new file is made.
_SHARED = ("pyproject.toml", "tox.ini", "setup.cfg")


@dataclass(frozen=True)
class Step:
    """One file, and what becomes of it.

    A text is put at its end, or makes it; without one it is only named.
    """

    path: Path
    text: str
    why: str

    @property
    def begun(self) -> bool:
        """Whether the file is there, and gets the text at its end."""
        return self.path.exists()


def run(folder: Path) -> int:
    """Write what a first eval needs; return the exit code."""
    evals = folder / "evals"
    if os.path.lexists(evals) and not evals.is_dir():
        raise SettingsError(f"{evals} is there, and is no folder", advice="rename it, or begin in another folder")
    steps = [*_evals(evals), _table(folder), _workflow(folder)]
    for step in steps:
        if step.text:
            _writable(step.path)
    width = max(len(_shown(step.path, folder)) for step in steps)
    for step in steps:
        if step.text:
            _write(step)
        say(f"{_shown(step.path, folder):{width}}  {step.why}")
    say(f"\nNext: {_pytest()} evals")
    return 0


def _evals(evals: Path) -> Iterator[Step]:
    """Plan the eval, its scenario and the conftest.

    Nobody who has evals needs a first one.
    """
    there = sorted(path.name for path in evals.rglob("test_*.py")) if evals.is_dir() else []
    test, scenario, conftest = evals / "test_first.py", evals / "scenarios" / "test_first.toml", evals / "conftest.py"
    ours = test.is_file() and test.read_bytes() == first.EVAL.encode()
    if there and not ours:
        some = ", ".join(there[:3]) + (", …" if len(there) > 3 else "")
        yield Step(evals, "", f"has evals ({some}): no first one is added")
    else:
        yield _new(test, first.EVAL, "an eval that proves a program by running it")
        yield _new(scenario, first.SCENARIO, "what the stand-in answers to it")
    yield _new(conftest, first.CONFTEST, "what pytest shall not collect there")


def _new(path: Path, text: str, why: str) -> Step:
    return Step(path, "", "is there, and stays as it is") if os.path.lexists(path) else Step(path, text, why)


def _table(folder: Path) -> Step:
    """Plan pytest's table, in the file that pytest would read.

    Where it reads one already, that stays as it is.
    """
    top = _repository(folder)
    for above in (folder / "evals", folder, *folder.parents):
        for name in _SETTINGS:
            if (above / name).is_file() and _read_by_pytest(above / name):
                return Step(above / name, "", "has pytest's settings, and stays as it is")
        if above == top:
            break
    for name in _SHARED:
        if (folder / name).is_file():
            return _addition(folder / name)
    return Step(folder / "pytest.ini", first.table("[pytest]", toml=False), "pytest's settings")


def _read_by_pytest(file: Path) -> bool:
    """Whether pytest takes its settings from this file."""
    if not _SETTINGS[file.name]:
        return True
    try:
        if file.suffix == ".toml":
            return bool(_pytest_table(tomllib.loads(_text(file)), file))
        parser = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
        parser.read_string(_text(file))
    except (tomllib.TOMLDecodeError, configparser.Error) as error:
        raise SettingsError(f"{file} cannot be read: {error}", advice="pytest cannot read it either; mend it") from None
    return parser.has_section(_SETTINGS[file.name].strip("[]"))


def _pytest_table(document: dict[str, object], file: Path) -> bool:
    tool = document.get("tool", {})
    table = tool.get("pytest", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise SettingsError(f"{file}: tool.pytest is {table!r}", advice="pytest wants a table there")
    return "ini_options" in table or bool(table)


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file} is not UTF-8: {error}", advice="pytest cannot read it either; mend it") from None
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}", advice="nothing was written") from None


def _addition(file: Path) -> Step:
    """Plan a table at the end of a file that is there.

    It has that file's kind of newline, and the rest stays byte for byte.
    """
    toml, before = file.suffix == ".toml", _text(file)
    table = first.table(_SETTINGS[file.name], toml=toml)
    text = ("" if before.endswith("\n") or not before else "\n") + ("\n" if before.strip() else "") + table
    if "\r\n" in before:
        text = text.replace("\n", "\r\n")
    if toml:
        try:
            tomllib.loads(before + text)
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(
                f"{file} takes no table at its end: {error}", advice=f"write it there yourself:\n{table}"
            ) from None
    return Step(file, text, "pytest's settings, at its end")


def _workflow(folder: Path) -> Step:
    """Plan the workflow.

    GitHub reads them at the top of a repository only, so each package's has a name of its own.
    """
    top = _repository(folder)
    below = "" if top is None or top == folder else folder.relative_to(top).as_posix()
    name = f"evals-{below.replace('/', '-')}.yml" if below else "evals.yml"
    path = (top or folder) / ".github" / "workflows" / name
    return _new(path, first.workflow(below, uv=_locked(folder, top)), "runs them on GitHub, on each push")


def _repository(folder: Path) -> Path | None:
    return next((above for above in (folder, *folder.parents) if (above / ".git").exists()), None)


def _locked(folder: Path, top: Path | None) -> bool:
    """Whether uv's lock file, here or above, brings pytest-kiro."""
    for above in (folder, *(folder.parents if top else ())):
        lock = above / "uv.lock"
        if lock.is_file():
            return 'name = "pytest-kiro"' in lock.read_text(encoding="utf-8", errors="replace")
        if above == top:
            break
    return False


def _writable(path: Path) -> None:
    """Raise `SettingsError` where a file cannot be written."""
    there = path
    while not os.path.lexists(there):
        there = there.parent
    if there != path and not there.is_dir():
        raise SettingsError(f"{path} cannot be written: {there} is no folder", advice="nothing was written")
    if not os.access(there, os.W_OK | (os.X_OK if there.is_dir() else 0)):
        raise SettingsError(f"{path} cannot be written: {there} is read-only for you", advice="nothing was written")


def _write(step: Step) -> None:
    try:
        step.path.parent.mkdir(parents=True, exist_ok=True)
        with step.path.open("ab" if step.begun else "xb") as file:
            file.write(step.text.encode())
    except OSError as error:
        raise SettingsError(
            f"{step.path} cannot be written: {error.strerror}", advice="what is named above was written"
        ) from None


def _shown(path: Path, folder: Path) -> str:
    return os.path.relpath(path, folder)


def _pytest() -> str:
    """The words that start this Python's pytest in the user's shell."""
    if "UV" in os.environ:  # `uv run` sets it
        return "uv run pytest"
    found, here = shutil.which("pytest"), Path(sys.executable).parent
    if found and Path(found).parent == here:
        return "pytest"
    return f"{os.path.relpath(sys.executable) if here.is_relative_to(Path.cwd()) else sys.executable} -m pytest"
