"""The files of a first eval: the texts that `init` writes."""

from __future__ import annotations

import json

EVAL = '''"""A first eval: Kiro writes a program, and the eval proves it by running it.

Green: the stand-in answers what scenarios/test_first.toml says; Kiro itself is not asked.
Red:   write Goodbye for Hello in that file, and run the eval again.
Real:  pytest evals --kiro-sandbox=bubblewrap  lets the kiro-cli of your PATH work, kept from your files (Linux);
       pytest evals --kiro-cli=official        lets it work as you, on this machine.
"""


def test_greets(kiro):
    turn = kiro.run("Write greet.py, which greets whoever is named on its command line, as in `Hello, Ada!`.")

    assert turn.changes.added == {"greet.py"}
    assert kiro.workspace.exec("python3 greet.py Grace").check().output == "Hello, Grace!\\n"
'''

SCENARIO = """# What the stand-in answers to the evals of test_first.py: it really writes the file, and really runs it.

[[test_greets.turn]]
requests = [
    ["I'll write greet.py. ", { name = "write", args = { command = "create", path = "greet.py", content = '''
import sys

print(f"Hello, {sys.argv[1]}!")
''' } }],
    [{ name = "shell", args = { command = "python3 greet.py Ada" } }],
    ["greet.py greets whom you name."],
]
"""

CONFTEST = '''"""What holds for all evals of this folder."""

# Files in these folders are for Kiro: projects that it begins with, checks that are run on what it left.
collect_ignore = ["checks", "projects"]
'''

_COMMENT = "# Settings of pytest-kiro are pytest's own; `pytest --help` lists them all.\n"


def table(head: str, *, toml: bool) -> str:
    """Write pytest's table for a settings file; what stands in it is the default.

    >>> print(table("[pytest]", toml=False), end="")
    [pytest]
    # Settings of pytest-kiro are pytest's own; `pytest --help` lists them all.
    # How long one turn of Kiro's may take:
    kiro_timeout = 10m
    """
    value = '"10m"' if toml else "10m"
    return f"{head}\n{_COMMENT}# How long one turn of Kiro's may take:\nkiro_timeout = {value}\n"


def workflow(folder: str, *, uv: bool) -> str:
    """Write the GitHub workflow that runs the evals of a folder.

    >>> [line for line in workflow("packages/shop", uv=True).splitlines() if "shop" in line or "run:" in line]
    ['      run:', '        working-directory: "packages/shop"', ..., '            packages/shop/kiro-results/']
    """
    above = f"{folder}/" if folder else ""
    place = f"    defaults:\n      run:\n        working-directory: {json.dumps(folder)}\n" if folder else ""
    install = (
        "      - uses: astral-sh/setup-uv@v6\n"
        if uv
        else "      - uses: actions/setup-python@v5\n        with:\n"
        '          python-version: "3.13"\n      - run: python -m pip install pytest-kiro\n'
    )
    return f"""\
# On each push the stand-in answers: no account, no secret, no credits, also for pull requests of forks.
# It says whether the evals work, and nothing about Kiro. pytest-kiro's docs/ci.md has more: recordings, Kiro at night.
name: evals
on: [push, pull_request]
permissions:
  contents: read
jobs:
  evals:
    runs-on: ubuntu-latest
    timeout-minutes: 15
{place}    steps:
      - uses: actions/checkout@v4
{install}      - run: {"uv run" if uv else "python -m"} pytest evals --junitxml=evals.xml
      - uses: actions/upload-artifact@v4
        if: always()
        with:
          name: evals
          path: |
            {above}evals.xml
            {above}kiro-results/
"""
