"""Scripted replies in place of a model.

`kiro_cli/` is the stand-in for kiro-cli: a program of its own that runs in a sandbox, and that no file imports.
`scenario.py` runs in the harness and turns scenario files (TOML) into the JSON that `KIRO_MOCK_CHAT_RESPONSE`
takes, which the stand-in and the real CLI both read.
"""

from __future__ import annotations

from pathlib import Path

#: The folder of the stand-in, which runs in place or from an archive of its files.
STAND_IN = Path(__file__).with_name("kiro_cli")
