"""While turns are under way, a terminal shows it below what pytest writes; elsewhere a line says it of long ones."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator

import pexpect
import pyte
import pytest
from eval_runs import DEADLINE, QUIET, Evals, shell, turn, write

WAITS = """
    from pytest_kiro.plugin import WAITS
    from pytest_kiro.settings.waits import Waits

    def pytest_configure(config):
        config.stash[WAITS] = Waits(status_after=0.0, status_tick=0.02, long_turn=({first}, {again}))
"""
SOURCE = """
    import logging

    def test_first(): pass
    def test_donut(kiro):
        logging.getLogger("theirs").warning("before the turn")
        assert kiro.run("Draw.").ok
    def test_last(): pass
"""


LIVE = """\
{asks}test_donut asks: Draw. …{off}
Now.
{tool}[tool] Creating a.py{off}
{tool}[tool] status: Completed{off}
{tool}[tool] Running: python3 a.py; exit 3{off}
{tool}[tool] status: Completed{off}
Done. [tool] said Kiro
[toolbox]
{aside}  write   a.py{off}
{bad}  shell   python3 a.py; exit 3  → exit 3{off}
{aside}    (2 lines before){off}
{aside}    | 3{off}
{aside}    | 4{off}
{aside}    | 5{off}
{aside}    | 6{off}
{good}test_donut: turn 1 completed in N s, 2 tool calls{off}
"""
COLOURS = {"asks": "\x1b[1;36m", "tool": "\x1b[33m", "aside": "\x1b[2m", "bad": "\x1b[31m", "good": "\x1b[32m"}


class Terminal:
    """pytest on a terminal, of which a screen shows what people see."""

    def __init__(self, evals: Evals, columns: int, *args: str, rows: int = 24, **more: str) -> None:
        env = {
            name: value
            for name, value in os.environ.items()
            if name not in ("COLUMNS", "LINES", "PY_COLORS", "NO_COLOR")
        }
        env |= {"TERM": "xterm-256color", **more}
        self._child = evals.start("-p", "no:terminalprogress", *args, size=(columns, rows), env=env)
        self._screen = pyte.HistoryScreen(columns, rows, history=1000)
        self._stream = pyte.Stream(self._screen)
        self.raw = ""

    @property
    def lines(self) -> list[str]:
        """What stands on the screen, and what has left it."""
        top = ["".join(line[at].data for at in range(self._screen.columns)) for line in self._screen.history.top]
        return [line.rstrip() for line in [*top, *self._screen.display] if line.strip()]

    @property
    def cursor(self) -> str:
        """What stands before the cursor on its line."""
        return self._screen.display[self._screen.cursor.y][: self._screen.cursor.x]

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, self.lines
            self._read()

    def ends(self) -> int | None:
        while self._read():
            pass
        self._child.close()
        return self._child.exitstatus

    def interrupt(self) -> None:
        self._child.sendintr()

    def _read(self) -> bool:
        try:
            data = self._child.read_nonblocking(65536, timeout=1)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += data
        self._stream.feed(data)
        return True


@pytest.fixture
def donut(evals: Evals) -> Iterator[Evals]:
    """An eval whose turn waits for a file."""
    wait = f"until [ -e {evals.tmp}/go ]; do sleep 0.02; done"
    story = turn(["Now.", write("wait.sh", wait)], [shell("sh wait.sh")], ["Done."])
    evals.write("test_it.py", SOURCE, {"test_donut": [story]})
    evals.write("conftest.py", WAITS.format(first=3600, again=3600))
    yield evals
    (evals.tmp / "go").touch()


def plain(lines: list[str]) -> list[str]:
    return [re.sub(r"\b\d+(?:\.\d+)? s\b", "N s", line) for line in lines]


SHOWN = "test_donut · turn 1 · N s · 2 calls · running sh wait.sh"
#: By pytest's own options and a width: what stands before the cursor, and below it.
PLACES = {
    "80": ((), 80, "test_it.py .", SHOWN),
    "120": ((), 120, "test_it.py .", SHOWN),
    "40": ((), 40, "test_it.py .", "test_donut · turn 1 · N s · 2 calls · …"),
    "v": (("-v",), 80, "test_it.py::test_donut ", SHOWN),
    "q": (("-q",), 80, ".", SHOWN),
    "sys": (("--capture=sys",), 80, "test_it.py .", SHOWN),
    "low": (("--color=no", "-q"), 80, ".", SHOWN),
    "log": (("--log-cli-level=WARNING",), 80, "", SHOWN),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_line_below_the_cursor_goes_away(donut: Evals, place: str) -> None:
    args, columns, before, shown = PLACES[place]
    rows = 6 if place == "low" else 24
    terminal = Terminal(donut, columns, *args, rows=rows)
    terminal.until(lambda: any("2 calls" in line for line in terminal.lines))
    assert plain(terminal.lines)[-1] == shown
    assert terminal.cursor == before, terminal.lines
    (donut.tmp / "go").touch()
    assert terminal.ends() == 0
    left = plain(terminal.lines)
    assert [line for line in left if "·" in line] == []
    wanted = {"v": r"test_it.py::test_donut PASSED +\[ 66%\]", "q": r"\.\.\. +\[100%\]", "low": r"\.\.\. +\[100%\]"}
    dots = wanted.get(place, r"test_it.py \.\.\. +\[100%\]")
    if place == "log":
        assert any("WARNING  theirs:test_it.py" in line and "before the turn" in line for line in left)
        dots = r"PASSED +\[ 66%\]"
    assert [line for line in left if re.fullmatch(dots, line)], left
    assert "kiro: 1 turn, 1 completed" in left


IN_A_TURN = """
    import logging, pathlib, time

    def wait_for(name):
        while not pathlib.Path("TMP", name).exists():
            time.sleep(0.02)

    def test_donut(kiro):
        logging.getLogger("theirs").warning("before")  # so that no title is written in the turn
        with kiro.stream("Draw.") as live:
            for chunk in live:
                if "sh wait.sh" in live.output:
                    break_in()
                    break
            live.finish()
        pathlib.Path("TMP", "over").touch()
        wait_for("end")

    def break_in():
        wait_for("seen")
        for word in ("one", "two", "three"):
            logging.getLogger("theirs").warning(word)
        pathlib.Path("TMP", "logged").touch()
"""


def test_what_pytest_writes_in_a_turn_stands_alone(donut: Evals) -> None:
    donut.write("test_it.py", IN_A_TURN.replace("TMP", str(donut.tmp)))
    terminal = Terminal(donut, 100, "--log-cli-level=WARNING", "--log-cli-format=%(message)s")
    terminal.until(lambda: any("running sh wait.sh" in line for line in terminal.lines))
    (donut.tmp / "seen").touch()
    terminal.until((donut.tmp / "logged").exists)
    terminal.until(lambda: "three" in terminal.lines and "running" in terminal.lines[-1])
    at = terminal.lines.index("one")
    assert terminal.lines[at : at + 3] == ["one", "two", "three"]
    (donut.tmp / "go").touch()
    terminal.until((donut.tmp / "over").exists)
    terminal.until(lambda: not any("·" in line for line in terminal.lines))  # as soon as the turn is over
    (donut.tmp / "end").touch()
    assert terminal.ends() == 0


def test_what_is_broken_off_is_not_shown_any_more(donut: Evals) -> None:
    terminal = Terminal(donut, 80)
    terminal.until(lambda: any("running" in line for line in terminal.lines))
    terminal.interrupt()
    assert terminal.ends() == 2
    assert [line for line in terminal.lines if "·" in line] == []
    assert "!!! KeyboardInterrupt !!!" in "\n".join(terminal.lines)


def test_turns_of_workers_are_one_line_of_the_controllers(donut: Evals) -> None:
    scenario = donut.path / "scenarios" / "test_it.toml"
    told = scenario.read_text()
    scenario.write_text(told + told.replace('"test_donut"', '"test_other"'))
    source = (donut.path / "test_it.py").read_text()
    (donut.path / "test_it.py").write_text(f"{source}\ndef test_other(kiro): assert kiro.run('Draw.').ok\n")
    terminal = Terminal(donut, 120, "-n2", "-k", "donut or other")
    terminal.until(lambda: any(line.count("running sh wait.sh") == 2 for line in terminal.lines))
    line = plain(terminal.lines)[-1]
    assert re.fullmatch(r"2 turns(?: · test_(?:donut|other) N s, running sh wait\.sh){2}", line), line
    (donut.tmp / "go").touch()
    assert terminal.ends() == 0
    assert [line for line in terminal.lines if "·" in line] == []
    assert [line for line in terminal.lines if re.fullmatch(r"\.\. +\[100%\]", line)], terminal.lines


def test_elsewhere_a_line_says_that_a_turn_lasts(donut: Evals) -> None:
    donut.write("conftest.py", WAITS.format(first=0.0, again=0.05))
    said = r"kiro: test_donut, turn 1, \d+ s(?:, \d calls?)?(?:, (?:running sh wait\.sh|writing wait\.sh))?"
    for args in ((), ("-n1",)):
        (donut.tmp / "go").unlink(missing_ok=True)
        ours, theirs = os.pipe()
        with open(theirs, "w") as both:
            process = donut.pytester.popen([sys.executable, "-mpytest", *QUIET, *args], stdout=both, stderr=both)
        seen = []
        with open(ours) as lines:
            for line in lines:
                seen.append(line.rstrip("\n"))
                if sum("kiro: test_donut, turn 1" in one for one in seen) == 2:
                    (donut.tmp / "go").touch()
        assert process.wait(DEADLINE) == 0, seen
        told = [line.removeprefix("[gw0] ") for line in seen if "kiro: test_donut" in line]
        assert len(told) >= 2
        assert all(re.fullmatch(said, line) for line in told), told
        assert "\x1b" not in "".join(seen)


@pytest.mark.parametrize("args", [("-s",), ("--kiro-stream=on",)], ids=" ".join)
def test_where_all_is_shown_live_there_is_no_such_line(donut: Evals, args: tuple[str, ...]) -> None:
    donut.write("conftest.py", WAITS.format(first=0.0, again=0.05))
    (donut.tmp / "go").touch()
    terminal = Terminal(donut, 80, *args)
    assert terminal.ends() == 0
    assert [line for line in terminal.lines if "·" in line or "kiro: test_donut" in line] == []


LIVE_TURN = turn(
    ["Now.", write("a.py", "print(*range(1, 7), sep='\\n')")],
    [shell("python3 a.py; exit 3")],
    ["Done. [tool] said Kiro\n[toolbox]"],
    misbehave={"slow": 0.001},
)


@pytest.fixture
def told(evals: Evals) -> Evals:
    """An eval whose turn says and does several things."""
    evals.write("test_it.py", "def test_donut(kiro): kiro.run('Draw.\\nNicely.')", {"test_donut": [LIVE_TURN]})
    return evals


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}], ids=["colours", "NO_COLOR"])
def test_live_output_tells_apart_who_speaks(told: Evals, environment: dict[str, str]) -> None:
    terminal = Terminal(told, 120, "-s", "-q", **environment)
    assert terminal.ends() == 0
    text = plain([terminal.raw.replace("\r\n", "\n")])[0]
    colours = dict.fromkeys(COLOURS, "") if environment else COLOURS
    wanted = LIVE.format(**colours, off="" if environment else "\x1b[0m")
    shown = "\n".join(filter(None, text.split("\n")))
    assert wanted in shown, shown


def test_live_output_of_a_worker_has_no_colours(told: Evals) -> None:
    result = told.process("-n1", "--kiro-stream=on")
    assert "[test_donut]   shell   python3 a.py; exit 3  → exit 3" in result.errlines
    assert "\x1b" not in result.stderr.str()
