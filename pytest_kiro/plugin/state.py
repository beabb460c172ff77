"""Holds what our hooks and fixtures share in one pytest process."""

from __future__ import annotations

import os
import signal
import uuid
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from pytest_kiro.errors import SettingsError
from pytest_kiro.plugin.owners import Ownership
from pytest_kiro.secrecy import VARIABLES
from pytest_kiro.settings.rows import TABLE

if TYPE_CHECKING:
    from pytest_kiro.agent.bench import Observer
    from pytest_kiro.login.peer import PeerLogin
    from pytest_kiro.plugin.progress import Progress
    from pytest_kiro.run.budget import Budget
    from pytest_kiro.run.keeper import Keeper
    from pytest_kiro.run.stops import Stops
    from pytest_kiro.secrecy.redaction import Secrets
    from pytest_kiro.settings.table import Settings
    from pytest_kiro.settings.waits import Waits


class Node(Protocol):
    """A worker of pytest-xdist, as the controller sees it; xdist need not be installed."""

    config: pytest.Config
    workerinput: dict[str, Any]


class State:
    """What one pytest process knows of its run; each part is made when first used."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.is_worker = hasattr(config, "workerinput")  # what xdist tells a worker at its start
        worker: dict[str, str] = getattr(config, "workerinput", {})
        self.worker = worker.get("workerid", "main")
        self.run_id = worker.get("kiro_run_id") or uuid.uuid4().hex
        self.ownership = Ownership()
        #: Who is told of turns.
        self.observers: list[Observer] = []
        #: The workers of a controller.
        self.nodes: list[Node] = []
        #: Whether an eval was collected, or what only evals need was asked for.
        self.awake = False

    @property
    def is_controller(self) -> bool:
        """Whether this process runs no tests itself, but has workers that do."""
        return self.config.pluginmanager.hasplugin("dsession")

    def tell_controller(self, name: str, value: object) -> None:
        """Tell the controller something at this worker's end; elsewhere do nothing."""
        output: dict[str, Any] = getattr(self.config, "workeroutput", {})
        output[name] = value

    def usage_error(self, text: str) -> pytest.UsageError:
        """Return what to raise; what a worker prints is not shown, so it tells the controller too."""
        self.tell_controller("kiro_usage_error", text)
        return pytest.UsageError(text)

    @cached_property
    def configured(self) -> bool:
        """Whether an option, variable, ini key or plugin says anything of Kiro."""
        config = self.config
        names = [*os.environ, *self._unknown_ini]
        return (
            any(name.startswith(("PYTEST_KIRO_", "kiro_")) for name in names)
            or any(config.getoption(row.ini) is not None or config.getini(row.ini) is not None for row in TABLE)
            or len(config.hook.pytest_kiro_register_providers.get_hookimpls()) > 1
        )

    @property
    def _unknown_ini(self) -> list[str]:
        """The unknown ini keys; pytest only warns of them, and has no public way to ask."""
        keys: list[str] = getattr(self.config, "_get_unknown_ini_keys", list)()
        return keys

    @cached_property
    def knows_secrets(self) -> bool:
        """Whether the environment has secrets, wherever they may turn up."""
        return any(os.environ.get(name) for name in VARIABLES)

    def check(self) -> None:
        """Raise `UsageError` for a wrong setting, if anything was set."""
        if self.knows_secrets:
            _ = self.secrets  # as they are now
        try:
            _ = self.keeper if self.configured else None
        except SettingsError as error:
            raise pytest.UsageError(self.secrets(str(error))) from None

    @cached_property
    def settings(self) -> Settings:
        """What was asked for; `SettingsError` when that is wrong, unknown, or contradicts itself."""
        from pytest_kiro.settings import table

        table.refuse_unknown_ini(self._unknown_ini)
        settings = table.read(
            option=lambda name: self.config.getoption(f"kiro_{name}"),
            environ=os.environ if self.configured else {},
            ini=self.config.getini,
            run_id=self.run_id,
            worker=self.worker,
            waits=self.config.stash.get(WAITS, None),
        )
        table.check(settings)
        return settings

    @cached_property
    def keeper(self) -> Keeper:
        """What keeps the sandboxes; `SettingsError` when there is no such provider."""
        from pytest_kiro.plugin.providers import chosen_provider
        from pytest_kiro.run.keeper import Keeper

        return Keeper(self.settings, chosen_provider(self.config, self.settings.sandbox), self.stops)

    @cached_property
    def stops(self) -> Stops:
        """How often the run was told to stop."""
        from pytest_kiro.run.stops import Stops

        return Stops()

    @cached_property
    def secrets(self) -> Secrets:
        """What this process must not write."""
        from pytest_kiro.secrecy.redaction import Secrets

        return Secrets.of(os.environ)

    @cached_property
    def progress(self) -> Progress:
        """What says what takes long."""
        from pytest_kiro.plugin.progress import Progress

        return Progress(self.config, self.worker, self.secrets)

    @cached_property
    def budget(self) -> Budget:
        """What the turns of this run may cost, on all its workers."""
        from pytest_kiro.run.budget import budget_of

        return budget_of(self.settings)

    @cached_property
    def peer_login(self) -> PeerLogin:
        """The device login that the workers of this run share."""
        from pytest_kiro.login.peer import PeerLogin
        from pytest_kiro.sandbox.runs import folder_of

        return PeerLogin(folder_of(self.run_id), self.settings.waits)

    def stop_gently(self) -> None:
        """From now on, let SIGTERM and SIGHUP end the run like Ctrl-C."""

        def end(number: signal.Signals) -> None:
            pytest.exit(f"terminated by {number.name}; sandboxes are closed", returncode=128 + number)

        self.config.add_cleanup(self.stops.listen(end))

    def close(self) -> None:
        """Remove what this run left on all its workers; idempotent. A worker leaves that to its controller."""
        if self.is_worker:
            return
        if self.settings.budget is not None:
            self.budget.remove()
        if self.keeper.used and not self.stops.leaving:
            self.peer_login.remove()
        self.keeper.close()

    def leave(self) -> None:
        """Close all, with what this process serves to others of its run; idempotent."""
        if "peer_login" in vars(self):  # else there is none
            self.peer_login.close()
        self.close()


STATE = pytest.StashKey[State]()
#: The attribute of an eval's report, and of a worker's last word, that tells of its sandboxes.
TALLY = "kiro_tally"
#: Put there by a plugin's `pytest_configure`, it is how long this run waits: our own tests are in a hurry.
WAITS: pytest.StashKey[Waits] = pytest.StashKey()
