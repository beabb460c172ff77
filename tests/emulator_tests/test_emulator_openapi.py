"""The JSON answers of every route against Daytona's own descriptions of its API.

The descriptions are no part of this repository; where they are not beside it, this is skipped, loudly.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from daytona_client import Answer, ask, create
from emulator import Emulator
from emulator.routes import ROUTES, Route
from openapi import problems

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "daytona-openapi"
#: The SDK knows these, the description does not.
NEWER = {"kvm"}
#: Not described: the event socket, and a WebSocket route that is newer.
UNDESCRIBED = {"socket_io", "pty_create_connect"}
#: Tested with the SDK: no JSON.
WEBSOCKETS = {"pty_connect"}


@cache
def description(name: str) -> Any:
    file = FOLDER / f"{name}.json"
    if not file.is_file():
        pytest.skip(f"Daytona's API description is not at {FOLDER}: no answer was checked against it")
    return json.loads(file.read_text(encoding="utf-8"))


def described(route: Route) -> tuple[Any, Any]:
    """Return the description that has a route, and what it says of it."""
    name, prefix = ("toolbox", "/toolbox/{box}") if route.is_toolbox else ("api", "/api")
    spec = description(name)
    wanted = _bare(route.path.removeprefix(prefix))
    (found,) = [item for path, item in spec["paths"].items() if _bare(path) == wanted]
    return spec, found[route.method.lower()]


def _bare(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path).rstrip("/")


def check(route: Route, answer: Answer) -> None:
    spec, told = described(route)
    if route.name == "files_bulk_upload":  # its errors are a list, as the SDK reads them
        assert [type(text) for text in answer.body["errors"]] == [str]
        return
    if answer.status >= 400 and route.name.startswith("files_"):  # described otherwise, but so is the daemon
        assert answer.data == b""
        return
    if answer.status >= 400 and route.name.startswith("pty_"):
        assert [*answer.body] == ["error"]
        return
    if answer.status >= 400:
        assert answer.body["statusCode"] == answer.status
        if route.is_toolbox:
            schema = spec["definitions"]["ErrorResponse"]
            assert list(problems(answer.body, {**schema, "required": [*schema["required"], "code"]}, spec)) == []
        return
    response = told["responses"][str(answer.status)]
    schema = response.get("schema") or response.get("content", {}).get("application/json", {}).get("schema")
    if schema is None or not isinstance(answer.body, dict | list):
        is_multipart = answer.headers.get_content_type() == "multipart/form-data"
        assert schema is None or schema.get("type") == "file" or is_multipart, "an answer without JSON"
        return
    wrong = [
        text
        for text in problems(answer.body, schema, spec)
        if not text.endswith(tuple(f": {name} is not known" for name in NEWER))
    ]
    assert wrong == []


def answers_of(emulator: Emulator) -> dict[str, list[Answer]]:
    """Ask every route that answers in JSON so that it works, and some so that they do not."""
    emulator.configure(build_polls=0, activate_polls=0)
    emulator.put_snapshot("old", state="inactive")
    box = create(
        emulator,
        name="mine",
        labels={"a": "b"},
        env={"C": "d"},
        ttlMinutes=5,
        buildInfo={"dockerfileContent": "FROM x:1"},
    )
    create(emulator, snapshot="daytona-large")
    plane, tools = f"/api/sandbox/{box['id']}", f"/toolbox/{box['id']}"
    build = {"name": "new", "buildInfo": {"dockerfileContent": "FROM x:1\nRUN true\n", "contextHashes": []}}
    pty = f"{tools}/process/pty"
    orders: list[tuple[str, str, str, Any]] = [
        ("config", "GET", "/api/config", None),
        ("sandbox_create", "POST", "/api/sandbox", {}),
        ("sandbox_create", "POST", "/api/sandbox", {"name": "mine"}),
        ("sandbox_list", "GET", "/api/sandbox?limit=1", None),
        ("sandbox_list", "GET", "/api/sandbox", None),
        ("sandbox_get", "GET", plane, None),
        ("sandbox_get", "GET", "/api/sandbox/nobody", None),
        *(
            (f"sandbox_{name}", "POST", f"{plane}/{name}/5", None)
            for name in ("autostop", "autodelete", "autoarchive", "ttl")
        ),
        ("sandbox_last_activity", "POST", f"{plane}/last-activity", None),
        ("sandbox_labels", "PUT", f"{plane}/labels", {"labels": {"x": "y"}}),
        ("sandbox_toolbox_proxy_url", "GET", f"{plane}/toolbox-proxy-url", None),
        ("sandbox_build_logs_url", "GET", f"{plane}/build-logs-url", None),
        ("sandbox_build_logs", "GET", f"{plane}/build-logs", None),
        ("snapshot_create", "POST", "/api/snapshots", build),
        ("snapshot_create", "POST", "/api/snapshots", build),
        ("snapshot_list", "GET", "/api/snapshots", None),
        ("snapshot_get", "GET", "/api/snapshots/new", None),
        ("snapshot_activate", "POST", "/api/snapshots/old/activate", None),
        ("snapshot_build_logs_url", "GET", "/api/snapshots/new/build-logs-url", None),
        ("snapshot_build_logs", "GET", "/api/snapshots/new/build-logs", None),
        ("snapshot_delete", "DELETE", "/api/snapshots/new", None),
        ("snapshot_delete", "DELETE", "/api/snapshots/new", None),
        ("exec", "POST", f"{tools}/process/execute", {"command": "echo x > file; exit 3"}),
        ("exec", "POST", f"{tools}/process/execute", {"command": "sleep 100", "timeout": 1}),
        ("pty_create", "POST", pty, {"id": "one"}),
        ("pty_create", "POST", pty, {"id": "one"}),
        ("pty_list", "GET", pty, None),
        ("pty_get", "GET", f"{pty}/one", None),
        ("pty_resize", "POST", f"{pty}/one/resize", {"cols": 10, "rows": 10}),
        ("pty_delete", "DELETE", f"{pty}/one", None),
        ("pty_get", "GET", f"{pty}/one", None),
        ("pty_resize", "POST", f"{pty}/one/resize", {"cols": 10, "rows": 10}),
        ("files_bulk_upload", "POST", f"{tools}/files/bulk-upload", None),
        ("files_bulk_download", "POST", f"{tools}/files/bulk-download", {"paths": ["file"]}),
        ("files_download", "GET", f"{tools}/files/download?path=file", None),
        ("files_download", "GET", f"{tools}/files/download?path=none", None),
        ("files_list", "GET", f"{tools}/files?path=.&depth=2", None),
        ("files_list", "GET", f"{tools}/files?path=none", None),
        ("files_info", "GET", f"{tools}/files/info?path=file", None),
        ("files_search", "GET", f"{tools}/files/search?path=.&pattern=*", None),
        ("files_find", "GET", f"{tools}/files/find?path=.&pattern=x", None),
        ("files_folder", "POST", f"{tools}/files/folder?path=a&mode=755", None),
        ("files_move", "POST", f"{tools}/files/move?source=file&destination=a/file", None),
        ("files_permissions", "POST", f"{tools}/files/permissions?path=a&mode=700", None),
        ("files_delete", "DELETE", f"{tools}/files?path=a", None),
        ("files_delete", "DELETE", f"{tools}/files?path=a&recursive=true", None),
        ("work_dir", "GET", f"{tools}/work-dir", None),
        ("user_home_dir", "GET", f"{tools}/user-home-dir", None),
        ("version", "GET", f"{tools}/version", None),
        ("sandbox_stop", "POST", f"{plane}/stop", None),
        ("sandbox_start", "POST", f"{plane}/start", None),
        ("sandbox_delete", "DELETE", plane, None),
    ]
    answers: dict[str, list[Answer]] = {}
    for name, method, path, body in orders:
        answers.setdefault(name, []).append(ask(emulator, method, path, body))
    emulator_names = {entry["route"] for entry in emulator.log()}
    assert emulator_names == set(answers), "each order has come to the route that it is for"
    return answers


def test_every_answer_is_as_described(emulator: Emulator) -> None:
    answers = answers_of(emulator)
    for route in ROUTES:
        if route.name not in UNDESCRIBED | WEBSOCKETS:
            assert answers[route.name], route.name
            for answer in answers[route.name]:
                check(route, answer)
    statuses = {name: [answer.status for answer in given] for name, given in answers.items()}
    assert statuses["exec"] == [200, 408]
    assert statuses["files_delete"] == [400, 204]
    assert all(given[0] < 300 for name, given in statuses.items() if name not in ("files_bulk_upload", "files_delete"))


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ({"id": "a", "size": 1, "at": "2026-01-01T00:00:00Z", "kind": "x", "items": [True]}, []),
        ({"id": "a", "size": None, "labels": {"a": "b"}}, []),
        ({}, ["$: there is no id"]),
        ({"id": 1}, ["$.id: 1 is no string"]),
        ({"id": "a", "size": True}, ["$.size: True is no number"]),
        ({"id": "a", "at": "soon"}, ["$.at: 'soon' is no date-time"]),
        ({"id": "a", "kind": "z"}, ["$.kind: 'z' is not one of ['x']"]),
        ({"id": "a", "items": [1]}, ["$.items[0]: 1 is no boolean"]),
        ({"id": "a", "labels": {"a": 1}}, ["$.labels.a: 1 is no string"]),
        ({"id": "a", "more": 1}, ["$: more is not known"]),
    ],
)
def test_the_check_itself(value: Any, wrong: list[str]) -> None:
    spec = {
        "kinds": {"type": "string", "enum": ["x"]},
        "one": {
            "type": "object",
            "required": ["id"],
            "properties": {
                "id": {"type": "string"},
                "size": {"type": "number", "nullable": True},
                "at": {"type": "string", "format": "date-time"},
                "kind": {"allOf": [{"$ref": "#/kinds"}]},
                "items": {"type": "array", "items": {"type": "boolean"}},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        },
    }
    assert list(problems(value, {"$ref": "#/one"}, spec)) == wrong
