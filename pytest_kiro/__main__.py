"""`python -m pytest_kiro`: begin, log in, look after sandboxes, try a prompt, compare results, reuse recordings."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_kiro.commandline import complain
from pytest_kiro.errors import KiroError
from pytest_kiro.secrecy.redaction import Secrets
from pytest_kiro.settings.rows import TABLE

#: The settings that commands have, under the names that they have for pytest.
_LOGIN = ("sandbox", "cli", "cli_version", "snapshot", "login_args", "login_timeout", "open_browser", "setup_timeout")
_CHAT = (*_LOGIN, "login", "scenarios", "engine", "agent", "model", "effort", "trust", "timeout")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code: 0, 1 for what failed, 2 for a wrong command line."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.command == "login" and options.yes and not options.from_this_machine:
        parser.error("--yes agrees to --from-this-machine, which is not here")
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
    if options.command == "init":
        from pytest_kiro.commandline import init

        return init.run(Path.cwd())
    if options.command == "sandboxes":
        from pytest_kiro.commandline import sandboxes

        return sandboxes.run(options.delete)
    if options.command == "chat":
        from pytest_kiro.commandline import chat

        return chat.run(vars(options))
    if options.command == "compare":
        from pytest_kiro.commandline import results

        files = Path(options.before), Path(options.after)
        return results.compare(*files, strict=options.strict, undecided=options.undecided, full=options.verbose)
    if options.command == "merge":
        from pytest_kiro.commandline import results

        parts = [Path(file) for file in (options.first, *options.others)]
        return results.merge_files(parts, Path(options.output), sequential=options.sequential, strict=options.strict)
    if options.command == "report":
        return _report([Path(source) for source in options.sources], Path(options.output), options.baseline)
    if options.command == "scenario":
        from pytest_kiro.commandline import say
        from pytest_kiro.recording.reading import recordings_in
        from pytest_kiro.recording.scenario import scenario

        say(scenario(list(recordings_in(list(map(Path, options.recordings))))), end="")
        return 0
    if options.command == "export":
        from pytest_kiro.commandline.exporting import export

        return export(Path(options.results), options.format, Path(options.output) if options.output else None)
    from pytest_kiro.commandline import account

    if options.command == "login":
        if options.from_this_machine:
            return account.copy(vars(options), agreed=options.yes)
        return account.login(vars(options))
    return account.logout() if options.command == "logout" else account.whoami()


def _report(sources: Sequence[Path], output: Path, baseline: str | None) -> int:
    from pytest_kiro.commandline import pages
    from pytest_kiro.recording.pages import run_of
    from pytest_kiro.recording.places import RECORDING
    from pytest_kiro.recording.reading import recordings_in

    if any(path.name == RECORDING or next(path.rglob(RECORDING), None) for path in sources):
        return pages.write(*run_of(recordings_in(sources)), output, baseline)
    return pages.write(*pages.read(sources), output, baseline)


class _Version(argparse.Action):
    """Prints versions: ours, pytest's, Python's, and those of kiro-cli whose sessions can be read."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        from pytest_kiro.commandline import say
        from pytest_kiro.kirocli.commands import KNOWN_VERSIONS

        here = ", ".join([*(f"{name} {version(name)}" for name in ("pytest-kiro", "pytest")), _python()])
        say(f"{here}; knows the sessions of kiro-cli {KNOWN_VERSIONS}")
        parser.exit()


def _python() -> str:
    return f"Python {'.'.join(map(str, sys.version_info[:3]))}"


def _parser() -> argparse.ArgumentParser:
    name = Path(sys.argv[0]).name
    prog = name if name == "pytest-kiro" else "python -m pytest_kiro"
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the versions of what is here")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser(
        "init",
        help="write a first eval here, and what goes with it",
        description="Writes evals/test_first.py with its scenario and conftest, pytest's table and a workflow for "
        "GitHub. What is there stays as it is.",
    )
    login = commands.add_parser(
        "login",
        help="log in by device and save the login, for pytest --kiro-login=saved",
        description="Logs in at this terminal, in a sandbox that is then deleted, and saves the login in a file that "
        "only you can read.",
    )
    login.add_argument(
        "--from-this-machine",
        action="store_true",
        help="copy what kiro-cli login has stored on this machine, instead of logging in; you are asked first",
    )
    login.add_argument("--yes", action="store_true", help="agree to that beforehand")
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
    compare = commands.add_parser(
        "compare",
        help="compare the results files of two runs",
        description="Compares the tests that both have, and runs nothing. Exit code: 0 the same or better, 1 worse, 2 "
        "they cannot be compared, 3 undecided if --undecided asks for it.",
    )
    compare.add_argument("before", metavar="BEFORE.json", help="what --kiro-results wrote, the baseline")
    compare.add_argument("after", metavar="AFTER.json", help="what it wrote later")
    compare.add_argument("--strict", action="store_true", help="refuse runs in which not all else was the same")
    compare.add_argument("--undecided", action="store_true", help="exit with 3 where the trials do not tell")
    compare.add_argument("-v", "--verbose", action="store_true", help="name every test and the exact p")
    merge = commands.add_parser(
        "merge",
        help="merge the results files of several runs",
        description="For the shards of one suite, and to add trials to those of an earlier run. Tests and trials that "
        "two files have become trials of one group; verdicts and comparisons are computed anew. Exit code: 0, or 2 if "
        "they cannot be merged.",
    )
    merge.add_argument("first", metavar="A.json", help="what --kiro-results wrote")
    merge.add_argument("others", metavar="B.json", nargs="+", help="what it wrote in other runs, later ones last")
    merge.add_argument("-o", "--output", metavar="C.json", required=True, help="the file to write")
    merge.add_argument(
        "--sequential",
        action="store_true",
        help="the later trials were run because of what the earlier ones had shown: then intervals are wider",
    )
    report = commands.add_parser(
        "report",
        help="make an HTML page of results, artifacts or recordings",
        description="Makes the page that --kiro-report makes, later. Several results files are merged. What artifacts "
        "still lie where results say is shown too. Needs the extra pytest-kiro[report].",
    )
    report.add_argument(
        "sources",
        metavar="RESULTS.json|DIR",
        nargs="+",
        help="what --kiro-results wrote, or a folder of --kiro-artifacts or of recordings",
    )
    report.add_argument("-o", "--output", metavar="FILE.html", required=True, help="the file to write")
    report.add_argument("--baseline", metavar="BEFORE.json", help="the results of an earlier run, to compare with")
    scenario = commands.add_parser(
        "scenario",
        help="print recordings as a scenario of the stand-in",
        description="Prints recorded turns as a scenario file: texts, tool calls in order, exit codes. What no write "
        "call explains is written by calls that are said to be added, so that the stand-in leaves the same files.",
    )
    scenario.add_argument(
        "recordings", metavar="RECORDING", nargs="+", help="a folder that --kiro-record has written, or one above such"
    )
    merge.add_argument("--strict", action="store_true", help="refuse runs in which not all else was the same")
    export = commands.add_parser(
        "export",
        help="write what a run has kept in another tool's format",
        description="Of a results file, or of a folder of artifacts, which has the turns in full. atif: for each "
        "conversation a trajectory (ATIF 1.7, of Harbor); otel: OpenTelemetry traces with gen_ai attributes (OTLP's "
        "JSON, semantic conventions 1.41.0); jsonl: a line for each turn, for notebooks.",
    )
    export.add_argument("results", metavar="RESULTS", help="a file of --kiro-results, or a folder of --kiro-artifacts")
    export.add_argument("--format", required=True, choices=("atif", "otel", "jsonl"))
    export.add_argument("-o", "--output", metavar="PATH", help="the folder (atif) or file to write (default: stdout)")
    for row in TABLE:
        text = f"{row.help} (default: {row.shown_default}; {row.variable})".replace("%", "%%")
        for command, names in ((login, _LOGIN), (chat, _CHAT)):
            if row.name in names:
                keywords = {**row.option_keywords, **({"action": "store"} if row.several else {})}
                command.add_argument(row.option, dest=row.name, default=None, help=text, **keywords)
    return parser


if __name__ == "__main__":
    sys.exit(main())
