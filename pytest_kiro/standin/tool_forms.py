"""What each tool takes: the arguments of scripted calls, by which they are checked.

`tests/standin/test_standin_forms.py` compares it with the stand-in, which reads the calls itself.
"""

from __future__ import annotations

import ast
import difflib
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_kiro.standin import STAND_IN

#: What any call may have beside its tool's arguments: what it is for, in V2's word and in V1's.
PURPOSES = ("__tool_use_purpose", "summary")
#: A tool of an MCP server, whose arguments are the server's business.
_OF_SERVER = re.compile(r"@[^/]+/.+|[^_](?:(?!___).)*___.+")


@dataclass(frozen=True)
class Type:
    """A type of arguments, with the word for it."""

    word: str
    fits: Callable[[Any], bool]


@dataclass(frozen=True)
class Each:
    """A list of tables, each of which has one of these forms."""

    forms: tuple[Form, ...]


@dataclass(frozen=True)
class Form:
    """One form of a call, or of a table in it: `where` says by which argument it is told from the others."""

    needed: Mapping[str, Type | Each]
    optional: Mapping[str, Type] = field(default_factory=dict)
    where: tuple[str, str] | None = None

    @property
    def names(self) -> list[str]:
        """All arguments that it takes."""
        return [*(self.where[:1] if self.where else ()), *self.needed, *self.optional]


TEXT = Type("a text", lambda value: isinstance(value, str))
NUMBER = Type("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool))
SWITCH = Type("true or false", lambda value: isinstance(value, bool))
TEXTS = Type("a list of texts", lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value))
IDS = Type(
    "a list of texts or numbers",
    lambda value: isinstance(value, list) and all(TEXT.fits(one) or NUMBER.fits(one) for one in value),
)
MODE = Type(
    "`content`, `files_with_matches` or `count`", lambda value: value in ("content", "files_with_matches", "count")
)
#: The replies of a sub-agent; `scenario_file` reads them as it reads a turn's.
REPLIES = Type("a list of requests, as a turn has them", lambda value: isinstance(value, list))

_LINES = Form({"path": TEXT}, {"limit": NUMBER, "offset": NUMBER}, ("mode", "Line"))
_FOLDER = Form({"path": TEXT}, {"depth": NUMBER, "exclude_patterns": TEXTS}, ("mode", "Directory"))
_LIMITS = ("max_matches_per_file", "max_files", "max_total_lines", "max_depth")
#: By V2's name of a tool, the forms of its calls.
FORMS: Mapping[str, tuple[Form, ...]] = {
    "write": (
        Form({"path": TEXT, "content": TEXT}, {}, ("command", "create")),
        Form({"path": TEXT, "oldStr": TEXT, "newStr": TEXT}, {"replaceAll": SWITCH}, ("command", "strReplace")),
        Form({"path": TEXT, "content": TEXT}, {"insertLine": NUMBER}, ("command", "insert")),
    ),
    "read": (Form({"operations": Each((_LINES, _FOLDER))}),),
    "shell": (Form({"command": TEXT}, {"working_dir": TEXT}),),
    "grep": (
        Form(
            {"pattern": TEXT},
            {
                "path": TEXT,
                "include": TEXT,
                "case_sensitive": SWITCH,
                "output_mode": MODE,
                **dict.fromkeys(_LIMITS, NUMBER),
            },
        ),
    ),
    "glob": (Form({"pattern": TEXT}, {"path": TEXT, "limit": NUMBER, "max_depth": NUMBER}),),
    "todo_list": (
        Form(
            {"task_list_description": TEXT, "tasks": Each((Form({"task_description": TEXT}),))},
            {},
            ("command", "create"),
        ),
        Form({"completed_task_ids": IDS, "context_update": TEXT}, {"modified_files": TEXTS}, ("command", "complete")),
    ),
    "subagent": (Form({"prompt": TEXT}, {"agent": TEXT, "requests": REPLIES}),),
    "memory": (Form({"title": TEXT, "content": TEXT}, {"description": TEXT}, ("command", "add")),),
}


@functools.cache
def names() -> Mapping[str, str]:
    """Read the stand-in's names of tools, each with V2's word for it; it must not be imported here."""
    tree = ast.parse((STAND_IN / "tools.py").read_text(encoding="utf-8"))
    values = {ast.unparse(node.targets[0]): node.value for node in tree.body if isinstance(node, ast.Assign)}
    known: dict[str, str] = ast.literal_eval(values["NAMES"])
    return known


def is_of_server(name: str) -> bool:
    """Tell whether a name is that of an MCP server's tool.

    >>> is_of_server("@stock/in_stock"), is_of_server("stock___in_stock"), is_of_server("shell")
    (True, True, False)
    """
    return bool(_OF_SERVER.fullmatch(name))


def did_you_mean(word: str, known: Iterable[str], *, alike: float = 0.6) -> str:
    """Return `, did you mean x?` for a close word, else nothing; `alike` is 1 for the same."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=alike)
    return f", did you mean {close[0]}?" if close else ""


def mistakes(name: str, args: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a call of a tool.

    >>> list(mistakes("shel", {})), list(mistakes("shell", {"command": 7}))
    (['is no tool, did you mean shell?'], ['needs a text as command, not 7'])
    """
    if is_of_server(name):
        return
    tool = names().get(name)
    if tool is None:
        yield f"is no tool{did_you_mean(name, sorted(names()))}"
    else:
        yield from _mistakes(FORMS[tool], {key: value for key, value in args.items() if key not in PURPOSES})


def _mistakes(forms: Sequence[Form], args: Mapping[str, Any]) -> Iterator[str]:
    form = forms[0]
    if form.where:
        key, words = form.where[0], [one.where[1] for one in forms if one.where]
        chosen = [one for one in forms if one.where and one.where[1] == args.get(key)]
        if not chosen:
            hint = did_you_mean(str(args.get(key)), words)
            there = f"not {args[key]!r}{hint}" if key in args else "which it has not"
            yield f"needs {' or '.join(words)} as {key}, {there}"
            return
        form = chosen[0]
    for key in args:
        if key not in form.names:
            yield f"has no argument {key}{did_you_mean(key, form.names)}"
    for key, kind in {**form.needed, **form.optional}.items():
        if key not in args:
            if key in form.needed:
                yield f"needs {kind.word if isinstance(kind, Type) else 'a list of tables'} as {key}, which it has not"
        elif isinstance(kind, Type):
            if not kind.fits(args[key]):
                yield f"needs {kind.word} as {key}, not {args[key]!r}"
        elif not isinstance(args[key], list) or not all(isinstance(one, Mapping) for one in args[key]):
            yield f"needs a list of tables as {key}, not {args[key]!r}"
        else:
            for number, one in enumerate(args[key], 1):
                yield from (f"{what} (in {key}, table {number})" for what in _mistakes(kind.forms, one))


def documentation() -> str:
    """Write the table of docs/scenarios.md."""
    rows = [f"| `{tool}` | {_where(form)}{_shown(form)} |" for tool, forms in FORMS.items() for form in forms]
    return "\n".join(["| tool | arguments |", "|---|---|", *rows])


def usage(tool: str) -> str:
    """Say what a tool takes, or which tools there are.

    >>> usage("execute_bash")
    'shell takes command: a text; optional working_dir: a text'
    """
    name = names().get(tool, "")
    if name not in FORMS:
        return f"tools: {', '.join(FORMS)}"
    return f"{name} takes {', or '.join(f'{_where(form)}{_shown(form)}' for form in FORMS[name])}".replace("`", "")


def _where(form: Form) -> str:
    return f'`{form.where[0]} = "{form.where[1]}"`, ' if form.where else ""


def _shown(form: Form) -> str:
    needed = ", ".join(f"`{name}`: {_word(kind)}" for name, kind in form.needed.items())
    optional = ", ".join(f"`{name}`: {kind.word}" for name, kind in form.optional.items())
    return f"{needed}; optional {optional}" if optional else needed


def _word(kind: Type | Each) -> str:
    if isinstance(kind, Type):
        return kind.word
    return "a list of tables: " + "; or ".join(f"{_where(form)}{_shown(form)}" for form in kind.forms)
