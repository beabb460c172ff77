"""Reads what `--kiro-artifacts` has left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eval_runs import Evals

NO_CACHE = ("-p", "no:cacheprovider")


def index(folder: Path) -> dict[str, Any]:
    value = json.loads((folder / "test.json").read_text())
    assert isinstance(value, dict)
    return value


def latest(evals: Evals, top: str = "kiro-results") -> Path:
    return (evals.path / top / "latest").resolve()


def folders(run: Path) -> dict[str, Path]:
    """The folders of a run by the names of their tests and fixtures."""
    return {folder.name.partition("--")[0].rpartition(".py-")[2]: folder for folder in run.iterdir() if folder.is_dir()}


def shown(cast: Path) -> str:
    lines = cast.read_text().splitlines()
    assert json.loads(lines[0])["version"] == 2
    return "".join(json.loads(line)[2] for line in lines[1:])
