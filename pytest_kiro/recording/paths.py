"""Hides a sandbox's absolute paths in recordings; puts a replay's in their place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytest_kiro.secrecy.chunks import Chunk
from pytest_kiro.turn.turn import Turn

if TYPE_CHECKING:
    from pytest_kiro.recording.values import RecordedTurn

#: What begins a placeholder; one that was printed is doubled.
_MARK = "⟨"
_PUT = re.compile(f"{_MARK}({_MARK}|workspace⟩|home⟩)")
_PUT_BYTES = re.compile(_PUT.pattern.encode())


class SandboxPaths:
    """The absolute paths of a workspace and of its HOME.

    >>> there, here = SandboxPaths("/root/work/1a", "/root"), SandboxPaths("/tmp/w/2b", "/tmp")
    >>> there.hide("see /root/work/1a/a.py"), here.put(there.hide("see /root/work/1a/a.py"))
    ('see ⟨workspace⟩/a.py', 'see /tmp/w/2b/a.py')
    """

    def __init__(self, workspace: str, home: str) -> None:
        paths = {"workspace": workspace.rstrip("/"), "home": home.rstrip("/")}
        self._paths = {f"{name}⟩": path for name, path in paths.items()} | {_MARK: _MARK}
        known = sorted(filter(None, paths.values()), key=len, reverse=True)
        self._words = {path: f"{_MARK}{name}⟩" for name, path in reversed(paths.items()) if path}
        self._words[_MARK] = 2 * _MARK
        # A part of a longer name is no path: `/root` is not in `/rootfs`, nor in `/srv/root`.
        among = "|".join(map(re.escape, known))
        pattern = rf"(?<![\w.~-])(?:{among})(?![\w~-]|\.\w)|{_MARK}" if among else _MARK
        self._pattern = pattern

    # Compiling them is half of what a replayed turn costs, and few texts have a path in them.
    @cached_property
    def _hide(self) -> re.Pattern[str]:
        return re.compile(self._pattern, re.ASCII)

    @cached_property
    def _hide_bytes(self) -> re.Pattern[bytes]:
        return re.compile(self._pattern.encode("utf-8", "surrogateescape"))

    def hide(self, text: str) -> str:
        """Return a text with placeholders."""
        if not any(word in text for word in self._words):
            return text
        return self._hide.sub(lambda match: self._words[match[0]], text)

    def put(self, text: str) -> str:
        """Return a text with these paths in the place of placeholders."""
        return _PUT.sub(lambda match: self._paths[match[1]], text) if _MARK in text else text

    def hide_within(self, value: Any) -> Any:
        """Return a value of JSON with placeholders in all its texts."""
        return _texts(value, self.hide)

    def hide_chunks(self, chunks: Iterable[Chunk]) -> tuple[Chunk, ...]:
        """Return chunks with placeholders; a path that is torn goes where it begins."""
        chunks = tuple(chunks)
        whole = b"".join(data for _, data in chunks)
        if not (found := self._found(whole)):
            return chunks
        hidden, place, end, done = list[Chunk](), 0, 0, 0
        for time, data in chunks:
            parts, end = list[bytes](), end + len(data)
            while place < len(found) and found[place][0] < end:
                begin, until, path = found[place]
                parts += [whole[done:begin], self._words[path.decode("utf-8", "surrogateescape")].encode()]
                done, place = until, place + 1
            parts.append(whole[done:end])
            done = max(done, end)
            hidden.append((time, b"".join(parts)))
        return tuple(chunk for chunk in hidden if chunk[1])

    def _found(self, whole: bytes) -> list[tuple[int, int, bytes]]:
        """Return where what is hidden stands; of 32 MiB, the expression alone would take seconds."""
        found = dict[int, tuple[int, int, bytes]]()
        for word in self._words:
            data = word.encode("utf-8", "surrogateescape")
            at = whole.find(data)
            while at >= 0:
                if match := self._hide_bytes.match(whole, at):
                    found[at] = (at, match.end(), match[0])
                at = whole.find(data, at + 1)
        return [found[at] for at in sorted(found)]

    def put_chunks(self, chunks: Iterable[Chunk]) -> tuple[Chunk, ...]:
        """Return chunks with these paths in the place of placeholders."""

        def path(match: re.Match[bytes]) -> bytes:
            return self._paths[match[1].decode()].encode("utf-8", "surrogateescape")

        return tuple((time, _PUT_BYTES.sub(path, data)) for time, data in chunks)

    def put_turn(self, recorded: RecordedTurn) -> RecordedTurn:
        """Return a recorded turn with these paths in all but its contents."""
        asked, turn = recorded.asked, Turn.from_json(_texts(recorded.turn.to_json(), self.put))
        said = replace(asked, prompt=self.put(asked.prompt))
        files, outside = (
            tuple(replace(one, content=self.put(one.content)) if one.kind == "link" else one for one in group)
            for group in (recorded.files, recorded.outside)
        )
        before = recorded.before and {path: self.put(what) for path, what in recorded.before.items()}
        chunks = self.put_chunks(recorded.chunks)
        return replace(recorded, asked=said, chunks=chunks, turn=turn, before=before, files=files, outside=outside)


def _texts(value: Any, change: Any) -> Any:
    """Return a value of JSON with all its texts changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(name): _texts(inner, change) for name, inner in value.items()}
    return [_texts(inner, change) for inner in value] if isinstance(value, list | tuple) else value
