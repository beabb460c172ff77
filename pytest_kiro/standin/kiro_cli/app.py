"""Which command was asked for, and the exit code that it ends with."""

from __future__ import annotations

import sys

from . import screen
from .failures import Failure, UsageError

VERSION = "2.29.0"

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
        screen.write(1, HELP.format(version=VERSION))
        return 0
    command, rest = argv[0], argv[1:]
    if command in ("-V", "--version", "version"):
        screen.write(1, f"kiro-cli {VERSION} (pytest-kiro stand-in)\n")
        return 0
    if command == "chat":
        from . import chat

        return chat.main(rest)
    if command == "login":
        from . import device

        return device.main(rest)
    if command in ("whoami", "logout"):
        from . import login

        return login.main(command, rest)
    kind = "unexpected argument" if command.startswith("-") else "unrecognized subcommand"
    raise UsageError(f"{kind} '{command}'" + (" found" if command.startswith("-") else ""))


def main(argv: list[str] | None = None) -> None:
    """Entry point of the folder and of the zipapp."""
    try:
        code = run(sys.argv[1:] if argv is None else argv)
    except UsageError as error:
        text = f"error: {error}\n\nUsage: {error.usage}\n\nFor more information, try '--help'.\n"
        screen.write(2, text)
        code = 2
    except Failure as failure:
        screen.write(2, f"{failure}\n")
        code = failure.code
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
