"""Parses the flags of `kiro-cli chat`, by hand: argparse alone costs more than a turn."""

from __future__ import annotations

from .failures import UsageError

USAGE = "kiro-cli chat [OPTIONS] [INPUT]"

HELP = """\
Talk with scripted replies (KIRO_MOCK_CHAT_RESPONSE), in a terminal or one turn

Usage: kiro-cli chat [OPTIONS] [INPUT]

Options:
      --no-interactive           One turn, then exit; else a chat in the terminal
      --agent-engine <ENGINE>    v1, v2 (default), v3; also --classic, --v2, --v3
  -a, --trust-all-tools          Approve every tool
      --trust-tools <NAMES>      Approve only these, separated by commas
      --agent <NAME>             Custom agent
      --model <ID>               Model, see --list-models
      --effort <LEVEL>           low, medium, high, xhigh, max
  -w, --wrap <WHEN>              always, never, auto
  -r, --resume                   Continue the newest session of this directory
      --resume-id <ID>           Continue exactly this session
  -l, --list-sessions            List the sessions of this directory
  -d, --delete-session <ID>      Delete a session
      --list-models              List the models
  -f, --format <FORMAT>          plain, json, json-pretty
      --require-mcp-startup      Fail if an MCP server does not start
      --output-format <FORMAT>   text, stream-json (v2 and v3)
  -v...                          More log output
  -h, --help                     Print help
"""

_SWITCHES = {
    "--no-interactive": "no_interactive",
    "--non-interactive": "no_interactive",
    "--trust-all-tools": "trust_all",
    "-a": "trust_all",
    "--resume": "resume",
    "-r": "resume",
    "--list-sessions": "list_sessions",
    "-l": "list_sessions",
    "--list-models": "list_models",
    "--require-mcp-startup": "require_mcp",
    "--verbose": "verbose",
    "-v": "verbose",
    "--help": "help",
    "-h": "help",
}
_ENGINES = {"--v2": "v2", "--v3": "v3", "--classic": "v1", "--legacy-ui": "v1"}
_VALUES = {
    "--agent-engine": ("engine", "ENGINE", ("v1", "v2", "v3")),
    "--trust-tools": ("trust", "TOOL_NAMES", ()),
    "--agent": ("agent", "AGENT", ()),
    "--model": ("model", "MODEL", ()),
    "--effort": ("effort", "EFFORT", ("low", "medium", "high", "xhigh", "max")),
    "--wrap": ("wrap", "WRAP", ("always", "never", "auto")),
    "-w": ("wrap", "WRAP", ("always", "never", "auto")),
    "--resume-id": ("resume_id", "SESSION_ID", ()),
    "--delete-session": ("delete_session", "SESSION_ID", ()),
    "-d": ("delete_session", "SESSION_ID", ()),
    "--format": ("format", "FORMAT", ("plain", "json", "json-pretty")),
    "-f": ("format", "FORMAT", ("plain", "json", "json-pretty")),
    "--output-format": ("output_format", "OUTPUT_FORMAT", ("text", "stream-json")),
}


class Options:
    """The options of the command line."""

    no_interactive = trust_all = resume = list_sessions = list_models = require_mcp = verbose = help = False
    engine = "v2"
    trust: str | None = None
    agent: str | None = None
    model: str | None = None
    effort: str | None = None
    wrap = "auto"
    resume_id: str | None = None
    delete_session: str | None = None
    format = "plain"
    output_format = "text"
    prompt: str | None = None


def parse(argv: list[str]) -> Options:
    """Read the arguments after `chat`, as clap would."""
    options = Options()
    rest = list(argv)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            _positional(options, rest.pop(0) if rest else None)
            if rest:
                raise UsageError(f"unexpected argument '{rest[0]}' found", USAGE)
        elif argument in _SWITCHES:
            setattr(options, _SWITCHES[argument], True)
        elif argument in _ENGINES:
            options.engine = _ENGINES[argument]
        elif argument.startswith("-v") and not argument.strip("-v"):
            options.verbose = True
        elif argument.partition("=")[0] in _VALUES:
            _value(options, argument, rest)
        elif argument.startswith("-") and argument != "-":
            raise UsageError(f"unexpected argument '{argument.partition('=')[0]}' found", USAGE)
        else:
            _positional(options, argument)
    return options


def _positional(options: Options, argument: str | None) -> None:
    if options.prompt is not None and argument is not None:
        raise UsageError(f"unexpected argument '{argument}' found", USAGE)
    options.prompt = argument if argument is not None else options.prompt


def _value(options: Options, argument: str, rest: list[str]) -> None:
    name, equals, value = argument.partition("=")
    attribute, shown, choices = _VALUES[name]
    if not equals:
        if not rest:
            what = f"a value is required for '{name} <{shown}>' but none was supplied"
            raise UsageError(what, USAGE)
        value = rest.pop(0)
    if choices and value not in choices:
        known = ", ".join(choices)
        what = f"invalid value '{value}' for '{name} <{shown}>'\n  [possible values: {known}]"
        raise UsageError(what, USAGE)
    setattr(options, attribute, value)
