"""What a turn costs when its world is large: files, links, old sessions, a long conversation, a HOME of its own.

One table, with the targets; its last rows, of Daytona, are those of `turns_in_daytona.py`.
"""

from __future__ import annotations

import importlib.util
import json
import shlex
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench_kiro import bench_kiro, owner
from pairs import PAIRS, alternate, median_difference, median_ratio, table

from pytest_kiro import Kiro, Turn
from pytest_kiro.agent.bench import Owner
from pytest_kiro.kirocli import commands

FILES, LINKS, SESSIONS, TURNS = 20_000, 2_000, 5_000, 200
#: Seconds after which no turn looks at the contents of what was written before; the benchmark's turns are shorter.
_RECENT = 3
_PROMPT = "Say hello."
_MAKE_LINKS = f"import os\nfor i in range({LINKS}): os.symlink('target', f'link{{i}}')"
_MAKE_FILES = f"""import os
for i in range({FILES}):
    os.makedirs(f'd{{i // 200}}', exist_ok=True)
    with open(f'd{{i // 200}}/f{{i}}', 'w') as file: file.write(str(i))"""
_MAKE_SESSIONS = f"""import os, pathlib, uuid
folder = pathlib.Path(os.path.expanduser('~/.kiro/sessions/cli'))
folder.mkdir(parents=True, exist_ok=True)
for i in range({SESSIONS} // 2):
    name = uuid.uuid4()
    (folder / f'{{name}}.json').write_text('{{"session_id": "%s", "cwd": "/elsewhere"}}' % name)
    (folder / f'{{name}}.jsonl').write_text('{{"version": "v1"}}\\n')
    for end in ('json', 'jsonl'): os.utime(folder / f'{{name}}.{{end}}', (1_700_000_000, 1_700_000_000))"""


class Row(NamedTuple):
    """One line of the table."""

    what: str
    figure: str
    target: str
    met: bool


def under(milliseconds: float, target: float) -> tuple[str, str, bool]:
    """Return the cells of a figure in milliseconds that shall be below `target`."""
    return f"{milliseconds:.1f} ms", f"under {target:.0f} ms", milliseconds < target


def at_most(ratio: float, target: float) -> tuple[str, str, bool]:
    """Return the cells of a ratio that shall not be above `target`."""
    return f"{ratio:.2f} times", f"at most {target:.2f} times", ratio <= target


class Place(NamedTuple):
    """A Kiro, and how its evals are named."""

    kiro: Kiro
    owners: list[Owner]
    file: Path

    @contextmanager
    def eval(self, table: str = "hello") -> Iterator[None]:
        """Be one eval, from its first turn to the removal of what it has."""
        with owner(self.owners, self.file, table):
            yield

    def turn(self) -> float:
        """Return the seconds of one turn of the eval that is running."""
        return seconds(lambda: self.kiro.run(_PROMPT))

    def python(self, program: str) -> None:
        """Execute a program in the eval's workspace."""
        self.kiro.workspace.exec(f"python3 -c {shlex.quote(program)}").check()


def seconds(run: Callable[[], Turn]) -> float:
    """Time a turn, which must succeed."""
    started = time.perf_counter()
    turn = run()
    elapsed = time.perf_counter() - started
    assert turn.ok, turn
    assert not turn.warnings, turn.warnings
    return elapsed


@contextmanager
def place(**programs: str) -> Iterator[Place]:
    """Yield a Kiro: its eval `hello` answers at once, each other one executes a program of Python first."""
    scenario = '[[hello.turn]]\nrequests = [["Hello."]]\n' * TURNS
    for name, program in programs.items():
        command = json.dumps(f"python3 -c {shlex.quote(program)}")
        call = f'[{{ name = "shell", args = {{ command = {command} }} }}]'
        scenario += f'[[{name}.turn]]\nrequests = [{call}, ["Done."]]\n'
    with bench_kiro(scenario) as parts:
        yield Place(*parts)


@contextmanager
def by_subprocess(kiro: Kiro) -> Iterator[Callable[[], float]]:
    """Yield what times the same CLI with nothing around it."""
    with tempfile.TemporaryDirectory() as name:
        home, folder, replies = Path(name, "home"), Path(name, "folder"), Path(name, "replies.json")
        home.mkdir()
        folder.mkdir()
        replies.write_text(json.dumps([["Hello."]]))
        env = {"HOME": str(home), "PATH": kiro.path, "TERM": "xterm-256color", **commands.QUIET, **kiro.identity.env}
        words = [kiro.installation.path, *commands.chat(commands.ENGINES["v2"])]

        def run() -> float:
            started = time.perf_counter()
            subprocess.run(
                words,
                input=_PROMPT.encode(),
                capture_output=True,
                cwd=folder,
                env=env | {commands.REPLIES: str(replies)},
                check=True,
            )
            return time.perf_counter() - started

        yield run


def overhead() -> Row:
    """Each turn is an eval of its own, with all that it has made new."""
    with place() as there, by_subprocess(there.kiro) as plain:

        def turn() -> float:
            with there.eval():
                return there.turn()

        figures = alternate(turn, plain, 31)
    return Row("`kiro.run` over the same CLI by subprocess", *under(median_difference(*figures) * 1000, 40))


def many_files() -> Row:
    """The files are there before the first turn, and no turn touches one."""
    with place() as there, there.eval():
        there.python(_MAKE_FILES)
        there.turn()
        time.sleep(_RECENT)
        there.turn()
        figures = [there.turn() for _ in range(15)]
    return Row(
        f"a turn in a workspace of {FILES:,} files, nothing changed", *under(statistics.median(figures) * 1000, 150)
    )


def many_links() -> Row:
    """A turn that makes links, and one that makes them elsewhere: some file systems need a second for it."""
    elsewhere = f"import os, tempfile\nos.chdir(tempfile.mkdtemp())\n{_MAKE_LINKS}"
    with place(links=_MAKE_LINKS, elsewhere=elsewhere) as there:

        def turn(table: str) -> float:
            with there.eval(table):
                return there.turn()

        figures = alternate(lambda: turn("links"), lambda: turn("elsewhere"))
    milliseconds = median_difference(*figures) * 1000
    return Row(f"what {LINKS:,} symbolic links add to the turn that makes them", *under(milliseconds, 100))


def old_sessions() -> Sequence[Row]:
    """Those that the sandbox has, and those in the HOME of the eval itself; both kinds of turn in turn."""
    with place() as with_sessions, place() as without:
        with_sessions.kiro.sandbox.exec(f"python3 -c {shlex.quote(_MAKE_SESSIONS)}").check()

        def fresh(there: Place) -> float:
            with there.eval():
                return there.turn()

        figures = alternate(lambda: fresh(with_sessions), lambda: fresh(without))
    with place() as with_sessions, place() as without, with_sessions.eval(), without.eval():
        with_sessions.turn()
        with_sessions.python(_MAKE_SESSIONS)
        own = alternate(with_sessions.turn, without.turn)
    return (
        Row(f"{SESSIONS:,} old session files in the sandbox, over none", *at_most(median_ratio(*figures), 1.1)),
        Row("the same in the HOME of the test itself", *under(median_difference(*own) * 1000, 20)),
    )


def long_conversation() -> Row:
    """The last turns of a long conversation, each beside the first turn of another one."""
    with place() as long, place() as short, long.eval():
        for _ in range(TURNS - PAIRS - 1):
            long.turn()

        def first() -> float:
            with short.eval():
                return short.turn()

        figures = alternate(long.turn, first)
    return Row(f"the last of {TURNS} turns over the first", *at_most(median_ratio(*figures), 1.2))


def show(rows: Sequence[Row]) -> None:
    width = max(len(row.figure) for row in rows)
    table(
        "what a turn must reach",
        [(row.what, f"{row.figure:>{width}}  {row.target}{'' if row.met else '  MISSED'}") for row in rows],
    )


def main() -> None:
    rows = [overhead(), many_files(), many_links(), *old_sessions(), long_conversation()]
    if importlib.util.find_spec("turns_in_daytona"):
        rows += importlib.import_module("turns_in_daytona").rows()
    show(rows)


if __name__ == "__main__":
    main()
