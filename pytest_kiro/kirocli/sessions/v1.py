"""Reads engine V1's conversations: rows of a SQLite database, each one JSON with the whole history.

The shapes are those of its ancestor's source and of what others read from real databases (2.5 to 2.18).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from pytest_kiro.kirocli.sessions import tools
from pytest_kiro.kirocli.sessions.log import Wanted
from pytest_kiro.kirocli.sessions.sqlite import Unreadable, rows
from pytest_kiro.kirocli.sessions.values import dig, listed, load, number, total, words
from pytest_kiro.turn.transcript import ToolCall, Transcript
from pytest_kiro.turn.warnings import Warnings

#: What V1 writes in the assistant's name when a turn is interrupted (its ancestor's source): no answer, so no end.
_INTERRUPTED = (
    "Tool uses were interrupted, waiting for the next user prompt",
    "Response was interrupted by the user",
)
#: What it writes in the user's name when a tool is cancelled or denied: no prompt.
_NO_PROMPTS = (
    "The user interrupted the tool execution.",
    "I deny this tool request. Ask a follow up question clarifying the expected action",
)
_KINDS = ("Prompt", "ToolUseResults", "CancelledToolUses")
_DATABASE = "data.sqlite3"


class _Entry(NamedTuple):
    """One request and its answer; `kind` is Prompt, ToolUseResults, CancelledToolUses, or empty."""

    where: str
    kind: str
    user: Mapping[str, Any]
    assistant: Mapping[str, Any]
    request: Any

    @property
    def prompt(self) -> str | None:
        """The prompt that it begins with; tools left over from before a prompt are cancelled along with it."""
        prompt = self.user.get("prompt")
        known = self.kind == "Prompt" or (self.kind == "CancelledToolUses" and prompt and prompt not in _NO_PROMPTS)
        return str(prompt or "") if known else None

    @property
    def interrupted(self) -> bool:
        """Whether the answer is only said in the assistant's name."""
        text = dig(self.assistant, "Response", "content")
        return self.user.get("prompt") == _NO_PROMPTS[0] or (isinstance(text, str) and text.strip() in _INTERRUPTED)

    @property
    def answered(self) -> bool:
        """Whether it is an assistant's answer, and not a request for tools."""
        return isinstance(dig(self.assistant, "Response", "content"), str) and not self.interrupted


class _Conversation:
    def __init__(self, name: str, where: str, value: Mapping[str, Any], updated: int | None) -> None:
        self.id = name
        self.where = where
        self.value = value
        self.updated = -1 if updated is None else updated
        self.warnings = Warnings()
        self.entries = list(_entries(self))
        self.prompts = [index for index, entry in enumerate(self.entries) if entry.prompt is not None]
        self.last_prompt = self.entries[self.prompts[-1]].prompt if self.prompts else None
        ends = [*self.prompts[1:], len(self.entries)] if self.prompts else []
        self.turns = sum(self.entries[end - 1].answered for end in ends)


def read(files: Mapping[str, bytes], wanted: Wanted) -> Transcript | None:
    """Return the latest turn; see `sessions.read`."""
    warnings = Warnings()
    conversations = [
        conversation
        for conversation in _conversations(files, wanted, warnings)
        if wanted.session_id is not None or wanted.has_prompt(conversation.last_prompt)
    ]
    if not conversations:
        lines = tuple(warnings)
        return Transcript(wanted.session_id or "", warnings=lines) if lines else None
    conversation = max(conversations, key=lambda each: each.updated)
    turn, proven = _turn(conversation, wanted)
    warnings += conversation.warnings
    messages, calls = _said(turn, warnings)
    finished = proven and conversation.turns > wanted.turns and bool(turn) and turn[-1].answered
    cancelled = bool(turn) and turn[-1].interrupted
    charged = total(_metered(conversation.value, turn), "value", conversation.where, warnings)
    transcript = Transcript(
        session_id=conversation.id,
        prompts=len(conversation.prompts),
        turns=conversation.turns,
        messages=messages,
        tool_calls=tuple(calls.values()),
        finished=finished,
        end_reason="UserTurnEnd" if finished else "Cancelled" if cancelled else None,
        model=_model(conversation.value, turn),
        duration=_duration(turn),
        warnings=tuple(warnings),
        servers=_servers(conversation.value),
    )
    return transcript.charged(charged, "conversation")


# -- which conversation


def _conversations(files: Mapping[str, bytes], wanted: Wanted, warnings: Warnings) -> Iterator[_Conversation]:
    for path in files:
        if path.rpartition("/")[2] != _DATABASE:
            continue
        try:
            found = rows(files[path], files.get(f"{path}-wal", b""))
        except Unreadable as error:
            warnings.add(f"{path}: this database cannot be read: {error}")
            continue
        for row in found:
            if wanted.session_id is None and row.key != wanted.cwd:
                continue
            where = f"{path}: {row.table}, {row.id or row.key}"
            value = load(row.value)
            if isinstance(value, dict):
                name = row.id or words(value.get("conversation_id")) or ""
                if wanted.session_id in (None, name):
                    yield _Conversation(name, where, value, row.updated)
            elif wanted.session_id in (None, row.id):
                warnings.add(f"{where}: its value is no JSON object")


def _entries(conversation: _Conversation) -> Iterator[_Entry]:
    history = conversation.value.get("history")
    if not isinstance(history, list):
        conversation.warnings.add(f"{conversation.where}: its history is no list")
    for count, record in enumerate(listed(history), 1):
        where = f"{conversation.where}, history {count}"
        pair = (record.get("user"), record.get("assistant")) if isinstance(record, dict) else tuple(listed(record))
        user, assistant = pair if len(pair) == 2 else (None, None)
        content = dig(user, "content")
        kind = next((kind for kind in _KINDS if isinstance(dig(content, kind), dict)), "")
        if not kind or not isinstance(assistant, dict):
            # It stays where it is: were it left out, the entry before it could pass for the end of the turn.
            conversation.warnings.add(f"{where}: not an entry that is known")
        said = assistant if isinstance(assistant, dict) else {}
        yield _Entry(where, kind, content[kind] if kind else {}, said, dig(record, "request_metadata"))


def _turn(conversation: _Conversation, wanted: Wanted) -> tuple[Sequence[_Entry], bool]:
    """Return the entries of our turn, and whether that is certain."""
    prompts, last = conversation.prompts, conversation.last_prompt
    if len(prompts) > wanted.prompts:
        return conversation.entries[prompts[-1] :], True
    shrunk = len(prompts) < wanted.prompts and conversation.value.get("latest_summary")
    if not shrunk or wanted.prompt is None or last is None or not wanted.has_prompt(last):
        return [], False
    # Compaction throws old entries away, so counting no longer tells this turn from one with the same prompt.
    conversation.warnings.add(f"{conversation.where}: its history was compacted; it proves nothing of this turn")
    return conversation.entries[prompts[-1] :], False


# -- what was said


def _said(turn: Sequence[_Entry], warnings: Warnings) -> tuple[tuple[str, ...], dict[str, ToolCall]]:
    messages: list[str] = []
    calls: dict[str, ToolCall] = {}
    for entry in turn:
        for result in listed(entry.user.get("tool_use_results")):
            key = str(dig(result, "tool_use_id"))
            if key in calls:
                ok = str(dig(result, "status")).lower() == "success"
                came = tools.parts(dig(result, "content"))
                cancelled = entry.kind == "CancelledToolUses"
                calls[key] = tools.ended(calls[key], came, ok=ok, cancelled=cancelled)
            elif entry is not turn[0]:
                warnings.add(f"{entry.where}: a result of no tool call of this turn: {key[:80]}")
        kind = next((kind for kind in ("Response", "ToolUse") if isinstance(entry.assistant.get(kind), dict)), None)
        if kind is None:
            if entry.assistant:
                warnings.add(f"{entry.where}: not an answer that is known")
            continue
        answer = entry.assistant[kind]
        if text := words(answer.get("content")):
            messages.append(text)
        for use in listed(answer.get("tool_uses")) if kind == "ToolUse" else ():
            raw = words(dig(use, "name")) or words(dig(use, "orig_name"))
            given = dig(use, "args")
            call = tools.begun(raw, dig(use, "orig_args") if given is None else given)
            calls[str(dig(use, "id"))] = replace(call, after=len(messages))
    return tuple(messages), calls


# -- what it took


def _metered(value: Mapping[str, Any], turn: Sequence[_Entry]) -> list[Any]:
    """Return what the latest turn was charged; the record is of the conversation, so it must name our requests."""
    used = dig(value, "user_turn_metadata", "usage_info")
    named = {words(dig(entry, "request_id")) for entry in listed(dig(value, "user_turn_metadata", "requests"))} - {None}
    # The last request of a turn is missing in that list (seen in real rows), so one of a single request is empty.
    ours = {words(dig(entry.request, "request_id")) for entry in turn} - {None}
    if not turn or (named and not named & ours) or (not named and len(listed(used)) > len(turn)):
        return []
    return listed(used)


def _model(value: Mapping[str, Any], turn: Sequence[_Entry]) -> str | None:
    told = [words(dig(entry.request, "model_id")) for entry in turn]
    return next((model for model in reversed(told) if model), words(dig(value, "model_info", "model_id")))


def _servers(value: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the servers whose tools the model had; Kiro's own are under `native___` (ancestor)."""
    known = value.get("tools")
    return tuple(name for name in known if not name.startswith("native")) if isinstance(known, dict) else ()


def _duration(turn: Sequence[_Entry]) -> float | None:
    """Return the time from the first request to the last answer's end."""
    if not turn:
        return None
    begin = number(dig(turn[0].request, "request_start_timestamp_ms"))
    end = number(dig(turn[-1].request, "stream_end_timestamp_ms"))
    return (end - begin) / 1000 if begin is not None and end is not None and end >= begin else None
