"""Reads a turn from kiro-cli's session store: bytes in, values out.

Unknown keys are ignored; an unknown shape becomes a warning naming file and line (or row), since one odd record
must not cost the whole turn. What cannot be told from another turn is no proof of this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from pytest_kiro.kirocli.sessions import v1, v2, v3
from pytest_kiro.kirocli.sessions.log import Wanted
from pytest_kiro.turn.transcript import Transcript

_READERS = {"v1": v1.read, "v2": v2.read, "v3": v3.read}


def read(
    files: Mapping[str, bytes],
    *,
    engine: str = "v2",
    cwd: str,
    prompt: str | None = None,
    session_id: str | None = None,
    prompts: int = 0,
    turns: int = 0,
    counted: Decimal | None = None,
) -> Transcript | None:
    """Return the latest turn from a store's files; None without a session of ours.

    `files` maps paths to contents; the session is `session_id`, or the newest of the folder `cwd` whose last
    prompt is `prompt` (sub-agents and whatever else Kiro starts have sessions there as well); `prompts`
    and `turns` say how many it had before, so that an old turn is never taken for the new one. `counted` is what
    those were charged of it.

    V1's file is a database, of which only the conversations are looked at, in memory; one that cannot be read
    gives a transcript of nothing but the warning that says so.
    """
    if engine not in _READERS:
        raise ValueError(f"engine {engine!r} is not known; it must be one of {', '.join(_READERS)}")
    return _READERS[engine](files, Wanted(cwd, prompt, session_id, prompts, turns, counted))
