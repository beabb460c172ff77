"""Runs the requested command, and ends with its exit code."""

from __future__ import annotations

import os
import sys

from . import out
from .failures import Failure, UsageError
from .places import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


HELP = """\
kiro-cli {version} (pytest-kiro stand-in)

Usage: kiro-cli [OPTIONS] <COMMAND>

Commands:
  chat    Talk with scripted replies (chat --help)
  login   Log in by the device flow (login --help)
  logout  Forget the stored login
  whoami  Say who is logged in

Options:
  -V, --version  Print version
  -h, --help     Print help
"""


def run(argv: list[str]) -> int:
    """Run one command line and return its exit code."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        out.write(1, HELP.format(version=VERSION))
        return 0
    command, rest = argv[0], argv[1:]
    if command in ("-V", "--version", "version"):
        out.write(1, f"kiro-cli {VERSION} (pytest-kiro stand-in)\n")
        return 0
    if command == "chat":
        return _chat(rest)
    if command == "login":
        from . import device

        return device.main(rest)
    if command in ("whoami", "logout"):
        from . import login

        return login.main(command, rest)
    kind = "unexpected argument" if command.startswith("-") else "unrecognized subcommand"
    raise UsageError(f"{kind} '{command}'" + (" found" if command.startswith("-") else ""))


def _chat(argv: list[str]) -> int:
    """Run `chat`: a report, a chat in the terminal, or one turn."""
    from . import args, chat

    options = args.parse(argv)
    if options.help:
        out.write(1, args.HELP)
        return 0
    if options.list_models:
        from . import models

        out.write(1, models.listing(options.format))
        return 0
    if options.list_sessions:
        out.write(2, chat.store_of(options.engine).listing())
        return 0
    if options.delete_session is not None:
        chat.store_of(options.engine).delete(options.delete_session)
        out.write(2, f"Deleted session {options.delete_session}\n")
        return 0
    streams = options.output_format == "stream-json"
    if streams and options.engine == "v1":
        from . import stream

        stream.error(None, "engine", stream.NOT_ON_V1)
        return 1
    kinds: dict[str, Any] = {}
    if os.environ.get("KIRO_STANDIN_MISBEHAVE"):
        from . import misbehave

        kinds = misbehave.load()
    if options.no_interactive or streams:
        return chat.main(options, kinds)
    from . import interactive

    return interactive.main(options, kinds)


def main(argv: list[str] | None = None) -> None:
    """Entry point of the folder and of the zipapp."""
    try:
        code = run(sys.argv[1:] if argv is None else argv)
    except UsageError as error:
        text = f"error: {error}\n\nUsage: {error.usage}\n\nFor more information, try '--help'.\n"
        out.write(2, text)
        code = 2
    except Failure as failure:
        out.write(2, f"{failure}\n")
        code = failure.code
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
