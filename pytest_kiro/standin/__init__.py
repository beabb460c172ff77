"""Scripted replies in place of a model.

`kiro_cli/` is the stand-in for kiro-cli: a program of its own that runs in a sandbox, imported by nobody.
`scenario.py` runs in the harness and turns scenario files (TOML) into the JSON that
`KIRO_MOCK_CHAT_RESPONSE` takes, which the stand-in and the real CLI both read.
"""
