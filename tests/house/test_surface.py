"""What users type stays: names, signatures, options, fixtures, markers and hooks are those of the list."""

from __future__ import annotations

from pathlib import Path

from surface import surface

LIST = Path(__file__).parent / "data" / "surface.txt"


def test_the_public_surface_is_the_list() -> None:
    """A change of it is meant: then surface.py says how the list is written anew."""
    assert surface().splitlines() == LIST.read_text(encoding="utf-8").splitlines()
