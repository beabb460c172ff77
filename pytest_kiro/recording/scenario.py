"""Makes a scenario of recordings: texts, tool calls in order, how turns ended, and the same files.

What no write call of a turn explains, such as a file that a command has made, is written by calls that are added.
"""

from __future__ import annotations

import shlex
from base64 import b64encode
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from pytest_kiro.agent.printed import Printed
from pytest_kiro.errors import SettingsError
from pytest_kiro.recording.altered import by_the_way
from pytest_kiro.recording.calls import Written, portable, scripted
from pytest_kiro.recording.scenario_text import Said, turn_text
from pytest_kiro.recording.values import RecordedFile, RecordedTurn, Recording
from pytest_kiro.secrecy.redaction import Secrets
from pytest_kiro.turn.causes import Cause
from pytest_kiro.turn.turn import Turn

#: By why a turn failed, what makes the stand-in fail so.
_ENDS = {Cause.THROTTLED: "throttled", Cause.USAGE_LIMIT: "limit", Cause.CRASH: "crash", Cause.STALLED: "hangs"}
_ADDED = "added: no write call that was recorded explains this"
#: From here on an exit code tells of a signal.
_SIGNALS = 128
#: Of a message so much is looked for in what was printed.
_LOOKED_FOR = 80


def scenario(recordings: Sequence[Recording]) -> str:
    """Return the scenario of recordings of one test file; several trials of a test are told apart.

    `SettingsError` for recordings of several files, and for two of the same trial.
    """
    files = sorted({one.made.file for one in recordings})
    if len(files) > 1:
        what = f"these recordings are of {len(files)} files: {', '.join(files)}"
        raise SettingsError(what, advice="a scenario is one file's; name the recordings of one")
    trials = Counter((one.made.owner, one.made.trial) for one in recordings)
    if twice := [key for key, count in trials.items() if count > 1]:
        what = f"there are several recordings of trial {twice[0][1]} of {twice[0][0]}"
        raise SettingsError(what, advice="a scenario has one answer for all variants; name one of them")
    several = Counter(one.made.owner for one in recordings)
    ordered = sorted(recordings, key=lambda one: (one.made.owner, one.made.trial))
    turns = [text for one in ordered for text in _tables(one, trial=several[one.made.owner] > 1)]
    return "\n\n".join(turns) + "\n"


def _tables(recording: Recording, *, trial: bool) -> Iterator[str]:
    written: dict[int, Written] = {}
    for key in sorted(recording.turns):
        recorded = recording.turns[key]
        files = written.setdefault(recorded.conversation, Written())
        files.take(recorded.turn.tool_calls)
        added = _added(recording, recorded, files)
        requests = _requests(recorded)
        keys: dict[str, object] = {"conversation": recorded.conversation} if recorded.conversation > 1 else {}
        keys |= {"trial": recording.made.trial} if trial else {}
        keys |= {"misbehave": ending} if (ending := _ending(recorded.turn)) else {}
        whole = [*requests[:-1], *([added] if added else []), requests[-1]]
        yield turn_text(recording.made.owner, keys, whole, _comments(recorded, ending))
        for file in recorded.files:
            files.settle(file.path, recording.read(file.content) if file.kind == "file" else None)


# -- what was said and called


def _requests(recorded: RecordedTurn) -> list[list[Said]]:
    """Return a turn's messages and calls as requests to a model: each message begins one."""
    turn = recorded.turn
    calls, starts = list(map(scripted, turn.tool_calls)), _calls_before(recorded)
    edges = [0, *starts, len(calls)]
    texts = ["", *turn.messages]
    requests = [
        [*([Said(portable(text))] if text else []), *calls[start:end]]
        for text, start, end in zip(texts, edges[:-1], edges[1:], strict=True)
    ]
    requests = [request for request in requests if request]
    if not requests or requests[-1][-1].tool:
        requests.append([Said("")])
    # A request without a call ends the turn, so that several texts in a row are one.
    joined: list[list[Said]] = []
    for request in requests:
        if joined and not joined[-1][-1].tool:
            joined[-1] += [Said("\n"), *request]
        else:
            joined.append(request)
    return joined


def _calls_before(recorded: RecordedTurn) -> list[int]:
    """Return how many calls came before each message.

    An earlier recording does not tell it; there it is seen in what was printed. Where that is not clear, each message
    but the last goes with one call.
    """
    turn = recorded.turn
    messages, calls = len(turn.messages), len(turn.tool_calls)
    told = [call.after for call in turn.tool_calls if call.after is not None]
    if len(told) == calls:
        return [sum(after <= at for after in told) for at in range(messages)]
    guess = [min(at, calls) for at in range(messages - 1)] + [calls] * (messages > 0)
    if not calls or messages < 2:
        return guess
    printed, announced = _announcements(recorded)
    if len(announced) != calls:
        return guess
    starts, at = [], 0
    for message in turn.messages:
        wanted = next(filter(None, map(str.strip, message.splitlines())), "")[:_LOOKED_FOR]
        at = printed.find(wanted, at)
        if at < 0:
            return guess
        starts.append(bisect_right(announced, at))
        at += len(wanted)
    return starts


def _announcements(recorded: RecordedTurn) -> tuple[str, list[int]]:
    """Return what was printed, and where in it calls were announced."""
    data = b"".join(chunk for _, chunk in recorded.chunks)
    printed = Printed(recorded.turn.engine, Secrets(), stream=data.lstrip().startswith(b"{"))
    text, places = "", list[int]()
    for line in data.splitlines(keepends=True):
        text += printed.feed(line)
        places += [len(text)] * (len(printed.announced) - len(places))
    return text, places


def _ending(turn: Turn) -> dict[str, object]:
    """Return what makes the stand-in end so; a code that kiro-cli exits with is no crash of it."""
    exits = turn.exit_code is not None and 0 < turn.exit_code < _SIGNALS and turn.status in ("completed", "failed")
    kinds: dict[str, object] = {"exit": turn.exit_code} if exits else {}
    if turn.cause in _ENDS and not (exits and turn.cause is Cause.CRASH):
        kinds[_ENDS[turn.cause]] = True
    return kinds


def _comments(recorded: RecordedTurn, ending: object) -> Iterator[str]:
    turn = recorded.turn
    if turn.status != "completed" and not ending:
        yield f"it was {turn.status} ({turn.kind}); here the stand-in completes it"
    for line in recorded.left_out:
        yield f"left out of the recording: {line}"
    if names := sorted(file.path for file in (*recorded.files, *recorded.outside) if file.redacted):
        yield f"a secret was taken out of: {', '.join(names)}"
    if ignored := by_the_way(recorded):
        yield f"left out: what programs made by the way, {len(ignored)} file{'s' * (len(ignored) > 1)}"


# -- the same files


def _added(recording: Recording, recorded: RecordedTurn, written: Written) -> list[Said]:
    """Return calls that write what the turn's own do not explain."""
    ignored = by_the_way(recorded)
    inside = [file for file in recorded.files if file.path not in ignored]
    places = [(file, file.path, shlex.quote(file.path)) for file in inside]
    places += [(file, f"~/{file.path}", f'"$HOME"/{shlex.quote(file.path)}') for file in recorded.outside]
    first, writes, last = list[str](), list[Said](), list[str]()
    for file, path, quoted in places:
        if file.kind == "deleted":
            first.append(f"rm -rf {quoted}")
        elif file.kind == "file":
            content = recording.read(file.content)
            if not written.explains(path, content):
                if (text := _text(path, content)) is not None:
                    writes.append(Said(tool="write", args={"command": "create", "path": path, "content": text}))
                else:
                    last.append(_binary(quoted, content))
            if file.mode & 0o111 and file.path not in (recorded.before or ()):
                last.append(f"chmod {file.mode & 0o777:o} {quoted}")
        else:
            last.append(_special(file, quoted))
    calls = [*_shell(first), *writes, *_shell(last)]
    return [Said(tool=one.tool, args=one.args, comment=_ADDED * (at == 0)) for at, one in enumerate(calls)]


def _text(path: str, content: bytes) -> str | None:
    """Return a file's content as a write call takes it; None for what is no text, or has no name in UTF-8."""
    try:
        path.encode()
        return content.decode()
    except UnicodeError:
        return None


def _binary(quoted: str, content: bytes) -> str:
    data = b64encode(content).decode()
    lines = "\n".join(data[at : at + 76] for at in range(0, len(data), 76))
    return f"{_folder(quoted)}base64 --decode >{quoted} <<'END'\n{lines}\nEND"


def _special(file: RecordedFile, quoted: str) -> str:
    if file.kind == "folder":
        return f"mkdir -p {quoted}"
    return f"{_folder(quoted)}ln -sfn {shlex.quote(file.content)} {quoted}"


def _folder(quoted: str) -> str:
    return f'mkdir -p "$(dirname {quoted})"\n' if "/" in quoted else ""


def _shell(lines: Iterable[str]) -> list[Said]:
    command = "\n".join(lines)
    return [Said(tool="shell", args={"command": command})] if command else []
