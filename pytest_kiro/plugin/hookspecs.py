"""The hooks that a conftest or a plugin may implement; tests/plugin/test_hooks.py runs each example."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_kiro.agent.kiro import Kiro
    from pytest_kiro.sandbox.protocol import Sandbox
    from pytest_kiro.settings.table import Settings
    from pytest_kiro.turn.turn import Turn


@pytest.hookspec
def pytest_kiro_register_providers(register: Callable[..., None]) -> None:
    """Offer a provider of sandboxes under a name for `--kiro-sandbox`; called before anything starts.

    To be implemented in a plugin or in the rootdir's conftest. `register(name, make, isolated=True)` takes the
    name, a callable that is given the settings and returns the `Provider`, and whether its sandboxes keep Kiro
    off this machine, which makes the official CLI the default. Import what is heavy inside of `make`.

    >>> def pytest_kiro_register_providers(register):
    ...     register("mycloud", lambda settings: MyCloud(settings))
    """


@pytest.hookspec
def pytest_kiro_sandbox_ready(sandbox: Sandbox, settings: Settings) -> None:
    """Prepare a sandbox that was just made, before kiro-cli is installed.

    >>> def pytest_kiro_sandbox_ready(sandbox, settings):
    ...     sandbox.exec("git config --global user.name Eval").check()
    """


@pytest.hookspec
def pytest_kiro_device_code(config: pytest.Config, url: str, code: str) -> None:
    """Be told the page and the code of a device login. A human has to approve it; the terminal shows them too.

    >>> def pytest_kiro_device_code(url, code):
    ...     post_to_chat(f"Please approve {code}: {url}")
    """


@pytest.hookspec(historic=True)
def pytest_kiro_secrets(config: pytest.Config) -> list[str] | None:
    """Name secrets that the run must not write: reports and results have `[secret]` instead.

    It is asked once, when the session starts, or when its conftest is found; the values of `KIRO_API_KEY` and
    `DAYTONA_API_KEY` and all that belongs to a login are known. Empty texts are ignored, and ones of less than eight
    characters are refused. It cannot be a wrapper.

    >>> import os
    >>> def pytest_kiro_secrets(config):
    ...     return [os.environ.get("DATABASE_PASSWORD", "")]
    """


@pytest.hookspec
def pytest_kiro_turn_started(kiro: Kiro, prompt: str, owner: str) -> None:
    """Be told that a turn begins. `owner` is the name of the test, or of the wide fixture such as `fixture:shop`.

    >>> def pytest_kiro_turn_started(owner, prompt):
    ...     print(owner, "asked:", prompt)
    """


@pytest.hookspec
def pytest_kiro_turn_finished(kiro: Kiro, turn: Turn, owner: str) -> None:
    """Be told that a turn is over, before a failed one raises. It is called however the turn ended.

    `owner` is the name of the test, or of the wide fixture such as `fixture:shop`, whose turn it is.

    >>> def pytest_kiro_turn_finished(owner, turn):
    ...     print(owner, "ended:", turn.summary)
    """
