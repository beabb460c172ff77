"""Writes and reads the labels by which this project's sandboxes are known: an owner, a time to live."""

from __future__ import annotations

import getpass
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

OURS = {"pytest-kiro": "1"}
KEPT = {"keep": "1"}
#: Labels by which the rest of a sandbox's life is decided; users cannot set them.
RESERVED = frozenset({*OURS, "run", "worker", "owner", "created-at", "expires-at", *KEPT})
#: Where CI services say which repository a run is of; the first that is set counts.
_REPOSITORIES = (
    *("GITHUB_REPOSITORY", "CI_PROJECT_PATH", "BITBUCKET_REPO_FULL_NAME", "BUILDKITE_REPO"),
    *("CIRCLE_PROJECT_REPONAME", "BUILD_REPOSITORY_NAME"),
)


def owner(environ: Mapping[str, str] = os.environ) -> str:
    """Return whose sandboxes these are: the CI repository, else user@host."""
    name = next((environ[name] for name in _REPOSITORIES if environ.get(name)), None)
    try:
        name = name or f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a container's user without a name
        name = f"{os.getuid()}@{socket.gethostname()}"
    return re.sub(r"[^\w./@:-]", "-", name)[:60]


def make(run_id: str, worker: str, ttl_minutes: int, *, now: datetime, of: str) -> dict[str, str]:
    """Return the labels of a new sandbox."""
    return {
        **OURS,
        "run": run_id,
        "worker": worker,
        "owner": of,
        "created-at": stamp(now),
        "expires-at": stamp(now + timedelta(minutes=ttl_minutes)),
    }


def stamp(when: datetime) -> str:
    """Return a time as a label has it, in UTC."""
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class OurSandbox:
    """One of this project's sandboxes, as its labels tell."""

    id: str
    name: str
    state: str
    owner: str
    created: datetime | None
    expires: datetime | None
    keep: bool

    def is_left_over(self, of: str, now: datetime) -> bool:
        """Return whether a dead run left it: past its time, of the same owner, and not kept."""
        return not self.keep and self.owner == of and self.expires is not None and self.expires < now


def read(sandbox_id: str, name: str, state: str, labels: Mapping[str, str]) -> OurSandbox:
    """Return what the labels of a sandbox tell."""
    return OurSandbox(
        id=sandbox_id,
        name=name,
        state=state,
        owner=labels.get("owner", "?"),
        created=_when(labels.get("created-at")),
        expires=_when(labels.get("expires-at")),
        keep=is_kept(labels),
    )


def is_kept(labels: Mapping[str, str]) -> bool:
    """Return whether a sandbox is kept after its run."""
    return KEPT.items() <= labels.items()


def _when(text: str | None) -> datetime | None:
    try:
        return datetime.strptime(text or "", "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
