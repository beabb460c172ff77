"""Paths of what is kept between two commands."""

from __future__ import annotations

import os

VERSION = "2.29.0"
LOGIN_FILE = os.path.join(".kiro-standin", "login.json")
"""Relative to HOME: how a test steers the login, see steering.py."""


def kiro_home() -> str:
    """Return the folder of agents and of V2's sessions."""
    return os.environ.get("KIRO_HOME") or os.path.join(os.path.expanduser("~"), ".kiro")


def settings_file() -> str:
    """Return the file that `kiro-cli settings` writes."""
    return os.path.join(kiro_home(), "settings", "cli.json")


def database() -> str:
    """Return the file with the stored login and with V1's conversations."""
    return os.path.join(os.path.expanduser("~"), ".local", "share", "kiro-cli", "data.sqlite3")


def steering_file() -> str:
    """Return the file by which a test steers the login."""
    return os.path.join(os.path.expanduser("~"), LOGIN_FILE)


def api_key_only() -> bool:
    """Tell whether an API key exists without stored login or steering file."""
    return bool(os.environ.get("KIRO_API_KEY")) and not (os.path.exists(database()) or os.path.exists(steering_file()))
