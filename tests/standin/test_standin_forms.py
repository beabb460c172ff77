"""The forms by which scenarios are checked are those that the stand-in's tools read."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from pytest_kiro.standin import STAND_IN
from pytest_kiro.standin.tool_forms import FORMS, IDS, MODE, NUMBER, REPLIES, SWITCH, TEXT, TEXTS, Each, Form, Type
from pytest_kiro.standin.tool_forms import mistakes as mistakes_of

GOOD: dict[Type, Any] = {
    TEXT: "a text",
    NUMBER: 7,
    SWITCH: True,
    TEXTS: ["a"],
    IDS: ["1", 2],
    MODE: "count",
    REPLIES: [["a text"]],
}
#: No argument is a table: whatever it is, this is wrong.
WRONG = {"a": "table"}
PROGRAM = """
import json, sys
from kiro_cli import memory, subagent, tools
memory._mode = "read_write"
seen = set()
class Seen(dict):
    def get(self, name, default=None):
        seen.add(name)
        return super().get(name, default)
answers = []
for name, args in json.load(sys.stdin, object_hook=Seen)["calls"]:
    call = tools.Call({"tool_use_id": "t", "name": name, "args": dict(args)})
    seen.clear()
    try:
        call.module.parse(call.tool, args)
        if name == "subagent":
            subagent.script("t", args)
        error = ""
    except tools.ToolError as failure:
        error = str(failure)
    answers.append([error, sorted(seen - {"task_description"} if name == "todo_list" else seen), bool(call.error)])
print(json.dumps(answers))
"""


def whole(form: Form, *, optional: bool = True) -> dict[str, Any]:
    """The arguments of a form, all right."""
    args: dict[str, Any] = dict([form.where]) if form.where else {}
    for name, kind in {**form.needed, **(form.optional if optional else {})}.items():
        args[name] = GOOD[kind] if isinstance(kind, Type) else [whole(one, optional=optional) for one in kind.forms]
    return args


def broken(form: Form) -> Iterator[dict[str, Any]]:
    """The arguments of a form with one that is missing, or wrong."""
    args = whole(form)
    for name, kind in {**form.needed, **form.optional}.items():
        yield {**args, name: WRONG}
        if name in form.needed:
            yield {key: value for key, value in args.items() if key != name}
        if isinstance(kind, Each):
            for one in kind.forms:
                yield from ({**args, name: [inner]} for inner in broken(one))
    if form.where:
        yield {**args, form.where[0]: "other"}


def asked(calls: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, list[str], bool]]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=STAND_IN.parent,
        input=json.dumps({"calls": calls}),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [tuple(answer) for answer in json.loads(done.stdout)]


def names(form: Form) -> set[str]:
    inner = [names(one) for kind in form.needed.values() if isinstance(kind, Each) for one in kind.forms]
    return set(form.names).union(*inner) - {"task_description"}


def test_every_form_is_what_the_stand_in_reads() -> None:
    forms = [(tool, form) for tool, several in FORMS.items() for form in several]
    right = [(tool, whole(form, optional=optional)) for tool, form in forms for optional in (True, False)]
    wrong = [(tool, args) for tool, form in forms for args in broken(form)]
    answers = asked(right + wrong)
    for (tool, args), (error, _, fails) in zip(right + wrong, answers, strict=True):
        assert bool([*mistakes_of(tool, args)]) == bool(error) == fails, (tool, args, error)
    assert not any(error for error, _, _ in answers[: len(right)])
    assert all(error for error, _, _ in answers[len(right) :])
    read = [set(seen) for _, seen, _ in answers[: len(right) : 2]]
    assert read == [names(form) for _, form in forms]
