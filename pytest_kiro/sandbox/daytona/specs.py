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
    if spec.image:
        _check_image(spec.image, spec.snapshot, chosen)
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


def _check_image(image: str, snapshot: str | None, chosen: str) -> None:
    if snapshot:
        _fail(f"image={image!r} and snapshot={snapshot!r} are two ways to say what a sandbox is made from", "give one")
    if chosen != "none":
        what = f"kiro_sandbox_args has image={image!r}, and --kiro-snapshot={chosen} asks for a snapshot"
        raise SettingsError(what, advice="leave out one of them")
    tag = image.rpartition("/")[2].partition(":")[2]
    if "@sha256:" not in image and (not tag or tag in _MOVING_TAGS):
        refused = ", ".join(_MOVING_TAGS)
        _refuse("image", image, f"a tag that stays, such as debian:12.9; Daytona refuses none, {refused}")


def _check_resources(spec: SandboxSpec, chosen: str) -> None:
    if not isinstance(spec.resources, Mapping):
        _refuse("resources", spec.resources, "a dict, such as {'cpu': 2, 'memory': 4}")
    asked: Mapping[Any, Any] = spec.resources  # of any type, as the fixture returned it
    for name, value in asked.items():
        if name not in RESOURCES:
            hint = did_you_mean(str(name), list(RESOURCES))
            _fail(f"resources has no {name!r}{hint}", f"known: {', '.join(RESOURCES)}")
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            _refuse(f"resources[{name!r}]", value, f"a whole number of {'vCPUs' if name == 'cpu' else 'GiB'} above 0")
    if asked and not spec.image and (spec.snapshot or chosen != "auto"):
        source = spec.snapshot or (chosen if chosen != "none" else "Daytona's own")
        what = f"resources={dict(asked)}, but a ready-made snapshot, here {source}, has its own"
        _fail(what, "give an image, or --kiro-snapshot=auto")


def _check_lists(spec: SandboxSpec) -> None:
    networks, domains = spec.network_allow_list, spec.domain_allow_list
    if networks and domains:
        _fail("Daytona takes network_allow_list or domain_allow_list", "give one")
    for name, entries, most in (("network_allow_list", networks, 10), ("domain_allow_list", domains, 20)):
        if not isinstance(entries, Sequence):
            _refuse(name, entries, "a list of texts")
        if len(entries) > most:  # Daytona's own limits
            _fail(f"{name} has {len(entries)} entries; Daytona takes {most} at most", "join some of them")
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
            what = f"the label {name!r} is pytest-kiro's own, by which leaked sandboxes are found"
            _fail(what, "take another name")


def _refuse(name: str, value: object, wanted: str) -> NoReturn:
    _fail(f"{name}={value!r} is not right", f"wanted: {wanted}")


def _fail(what: str, advice: str) -> NoReturn:
    raise SettingsError(f"kiro_sandbox_args: {what}", advice=advice)
