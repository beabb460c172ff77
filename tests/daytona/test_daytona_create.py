"""How a sandbox is asked for: what is on the wire, and what is refused before anything is."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import pytest
from daytona_helpers import Make
from emulator import Emulator

from pytest_kiro.errors import SandboxError, SettingsError
from pytest_kiro.sandbox.daytona.client import Client
from pytest_kiro.sandbox.protocol import SandboxSpec


def request(emulator: Emulator) -> dict[str, Any]:
    (one,) = emulator.log("sandbox_create")
    return dict(one["body"])


# -- on the wire


def test_everything_that_bounds_it_is_in_the_create_request_itself(emulator: Emulator, provider: Make) -> None:
    provider(worker="gw3").create(SandboxSpec(env={"A": "b"}, labels={"team": "red"}, region="eu"))
    body = request(emulator)
    assert (body["autoStopInterval"], body["autoDeleteInterval"], body["ttlMinutes"]) == (15, 0, 120)
    assert body["name"].startswith("pytest-kiro-")
    assert body["env"] == {"A": "b"}
    assert body["target"] == "eu"
    assert body["snapshot"] == "daytona-medium"
    labels = body["labels"]
    assert labels["pytest-kiro"] == "1"
    assert labels["worker"] == "gw3"
    assert labels["team"] == "red"
    assert {"run", "owner", "created-at", "expires-at"} <= set(labels)


@pytest.mark.parametrize(
    ("spec", "sent"),
    [
        (
            {"network_allow_list": ["208.80.154.232/32", "10.0.0.0/8"]},
            {"networkAllowList": "208.80.154.232/32,10.0.0.0/8"},
        ),
        (
            {"domain_allow_list": ["cli.kiro.dev", "*.amazonaws.com"]},
            {"domainAllowList": "cli.kiro.dev,*.amazonaws.com"},
        ),
        ({"snapshot": "daytona-large"}, {"snapshot": "daytona-large"}),
        ({"image": "debian:12.9"}, {"cpu": 2, "memory": 4, "disk": 8}),
        ({"image": "debian:12.9", "resources": {"cpu": 1, "memory": 2}}, {"cpu": 1, "memory": 2, "disk": 8}),
        ({"image": "debian@sha256:" + "0" * 64}, {}),
        ({"region": "eu"}, {"target": "eu"}),
    ],
    ids=["networks", "domains", "snapshot", "image", "image with resources", "image by digest", "region"],
)
def test_what_a_spec_becomes(emulator: Emulator, provider: Make, spec: dict[str, Any], sent: dict[str, Any]) -> None:
    provider().create(SandboxSpec(**spec))
    body = request(emulator)
    assert sent.items() <= body.items()
    if "image" in spec:
        assert body["buildInfo"]["dockerfileContent"] == f"FROM {spec['image']}\n"
        assert "snapshot" not in body
    assert ("networkAllowList" in body, "domainAllowList" in body) == (
        "network_allow_list" in spec,
        "domain_allow_list" in spec,
    )


def test_the_snapshot_of_the_option_is_used_and_that_of_the_fixture_wins(emulator: Emulator, provider: Make) -> None:
    chosen = provider(snapshot="daytona-large")
    chosen.create(SandboxSpec())
    chosen.create(SandboxSpec(snapshot="daytona-small"))
    assert [one["body"]["snapshot"] for one in emulator.log("sandbox_create")] == ["daytona-large", "daytona-small"]


# -- before anything is asked


#: What cannot be had, and what is said of it.
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"image": "debian:12", "snapshot": "x"}, "image='debian:12' and snapshot='x' are two ways .*; give one"),
    ({"image": "debian"}, "image='debian' is not right\nwanted: a tag that stays, such as debian:12.9"),
    ({"image": "registry:5000/debian"}, "wanted: a tag that stays"),
    ({"image": "node:latest"}, "image='node:latest' is not right"),
    ({"image": "debian:12\nRUN evil"}, "image='debian:12.nRUN evil' is not right; wanted: a text without blanks"),
    ({"image": 12}, "image=12 is not right; wanted: a text"),
    ({"snapshot": ""}, "snapshot='' is not right; wanted: a text without blanks"),
    ({"snapshot": ["a"]}, r"snapshot=\['a'\] is not right"),
    ({"region": " "}, "region=' ' is not right"),
    ({"resources": {"cpu": 2}}, "resources={'cpu': 2}, but a ready-made snapshot, here Daytona's own, has its own"),
    ({"resources": {"cpu": 2}, "snapshot": "x"}, "here x, has its own; give an image, or --kiro-snapshot=auto"),
    ({"resources": {"cpu": "2"}, "image": "a:1"}, r"resources\['cpu'\]='2' is not right; .* vCPUs above 0"),
    ({"resources": {"cpu": 0}, "image": "a:1"}, r"resources\['cpu'\]=0 is not right"),
    ({"resources": {"memory": True}, "image": "a:1"}, r"resources\['memory'\]=True .* GiB above 0"),
    ({"resources": {"memory": 1.5}, "image": "a:1"}, r"resources\['memory'\]=1.5 is not right"),
    ({"resources": {"ram": 4}, "image": "a:1"}, "resources has no 'ram'; known: cpu, memory, disk"),
    ({"resources": {"memmory": 4}, "image": "a:1"}, "did you mean memory?"),
    ({"resources": [2, 4], "image": "a:1"}, r"resources=\[2, 4\] is not right; wanted: a dict"),
    ({"resources": None}, "resources=None is not right; wanted: a dict"),
    (
        {"network_allow_list": ["10.0.0.0/8"], "domain_allow_list": ["a.example"]},
        "network_allow_list or domain_allow_list; give one",
    ),
    ({"network_allow_list": ["kiro.dev"]}, "network_allow_list='kiro.dev' is not right; wanted: a CIDR block"),
    ({"network_allow_list": ["10.0.0.1/8"]}, r"CIDR block.*has host bits set"),
    ({"network_allow_list": ["10.0.0.0/8"] * 11}, "has 11 entries; Daytona takes 10 at most"),
    ({"domain_allow_list": ["https://kiro.dev"]}, "domain_allow_list='https://kiro.dev' .* a host name"),
    ({"domain_allow_list": ["a.b.*"]}, r"domain_allow_list='a.b.\*' is not right"),
    ({"domain_allow_list": ["a.example"] * 21}, "has 21 entries; Daytona takes 20 at most"),
    ({"labels": {"owner": "me"}}, "the label 'owner' is pytest-kiro's own, by which leaked sandboxes are found"),
    ({"labels": {"keep": "1"}}, "the label 'keep' is pytest-kiro's own"),
    ({"labels": {"n": 1}}, r"labels\['n'\]=1 is not right; wanted: texts only"),
    ({"labels": ["a"]}, r"labels=\['a'\] is not right; wanted: a dict"),
]


def test_what_cannot_be_had_is_refused_before_anything_is_asked(emulator: Emulator, provider: Make) -> None:
    asked = provider()
    for spec, said in REFUSED:
        with pytest.raises(SettingsError, match=said) as caught:
            asked.create(SandboxSpec(**spec))
        assert str(caught.value).startswith("kiro_sandbox_args")
    assert emulator.log() == []


def test_an_image_and_the_snapshot_of_the_option_contradict_each_other(emulator: Emulator, provider: Make) -> None:
    with pytest.raises(SettingsError, match=r"image='debian:12', and --kiro-snapshot=auto .*; leave out one of them"):
        provider(snapshot="auto").create(SandboxSpec(image="debian:12"))
    assert emulator.log() == []


# -- keys, addresses, and files that want to give us others


@pytest.mark.parametrize(
    ("environ", "error", "said"),
    [
        ({"DAYTONA_API_KEY": ""}, SandboxError, r"needs DAYTONA_API_KEY in the environment\n.*\.env file is not read"),
        ({"DAYTONA_API_KEY": "dtn_secret\n"}, SettingsError, "DAYTONA_API_KEY has blanks, line ends or strange"),
        ({"DAYTONA_API_URL": "app.daytona.io/api"}, SettingsError, "DAYTONA_API_URL='app.daytona.io/api' is not right"),
        ({"DAYTONA_API_URL": "https:///api"}, SettingsError, "wanted: an http or https address"),
    ],
    ids=["no key", "a key with a line end", "no scheme", "no host"],
)
def test_without_a_usable_key_and_address_nothing_is_asked(
    provider: Make, emulator: Emulator, hostile: Path, environ: dict[str, str], error: type[Exception], said: str
) -> None:
    made = provider(environ=environ)
    with pytest.raises(error, match=said) as caught:
        made.create(SandboxSpec())
    assert "dtn_secret" not in str(caught.value)
    assert made.close() == []
    assert emulator.log() == []


def test_a_hostile_env_file_changes_nothing(emulator: Emulator, provider: Make, hostile: Path) -> None:
    before = dict(os.environ)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the SDK warns of the file's address
        sandbox = provider().create(SandboxSpec())
    assert sandbox.exec("echo here").output == "here\n"
    assert "target" not in request(emulator)
    (headers,) = (one["headers"] for one in emulator.log("sandbox_create", headers=True))
    assert headers["Authorization"] == f"Bearer {emulator.key}"
    assert "X-Daytona-Organization-ID" not in headers
    assert dict(os.environ) == before


def test_the_target_of_the_environment_is_used_and_the_region_of_the_fixture_wins(
    emulator: Emulator, provider: Make, hostile: Path
) -> None:
    made = provider(environ={"DAYTONA_TARGET": "eu"})
    made.create(SandboxSpec())
    made.create(SandboxSpec(region="us"))
    assert [one["body"]["target"] for one in emulator.log("sandbox_create")] == ["eu", "us"]


@pytest.mark.parametrize("name", ["DAYTONA_USE_DEPRECATED_POLLING", "DAYTONA_OTEL_ENABLED", "DAYTONA_ORGANIZATION_ID"])
def test_a_variable_that_is_set_is_left_to_the_sdk(
    emulator: Emulator, provider: Make, hostile: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "false" if name == "DAYTONA_OTEL_ENABLED" else "true")
    emulator.configure(creating_polls=2)
    provider().create(SandboxSpec())
    polled_only = name == "DAYTONA_USE_DEPRECATED_POLLING"
    assert (emulator.log("socket_io") == []) is polled_only
    assert os.environ[name]


def test_a_variable_that_the_sdk_cannot_read_is_a_wrong_setting(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAYTONA_HAPPY_EYEBALLS_DELAY", "soon")
    with pytest.raises(SettingsError, match=r"DAYTONA_HAPPY_EYEBALLS_DELAY must be .* got 'soon'; look at your"):
        _ = Client({"DAYTONA_API_KEY": "k", "DAYTONA_API_URL": emulator.url}).sdk
