"""Makes sandboxes of bubblewrap: Kiro is kept away from the developer's machine, on it."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pytest_kiro.errors import InstallError, SettingsError
from pytest_kiro.sandbox import environment, leases
from pytest_kiro.sandbox.bubblewrap import mounts, refusals
from pytest_kiro.sandbox.bubblewrap.inside import DiskInside
from pytest_kiro.sandbox.bubblewrap.limits import limits_of
from pytest_kiro.sandbox.bubblewrap.namespaces import Namespaces
from pytest_kiro.sandbox.bubblewrap.network import Proxy
from pytest_kiro.sandbox.protocol import SandboxSpec
from pytest_kiro.sandbox.supervised import SupervisedProvider, SupervisedSandbox
from pytest_kiro.settings.table import Settings
from pytest_kiro.settings.waits import Waits

_PROGRAM = "kiro-cli"


class BubblewrapProvider(SupervisedProvider):
    """Makes sandboxes on this machine, of namespaces; `--kiro-sandbox=bubblewrap`.

    `hosts` are those of Kiro's service, which a list of hosts always allows.
    """

    name = "bubblewrap"
    isolated = True
    gives = ("env", "resources", "domain_allow_list")

    def __init__(self, settings: Settings, hosts: Sequence[str] = ()) -> None:
        super().__init__(settings)
        self._settings, self._hosts = settings, hosts

    def make(self, lease: leases.Lease, spec: SandboxSpec) -> BubblewrapSandbox:
        limits, bwrap = limits_of(spec.resources), refusals.find()
        network = ",".join(spec.domain_allow_list) or self._settings.network
        self._check_network(network)
        with leases.explained(f"at {lease.path}"):
            (lease.path / "homes" / mounts.USER).mkdir(parents=True)
            (lease.path / "tmp").mkdir()
        view = mounts.view(lease.path, cli=self._cli(), names=network == "on")
        spaces = Namespaces(lease.id, bwrap, view, limits, net=network != "on")
        try:
            spaces.start()
            proxy = self._proxy(spaces, network)
        except BaseException:
            spaces.close()
            raise
        env = _variables(view) | (proxy.variables if proxy else {}) | dict(spec.env)
        ends = proxy.close if proxy else _nothing
        return BubblewrapSandbox(lease, spaces, env, ends=ends, waits=self.waits)

    def _check_network(self, network: str) -> None:
        """Refuse to shut Kiro off from its service."""
        settings = self._settings
        asks_model = (settings.replies or ("scenario" if settings.cli == "scripted" else "model")) == "model"
        if network == "off" and asks_model:
            raise SettingsError(
                f"{settings.origins.get('network', 'network')}: with network off, Kiro does not reach its service",
                advice="use --kiro-network=kiro, which lets it reach that and nothing else, or --kiro-replies=scenario",
            )

    def _cli(self) -> Mapping[str, str]:
        """Return the programs of kiro-cli that the developer has, by name."""
        settings = self._settings
        if settings.cli not in (None, "official") or settings.replies == "recording":
            return {}
        path = shutil.which(_PROGRAM)
        if path is not None:
            return mounts.siblings(Path(path).absolute(), _PROGRAM)
        if settings.cli_version is not None:
            return {}
        raise InstallError(
            f"there is no {_PROGRAM} on your PATH for the bubblewrap sandbox to show",
            advice="install it from kiro.dev, or let --kiro-cli-version=2.29.0 (or another) install it in the sandbox, "
            "or use --kiro-cli=scripted",
        )

    def _proxy(self, spaces: Namespaces, network: str) -> Proxy | None:
        if network in ("on", "off"):
            return None
        own = [entry for entry in network.split(",") if entry != "kiro"]
        return Proxy(spaces, own, self._hosts)


def _nothing() -> None:
    """Do nothing."""


def _variables(view: mounts.View) -> dict[str, str]:
    """Return the environment inside."""
    return {
        **environment.inherited(),
        "HOME": mounts.HOME,
        "LOGNAME": mounts.USER,
        "PATH": mounts.path_of(os.environ.get("PATH", os.defpath), view),
        "TMPDIR": "/tmp",
        "USER": mounts.USER,
    }


class BubblewrapSandbox(SupervisedSandbox):
    """A machine of namespaces (contract S)."""

    isolated = True

    def __init__(
        self,
        lease: leases.Lease,
        spaces: Namespaces,
        env: Mapping[str, str],
        *,
        ends: Callable[[], None],
        waits: Waits,
    ) -> None:
        self._spaces, self._env, self._ends = spaces, dict(env), ends
        self._inside = DiskInside(
            Path(mounts.HOME), Path(mounts.HOMES), lease.id, mounts=lambda: self._spaces.open("mnt")
        )
        super().__init__(
            lease, self._inside, spaces.warden, shell=("/bin/sh",), waits=waits, openpty=self._spaces.openpty
        )

    def variables(self) -> dict[str, str]:
        environment.provide_folder(self._lease.path / "tmp")  # an agent can shut it
        return self._env

    def keep(self) -> list[str]:
        self._close(keep=True)
        path, home = self._lease.path, self._lease.path / "homes" / mounts.USER
        return [f"look at it: cd {shlex.quote(str(home))}", f"delete it: rm -rf {shlex.quote(str(path))}"]

    def _check(self) -> None:
        super()._check()
        if not self._spaces.alive:
            raise self._spaces.gone()

    def _close(self, *, keep: bool) -> None:
        if not self._closed:
            self._inside.close()
            self._ends()
            self._spaces.close()
        super()._close(keep=keep)
