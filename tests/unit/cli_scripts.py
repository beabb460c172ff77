"""Small shell scripts that play a kiro-cli, in a real sandbox."""

from __future__ import annotations

from pytest_kiro.sandbox.protocol import Sandbox


def cli(sandbox: Sandbox, script: str, *, mode: int = 0o755) -> str:
    """Write a program that answers `--version`, and does this else; return its path."""
    text = f'#!/bin/sh\n[ "$1" = --version ] && {{ echo "kiro-cli 2.29.0"; exit; }}\n{script}\n'
    return raw(sandbox, text, mode=mode)


def raw(sandbox: Sandbox, text: str, *, mode: int = 0o755) -> str:
    path = f"{sandbox.home}/bin/kiro cli"
    sandbox.write_file(path, text.encode(), mode=mode)
    return path
