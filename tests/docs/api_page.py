"""Makes docs/api.md of the docstrings, and docs/llms.txt of the pages.

`python tests/docs/api_page.py` writes both anew, when a public docstring or a page has changed.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import griffe

from pytest_kiro.turn.causes import Cause

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

#: All public names, as somebody who writes evals meets them.
GROUPS = {
    "Evals": "Kiro Conversation Workspace SandboxPath ExecResult CommandFailed",
    "Turns": "Turn ToolCall Changes Loaded Provenance Cause TurnError TurnFailed TurnTimeout",
    "Turns that are watched": "LiveTurn Event Condition on_calls on_command on_silence on_text Terminal",
    "What answers": "Identity Installation Settings",
    "Sandboxes and their providers": "Sandbox SandboxBase SandboxSpec Pty Provider",
    "Errors": (
        "KiroError SettingsError SetupError SandboxError SandboxTimeout SandboxClosed PtyClosed InstallError "
        "LoginError BudgetExceeded LimitReached LaunchError NotRecorded NotPrinted ConversationError RecordingMiss"
    ),
}
HEAD = """\
# Every public name

Import them from `pytest_kiro`; evals get theirs by the fixture `kiro`. This page is made of the docstrings
(`tests/docs/api_page.py`). Times are in seconds, sizes in bytes, and paths in a sandbox are POSIX paths, unless said
otherwise. What a call can raise stands with it; every error of ours is a [`KiroError`](#kiroerror). Options, ini keys
and fixtures: [options.md](options.md).
"""
#: What stands in for examples of the protocols.
PROVIDERS = "A worked provider, with a sandbox of its own: [sandboxes.md](sandboxes.md#bring-your-own).\n"


@functools.cache
def source() -> Any:
    """Read the package, as source: nothing of it is run."""
    return griffe.load("pytest_kiro", search_paths=[ROOT])


def api() -> str:
    """Return the page, made of what griffe reads in the source."""
    package = source()
    lines = [HEAD]
    for title, names in GROUPS.items():
        lines.append(f"## {title}\n")
        if "Provider" in names.split():
            lines.append(PROVIDERS)
        for name in names.split():
            lines += _entry(package[home(package, name)], name)
    lines.append("## Keyword arguments of turns\n")
    lines += _entry(package["agent.request.RunArguments"], "RunArguments")
    lines.append("## Hooks\n\nFor a conftest or a plugin; none has to be registered.\n")
    for name, hook in package["plugin.hookspecs"].members.items():
        if name.startswith("pytest_kiro_"):
            lines += _entry(hook, name)
    return "\n".join(lines).rstrip() + "\n"


def home(package: Any, name: str) -> str:
    return str(package[name].target_path).removeprefix("pytest_kiro.")


def _entry(thing: Any, name: str) -> Iterator[str]:
    yield f"### {name}\n"
    yield _code(_class(thing) if thing.is_class else _function(thing, name))
    yield from _text(thing)
    if thing.is_class and name == "Cause":
        yield _causes()
    for member in thing.members.values() if thing.is_class else ():
        if not _shown(member):
            continue
        yield f"#### {name}.{member.name}\n"
        own = member.is_attribute
        yield _code([f"{member.name}: {member.annotation}"] if own else _function(member, member.name, method=True))
        yield from _text(member)


def _shown(member: Any) -> bool:
    """Whether a member has an entry of its own: those that a docstring explains, operators as well."""
    private = member.name.startswith("_") and not re.fullmatch(
        r"__(truediv|iter|enter|bool|contains|eq)__", member.name
    )
    return bool(member.docstring) and not private


def fields(thing: Any) -> list[Any]:
    """The fields of a dataclass or a typed dictionary."""
    typed = any(str(base) == "TypedDict" for base in thing.bases)
    if not typed and "dataclass" not in thing.labels:
        return []
    return [
        member
        for member in thing.members.values()
        if member.is_attribute and not member.name.startswith("_") and "property" not in member.labels
    ]


def _class(thing: Any) -> list[str]:
    bases = ", ".join(str(base) for base in thing.bases if str(base) not in ("object", "Protocol"))
    lines = [f"class {thing.name}{f'({bases})' if bases else ''}"]
    for field in fields(thing):
        plain = field.value is not None and not str(field.value).startswith("field(")
        lines.append(f"    {field.name}: {field.annotation}{f' = {field.value}' if plain else ''}")
    if len(lines) > 1:
        lines[0] += ":"
    return lines


def _function(thing: Any, name: str, *, method: bool = False) -> list[str]:
    """Write a signature; what is kept private in it stays out."""
    words, star = [], False
    for parameter in list(thing.parameters)[1 if method and "staticmethod" not in thing.labels else 0 :]:
        kind = parameter.kind.value
        if kind == "keyword-only" and not star:
            words.append("*")
            star = True
        prefix = {"variadic positional": "*", "variadic keyword": "**"}.get(kind, "")
        star = star or kind == "variadic positional"
        shown = f"{prefix}{parameter.name}{f': {parameter.annotation}' if parameter.annotation else ''}"
        words.append(f"{shown} = {parameter.default}" if parameter.default is not None and not prefix else shown)
    line = f"def {name}({', '.join(words)}) -> {thing.returns}"
    if len(line) <= 110:
        return [line]
    return [f"def {name}(", *(f"    {word}," for word in words), f") -> {thing.returns}"]


def _code(lines: Sequence[str], language: str = "python") -> str:
    return "\n".join([f"```{language}", *lines, "```\n"])


def _text(thing: Any) -> Iterator[str]:
    """A docstring as Markdown: an example that is an eval without its prompts, any other one as it is."""
    text: list[str] = []
    example: list[str] = []
    for line in [*(thing.docstring.value if thing.docstring else "").splitlines(), ""]:
        if line.startswith(">>>") or (example and line):
            if text:
                yield "\n".join(text).strip() + "\n"
            text = []
            example.append(line)
        elif example:
            plain = all(one.startswith((">>>", "...")) for one in example)
            yield _code([one[4:] for one in example] if plain else example, "python" if plain else "pycon")
            example = []
        else:
            text.append(line)
    if "\n".join(text).strip():
        yield "\n".join(text).strip() + "\n"


def _causes() -> str:
    rows = [f"| `Cause.{cause.name}` | {cause.value} |" for cause in Cause]
    return "\n".join(
        ["| member | value |", "|---|---|", *rows, "", "What to do: [troubleshooting.md](troubleshooting.md).\n"]
    )


def pages() -> dict[str, list[tuple[str, str]]]:
    """The site's pages by chapter: title and file."""
    config = tomllib.loads((DOCS / "site" / "zensical.toml").read_text(encoding="utf-8"))["project"]
    chapters: dict[str, list[tuple[str, str]]] = {}
    for chapter in config["nav"]:
        ((title, entries),) = chapter.items()
        if isinstance(entries, list):
            chapters[title] = [next(iter(entry.items())) for entry in entries]
    return chapters


def first_sentence(file: str) -> str:
    """What a page says of itself: its first paragraph."""
    text = (DOCS / file).read_text(encoding="utf-8")
    for paragraph in text.split("\n\n")[1:]:
        if paragraph[0].isalpha() or paragraph[0] in "`*":
            words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", " ".join(paragraph.split()))
            return re.split(r"(?<=[.?]) ", words)[0].rstrip(":")
    return ""


def llms() -> str:
    """Return the list of pages, for programs that read before they write."""
    lines = [
        "# pytest-kiro",
        "",
        "> Evaluates AWS Kiro with pytest: an eval is a test that asks for the fixture `kiro`, runs turns",
        "> in a throw-away sandbox, and asserts on what Kiro said and left. `pytest-kiro init` writes a first one.",
    ]
    for chapter, entries in pages().items():
        lines += ["", f"## {chapter}", ""]
        lines += [f"- [{title}]({file}): {first_sentence(file)}" for title, file in entries]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (DOCS / "api.md").write_text(api(), encoding="utf-8")
    (DOCS / "llms.txt").write_text(llms(), encoding="utf-8")
