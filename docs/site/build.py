"""Builds the site: `python docs/site/build.py FOLDER`. A warning, such as a link that leads nowhere, is an error.

The README is its first page, sources are no pages, and the pages' own sources stand beside them, for llms.txt.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[1]
_LINK = re.compile(r"\[([^][]+)\]\((?!https?:|#)([^)]+)\)")
_CODE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def page(text: str, *, top: bool) -> str:
    """Let links lead to pages; one to a source file is no link here, and names the file.

    >>> page("[evals](evals), [login](docs/login.md#saved)", top=True)
    'evals, [login](login.md#saved)'
    """

    def link(found: re.Match[str]) -> str:
        words, target = found[1], found[2].removeprefix("docs/" if top else "../")
        if top == found[2].startswith("docs/") and (top or target == found[2]):
            return f"[{words}]({target})"
        return words if target.rstrip("/") in words else f"{words} (`{target}`)"

    return "".join(part if part.startswith("```") else _LINK.sub(link, part) for part in _CODE.split(text))


def stage(folder: Path) -> None:
    """Write what the site is made of."""
    pages = folder / "docs"
    pages.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("zensical.toml"), folder)
    texts = {file.name: page(file.read_text(encoding="utf-8"), top=False) for file in DOCS.glob("*.md")}
    texts["index.md"] = page((DOCS.parent / "README.md").read_text(encoding="utf-8"), top=True)
    for name, text in texts.items():
        (pages / name).write_text(text, encoding="utf-8")


def main(folder: Path) -> int:
    """Build the site in a folder that is not there yet; return the exit code."""
    stage(folder)
    code = subprocess.run([sys.executable, "-m", "zensical", "build", "--strict"], cwd=folder, check=False).returncode
    if code == 0:
        for file in (DOCS / "llms.txt", *(folder / "docs").glob("*.md")):
            shutil.copy(file, folder / "site")
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
