"""Writes records as JSON and reads them again, by their fields; a field's `Annotated` words go into the schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args, get_origin, get_type_hints

#: Metadata of a field that travels within a run, and that the results file leaves out.
UNWRITTEN = {"unwritten": True}


class Keyword(NamedTuple):
    """A keyword of JSON Schema that holds for a field."""

    name: str
    value: object


Count = Annotated[int, Keyword("minimum", 0)]
FromOne = Annotated[int, Keyword("minimum", 1)]
LeftOut = Annotated[Count, "How many characters were left out of the middle."]
Seconds = Annotated[float, Keyword("minimum", 0), "Seconds."]
Credits = Annotated[Seconds | None, "Credits that were metered, null where none were."]


@dataclass(frozen=True)
class Record:
    """The base of all records: a frozen dataclass whose fields are plain values and other records."""

    def to_json(self, *, file: bool = False) -> dict[str, Any]:
        """Return it as JSON has it; with `file` as the results file has it, so without what is `UNWRITTEN`."""
        kept = (one.name for one in fields(self) if not (file and one.metadata.get("unwritten")))
        return {name: _plain(getattr(self, name), file) for name in kept}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned; a missing key has its default, an unknown one is passed over.

        `ValueError` for a word that its field does not know: an outcome nobody knows is no pass.
        """
        return cls(**{name: _value(kind, data[name]) for name, kind in cls._kinds().items() if name in data})

    @classmethod
    @cache
    def _kinds(cls) -> dict[str, Any]:
        return get_type_hints(cls)


def _plain(value: Any, file: bool) -> Any:
    if isinstance(value, Record):
        return value.to_json(file=file)
    if isinstance(value, tuple | list):
        return [_plain(inner, file) for inner in value]
    if isinstance(value, Mapping):
        return {name: _plain(inner, file) for name, inner in value.items()}
    return value


def _value(kind: Any, data: Any) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if data is None:
        return None
    if isinstance(kind, type) and issubclass(kind, Record):
        return kind.from_json(data)
    if origin is Literal and data not in inner:
        raise ValueError(f"{data!r}, where one of {', '.join(map(repr, inner))} belongs")
    if origin is tuple:
        return tuple(_value(inner[0], one) for one in data)
    if origin is dict:
        return {name: _value(inner[1], one) for name, one in data.items()}
    return _value(inner[0], data) if type(None) in inner else data
