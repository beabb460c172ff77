"""What a turn was given to go by: skills, steering files, its agent, MCP servers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

from pytest_kiro.errors import HIDE_FRAMES, NotRecorded
from pytest_kiro.turn.calls import ToolCalls, label, walk
from pytest_kiro.turn.shown import listed, short
from pytest_kiro.turn.transcript import ToolCall, Transcript

__tracebackhide__ = HIDE_FRAMES
Kind = Literal["skill", "steering", "agent", "mcp"]
#: The files that a skill and a steering file are, by their folders.
_FILES = {
    "skill": re.compile(r"(?:^|/)skills/([^/]+)/SKILL\.md$"),
    "steering": re.compile(r"(?:^|/)steering/(.+)\.md$"),
}
#: V3's tool that puts a skill or a steering file into the prompt.
_DISCLOSES = "disclose_context"
#: What kiro-cli prints when it starts no server at all (Kiro issue 7929, 2.0.1).
_NO_SERVERS = "MCP functionality disabled"
_LONGEST = 100


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a turn was given, as far as its records say it.

    `complete` is whether these were read, all of them; `agent` the one that answered, None where nothing says it;
    `steering` and `servers` are the steering files and MCP servers that are named, of which there may be more.
    """

    complete: bool = False
    agent: str | None = None
    steering: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()

    @classmethod
    def of(cls, transcript: Transcript, *, whole: bool) -> Given:
        """Return what a transcript says; `whole` is whether all of its records could be read."""
        complete = whole and bool(transcript.session_id)
        return cls(complete=complete, agent=transcript.agent, steering=transcript.steering, servers=transcript.servers)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Given:
        """Return what `dataclasses.asdict` was asked of."""
        return cls(**{**data, "steering": tuple(data["steering"]), "servers": tuple(data["servers"])})


@dataclass(frozen=True, repr=False)
class Loaded:
    """The answer of `turn.loaded`: true or false, with what says so.

    `kind` and `asked` are the question; `names` are those that fit it, `others` those of the same kind that do not, and
    `evidence` is what says so.

    >>> Loaded("skill", "release", others=("review",))
    <not loaded: skill 'release'; there were: 'review'>
    >>> bool(Loaded("skill", "rel*", names=("release",), evidence="read '.kiro/skills/release/SKILL.md'"))
    True
    """

    kind: Kind
    asked: str
    names: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    evidence: str = ""

    def __bool__(self) -> bool:
        return bool(self.names)

    def __repr__(self) -> str:
        if self:
            return f"<loaded: {self.kind} {listed([*map(repr, self.names)], _LONGEST)}: {self.evidence}>"
        others = listed([*map(repr, self.others)], _LONGEST, none="none at all")
        return f"<not loaded: {self.kind} {short(self.asked, 60)!r}; there were: {others}>"


def find(kind: Kind, name: object, calls: ToolCalls, given: Given, *, engine: str, prompt: str, printed: str) -> Loaded:
    """Answer `turn.loaded`; `printed` is all that kiro-cli has printed."""
    if kind not in get_args(Kind):
        raise ValueError(f"{kind!r} cannot be loaded; wanted: one of {', '.join(get_args(Kind))}")
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"name={name!r} is not right; wanted: a name, or a pattern such as *")
    seen = dict(_seen(kind, calls, given))
    names = [one for one in seen if fnmatchcase(one, name.removesuffix(".md") if kind == "steering" else name)]
    if not names and (doubt := _doubt(kind, name, calls, given, engine=engine, prompt=prompt, printed=printed)):
        what, advice = doubt
        raise NotRecorded(f"whether {kind} {name!r} was loaded is not known: {what}", advice=advice)
    others = tuple(one for one in seen if one not in names)
    return Loaded(kind, name, tuple(names), others, seen[names[0]] if names else "")


def _seen(kind: Kind, calls: ToolCalls, given: Given) -> Iterator[tuple[str, str]]:
    """Yield each name that was loaded, with what says so."""
    if kind == "agent":
        if given.agent is not None:
            yield given.agent, "its session says who answered"
        return
    named = {"steering": given.steering, "mcp": given.servers}.get(kind, ())
    yield from ((_file_name(kind, one), "its session names it") for one in named)
    for call in walk(calls):
        if kind == "mcp":
            server = re.match(r"@([^/]+)/", call.name)
            if server and call.status != "unfinished" and "does not exist" not in call.output[:500]:
                yield server[1], f"it was called: {label(call, calls.folder)}"
        elif call.status == "completed" and call.name in ("read", _DISCLOSES):
            yield from ((one, label(call, calls.folder)) for one in _disclosed(kind, call))


def _disclosed(kind: Kind, call: ToolCall) -> Iterator[str]:
    """Yield the skills, or steering files, that a call has loaded."""
    said = call.input
    if call.name == _DISCLOSES:
        if said.get("type") in (kind, None):
            given = (said.get(key) for key in ("name", "displayName"))
            yield from (_file_name(kind, one) for one in given if isinstance(one, str))
        return
    yield from (file[1] for text in _strings(said) if (file := _FILES[kind].search(text)))


def _file_name(kind: Kind, text: str) -> str:
    file = _FILES[kind].search(text) if kind in _FILES else None
    return file[1] if file else text.removesuffix(".md") if kind == "steering" else text


def _doubt(
    kind: Kind, name: str, calls: ToolCalls, given: Given, *, engine: str, prompt: str, printed: str
) -> tuple[str, str] | None:
    """Say why it may have been loaded nevertheless, and what to do."""
    if not given.complete:
        return "its records were not read, or not all of them", "look at turn.warnings and turn.detail"
    if kind == "agent":
        what = f"nothing that engine {engine} has left says which agent answered"
        return (what, "use --kiro-engine=v2 or v3 and the session store") if given.agent is None else None
    if kind == "steering":
        what = f"engine {engine} keeps no record of the steering files that it puts into the prompt by itself"
        return what, "let the steering file ask for something that can be seen, and assert that"
    if kind == "mcp":
        what = f"engine {engine} keeps no record of the servers that it starts, and none of its tools was called"
        return None if _NO_SERVERS in printed else (what, "ask for something that needs a tool of the server")
    return _doubt_of_skill(name, calls, engine, prompt)


def _doubt_of_skill(name: str, calls: ToolCalls, engine: str, prompt: str) -> tuple[str, str] | None:
    if prompt.strip().startswith("/"):
        return "the prompt begins with a slash, by which kiro-cli may load a skill itself", "put a word before it"
    for call in walk(calls):
        texts = list(_strings(call.input))
        if call.name in ("shell", "grep") and call.status != "denied" and any("SKILL.md" in text for text in texts):
            return f"{label(call, calls.folder)} may have shown it", "look at turn.tool_calls"
        if call.name in ("read", _DISCLOSES) and call.status == "unfinished":
            return f"{label(call, calls.folder)} was not over", "let the turn end"
        if engine == "v1" and call.name == "subagent":
            return "engine V1 keeps nothing of what its sub-agents do", "use --kiro-engine=v2 or v3"
    return None


def _strings(value: Any) -> Iterator[str]:
    """Yield every text in a call's input."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            waiting += one.values()
        elif isinstance(one, list | tuple):
            waiting += one
