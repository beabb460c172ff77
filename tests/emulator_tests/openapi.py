"""As much of JSON Schema as Daytona's two API descriptions use."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def problems(value: Any, schema: Any, spec: Any, where: str = "$") -> Iterator[str]:
    """Yield where a value is not what its schema says; keys that no schema knows are a problem too."""
    if "$ref" in schema:
        target = spec
        for step in schema["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        yield from problems(value, target, spec, where)
        return
    if value is None and schema.get("nullable"):
        return
    for part in schema.get("allOf", ()):
        yield from problems(value, part, spec, where)
    if kind := schema.get("type"):
        if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
            yield f"{where}: {value!r} is no {kind}"
            return
        yield from _CHECKS.get(kind, _check_scalar)(value, schema, spec, where)


def _check_scalar(value: Any, schema: Any, spec: Any, where: str) -> Iterator[str]:
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value!r} is not one of {schema['enum']}"
    if schema.get("format") == "date-time":
        try:
            datetime.fromisoformat(value)
        except ValueError:
            yield f"{where}: {value!r} is no date-time"


def _check_array(value: Any, schema: Any, spec: Any, where: str) -> Iterator[str]:
    for index, item in enumerate(value):
        yield from problems(item, schema["items"], spec, f"{where}[{index}]")


def _check_object(value: Any, schema: Any, spec: Any, where: str) -> Iterator[str]:
    known, others = schema.get("properties"), schema.get("additionalProperties")
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{where}: there is no {name}"
    for name, item in value.items():
        if known and name in known:
            yield from problems(item, known[name], spec, f"{where}.{name}")
        elif isinstance(others, dict):
            yield from problems(item, others, spec, f"{where}.{name}")
        elif known and not others:
            yield f"{where}: {name} is not known"


_CHECKS = {"array": _check_array, "object": _check_object}
