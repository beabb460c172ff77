"""One request on its way through the emulator."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from .wire import API, Refused

if TYPE_CHECKING:
    from .machine import Machine
    from .sandboxes import Sandbox
    from .world import World


@dataclass
class Call:
    """A request, what the rules want done with it, and its line in the log."""

    world: World
    route: str
    request: web.Request
    entry: dict[str, Any]
    actions: dict[str, Any] = field(default_factory=dict)
    sandbox: Sandbox | None = None

    @property
    def query(self) -> Mapping[str, str]:
        return self.request.query

    @property
    def box(self) -> Sandbox:
        """The sandbox that the path names."""
        assert self.sandbox is not None
        return self.sandbox

    @property
    def machine(self) -> Machine:
        return self.box.machine

    async def json(self) -> dict[str, Any]:
        """Return the body, which must be a JSON object."""
        try:
            body = json.loads(await self.request.read() or b"{}")
        except ValueError as error:
            raise Refused(400, f"the body is not JSON: {error}", source=self.source) from error
        if not isinstance(body, dict):
            raise Refused(400, "the body is not an object", source=self.source)
        self.entry["body"] = body
        return body

    @property
    def source(self) -> str:
        return "" if self.request.path.startswith("/toolbox/") else API

    def text(self, name: str) -> str:
        """Return a parameter of the query that must be there."""
        if not (value := self.query.get(name)):
            raise Refused(400, f"{name} is required", source=self.source)
        return value

    def number(self, name: str, default: int, least: int, most: int | None = None) -> int:
        """Return a whole number of the query."""
        text = self.query.get(name)
        if text is None:
            return default
        try:
            value = int(text)
        except ValueError as error:
            raise Refused(400, f"{name} must be an integer, not {text!r}", source=self.source) from error
        if value < least or (most is not None and value > most):
            bounds = f"not less than {least}" + (f" and not greater than {most}" if most is not None else "")
            raise Refused(400, f"{name} must be {bounds}", source=self.source)
        return value
