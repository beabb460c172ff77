"""Runs the stand-in as what it is: a process with its own HOME and a nearly empty environment."""

from __future__ import annotations

import json
import os
import pty
import select
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pexpect
from standin_forks import Forks

from pytest_kiro.standin import STAND_IN

MAIN = STAND_IN / "__main__.py"
COMMAND = [sys.executable, str(MAIN)]
DEADLINE = 60.0
HEADLESS = ("chat", "--no-interactive")
CHAT = ("chat", "--no-interactive", "--agent-engine", "v2", "-a", "--wrap", "never")


@dataclass
class Result:
    code: int
    out: str
    err: str


class Events:
    """What a run with `--output-format stream-json` printed; every line must be an event."""

    def __init__(self, result: Result) -> None:
        self.result = result
        self.all = [json.loads(line) for line in result.out.splitlines()]

    @property
    def kinds(self) -> list[str]:
        """The types of the events, updates by their own names."""
        return [event["data"].get("update", {}).get("sessionUpdate", event["type"]) for event in self.all]

    def updates(self, kind: str) -> list[dict[str, Any]]:
        updates = [event["data"]["update"] for event in self.all if event["type"] == "sessionUpdate"]
        return [update for update in updates if update["sessionUpdate"] == kind]

    def infos(self, kind: str) -> list[dict[str, Any]]:
        """V3's session_info_update of this kind."""
        found = [update["_meta"]["kiro"] for update in self.updates("session_info_update")]
        return [info for info in found if info["kind"] == kind]

    @property
    def last(self) -> dict[str, Any]:
        data: dict[str, Any] = self.all[-1]["data"]
        return data

    @property
    def text(self) -> str:
        return "".join(update["content"]["text"] for update in self.updates("agent_message_chunk"))


def tool(name: str, number: int = 1, **args: Any) -> dict[str, Any]:
    """A tool call as KIRO_MOCK_CHAT_RESPONSE takes it."""
    return {"tool_use_id": f"tooluse_{number}", "name": name, "args": args}


@dataclass
class Standin:
    home: Path
    cwd: Path
    env: dict[str, str]
    forks: Forks
    command: list[str] = field(default_factory=lambda: list(COMMAND))
    """How it is started; `run` forks it instead where a test has not changed this."""
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)
    terminals: list[pexpect.spawn[str]] = field(default_factory=list)

    def environment(self, replies: Any, misbehave: Any, env: dict[str, str] | None) -> dict[str, str]:
        result = dict(self.env)
        if replies is not None:
            file = self.home / "replies.json"
            file.write_text(replies if isinstance(replies, str) else json.dumps(replies), encoding="utf-8")
            result["KIRO_MOCK_CHAT_RESPONSE"] = str(file)
        if misbehave is not None:
            result["KIRO_STANDIN_MISBEHAVE"] = json.dumps(misbehave)
        result.update(env or {})
        return {name: value for name, value in result.items() if value != "UNSET"}

    def run(
        self,
        *argv: str,
        replies: Any = None,
        misbehave: Any = None,
        stdin: str | bytes = b"",
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Result:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        variables, folder = self.environment(replies, misbehave, env), cwd or self.cwd
        if self.command == COMMAND:
            scratch = self.cwd.parent
            code, out, err = self.forks.run(
                argv, stdin=data, env=variables, cwd=folder, scratch=scratch, timeout=DEADLINE
            )
            return Result(code, out.decode(), err.decode())
        done = subprocess.run(
            [*self.command, *argv],
            input=data,
            capture_output=True,
            env=variables,
            cwd=folder,
            timeout=DEADLINE,
            check=False,
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    def chat(self, prompt: str, replies: Any, *more: str, **keywords: Any) -> Result:
        """One turn with every tool trusted."""
        return self.run(*CHAT, *more, stdin=prompt, replies=replies, **keywords)

    def spawn(self, *argv: str, replies: Any = None, misbehave: Any = None) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [*self.command, *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment(replies, misbehave, None),
            cwd=self.cwd,
        )
        self.started.append(process)
        return process

    def stream(self, prompt: str, replies: Any, *more: str, engine: str = "v2", **keywords: Any) -> Events:
        """One turn as events, with every tool trusted."""
        argv = ("chat", "--agent-engine", engine, "--output-format", "stream-json", "-a", *more)
        return Events(self.run(*argv, stdin=prompt, replies=replies, **keywords))

    def in_terminal(
        self, *argv: str, replies: Any = None, misbehave: Any = None, env: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Run in a terminal of its own: exit code, and everything that was shown."""
        leader, follower = pty.openpty()
        process = subprocess.Popen(
            [*self.command, *argv],
            stdin=follower,
            stdout=follower,
            stderr=follower,
            env=self.environment(replies, misbehave, env),
            cwd=self.cwd,
        )
        self.started.append(process)
        os.close(follower)
        shown = read_until(leader, None)
        os.close(leader)
        return process.wait(DEADLINE), shown

    def terminal(
        self,
        *argv: str,
        replies: Any = None,
        misbehave: Any = None,
        env: dict[str, str] | None = None,
        script: str = 'exec "$@"',
        columns: int = 80,
    ) -> pexpect.spawn[str]:
        """Run in a terminal that one talks with; `script` is of the shell that starts it."""
        child = pexpect.spawn(
            "sh",
            ["-c", script, "sh", *self.command, *argv],
            env=self.environment(replies, misbehave, env),
            cwd=str(self.cwd),
            encoding="utf-8",
            timeout=DEADLINE,
            dimensions=(24, columns),
        )
        child.delaybeforesend = None
        child.ptyproc.delayafterclose = 0.0
        self.terminals.append(child)
        return child

    def steer(self, **answers: Any) -> None:
        """Tell the login service what to answer; in one step, as it may be asking."""
        file = self.home / ".kiro-standin" / "login.json"
        file.parent.mkdir(exist_ok=True)
        new = file.with_suffix(".new")
        new.write_text(json.dumps(answers), encoding="utf-8")
        new.replace(file)

    @property
    def data(self) -> Path:
        """The data file: the login, and V1's conversations."""
        return self.home / ".local/share/kiro-cli/data.sqlite3"

    def kept(self, key: str, table: str = "auth_kv") -> dict[str, Any]:
        """One value of the data file."""
        connection = sqlite3.connect(self.data)
        try:
            ((value,),) = connection.execute(f"SELECT value FROM {table} WHERE key = ?", (key,))
            result: dict[str, Any] = json.loads(value)
            return result
        finally:
            connection.close()

    @property
    def store(self) -> Path:
        return self.home / ".kiro" / "sessions" / "cli"

    def ids(self) -> list[str]:
        return sorted(path.stem for path in self.store.glob("*.json"))

    def state(self, session_id: str | None = None) -> dict[str, Any]:
        """The state file of a session, by default of the only one."""
        (only,) = [session_id] if session_id else self.ids()
        state: dict[str, Any] = json.loads((self.store / f"{only}.json").read_text(encoding="utf-8"))
        return state

    def turns(self, session_id: str | None = None) -> list[dict[str, Any]]:
        metadata = self.state(session_id)["session_state"]["conversation_metadata"]
        turns: list[dict[str, Any]] = metadata["user_turn_metadatas"]
        return turns

    def messages(self, session_id: str | None = None) -> list[dict[str, Any]]:
        (only,) = [session_id] if session_id else self.ids()
        lines = (self.store / f"{only}.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def rows(self) -> list[tuple[str, str, dict[str, Any]]]:
        """V1's conversations, oldest first: directory, id, value."""
        if not self.data.exists():
            return []
        connection = sqlite3.connect(f"file:{self.data}?mode=ro", uri=True)
        try:
            query = "SELECT key, conversation_id, value FROM conversations_v2 ORDER BY created_at, rowid"
            return [(key, name, json.loads(value)) for key, name, value in connection.execute(query)]
        finally:
            connection.close()

    def v3_sessions(self) -> list[Path]:
        """The folders of V3's sessions, oldest first."""
        found = [path.parent for path in self.home.glob(".kiro/sessions/*/*/session.json")]
        return sorted(found, key=lambda path: json.loads((path / "session.json").read_text())["createdAt"])

    def v3_payloads(self, *kinds: str) -> list[dict[str, Any]]:
        """The payloads of the newest session of V3, by default all."""
        lines = (self.v3_sessions()[-1] / "messages.jsonl").read_text(encoding="utf-8").splitlines()
        payloads = [json.loads(line)["payload"] for line in lines]
        return [payload for payload in payloads if not kinds or payload["type"] in kinds]

    def results(self) -> list[dict[str, Any]]:
        """The toolResult data of the only session, in order."""
        found = [message["data"] for message in self.messages() if message["kind"] == "ToolResults"]
        return [part["data"] for data in found for part in data["content"]]


def read_until(descriptor: int, wanted: bytes | None) -> bytes:
    """Read until these bytes have come, or (None) until the end; fail at the deadline."""
    data, end = b"", time.monotonic() + DEADLINE
    while wanted is None or wanted not in data:
        if not select.select([descriptor], [], [], max(0.0, end - time.monotonic()))[0]:
            raise AssertionError(f"{wanted!r} did not come; so far: {data[-500:]!r}")
        try:
            chunk = os.read(descriptor, 65536)
        except OSError:  # the other side of a terminal is gone
            chunk = b""
        if not chunk:
            assert wanted is None, f"{wanted!r} did not come before the end: {data[-500:]!r}"
            break
        data += chunk
    return data


def ended(terminal: pexpect.spawn[str]) -> tuple[int | None, str]:
    """Wait for the end: exit code, and what was shown since the last expectation."""
    terminal.expect(pexpect.EOF)
    shown = terminal.before or ""
    terminal.wait()
    terminal.close()
    return terminal.exitstatus, shown
