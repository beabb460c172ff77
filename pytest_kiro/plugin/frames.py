"""Tells users' frames from those of machinery between them and us."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import CO_GENERATOR
from types import FrameType, TracebackType

import pytest

from pytest_kiro.errors import KiroError

#: Packages in whose frames nothing of a user's is; functools' are of our cached properties.
_MACHINERY = frozenset({"pytest_kiro", "_pytest", "pluggy", "contextlib", "functools"})


def users_part(traceback: TracebackType | None) -> TracebackType | None:
    """Cut off what follows the last frame of a user's; return the first.

    No style of traceback shows what is cut off, and --pdb stops above it. Returns None where no frame is the user's.
    """
    users = list(_users(traceback))
    if not users:
        return None
    users[-1].tb_next = None
    return users[0]


def hide_above_users(error: pytest.ExceptionInfo[BaseException]) -> bool:
    """Whether to hide a frame of ours, as `__tracebackhide__`: pytest has to show one where there are no others."""
    return error.errisinstance(KiroError) and any(_users(error.tb))


def _users(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        if _is_users(traceback.tb_frame):
            yield traceback
        traceback = traceback.tb_next


def _is_users(frame: FrameType) -> bool:
    if str(frame.f_globals.get("__name__")).partition(".")[0] in _MACHINERY or frame.f_locals.get("__tracebackhide__"):
        return False
    # An error only passes through a plugin's wrapper around a hook, such as pytest-asyncio's around each fixture.
    return not (frame.f_code.co_flags & CO_GENERATOR and frame.f_code.co_name.startswith("pytest_"))
