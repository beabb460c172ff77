"""Shows a turn in V1's layout: nearly everything on stdout, in colour also without a terminal.

Warnings, denials, errors and the price are on stderr.
"""

from __future__ import annotations

import os

from . import formats
from .names import v1_name
from .out import write
from .screen import NoScreen
from .tools import PURPOSE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .protocols import RunningTurn
    from .tools import Call

TRUSTED = """\
All tools are now trusted (!). Kiro will execute tools without asking for confirmation.
Agents can sometimes do unexpected things so understand the risks.

Learn more at https://kiro.dev/docs/cli/chat/security/#using-tools-trust-all-safely

"""
_INVALID = "The tool arguments failed validation: "


class ScreenV1(NoScreen):
    """Shows one turn of V1."""

    def __init__(self, kinds: dict[str, Any], *, trusts_all: bool) -> None:
        self.kinds = kinds
        self.trusts_all = trusts_all
        self.spoke = False
        self.column_0 = True

    def _colour(self, number: int) -> str:
        return "\x1b[m" if os.environ.get("NO_COLOR") else f"\x1b[38;5;{number}m"

    def _print(self, text: str | bytes) -> bool:
        if text:
            self.column_0 = text[-1:] in ("\n", b"\n")
        return write(1, text)

    def begin(self, turn: RunningTurn) -> None:
        """The turn starts."""
        if self.trusts_all:
            write(2, TRUSTED)

    def message(self) -> None:
        """An assistant message begins: its first text has a mark before it."""
        self.spoke = False

    def say(self, text: str) -> None:
        """One chunk of the assistant's text comes."""
        if not text:
            return
        if not self.spoke:
            self._end_line()
            self._print(f"{self._colour(141)}> \x1b[0m")
        self.spoke = True
        if "slow" in self.kinds or "split_utf8" in self.kinds:
            from . import misbehave

            misbehave.say_slowly(self.kinds, text)
            self.column_0 = text.endswith("\n")
        else:
            self._print(text)

    def spill(self, data: bytes) -> bool:
        """Print what is no part of the turn; False when nobody reads."""
        return self._print(data)

    def _end_line(self) -> None:
        if not self.column_0:
            self._print("\n")

    def call(self, call: Call) -> None:
        """A tool call is announced."""
        self._end_line()
        lines = _announcement(call) if call.kind else [call.name, ""]
        using = f"{self._colour(244)} (using tool: {call.name if call.server else call.tool or call.name})\x1b[0m"
        self._print(f"{lines[0]}{using}" + "".join(lines[1:]))
        purpose = call.input.get(PURPOSE) or call.input.get("summary")
        if isinstance(purpose, str) and not call.denied:
            self._end_line()
            self._print(f"Purpose: {purpose}\n")

    def denied(self, call: Call) -> None:
        """A call may not run, and there is no terminal to ask."""
        what = f"Command {v1_name(call)} is rejected because it matches one or more rules on the denied list:"
        write(2, f"\n{what}\n  - non-interactive mode (no user to approve)\n")

    def live(self, call: Call) -> Callable[[bytes], object]:
        """Let a command print for itself."""
        if call.tool == "shell":
            self._end_line()
        return self._print

    def ran(self, call: Call) -> None:
        """A tool call ended."""
        # Seconds and milliseconds are joined as numbers, so 0.4s may be four milliseconds: as measured.
        took = f"{call.milliseconds // 1000}.{call.milliseconds % 1000}s"
        if call.error:
            self._end_line()
            if not call.denied:
                write(2, _failure(str(call.error), took))
            return
        self._print(_summary(call))
        self._end_line()
        self._print(f"{self._colour(244)} - Completed in {took}\x1b[0m\n\n")

    def end(self, turn: RunningTurn) -> None:
        """The turn is over."""
        self._end_line()
        if turn.metering:
            credits = sum(part["value"] for part in turn.metering)
            took = round(turn.elapsed / 10**9)
            time = f"{took // 60}m {took % 60}s" if took >= 60 else f"{took}s"
            write(2, f"{self._colour(8)}\n ▸ Credits: {credits:.2f} • Time: {time}\n\x1b[0m")

    def cancelled(self, turn: RunningTurn) -> None:
        """The turn was interrupted."""
        self._end_line()

    def refused(self, turn: RunningTurn, text: str) -> None:
        """The service did not answer."""
        self._end_line()
        write(2, text + "\n")


def _announcement(call: Call) -> list[str]:
    """Word a call: what is before and what is after the name of its tool."""
    if call.tool == "shell":
        command = call.kind["ExecuteCmd"]
        where = f" (in {command['working_dir']})" if command["working_dir"] else ""
        return [f"I will run the following command: {command['command']}{where}", "\n"]
    if call.tool == "write":
        return _writes(call.kind["FileWrite"])
    if call.tool == "read":
        operations = call.kind["FileRead"]["operations"]
        if len(operations) == 1:
            return [_reads(operations[0])]
        steps = [f"\n↱ Operation {n}: {_reads(operation)}\n" for n, operation in enumerate(operations, 1)]
        return [f"Batch fs_read operation with {len(operations)} operations", "\n", *steps]
    if call.server:
        params = formats.dumps(call.input, 2).replace("\n", "\n ⋮  ")
        return [f"Running tool {call.name} with the param", f"\n ⋮  {params}\n"]
    return [call.title]


def _writes(kind: dict[str, Any]) -> list[str]:
    path = os.path.abspath(os.path.expanduser(kind["path"]))
    exists = os.path.exists(path)
    first = f"I'll {'modify' if exists else 'create'} the following file: {path}"
    if kind["command"] == "create":
        verb = "Replacing" if exists else "Creating"
    else:
        verb = "Appending to" if kind["command"] == "insert" and kind["insertLine"] is None else "Updating"
    return [first, f"\n{verb}: {path}\n"]


def _reads(operation: dict[str, Any]) -> str:
    path = os.path.abspath(os.path.expanduser(operation["path"]))
    if operation["mode"] == "Directory":
        return f"Reading directory: {path} with maximum depth of {operation['depth'] or 0}"
    if not operation["offset"] and not operation["limit"]:
        return f"Reading file: {path}, all lines"
    start = (operation["offset"] or 0) + 1
    end = f"line {start + operation['limit'] - 1}" if operation["limit"] else "end of file"
    return f"Reading file: {path}, from line {start} to {end}"


def _summary(call: Call) -> str:
    """Word the success of a tool without output of its own."""
    if call.tool != "read":
        return ""
    operations = call.kind["FileRead"]["operations"]
    if len(operations) > 1:
        count = len(operations)
        return f"\n - Summary: {count} operations processed, {count} successful, 0 failed\n"
    size = len(call.items[0]["Text"].encode("utf-8", "replace"))
    where = os.path.abspath(os.path.expanduser(operations[0]["path"]))
    return f" ✓ Successfully read {size} bytes from {where}\n"


def _failure(text: str, took: str) -> str:
    if text.startswith(_INVALID):
        return f"Tool validation failed: \nFailed to validate tool parameters: {text[len(_INVALID) :]}\n"
    if text.startswith("Failed to parse the tool use"):
        return f"Tool validation failed: \n{text}\n"
    return f" - Execution failed after {took}:\n{text}\n"
