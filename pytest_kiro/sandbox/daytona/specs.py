"""Checks what `kiro_sandbox_args` asks of Daytona before anything is requested."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from pytest_kiro.errors import SettingsError
from pytest_kiro.sandbox.daytona import labels
from pytest_kiro.sandbox.protocol import SandboxSpec
from pytest_kiro.settings.table import did_you_mean

if TYPE_CHECKING:
    from daytona import Resources

#: The platform's default has one GiB, which is tight for node beside an agent.
RESOURCES: Mapping[str, int] = {"cpu": 2, "memory": 4, "disk": 8}
#: Daytona's own limits.
_MOST_NETWORKS, _MOST_DOMAINS = 10, 20
_MOVING_TAGS = ("latest", "lts", "stable")
_DOMAIN = re.compile(r"(\*\.)?([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z0-9][a-z0-9-]*[a-z0-9]", re.IGNORECASE)


def check(spec: SandboxSpec, chosen: str) -> None:
    """Raise `SettingsError` for what Daytona would refuse, or take and do otherwise.

    `chosen` is `--kiro-snapshot`.
    """
    for name in ("image", "snapshot", "region"):
        value = getattr(spec, name)
        if value is not None and not (isinstance(value, str) and re.fullmatch(r"\S+", value)):
            _refuse(name, value, "a text without blanks, or None")
    _check_source(spec, chosen)
    _check_resources(spec, chosen)
    _check_lists(spec)
    _check_labels(spec.labels)


def resources(spec: SandboxSpec) -> dict[str, int]:
    """Return what a sandbox that is built for this run has: GiB, and vCPUs."""
    return {**RESOURCES, **spec.resources}


def of_the_sdk(sizes: Mapping[str, int]) -> Resources:
    """Return resources as the SDK takes them."""
    from daytona import Resources

    return Resources(cpu=sizes["cpu"], memory=sizes["memory"], disk=sizes["disk"])


def _check_source(spec: SandboxSpec, chosen: str) -> None:
    if spec.image and spec.snapshot:
        both = f"image={spec.image!r} and snapshot={spec.snapshot!r}"
        what = f"kiro_sandbox_args: {both} are two ways to say what a sandbox is made from"
        raise SettingsError(what, advice="give one")
    if spec.image and chosen != "none":
        what = f"kiro_sandbox_args has image={spec.image!r}, and --kiro-snapshot={chosen} asks for a snapshot"
        raise SettingsError(what, advice="leave out one of them")
    if spec.image and "@sha256:" not in spec.image:
        tag = spec.image.rpartition("/")[2].partition(":")[2]
        if not tag or tag in _MOVING_TAGS:
            wanted = f"a tag that stays, such as debian:12.9; Daytona refuses none, {', '.join(_MOVING_TAGS)}"
            _refuse("image", spec.image, wanted)


def _check_resources(spec: SandboxSpec, chosen: str) -> None:
    if not isinstance(spec.resources, Mapping):
        _refuse("resources", spec.resources, "a dict, such as {'cpu': 2, 'memory': 4}")
    asked: Mapping[Any, Any] = spec.resources  # of any type, as the fixture returned it
    for name, value in asked.items():
        if name not in RESOURCES:
            hint = did_you_mean(str(name), list(RESOURCES))
            known = f"known: {', '.join(RESOURCES)}"
            raise SettingsError(f"kiro_sandbox_args: resources has no {name!r}{hint}", advice=known)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            _refuse(f"resources[{name!r}]", value, f"a whole number of {'vCPUs' if name == 'cpu' else 'GiB'} above 0")
    if spec.resources and not spec.image and (spec.snapshot or chosen != "auto"):
        source = spec.snapshot or (chosen if chosen != "none" else "Daytona's own")
        resources = f"resources={dict(spec.resources)}"
        what = f"kiro_sandbox_args: {resources}, but a ready-made snapshot, here {source}, has its own"
        raise SettingsError(what, advice="give an image, or --kiro-snapshot=auto")


def _check_lists(spec: SandboxSpec) -> None:
    networks, domains = spec.network_allow_list, spec.domain_allow_list
    if networks and domains:
        what = "kiro_sandbox_args: Daytona takes network_allow_list or domain_allow_list"
        raise SettingsError(what, advice="give one")
    for name, entries, most in (
        ("network_allow_list", networks, _MOST_NETWORKS),
        ("domain_allow_list", domains, _MOST_DOMAINS),
    ):
        if not isinstance(entries, Sequence):
            _refuse(name, entries, "a list of texts")
        if len(entries) > most:
            what = f"kiro_sandbox_args: {name} has {len(entries)} entries; Daytona takes {most} at most"
            raise SettingsError(what, advice="join some of them")
    for entry in networks:
        try:
            ipaddress.ip_network(entry)
        except ValueError as error:
            _refuse("network_allow_list", entry, f"a CIDR block, such as 208.80.154.232/32 ({error})")
    for entry in domains:
        if not _DOMAIN.fullmatch(entry):
            _refuse("domain_allow_list", entry, "a host name, such as cli.kiro.dev or *.kiro.dev")


def _check_labels(wanted: Mapping[Any, Any]) -> None:
    if not isinstance(wanted, Mapping):
        _refuse("labels", wanted, "a dict of texts")
    for name, value in wanted.items():
        if not isinstance(name, str) or not isinstance(value, str):
            _refuse(f"labels[{name!r}]", value, "texts only")
        if name in labels.RESERVED:
            what = f"kiro_sandbox_args: the label {name!r} is pytest-kiro's own, by which leaked sandboxes are found"
            raise SettingsError(what, advice="take another name")


def _refuse(name: str, value: object, wanted: str) -> NoReturn:
    raise SettingsError(f"kiro_sandbox_args: {name}={value!r} is not right", advice=f"wanted: {wanted}")
