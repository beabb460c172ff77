"""`python -m pytest_kiro`: log in, look after sandboxes, try a prompt."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from pytest_kiro.commandline import complain
from pytest_kiro.errors import KiroError
from pytest_kiro.secrecy.redaction import Secrets
from pytest_kiro.settings.rows import TABLE

#: The settings that commands have, under the names that they have for pytest.
_LOGIN = ("sandbox", "cli", "cli_version", "snapshot", "login_args", "login_timeout", "open_browser", "setup_timeout")
_CHAT = (*_LOGIN, "login", "scenarios", "engine", "agent", "model", "effort", "trust", "timeout")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code: 0, 1 for what failed, 2 for a wrong command line."""
    options = _parser().parse_args(argv)
    try:
        code = _run(options)
        sys.stdout.flush()
    except KiroError as error:
        complain(Secrets.of(os.environ)(str(error)))
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read it has seen enough, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter's own flush complains
        return 1
    return code


def _run(options: argparse.Namespace) -> int:
    if options.command == "sandboxes":
        from pytest_kiro.commandline import sandboxes

        return sandboxes.run(options.delete)
    if options.command == "chat":
        from pytest_kiro.commandline import chat

        return chat.run(vars(options))
    from pytest_kiro.commandline import account

    if options.command == "login":
        return account.login(vars(options))
    return account.logout() if options.command == "logout" else account.whoami()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pytest_kiro", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    login = commands.add_parser(
        "login",
        help="log in by device and save the login, for pytest --kiro-login=saved",
        description="Logs in at this terminal, in a sandbox that is then deleted, and saves the login in a file that "
        "only you can read.",
    )
    commands.add_parser("logout", help="remove the saved login")
    commands.add_parser("whoami", help="say whose login is saved")
    chat = commands.add_parser(
        "chat",
        help="talk with Kiro in a sandbox, to try a prompt",
        description="A conversation in a sandbox that is deleted at the end (Ctrl-D, or Ctrl-C at any time).",
    )
    sandboxes = commands.add_parser(
        "sandboxes",
        help="list this project's sandboxes in Daytona, or delete them",
        description="Lists every sandbox that pytest-kiro made in the organisation of DAYTONA_API_KEY.",
    )
    sandboxes.add_argument(
        "--delete",
        nargs="*",
        metavar="ID",
        help="delete these, by id or name; without one: all of yours that are not kept, running evals included",
    )
    for row in TABLE:
        text = f"{row.help} (default: {row.shown_default}; {row.variable})".replace("%", "%%")
        for command, names in ((login, _LOGIN), (chat, _CHAT)):
            if row.name in names:
                command.add_argument(row.option, dest=row.name, default=None, help=text, **row.option_keywords)
    return parser


if __name__ == "__main__":
    sys.exit(main())
