"""Shared by tests/ and evals/: the tests run pytest in pytest."""

pytest_plugins = ["pytester"]
