"""What all evals here share."""

import pytest

collect_ignore = ["checks", "projects"]  # their tests are Kiro's to pass, in a sandbox


@pytest.fixture(scope="session")
def kiro_run_args():
    """Python leaves no __pycache__ behind while Kiro works, so `changes` has Kiro's own files only."""
    return {"env": {"PYTHONDONTWRITEBYTECODE": "1"}}
