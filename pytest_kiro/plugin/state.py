"""Holds what our hooks and fixtures share in one pytest process."""

from __future__ import annotations

import os
import signal
import uuid
import warnings
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from pytest_kiro.errors import SettingsError
from pytest_kiro.plugin.owners import Ownership
from pytest_kiro.secrecy import VARIABLES
from pytest_kiro.settings.rows import TABLE

if TYPE_CHECKING:
    from pytest_kiro.agent.bench import Bench, Observer
    from pytest_kiro.artifacts.run import RunFolder
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
        #: Whether turns that are under way are shown on this process's terminal, also those of its workers.
        self.shows_turns = False
        #: Whether an eval was collected, or what only evals need was asked for.
        self.awake = False
        #: The value of a setting under which tests run now, where several are compared.
        self.variant: str | None = None
        #: By such a value, what turns run with.
        self.benches: dict[str | None, Bench] = {}

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
        said = any(name.startswith(("PYTEST_KIRO_", "kiro_")) for name in (*os.environ, *self._unknown_ini))
        try:
            with warnings.catch_warnings(action="ignore"):  # of a list, which ini.py reads
                said |= any(
                    (self.config.getoption(row.ini), self.config.getini(row.ini)) != (None, None) for row in TABLE
                )
        except (TypeError, ValueError, pytest.UsageError):  # of a number, as well
            return True
        return said or len(self.config.hook.pytest_kiro_register_providers.get_hookimpls()) > 1

    @property
    def _unknown_ini(self) -> list[str]:
        """The unknown ini keys; pytest only warns of them, and has no public way to ask."""
        return list(getattr(self.config, "_get_unknown_ini_keys", list)())

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
        from pytest_kiro.plugin import ini
        from pytest_kiro.settings import table

        table.refuse_unknown_ini(self._unknown_ini)
        settings = table.read(
            option=lambda name: self.config.getoption(f"kiro_{name}"),
            environ=os.environ if self.configured else {},
            ini=partial(ini.value, self.config),
            run_id=self.run_id,
            worker=self.worker,
            waits=self.config.stash.get(WAITS, None),
        )
        return table.checked(settings)

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
    def artifacts(self) -> RunFolder:
        """Where this run keeps artifacts, whatever process keeps them."""
        from pytest_kiro.artifacts.run import RunFolder

        told: str | None = getattr(self.config, "workerinput", {}).get("kiro_artifacts")
        return RunFolder.of(self.settings, self.config.invocation_params.dir, told)

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

        self.config.add_cleanup(self.stops.listen(end, worker=self.is_worker))

    def close(self) -> None:
        """Remove what this run left on all its workers; idempotent. A worker leaves that to its controller."""
        if self.is_worker:
            return
        if self.settings.budget is not None:
            self.budget.remove()
        if self.nodes:
            from pytest_kiro.run.endings import Endings
            from pytest_kiro.sandbox.runs import folder_of

            folder = folder_of(self.run_id)
            for file in folder.glob("turns-*"):  # of workers that died
                file.unlink(missing_ok=True)
            Endings(folder).remove()
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
