"""Makes pytest_kiro/records/results.schema.json from the records; run this file to write it anew."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pytest_kiro.records.codec import Record
from pytest_kiro.records.run import SCHEMA, RunRecord

TOP = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Results of a pytest-kiro run",
    "description": "What --kiro-results writes. Within one version of the format no key is taken away or changes its "
    "meaning, but keys may be added: validate a file with the schema of the pytest-kiro that wrote it.",
}
PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}


def text() -> str:
    """Return the whole file."""
    defs: dict[str, Any] = {}
    return json.dumps({**TOP, **_object(RunRecord, defs), "$defs": defs}, indent=2) + "\n"


def _object(record: type[Record], defs: dict[str, Any]) -> dict[str, Any]:
    kinds = get_type_hints(record, include_extras=True)
    names = [one.name for one in fields(record) if not one.metadata.get("unwritten")]
    return {
        "type": "object",
        "additionalProperties": False,
        "required": names,
        "properties": {name: _schema(kinds[name], defs) for name in names},
    }


def _schema(kind: Any, defs: dict[str, Any]) -> dict[str, Any] | bool:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        schema = dict(_schema(inner[0], defs))
        for extra in inner[1:]:
            schema |= {"description": extra} if isinstance(extra, str) else {extra.name: extra.value}
        return schema
    if kind is Any:
        return True
    if origin is Literal:
        return {"enum": list(inner)} if len(inner) > 1 else {"const": inner[0]}
    if origin in (Union, UnionType):
        return _union([_schema(one, defs) for one in inner])
    if origin is tuple:
        return {"type": "array", "items": _schema(inner[0], defs)}
    if origin is dict:
        return _mapping(inner[0], _schema(inner[1], defs), defs)
    if issubclass(kind, Record):
        name = re.sub("(?<=[a-z])(?=[A-Z])", "_", re.sub("Record$|Facts$", "", kind.__name__)).lower()
        if name not in defs:
            defs[name] = {}  # it may hold its own kind
            defs[name] = _object(kind, defs)
        return {"$ref": f"#/$defs/{name}"}
    return {"type": PLAIN[kind]}


def _union(parts: list[Any]) -> dict[str, Any]:
    if all("type" in part for part in parts):
        return {word: value for part in parts for word, value in part.items()} | {
            "type": [one["type"] for one in parts]
        }
    if all("enum" in part or "const" in part for part in parts):
        return {"enum": [word for part in parts for word in part.get("enum", [part.get("const")])]}
    return {"anyOf": parts}


def _mapping(key: Any, value: Any, defs: dict[str, Any]) -> dict[str, Any]:
    names = {} if key is str else {"propertyNames": _schema(key, defs)}
    return {"type": "object", **names, **({} if value is True else {"additionalProperties": value})}


if __name__ == "__main__":
    SCHEMA.write_text(text(), encoding="utf-8")
