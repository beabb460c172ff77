"""Spells kiro-cli's words, which no other file does: arguments, folders, exit codes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

NAME = "kiro-cli"


@dataclass(frozen=True)
class Engine:
    """Describes one of kiro-cli's three engines.

    It is named on every call: no default of the CLI is stable across its versions (measured 2.21, documented 3.x).

    `stores` are where it keeps its sessions, relative to HOME; `streams` whether it has `--output-format
    stream-json`; `by_id` whether it resumes by session id; `scripted` whether the real one takes scripted replies;
    `locks` whether an open session has a lock beside it; `remembers` whether memories go from one session to the next;
    `package` is that of an agent with a version of its own, which it unpacks and runs;
    `since` is the first version of kiro-cli on which a headless run of it can be read here.
    """

    name: str
    stores: tuple[str, ...]
    streams: bool = True
    by_id: bool = True
    scripted: bool = True
    since: tuple[int, ...] = ()
    locks: bool = False
    remembers: bool = False
    package: str = ""

    def stores_for(self, env: Mapping[str, str], workspace: str) -> tuple[str, ...]:
        """Return where the sessions are for a process with these variables: V2's move along with KIRO_HOME.

        >>> ENGINES["v2"].stores_for({"KIRO_HOME": "/opt/kiro"}, "/w")
        ('/opt/kiro/sessions/cli',)
        """
        home = env.get("KIRO_HOME") if self.name == "v2" else None
        return (f"{PurePosixPath(workspace, home)}/sessions/cli",) if home else self.stores


# V1 keeps its conversations where the login is as well; its write-ahead log may hold the last turn.
DATABASE = ".local/share/kiro-cli/data.sqlite3"
#: Where kiro-cli keeps what is its own, below HOME; what the agent changes there is no change of the agent's.
STATE = (".kiro/sessions", ".local/share/kiro-cli", ".local/state", ".cache/kiro-cli", ".aws/sso/cache", "users")
ENGINES: Mapping[str, Engine] = {
    "v1": Engine("v1", (DATABASE, f"{DATABASE}-wal"), streams=False, by_id=False),
    "v2": Engine("v2", (".kiro/sessions/cli",), locks=True, since=(2, 5)),
    # In early access since 2.8; the first headless run whose output was published is of 2.19.2.
    "v3": Engine("v3", (".kiro/sessions",), scripted=False, since=(2, 19, 2), remembers=True, package="@kiro/agent"),
}
#: V3's own ids of what is trusted by V2's words: it takes no others (documented for 3.x; ids read from 1.0.411).
_V3_TOOLS = {
    "read": "read_file,read_files,read_multiple_files,list_directory",
    "write": "fs_write,fs_append,str_replace",
    "shell": "execute_bash",
    "grep": "grep_search",
    "glob": "file_search",
    "web_search": "remote_web_search",
    "subagent": "invoke_sub_agent,orchestrate_subagent",
}
#: The newest version whose session stores are known, and all of them.
_NEWEST = (2, 29)
KNOWN_VERSIONS = f"2.5 to {_NEWEST[0]}.{_NEWEST[1]}"
#: What stands in a version line when the stand-in answers.
STAND_IN = "stand-in"
API_KEY = "KIRO_API_KEY"
#: Given with scripted replies, which no key is needed for, so that the CLI counts itself as logged in.
PLACEHOLDER_KEY = "ksk_scripted"
#: Points at the scripted replies; the real CLI reads it too (seen on 2.24.1).
REPLIES = "KIRO_MOCK_CHAT_RESPONSE"
MISBEHAVE = "KIRO_STANDIN_MISBEHAVE"
#: No update in mid-run, no telemetry, no changelog before the answer.
QUIET = {"KIRO_NO_AUTO_UPDATE": "1", "KIRO_DISABLE_TELEMETRY": "1", "KIRO_NO_REMOTE_CHANGELOG": "1"}

_NAMES_ENGINE = frozenset({"--agent-engine", "--v2", "--v3", "--classic", "--legacy-ui", "--tui"})
#: Means the newest engine of the CLI that is installed.
AUTO = "auto"
_VERSION = re.compile(r"^kiro-cli(?:-chat)? (\d+\.\d+\.\d+\S*)(.*)$", re.MULTILINE)


def version() -> list[str]:
    return ["--version"]


def choose_engine(name: str, cli_version: str, *, replies: bool = False) -> Engine:
    """Return an engine by its name; `auto` is the newest that this version has and this plugin can read.

    The version decides, not `--help`: that of 2.21 named another default than the one that ran. `replies` is whether
    the real CLI is to answer from a scenario, which the newest engine cannot.

    >>> [choose_engine("auto", version).name for version in ("2.13.0", "3.5.0")]
    ['v2', 'v3']
    """
    if name != AUTO:
        return ENGINES[name]
    numbers = tuple(map(int, re.findall(r"\d+", cli_version)[:3]))
    fitting = [one for one in ENGINES.values() if one.since <= numbers and (one.scripted or not replies)]
    return fitting[-1]


def is_unknown(cli_version: str) -> bool:
    """Whether this version is newer than those that are known.

    >>> [is_unknown(version) for version in ("2.29.4", "2.30.0", "3.2.0", "unknown")]
    [False, True, True, False]
    """
    return tuple(map(int, re.findall(r"\d+", cli_version)[:2])) > _NEWEST


def whoami() -> list[str]:
    return ["whoami", "--format", "json"]


def login(arguments: Sequence[str] = ()) -> list[str]:
    return ["login", "--use-device-flow", *arguments]


def chat(
    engine: Engine,
    *,
    stream: bool = False,
    resume: str | None = None,
    agent: str | None = None,
    model: str | None = None,
    effort: str | None = None,
    trust: str = "all",
) -> list[str]:
    """Return the arguments of one turn whose prompt comes on standard input.

    >>> " ".join(chat(ENGINES["v2"], resume="5f3e"))
    'chat --no-interactive --agent-engine v2 --wrap never --trust-all-tools --resume-id 5f3e'
    """
    words = ["chat", "--no-interactive", "--agent-engine", engine.name]
    words += ["--output-format", "stream-json"] if stream else ["--wrap", "never"]
    words.append("--trust-all-tools" if trust == "all" else f"--trust-tools={_trusted(engine, trust)}")
    if resume is not None:
        words += ["--resume-id", resume] if engine.by_id else ["--resume"]  # the latest of this directory
    for flag, value in {"--agent": agent, "--model": model, "--effort": effort}.items():
        if value is not None:
            words += [flag, value]
    return words


def _trusted(engine: Engine, trust: str) -> str:
    if trust == "none":
        return ""
    names = trust.split(",")
    return ",".join(_V3_TOOLS.get(name, name) for name in names) if engine.name == "v3" else trust


def is_chat(words: Sequence[str]) -> bool:
    """Whether these arguments begin a conversation; kiro-cli without any does, too."""
    return not words or words[0] == "chat"


def typed(engine: Engine, words: Sequence[str]) -> list[str]:
    """Return these arguments; a chat that names no engine gets one.

    >>> typed(ENGINES["v2"], ["chat", "--agent", "reviewer"])
    ['chat', '--agent-engine', 'v2', '--agent', 'reviewer']
    >>> typed(ENGINES["v2"], ["chat", "--classic"])
    ['chat', '--classic']
    """
    named = any(word.partition("=")[0] in _NAMES_ENGINE for word in words)
    if named or not words or words[0] != "chat":
        return list(words)
    return ["chat", "--agent-engine", engine.name, *words[1:]]


def read_version(text: str) -> tuple[str, bool] | None:
    """Read a version line: (version, whether it is the stand-in), None without one.

    >>> read_version("kiro-cli 2.29.0")
    ('2.29.0', False)
    """
    line = _VERSION.search(text)
    return (line[1], STAND_IN in line[2]) if line else None


def check_prompt(prompt: object) -> bytes:
    """Return the prompt's bytes; `TypeError` or `ValueError` for what no CLI could be given.

    >>> check_prompt("hello")
    b'hello'
    """
    if not isinstance(prompt, str):
        raise TypeError(f"a prompt is a str, not {type(prompt).__name__}")
    if not prompt.strip():
        raise ValueError("the prompt is blank; Kiro would have nothing to do")
    if "\0" in prompt:
        raise ValueError(f"the prompt has a NUL character at position {prompt.index(chr(0))}; remove it")
    try:
        return prompt.encode()
    except UnicodeEncodeError as error:
        where = f"{prompt[error.start]!r} at position {error.start}"
        raise ValueError(f"the prompt has a lone surrogate, {where}, which no UTF-8 can carry") from None
