"""Evals that plant secrets wherever something is written; and what looks for them in all that a run left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from eval_runs import Evals, program, shell, stand_in, turn

#: Not of one piece here either, since tests show their own source.
KEY, DAYTONA = "ksk_" + "c4n4ry0f7h3k1r0k3y", 'dtn_"' + "c4n4ry0f\\d4yt0n4"
HOOK, LATE = "pw/c4n4ry" + "-of-the+hook", "WDJB-" + "C4N4RYL8"
ALL = (KEY, DAYTONA, HOOK, LATE)
NAMES = ("[KIRO_API_KEY]", "[DAYTONA_API_KEY]", "[secret]", "[device code]")

CONFTEST = """
    import os
    import pytest
    from _pytest._code.code import TerminalRepr
    from pytest_kiro.plugin.state import STATE

    def pytest_kiro_secrets(config):
        return [os.environ["HOOK"], os.environ.get("NOT_SET", "")]

    class Own(TerminalRepr):
        def __init__(self, text):
            self.inner = {"lines": iter([text]), "text": text}
        def toterminal(self, writer):
            writer.line(self.inner["text"])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(item, call):
        report = yield
        if item.name != "test_xpasses":  # whose reason pytest puts there later, before it is logged
            with open("failures.txt", "a") as file:
                file.write(report.longreprtext)
        if item.name == "test_own" and report.when == "call":
            item.config.stash[STATE].secrets.add(os.environ["LATE"], "device code")
            report.longrepr = Own("own " + os.environ["LATE"])
            report.sections.append(("late", "late " + os.environ["LATE"]))
        return report

    @pytest.fixture
    def late(pytestconfig):
        def late():
            pytestconfig.stash[STATE].secrets.add(os.environ["LATE"], "device code")
            return os.environ["LATE"]
        return late

    @pytest.fixture
    def broken():
        at_hand = os.environ["KIRO_API_KEY"]
        raise ValueError("in a fixture " + at_hand)

    @pytest.fixture
    def broken_at_the_end():
        yield
        raise ValueError("at the end " + os.environ["DAYTONA_API_KEY"])
"""
EVALS = """
    import json, logging, os, sys, unittest, warnings
    import pytest

    KEY, DAYTONA, HOOK = (os.environ[name] for name in ("KIRO_API_KEY", "DAYTONA_API_KEY", "HOOK"))

    def hidden(*values):
        return not any(one in value for value in values for one in (KEY, DAYTONA, HOOK, os.environ["LATE"]))

    def test_turn(kiro, late):
        late()
        with kiro.stream(f"Say {HOOK}.") as live:
            chunks = list(live)
            assert hidden("".join(chunks), live.output, live.raw.decode(), live.recent, repr(live.events))
            assert hidden("".join(event.text for event in live.events))
            assert live.expect(r"\\[KIRO_API_KEY\\], \\[DAYTONA_API_KEY\\], \\[secret\\], \\[device code\\]")
        turn = live.turn
        assert "".join(chunks) == turn.output
        assert "[KIRO_API_KEY], [DAYTONA_API_KEY], [secret], [device code]." in turn.text
        (call,) = turn.tool_calls
        assert call.input["command"] == "echo [KIRO_API_KEY]; echo [secret] >&2"
        assert sorted(call.output.split()) == ["[KIRO_API_KEY]", "[secret]"]
        assert turn.prompt == "Say [secret]."
        assert hidden(turn.output, turn.raw.decode(), turn.diagnostics, repr(turn), repr(turn.tool_calls), turn.detail)
        if kiro.streams:
            assert turn.diagnostics == "the key is [KIRO_API_KEY]\\nin colours [KIRO_API_KEY]\\n"
        else:
            assert "the key is [KIRO_API_KEY]\\nin colours [KIRO_API_KEY]\\n" in turn.output
        assert hidden(*turn.messages, *turn.warnings)
        assert turn.text == "none of it", KEY

    def test_fails(kiro):
        kiro.run(f"Say {KEY}.")

    def test_condition(kiro):
        def until(live): return "It is [KIRO_API_KEY]" in live.output
        until.__name__ += " " + HOOK
        assert kiro.run("Again.", stop_when=until).detail.startswith("until [secret] stopped it")
        kiro.workspace.exec(f"echo '{HOOK}'; exit 3").check()

    def test_expects(kiro):
        with kiro.stream("More.") as live:
            live.expect(HOOK)

    def test_diff(kiro):
        kiro.run("Write.")
        assert not kiro.workspace.changes()

    def test_assert():
        assert f"left {KEY} it's" == f"right {DAYTONA} {HOOK}"

    def test_cut():
        many = {"A": "x" * 90, "B": KEY, "C": "y" * 130, "D": KEY}
        assert many == {}

    def test_cut_in_two():
        values = [" " * size + KEY + " " * 300 for size in range(100, 120)]
        more = [" " * 300 + KEY + " " * size for size in range(100, 120)]
        for one, other in zip(values, more):
            assert one == 3 or (other == 3) or one == other, DAYTONA

    def test_raises():
        try:
            raise RuntimeError(HOOK)
        except RuntimeError as error:
            raise ValueError(KEY, {"daytona": DAYTONA}) from error

    def test_group():
        raise ExceptionGroup("several " + KEY, [ValueError(DAYTONA), KeyError(HOOK)])

    def test_fixture(broken): pass

    def test_teardown(broken_at_the_end): pass

    def test_skips(): pytest.skip(f"because of {KEY}")

    def test_xfails(): pytest.xfail(f"because of {HOOK}")

    @pytest.mark.xfail(reason=f"strictly {KEY}", strict=True)
    def test_xpasses(): pass

    def test_fails_plainly(): pytest.fail(f"plainly {KEY}", pytrace=False)

    @pytest.mark.parametrize("value", [KEY], ids=["one"])
    def test_parameter(value): assert not value

    def test_subtests(request):
        if pytest.version_tuple >= (9,):
            with request.getfixturevalue("subtests").test(f"with {KEY}", value=HOOK):
                assert not DAYTONA

    def test_own(): raise ValueError

    def test_prints(late):
        logging.getLogger("eval").warning("logged %s", HOOK)
        print("printed", KEY, json.dumps(DAYTONA), repr(DAYTONA))
        os.write(1, KEY.encode() + b"\\n")
        os.write(2, DAYTONA.encode() + b"\\n")
        print(late(), file=sys.stderr)

    def test_prints_and_fails():
        test_prints(lambda: "nothing")
        raise AssertionError

    def test_properties(record_property, record_testsuite_property):
        record_property("key", KEY)
        record_testsuite_property("daytona", DAYTONA)

    def test_warns(late):
        warnings.warn("beware of " + KEY + " and " + DAYTONA + late())

    class TestUnit(unittest.TestCase):
        def test_unit(self): self.assertEqual(KEY, HOOK)
"""


def plant(evals: Evals, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write evals, and have the environment and the scenarios full of secrets."""
    home = evals.tmp / "home"
    home.mkdir()
    names = ("KIRO_API_KEY", "DAYTONA_API_KEY", "HOOK", "LATE", "HOME")
    for name, value in zip(names, (*ALL, str(home)), strict=True):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # where a test has a secret in its source, it is there as well
    said = turn(
        [f"Working with {KEY} ", shell(f"echo {KEY}; echo {HOOK} >&2")],
        [f"All: {KEY}, {DAYTONA}, {HOOK}, {LATE}."],
        misbehave={"slow": 0.001},
    )
    evals.write("conftest.py", CONFTEST)
    wrote = {"name": "write", "args": {"command": "create", "path": "key.txt", "content": f"{KEY}\n{HOOK}\n"}}
    tables = {
        "test_turn": [said],
        "test_fails": [turn([f"I fail: {DAYTONA}"], misbehave="crash")],
        "test_condition": [turn([f"It is {KEY} ", shell("sleep 100")], ["x"])],
        "test_expects": [f"No, {KEY} and not {DAYTONA}"],
        "test_diff": [turn([wrote], ["Done."])],
    }
    evals.write("test_it.py", EVALS, tables)
    evals.write("test_broken.py", "import os\nraise ValueError('broken ' + os.environ['KIRO_API_KEY'])")
    colours = 'printf \'%s\\033[1m%s\\033[0m\\n\' "in colours ${KIRO_API_KEY%0f7*}" "${KIRO_API_KEY#ksk_c4n4ry}" >&2'
    noise = f'case "$1" in chat) echo "the key is $KIRO_API_KEY" >&2; {colours};; esac'
    program(evals, stand_in(noise))


def leaks(evals: Evals, printed: str, planted: Sequence[Path]) -> Iterator[str]:
    """Yield what is left of secrets: on screen, and in all files but those that were planted."""
    files = {file: file.read_bytes() for top in (evals.path, evals.tmp) for file in top.rglob("*") if file.is_file()}
    places = {str(file): data for file, data in files.items() if file not in planted}
    for place, data in {"screen": printed.encode(), **places}.items():
        for secret in ALL:
            for form in (secret, secret[:12], secret[-12:], repr(secret)[1:-1], secret.replace('"', "&quot;")):
                if form.encode() in data:
                    at = data.index(form.encode())
                    yield f"{place}: {data[max(0, at - 200) : at + 100].decode(errors='replace')}"
