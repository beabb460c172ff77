"""What all evals here share."""

import pytest

collect_ignore = ["checks", "projects"]  # their tests are Kiro's to pass, in a sandbox


@pytest.fixture(scope="session")
def kiro_run_args():
    """Python keeps no bytecode while Kiro works: of a module changed within a second it would run the old one."""
    return {"env": {"PYTHONDONTWRITEBYTECODE": "1"}}
