"""One browser for all tests of a worker, and a fresh page for each."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from browser import Browser, Page, program, running

pytest.register_assert_rewrite("casts")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Give the running browser; CI, which installs one, may not go without."""
    if not (chromium := program()):
        reason = "no Chromium is installed: as root, apt-get install -y chromium-headless-shell"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with running(chromium, tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Give an empty page, closed after the test."""
    opened = browser.page()
    yield opened
    browser.close_page(opened)
