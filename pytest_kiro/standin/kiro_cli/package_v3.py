"""Unpacks V3's agent, and notes what a session is set to."""

from __future__ import annotations

import os

from . import formats
from .places import VERSION, database

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

AGENT_VERSION = "0.66.26"


def begin(state: dict[str, Any], effort: str | None) -> None:
    """Unpack the agent, and note what a session is set to."""
    features = f"{os.environ.get('KIRO_ROLLOUT_FEATURES')},{os.environ.get('KIRO_ENABLED_FEATURES')}"
    state["semanticReviewEnabled"] = True
    state["workflowsEnabled"] = "workflows" in features.split(",")
    if effort:
        state["effortLevel"] = effort
    unpacked = os.path.join(
        os.path.dirname(database()), "kas", f"{VERSION}-{'0' * 64}", "node_modules", "@kiro", "agent"
    )
    package = os.path.join(unpacked, "package.json")
    if not os.path.exists(package):
        os.makedirs(unpacked, exist_ok=True)
        with open(package, "w", encoding="utf-8") as file:
            file.write(formats.dumps({"name": "@kiro/agent", "version": AGENT_VERSION}))
