"""What goes over the wire as JSON: the error envelope, times, and the one exception that becomes an answer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

API, DAEMON, PROXY = "DAYTONA_API", "DAYTONA_DAEMON", "DAYTONA_PROXY"

#: The code of an envelope that has none of its own, by status.
CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    408: "REQUEST_TIMEOUT",
    409: "CONFLICT",
    410: "GONE",
    422: "UNPROCESSABLE_ENTITY",
    429: "TOO_MANY_REQUESTS",
    500: "INTERNAL_SERVER_ERROR",
    502: "BAD_GATEWAY",
    503: "SERVICE_UNAVAILABLE",
    504: "GATEWAY_TIMEOUT",
}


class Refused(Exception):
    """An answer that is an error; `source` is the part of the service that says it: empty for what says no source."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        source: str = API,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.source = status, message, source
        self.code = code or CODES.get(status, f"HTTP_{status}")
        self.headers = dict(headers or {})


def iso(moment: float) -> str:
    """Return a time as the service writes it."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(text: str) -> float:
    """Return the seconds since the epoch of a time in a query."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as error:
        raise Refused(400, f"{text!r} is not an ISO 8601 date") from error
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def envelope(refused: Refused, method: str, path: str, now: float) -> dict[str, Any]:
    """Return the body that an error is answered with; the daemon's routes for files and terminals have others."""
    return {
        "statusCode": refused.status,
        "message": refused.message,
        "code": refused.code,
        **({"source": refused.source} if refused.source else {}),
        "path": path,
        "method": method,
        "timestamp": iso(now),
    }


#: What the daemon's language escapes beside quotes and controls.
_ESCAPED = {character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def daemon_json(value: Any, status: int = 200) -> web.Response:
    """Answer as the daemon writes JSON: compact, sorted, and with U+FFFD for each byte that is no UTF-8."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    text = re.sub("[<>&\u2028\u2029]", lambda match: _ESCAPED[match[0]], text)
    return web.json_response(text=re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text), status=status)
