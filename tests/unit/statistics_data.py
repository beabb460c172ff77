"""Numbers that other programs have computed, for tests of trials."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "statistics.json").read_text(encoding="utf-8"))


def about(value: object) -> object:
    """Equal within what six digits say."""
    return pytest.approx(value, abs=6e-7, rel=0)
