"""Makes local sandboxes: a temporary directory with its own HOME, and processes in groups of their own.

It keeps evals apart from each other; it does not protect the developer's machine from the agent.
"""

from __future__ import annotations

from collections.abc import Mapping

from pytest_kiro.sandbox import environment, leases
from pytest_kiro.sandbox.disk import Disk
from pytest_kiro.sandbox.protocol import SandboxSpec
from pytest_kiro.sandbox.supervised import SupervisedProvider, SupervisedSandbox
from pytest_kiro.sandbox.supervision import Warden
from pytest_kiro.settings.waits import Waits


class LocalProvider(SupervisedProvider):
    """Makes sandboxes on this machine; `--kiro-sandbox=local`."""

    name = "local"
    isolated = False

    def make(self, lease: leases.Lease, spec: SandboxSpec) -> LocalSandbox:
        return LocalSandbox(lease, spec.env, waits=self.waits)


class LocalSandbox(SupervisedSandbox):
    """A folder that plays the machine (contract S)."""

    def __init__(
        self,
        lease: leases.Lease,
        env: Mapping[str, str] | None = None,
        *,
        shell: tuple[str, ...] = ("/bin/sh",),
        waits: Waits | None = None,
    ) -> None:
        home, self._tmp, self._tools = (lease.path / name for name in ("home", "tmp", "tools"))
        with leases.explained(f"at {lease.path}"):
            for folder in (home, self._tmp):
                folder.mkdir(exist_ok=True)
            self._env = environment.make(str(home), str(self._tmp), self._tools) | dict(env or {})
        super().__init__(lease, Disk(home, lease.path, lease.id), Warden(), shell=shell, waits=waits or Waits())

    def variables(self) -> dict[str, str]:
        # An agent can reach both: what is first on PATH, and where every program has its temporary files.
        environment.provide_tools(self._tools)
        environment.provide_folder(self._tmp)
        return self._env
