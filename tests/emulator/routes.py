"""Every route of the emulator: the name by which the log and the rules know it, and who answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiohttp import web

from . import control_plane as plane
from . import files, snapshots, toolbox, transfer
from .call import Call


class Route(NamedTuple):
    name: str
    method: str
    path: str
    answer: Callable[[Call], Awaitable[web.StreamResponse]]

    @property
    def is_toolbox(self) -> bool:
        return self.path.startswith("/toolbox/")


_BOX, _TOOLS = "/api/sandbox/{box}", "/toolbox/{box}"
_SNAPSHOT = "/api/snapshots/{snapshot}"

ROUTES = (
    Route("socket_io", "GET", "/api/socket.io/", plane.socket_io),
    Route("config", "GET", "/api/config", plane.config),
    Route("sandbox_create", "POST", "/api/sandbox", plane.create),
    Route("sandbox_list", "GET", "/api/sandbox", plane.listing),
    Route("sandbox_get", "GET", _BOX, plane.get),
    Route("sandbox_delete", "DELETE", _BOX, plane.delete),
    Route("sandbox_start", "POST", f"{_BOX}/start", plane.start),
    Route("sandbox_stop", "POST", f"{_BOX}/stop", plane.stop),
    Route("sandbox_autostop", "POST", _BOX + "/autostop/{minutes}", plane.set_minutes),
    Route("sandbox_autodelete", "POST", _BOX + "/autodelete/{minutes}", plane.set_minutes),
    Route("sandbox_autoarchive", "POST", _BOX + "/autoarchive/{minutes}", plane.set_minutes),
    Route("sandbox_ttl", "POST", _BOX + "/ttl/{minutes}", plane.set_minutes),
    Route("sandbox_last_activity", "POST", f"{_BOX}/last-activity", plane.last_activity),
    Route("sandbox_labels", "PUT", f"{_BOX}/labels", plane.labels),
    Route("sandbox_toolbox_proxy_url", "GET", f"{_BOX}/toolbox-proxy-url", plane.toolbox_proxy_url),
    Route("sandbox_build_logs_url", "GET", f"{_BOX}/build-logs-url", plane.build_logs_url),
    Route("sandbox_build_logs", "GET", f"{_BOX}/build-logs", plane.build_logs),
    Route("snapshot_create", "POST", "/api/snapshots", snapshots.create),
    Route("snapshot_list", "GET", "/api/snapshots", snapshots.listing),
    Route("snapshot_get", "GET", _SNAPSHOT, snapshots.get),
    Route("snapshot_delete", "DELETE", _SNAPSHOT, snapshots.delete),
    Route("snapshot_activate", "POST", f"{_SNAPSHOT}/activate", snapshots.activate),
    Route("snapshot_build_logs_url", "GET", f"{_SNAPSHOT}/build-logs-url", snapshots.build_logs_url),
    Route("snapshot_build_logs", "GET", f"{_SNAPSHOT}/build-logs", snapshots.build_logs),
    Route("exec", "POST", f"{_TOOLS}/process/execute", toolbox.execute),
    Route("pty_create_connect", "GET", f"{_TOOLS}/process/pty/create-connect", toolbox.pty_create_connect),
    Route("pty_create", "POST", f"{_TOOLS}/process/pty", toolbox.pty_create),
    Route("pty_list", "GET", f"{_TOOLS}/process/pty", toolbox.pty_list),
    Route("pty_connect", "GET", _TOOLS + "/process/pty/{session}/connect", toolbox.pty_connect),
    Route("pty_get", "GET", _TOOLS + "/process/pty/{session}", toolbox.pty_get),
    Route("pty_delete", "DELETE", _TOOLS + "/process/pty/{session}", toolbox.pty_delete),
    Route("pty_resize", "POST", _TOOLS + "/process/pty/{session}/resize", toolbox.pty_resize),
    Route("files_bulk_upload", "POST", f"{_TOOLS}/files/bulk-upload", transfer.upload),
    Route("files_bulk_download", "POST", f"{_TOOLS}/files/bulk-download", transfer.bulk_download),
    Route("files_download", "GET", f"{_TOOLS}/files/download", transfer.download),
    Route("files_list", "GET", f"{_TOOLS}/files", files.listing),
    Route("files_info", "GET", f"{_TOOLS}/files/info", files.get_info),
    Route("files_search", "GET", f"{_TOOLS}/files/search", files.search),
    Route("files_find", "GET", f"{_TOOLS}/files/find", files.find),
    Route("files_folder", "POST", f"{_TOOLS}/files/folder", files.folder),
    Route("files_delete", "DELETE", f"{_TOOLS}/files", files.delete),
    Route("files_move", "POST", f"{_TOOLS}/files/move", files.move),
    Route("files_permissions", "POST", f"{_TOOLS}/files/permissions", files.permissions),
    Route("work_dir", "GET", f"{_TOOLS}/work-dir", toolbox.where),
    Route("user_home_dir", "GET", f"{_TOOLS}/user-home-dir", toolbox.where),
    Route("version", "GET", f"{_TOOLS}/version", toolbox.version),
)
#: The name in the log of what no route takes.
UNKNOWN = "unknown"
NAMES = (*(route.name for route in ROUTES), UNKNOWN)
