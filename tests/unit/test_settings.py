"""The settings table: precedence, every wrong value, and unknown names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest

from pytest_kiro.errors import SettingsError
from pytest_kiro.settings import table
from pytest_kiro.settings.table import TABLE, Settings


def read(
    option: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    ini: Mapping[str, str] | None = None,
) -> Settings:
    return table.read(option=(option or {}).get, environ=environ or {}, ini=(ini or {}).get)


DEFAULTS = {
    "sandbox": "local",
    "cli": None,
    "replies": None,
    "cli_version": None,
    "engine": "v2",
    "output": "text",
    "scenarios": "scenarios",
    "scenario_seed": "1",
    "record": "off",
    "recordings": "recordings",
    "selfcheck": False,
    "login": "auto",
    "login_args": None,
    "login_timeout": 600.0,
    "open_browser": False,
    "agent": None,
    "model": None,
    "effort": None,
    "trust": "all",
    "timeout": 600.0,
    "stall_timeout": None,
    "setup_timeout": 300.0,
    "retries": 1,
    "budget": None,
    "max_turns": None,
    "max_calls": None,
    "keep_sandbox": "never",
    "home": "fresh",
    "ignore": None,
    "network": "on",
    "snapshot": "none",
    "max_sandboxes": None,
    "trials": None,
    "gate": None,
    "all_trials": False,
    "more": None,
    "aa": False,
    "undecided": None,
    "min_valid": 0.9,
    "terminal": (120, 30),
    "stream": "auto",
    "artifacts": "retain-on-failure",
    "artifacts_dir": "kiro-results",
    "baseline": None,
    "results": None,
    "report": None,
    "github": "auto",
}


def test_the_defaults() -> None:
    settings = read()
    assert {row.name: getattr(settings, row.name) for row in TABLE} == DEFAULTS
    assert settings.origins == dict.fromkeys(DEFAULTS, "default")
    assert (settings.run_id, settings.worker) == ("run", "main")


def test_each_row_is_a_field_and_each_field_has_a_row() -> None:
    fields = [field.name for field in dataclasses.fields(Settings)]
    assert fields == [*(row.name for row in TABLE), "run_id", "worker", "origins", "waits", "variants"]


#: Per setting: texts that are right with their values, and texts that are wrong with what is wanted.
VALUES: dict[str, tuple[dict[str, object], list[str], str]] = {
    "sandbox": ({"daytona": "daytona", " local ": "local"}, ["", "  "], "a value that is not blank"),
    "cli": (
        {"official": "official", "scripted": "scripted", "/opt/kiro-cli": "/opt/kiro-cli"},
        ["", "kiro-cli", "./kiro-cli", "~/kiro-cli", "Official"],
        "official, scripted, or an absolute path in the sandbox",
    ),
    "replies": (
        {"model": "model", "scenario": "scenario", "recording": "recording"},
        ["", "stand-in"],
        "one of model, scenario, recording",
    ),
    "cli_version": (
        {"2.29.0": "2.29.0", "3.0.0-beta.1": "3.0.0-beta.1"},
        ["", "2.29", "latest", "v2.29.0", "2.29.0; rm -rf"],
        "a full version, such as 2.29.0",
    ),
    "engine": ({"v1": "v1", "v3": "v3", "auto": "auto"}, ["", "V2", "2", "v4"], "one of v1, v2, v3, auto"),
    "output": ({"stream-json": "stream-json"}, ["", "json"], "one of text, stream-json"),
    "scenarios": ({"my/scripts": "my/scripts"}, ["", "\t"], "a value that is not blank"),
    "scenario_seed": ({"2": "2", "tuesday": "tuesday"}, ["", " "], "a value that is not blank"),
    "record": ({"missing": "missing", "all": "all"}, ["", "on", "new"], "one of off, missing, all, prune"),
    "recordings": ({"kept/here": "kept/here"}, ["", " "], "a value that is not blank"),
    "selfcheck": ({"on": True, "off": False}, ["", "yes"], "one of on, off"),
    "login": (
        {"auto": "auto", "api-key": "api-key", "saved": "saved", "device": "device", "none": "none"},
        ["", "browser", "AUTO"],
        "one of auto, api-key, saved, device, none",
    ),
    "login_args": (
        {"--license free": ("--license", "free"), "--social 'a b'": ("--social", "a b")},
        ["", " ", "a\0b"],
        "arguments as in a shell, such as '--license free'",
    ),
    "login_timeout": ({"60": 60.0}, ["0", "never", "-1"], "a number of seconds above 0, or 90s, 2m, 1h30m"),
    "open_browser": ({"on": True, "off": False, "true": True, "False": False}, ["", "yes", "evals"], "one of on, off"),
    "agent": ({"reviewer": "reviewer"}, ["", " "], "a value that is not blank"),
    "model": ({"claude-sonnet": "claude-sonnet"}, [""], "a value that is not blank"),
    "effort": ({"low": "low", "max": "max"}, ["", "huge"], "one of low, medium, high, xhigh, max"),
    "trust": (
        {"all": "all", "none": "none", "read, write": "read,write", "@git/log": "@git/log"},
        ["", ",", "read,", "read write", ",read", "all,read", "none,all"],
        "all, none, or tool names joined by commas, such as read,write",
    ),
    "timeout": (
        {"1": 1.0, "0.5": 0.5, "1e3": 1000.0, "90s": 90.0, "2m": 120.0, "1h30m": 5400.0, "1.5 m": 90.0, "500ms": 0.5},
        ["", "0", "-1", "nan", "inf", "ten", "off", "2 minutes", "0s", "-2m", "m", "2m3", "9" * 400 + "h"],
        "a number of seconds above 0, or 90s, 2m, 1h30m",
    ),
    "stall_timeout": (
        {"off": None, "Off": None, "false": None, "30": 30.0, "2m": 120.0},
        ["", "0", "-5", "nan", "inf", "on", "true"],
        "a number of seconds above 0, or 90s, 2m, 1h30m, or off",
    ),
    "setup_timeout": ({"60": 60.0}, ["0", "x", "-inf"], "a number of seconds above 0, or 90s, 2m, 1h30m"),
    "retries": ({"0": 0, "1": 1, "10": 10}, ["", "-1", "11", "1.5", "01", "off"], "a whole number from 0 to 10"),
    "budget": (
        {"0": 0.0, "2.5": 2.5, "1e3": 1000.0},
        ["", "-1", "nan", "inf", "-inf", "ten", "off"],
        "a number of credits, 0 or more",
    ),
    "max_turns": ({"1": 1, "20": 20}, ["", "0", "-1", "1.5", "off", "1000000"], "a whole number above 0"),
    "max_calls": ({"1": 1, "200": 200}, ["", "0", "-1", "1.5", "off", "1000000"], "a whole number above 0"),
    "keep_sandbox": (
        {"never": "never", "on-failure": "on-failure", "always": "always"},
        ["", "yes", "Always"],
        "one of never, on-failure, always",
    ),
    "home": ({"fresh": "fresh", "shared": "shared"}, ["", "own", "Shared"], "one of fresh, shared"),
    "ignore": (
        {"*.log 'a b'": ("*.log", "a b")},
        ["", " ", "a\0b"],
        "arguments as in a shell, such as '--license free'",
    ),
    "network": (
        {
            "on": "on",
            " OFF": "off",
            "kiro": "kiro",
            "PyPI.org, *.pythonhosted.org:8443": "pypi.org,*.pythonhosted.org:8443",
        },
        ["", "on,pypi.org", "off,kiro", "a b", "http://pypi.org", "pypi.org:", "*", "a.*.org", "10.0.0.0/8"],
        "on, off, kiro, or hosts joined by commas, such as pypi.org,*.pythonhosted.org",
    ),
    "snapshot": ({"auto": "auto", "my-snapshot": "my-snapshot"}, ["", " "], "a value that is not blank"),
    "max_sandboxes": ({"1": 1, "16": 16}, ["", "0", "-1", "1.5", "many", "01"], "a whole number above 0"),
    "trials": ({"1": 1, "10": 10}, ["", "0", "-1", "2.5", "ten"], "a whole number above 0"),
    "gate": ({"point": "point", "refute": "refute"}, ["", "prove"], "one of point, refute, demonstrate"),
    "all_trials": ({"on": True, "off": False}, ["", "yes"], "one of on, off"),
    "more": ({"1": 1, "10": 10}, ["", "0", "-1", "2.5", "ten"], "a whole number above 0"),
    "aa": ({"on": True, "off": False}, ["", "yes"], "one of on, off"),
    "undecided": ({"fail": "fail", "pass": "pass"}, ["", "failed"], "one of fail, pass"),
    "min_valid": (
        {"1": 1.0, "0.5": 0.5},
        ["", "0", "1.01", "nan", "-0.5", "90%"],
        "a share above 0, at most 1, such as 0.9",
    ),
    "terminal": (
        {"40x10": (40, 10), "9999x1": (9999, 1)},
        ["", "40", "0x10", "10x0", "40X10", "40x10x2", "10000x10", "-1x5", "40 x 10"],
        "columns x rows, such as 120x30",
    ),
    "stream": ({"on": "on", "off": "off", "auto": "auto"}, ["", "yes"], "one of auto, on, off"),
    "artifacts": (
        {"on": "on", "off": "off", "retain-on-failure": "retain-on-failure"},
        ["", "yes", "failures"],
        "one of off, on, retain-on-failure",
    ),
    "artifacts_dir": ({"out/kiro": "out/kiro"}, ["", " "], "a value that is not blank"),
    "baseline": ({"main.json": "main.json"}, ["", " "], "a value that is not blank"),
    "results": ({"out/results.json": "out/results.json"}, ["", " "], "a value that is not blank"),
    "report": ({"out/report.html": "out/report.html"}, ["", " "], "a value that is not blank"),
    "github": (
        {name: name for name in ("auto", "summary", "annotations", "off")},
        ["", "on"],
        "one of auto, summary, annotations, off",
    ),
}


def test_every_setting_has_its_values_here() -> None:
    assert list(VALUES) == [row.name for row in TABLE]


@pytest.mark.parametrize("name", VALUES)
def test_right_values(name: str) -> None:
    for text, value in VALUES[name][0].items():
        assert getattr(read({name: text}), name) == value


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, (_, bad, _) in VALUES.items() for text in bad])
def test_a_wrong_value_is_named_with_its_origin_and_what_is_wanted(name: str, text: str) -> None:
    row = next(row for row in TABLE if row.name == name)
    for settings, origin in (
        ({"option": {name: text}}, row.option),
        ({"environ": {row.variable: text}}, row.variable),
        ({"ini": {row.ini: text}}, f"ini key {row.ini}"),
    ):
        with pytest.raises(SettingsError) as caught:
            read(**settings)
        between = "\n" if ";" in text else "; "
        assert str(caught.value) == f"{origin}: {text!r} is not right{between}wanted: {VALUES[name][2]}"


@pytest.mark.parametrize("name", VALUES)
def test_option_wins_over_environment_wins_over_ini_wins_over_default(name: str) -> None:
    row = next(row for row in TABLE if row.name == name)
    (text, value), wrong = next(iter(VALUES[name][0].items())), VALUES[name][1][0]
    ini, environ, option = {row.ini: text}, {row.variable: text}, {name: text}
    for settings, origin in (
        (read(ini=ini), f"ini key {row.ini}"),
        (read(ini={row.ini: wrong}, environ=environ), row.variable),
        (read(ini={row.ini: wrong}, environ={row.variable: wrong}, option=option), row.option),
    ):
        assert getattr(settings, name) == value
        assert settings.origins[name] == origin


def test_names_follow_from_one_word() -> None:
    row = next(row for row in TABLE if row.name == "stall_timeout")
    assert (row.option, row.ini, row.variable) == (
        "--kiro-stall-timeout",
        "kiro_stall_timeout",
        "PYTEST_KIRO_STALL_TIMEOUT",
    )
    assert not any(row.variable.startswith("KIRO_") for row in TABLE), "those are the CLI's"


def test_an_unknown_variable_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError) as caught:
        read(environ={"PYTEST_KIRO_TIMEOUTS": "5"})
    said = str(caught.value)
    assert said.startswith(
        "unknown environment variable PYTEST_KIRO_TIMEOUTS, did you mean PYTEST_KIRO_TIMEOUT?; known: "
    )
    assert all(row.variable in said for row in TABLE)
    with pytest.raises(SettingsError, match=r"unknown environment variable PYTEST_KIRO_QQQQQQQQQQQQQQQQQQ; known:"):
        read(environ={"PYTEST_KIRO_QQQQQQQQQQQQQQQQQQ": "5"})
    assert read(environ={"KIRO_TIMEOUT": "5", "PYTEST_KIRO": "x", "PYTEST_ADDOPTS": "-v"}) == read()


def test_an_unknown_ini_key_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        SettingsError, match=r"unknown ini key kiro_timout, did you mean kiro_timeout\?; known: kiro_sandbox, "
    ):
        table.refuse_unknown_ini(["testpaths", "kiro_timout"])
    table.refuse_unknown_ini(["testpaths", "kirograph", *(row.ini for row in TABLE)])


def test_settings_never_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        read().timeout = 5


@pytest.mark.parametrize(("word", "said"), [("locl", ", did you mean local?"), ("zzz", ""), ("", "")])
def test_did_you_mean(word: str, said: str) -> None:
    assert table.did_you_mean(word, ["local", "daytona"]) == said


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [("trust", ["read", "write"], "read,write"), ("login_args", ["--license", "free"], ("--license", "free"))],
)
def test_a_list_is_what_its_words_are(name: str, value: list[str], wanted: object) -> None:
    row = next(row for row in TABLE if row.name == name)
    settings = table.read(option={}.get, environ={}, ini={row.ini: value}.get)
    assert getattr(settings, name) == wanted


# -- recordings


@pytest.mark.parametrize("record", ["all", "missing"])
def test_a_replay_records_nothing(record: str) -> None:
    settings = read(option={"record": record, "replies": "recording"})
    with pytest.raises(SettingsError, match=f"--kiro-record={record} .*asks nobody but recordings"):
        table.checked(settings)


def test_prune_is_for_a_replay() -> None:
    with pytest.raises(SettingsError, match="add --kiro-replies=recording"):
        table.checked(read(option={"record": "prune"}))
    settings = read(option={"record": "prune", "replies": "recording"})
    assert table.checked(settings) is settings


def test_a_replay_is_local_where_daytona_was_asked_for() -> None:
    replayed = table.checked(read(option={"sandbox": "daytona", "snapshot": "auto", "replies": "recording"}))
    assert replayed.sandbox == "local"
    assert table.checked(read(option={"sandbox": "daytona"})).sandbox == "daytona"
    assert table.checked(read(option={"sandbox": "mine", "replies": "recording"})).sandbox == "mine"


def test_a_self_check_asks_recordings_and_scenarios_and_keeps_nothing() -> None:
    asked = table.checked(read(option={"selfcheck": "on", "sandbox": "daytona", "cli": "official"}))
    assert (asked.replies, asked.cli, asked.record, asked.sandbox) == ("scenario", "scripted", "missing", "local")
    replayed = table.checked(read(option={"selfcheck": "on", "replies": "recording"}))
    assert (replayed.replies, replayed.record) == ("recording", "off")


@pytest.mark.parametrize("other", [{"replies": "model"}, {"record": "all"}, {"record": "missing"}], ids=str)
def test_a_self_check_neither_asks_a_model_nor_records(other: dict[str, str]) -> None:
    settings = read(option={"selfcheck": "on", **other})
    ((name, value),) = other.items()
    with pytest.raises(SettingsError, match=f"keeps nothing; leave out --kiro-{name}={value}"):
        table.checked(settings)


def test_a_report_keeps_artifacts_of_all_tests_unless_they_are_spoken_of() -> None:
    settings = read({"report": "r.html"})
    assert (settings.artifacts, settings.origins["artifacts"]) == ("on", "--kiro-report")
    assert read({"report": "r.html", "artifacts": "off"}).artifacts == "off"
    assert read({}).artifacts == "retain-on-failure"
