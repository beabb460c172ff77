"""Tells what programs make by the way, in a .gitignore's words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

#: What programs make while they only work, in HOME as in a workspace.
USUAL = (
    *(".git", "__pycache__", ".pytest_cache", "node_modules", ".venv", "venv", ".mypy_cache", ".ruff_cache"),
    *(".tox", ".nox", ".hypothesis", ".coverage", "*.egg-info", "target", ".cache", ".npm", ".DS_Store"),
)


@dataclass(frozen=True)
class Rule:
    """One line of a .gitignore; `folder` is where that is, with a slash at its end, or empty.

    `pattern` is of the last part of a path, if the line is about a name `anywhere`, else of the path from `folder` on.
    """

    folder: str
    pattern: re.Pattern[str]
    anywhere: bool
    again: bool  # whether what it names is not ignored after all
    folders_only: bool


class Ignore:
    """Decides which paths are ignored; the last line that names one decides, as in git.

    >>> rules = Ignore(["*.log", "!keep.log", "/build/"])
    >>> [rules(path) for path in ("a.log", "keep.log", "build/x", "sub/build/x", "sub/a.log")]
    [True, False, True, False, True]
    """

    def __init__(self, lines: Iterable[str] = USUAL, files: Mapping[str, str] | None = None) -> None:
        self._rules = [rule for line in lines if (rule := _rule(line, ""))]
        for path, text in sorted((files or {}).items()):
            folder = path.rpartition("/")[0]
            rules = (_rule(line, f"{folder}/" if folder else "") for line in text.splitlines())
            self._rules += [rule for rule in rules if rule]
        # Where no line takes back what another says, one expression is as good as all, for thousands of changed paths.
        self._joined = None if any(rule.again for rule in self._rules) else tuple(map(self._join, (False, True)))

    def _join(self, is_folder: bool) -> tuple[re.Pattern[str], re.Pattern[str]]:
        """Return an expression for names, and one for paths."""
        kinds: dict[bool, list[str]] = {True: [], False: []}
        for rule in self._rules:
            if is_folder or not rule.folders_only:
                below = "(?:.*/)?" if rule.anywhere and rule.folder else ""
                text = re.escape(rule.folder) + below + rule.pattern.pattern
                kinds[rule.anywhere and not rule.folder].append(text)
        names, paths = (re.compile("|".join(kinds[kind]) or "(?!)", re.DOTALL) for kind in (True, False))
        return names, paths

    def __call__(self, path: str) -> bool:
        """Whether a path is ignored, by its own or a folder's name."""
        parts = path.rstrip("/").split("/")
        return any(
            self._names("/".join(parts[:count]), is_folder=count < len(parts) or path.endswith("/"))
            for count in range(1, len(parts) + 1)
        )

    def _names(self, path: str, *, is_folder: bool) -> bool:
        name = path.rpartition("/")[2]
        if self._joined is not None:
            names, paths = self._joined[is_folder]
            return (names.fullmatch(name) or paths.fullmatch(path)) is not None
        for rule in reversed(self._rules):
            inside = path.startswith(rule.folder) and (is_folder or not rule.folders_only)
            if inside and rule.pattern.fullmatch(name if rule.anywhere else path[len(rule.folder) :]):
                return not rule.again
        return False


@lru_cache
def _rule(line: str, folder: str) -> Rule | None:
    line = re.sub(r"(?<!\\) +$", "", line.rstrip("\r\n"))
    if not line or line.startswith("#"):
        return None
    again, line = line.startswith("!"), line.removeprefix("!")
    folders_only, line = line.endswith("/"), line.rstrip("/")
    if not line:
        return None
    pattern = re.compile(_expression(line.removeprefix("/")), re.DOTALL)
    return Rule(folder, pattern, "/" not in line, again, folders_only)


def _expression(glob: str) -> str:
    """Return the regular expression of a pattern of git's."""
    words = {"**/": "(?:.*/)?", "/**": "/.*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.findall(r"\*\*/|/\*\*$|\*\*|\*|\?|\[[!^]?\]?[^\]/]*\]|\\.|.", glob, re.DOTALL)
    return "".join(words.get(part) or _literal(part) for part in parts)


def _literal(part: str) -> str:
    if len(part) > 2 and part.startswith("["):
        inner = part[1:-1].replace("\\", "\\\\").replace("[", "\\[")
        return f"[^/{inner[1:]}]" if inner[0] in "!^" else f"[{inner}]"
    return re.escape(part[1:] if len(part) == 2 and part.startswith("\\") else part)
