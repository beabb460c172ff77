"""Takes along what a turn prints, as it comes, without secrets."""

from __future__ import annotations

from collections import deque

from pytest_kiro.agent.printed import KEPT
from pytest_kiro.recording.cast import whole_characters
from pytest_kiro.secrecy.chunks import Chunk, without_secrets
from pytest_kiro.secrecy.redaction import Secrets

#: Bytes that are kept of the beginning, and of the end: a little more than a turn keeps, whose bytes so stay the same.
OF_EACH = KEPT // 2 + 256 * 1024
_GAP = "\r\n[… the middle of this output was not recorded …]\r\n".encode()


class Taken:
    """The chunks of a turn with their times in seconds; of many bytes the middle goes."""

    def __init__(self) -> None:
        self._first, self._last = list[Chunk](), deque[Chunk]()
        self._first_size = self._last_size = 0
        #: Bytes that went.
        self.dropped = 0

    def add(self, time: float, data: bytes) -> None:
        """Take the next bytes."""
        chunk = (round(time, 3), data)
        if self._first_size < OF_EACH:
            self._first.append(chunk)
            self._first_size += len(data)
            return
        self._last.append(chunk)
        self._last_size += len(data)
        while self._last_size - len(self._last[0][1]) >= OF_EACH:
            size = len(self._last.popleft()[1])
            self._last_size, self.dropped = self._last_size - size, self.dropped + size

    def chunks(self, secrets: Secrets) -> tuple[Chunk, ...]:
        """Return them without secrets; colours may stand within one."""
        gap = [(self._last[0][0], _GAP)] if self.dropped else []
        return without_secrets(whole_characters([*self._first, *gap, *self._last]), secrets)
