"""Whole runs of pytest in emulated sandboxes: what they are given, where they are held up, what must not be left."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import marshal
import os
import shutil
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pexpect
import pytest
from daytona import AsyncDaytona
from emulator import Emulator
from plugin.eval_runs import Evals, wait_until

from pytest_kiro.kirocli import install

ARGS = ("--kiro-sandbox=daytona", "--kiro-cli=scripted")
#: Imported here once: a run within this process forgets what it has imported, and this takes seconds.
SDK = AsyncDaytona


#: What sandboxes are made of when nobody says anything else.
IMAGE = "daytona-medium"


class Runs(Evals):
    """A folder of evals that are run in an emulated Daytona."""

    preloaded = (AsyncDaytona.__module__,)

    def __init__(
        self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp: Path, emulator: Emulator
    ) -> None:
        super().__init__(pytester, monkeypatch, tmp)
        self.emulator, self._monkeypatch = emulator, monkeypatch
        self.use(DAYTONA_API_URL=emulator.url, DAYTONA_API_KEY=emulator.key)

    def use(self, **variables: str) -> None:
        """Set environment variables for the runs to come; an empty one is removed."""
        for name, value in variables.items():
            if value:
                self._monkeypatch.setenv(name, value)
            else:
                self._monkeypatch.delenv(name)

    def run(self, *args: str | os.PathLike[str]) -> pytest.RunResult:
        return super().run(*ARGS, *args)

    def process(self, *args: str | os.PathLike[str], randomly: bool = False) -> pytest.RunResult:
        return super().process(*ARGS, *args, randomly=randomly)

    def start(self, *args: str | os.PathLike[str]) -> pexpect.spawn[str]:
        return super().start(*ARGS, *args)

    def sends_the_stand_in(self) -> None:
        """Let sandboxes be of an image that has none."""
        self.emulator.put_snapshot(IMAGE, home=None)

    def is_held(self, route: str, nth: int = 1) -> None:
        """Wait until a request of this route, at least the nth, is in the emulator's hands."""

        def held() -> bool:
            found = self.emulator.log(route)
            return len(found) >= nth and found[-1]["ended"] is None

        wait_until(held, f"request {nth} of {route} to be held")

    def asked(self, route: str) -> list[dict[str, Any]]:
        """The requests of this route so far."""
        return self.emulator.log(route)

    def relabel(self, sandbox: Mapping[str, Any], **labels: str) -> None:
        """Write labels of a sandbox, as somebody else would: they carry the time of our clock, not the emulator's."""
        request = urllib.request.Request(
            f"{self.emulator.url}/sandbox/{sandbox['id']}/labels",
            data=json.dumps({"labels": {**sandbox["labels"], **labels}}).encode(),
            headers={"Authorization": f"Bearer {self.emulator.key}", "Content-Type": "application/json"},
            method="PUT",
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30):
            pass

    @property
    def workers(self) -> list[str]:
        """For whom sandboxes were requested, as far as the requests were read."""
        bodies = [body for entry in self.asked("sandbox_create") if (body := entry["body"])]
        return sorted(body["labels"]["worker"] for body in bodies)

    @property
    def run_files(self) -> list[Path]:
        """What runs keep on this machine about what they have in Daytona."""
        return sorted((self.tmp / f"pytest-kiro-{os.getuid()}").glob("*"))

    def everything_is_bounded(self) -> None:
        """What is left ends by itself: in a Daytona whose clock goes on, nothing is there any more."""
        for sandbox in self.emulator.sandboxes():
            limits = (sandbox["autoStopInterval"], sandbox["autoDeleteInterval"], sandbox["ttlMinutes"])
            assert limits == (15, 0, 120)
        self.emulator.advance(121 * 60)
        assert self.emulator.sandboxes() == []
        for folder in self.run_files:  # of which the next run is the first to know that nobody needs them
            shutil.rmtree(folder)

    def nothing_is_left(self) -> None:
        super().nothing_is_left()
        assert self.emulator.sandboxes() == []
        assert self.run_files == []


@pytest.fixture(scope="session")
def image_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home in an image that has the stand-in, as a run sends it, with byte code beside its sources.

    To send it takes a shell in each sandbox as long as all other commands together, and each start would compile it.
    """
    home, sent = tmp_path_factory.mktemp("image"), install._archive()
    file = home / f".local/share/kiro-cli-{hashlib.sha256(sent).hexdigest()[:16]}.pyz"
    file.parent.mkdir(parents=True)
    with zipfile.ZipFile(io.BytesIO(sent)) as sources, zipfile.ZipFile(file, "w") as archive:
        for member in sources.infolist():
            source = sources.read(member)
            # Of a byte code that is not its own a Python makes nothing, and takes the source; 1: to be believed.
            head = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(source)
            archive.writestr(member, source)
            code = marshal.dumps(compile(source, member.filename, "exec", dont_inherit=True))
            archive.writestr(zipfile.ZipInfo(f"{member.filename}c"), head + code)
    return home


@pytest.fixture
def runs(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, emulator: Emulator, image_home: Path
) -> Iterator[Runs]:
    """Evals to write and to run; whatever they were, nothing of them is left, here or in Daytona."""
    emulator.put_snapshot(IMAGE, home=str(image_home))
    tmp = Path(tempfile.mkdtemp(prefix="evals-")).resolve()
    runs = Runs(pytester, monkeypatch, tmp, emulator)
    yield runs
    try:
        runs.nothing_is_left()
    finally:
        shutil.rmtree(tmp, ignore_errors=True)
