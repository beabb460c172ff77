"""kiro-cli is found, put there, and proved by its version, by full path."""

from __future__ import annotations

import os
import shutil
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from cli_scripts import cli, raw

from pytest_kiro.errors import InstallError
from pytest_kiro.kirocli.install import Installation, install
from pytest_kiro.sandbox.local import LocalSandbox


def test_an_absolute_path_is_proved_and_its_folder_is_known(sandbox: LocalSandbox) -> None:
    path = cli(sandbox, "exit 1")
    installed = install(sandbox, path, timeout=30)
    assert installed == Installation(path, "2.29.0", scripted=False)
    assert installed.folder == f"{sandbox.home}/bin"


def test_a_cli_that_names_the_stand_in_counts_as_scripted(sandbox: LocalSandbox) -> None:
    path = raw(sandbox, "#!/bin/sh\necho 'kiro-cli 2.29.0 (pytest-kiro stand-in)'\n")
    assert install(sandbox, path, timeout=30).scripted


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("#!/bin/sh\necho hello\n", "exited with 0, ended and printed no kiro-cli version\n  | hello"),
        ("#!/bin/sh\n", "printed no kiro-cli version"),
        ("#!/bin/sh\necho 'kiro-cli 2.29.0'; echo broken >&2; exit 3\n", "exited with 3, an MCP"),
        ("#!/bin/sh\necho 'q 1.2.3'\n", "  | q 1.2.3"),
        ("#!/no/such/interpreter\n", "exited with 12[67]"),
    ],
)
def test_what_prints_no_version_is_refused_with_what_it_said(sandbox: LocalSandbox, script: str, said: str) -> None:
    with pytest.raises(InstallError, match=said) as caught:
        install(sandbox, raw(sandbox, script), timeout=30)
    assert str(caught.value).endswith("the absolute path of an executable kiro-cli in the sandbox")


def test_a_cli_that_hangs_is_ended(sandbox: LocalSandbox) -> None:
    path = raw(sandbox, "#!/bin/sh\necho thinking\nsleep 1000\n")
    with pytest.raises(InstallError, match=r"(?s)--version did not answer within 0.3 s.*\| thinking.*is it kiro-cli\?"):
        install(sandbox, path, timeout=0.3)


def test_a_cli_that_may_not_be_executed(sandbox: LocalSandbox) -> None:
    with pytest.raises(InstallError, match=r"(?s)exited with 126, could not be executed.*ermission denied"):
        install(sandbox, cli(sandbox, "", mode=0o644), timeout=30)


@pytest.mark.parametrize(
    ("path", "said"), [("/no/such/kiro-cli", "127, not found"), ("/tmp", "126, could not be executed")]
)
def test_a_path_that_is_no_program(sandbox: LocalSandbox, path: str, said: str) -> None:
    with pytest.raises(InstallError, match=f"{path} --version exited with {said}"):
        install(sandbox, path, timeout=30)


@pytest.mark.parametrize("what", ["kiro-cli", "bin/kiro cli", "./x", "", "Official"])
def test_a_relative_path_is_refused(sandbox: LocalSandbox, what: str) -> None:
    cli(sandbox, "")
    with pytest.raises(InstallError, match="use official, scripted, or an absolute path in the sandbox"):
        install(sandbox, what, timeout=30)


def test_official_is_the_one_of_the_developers_path(
    sandbox: LocalSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tmp_path / "real" / "kiro-cli"
    real.parent.mkdir()
    real.write_text("#!/bin/sh\necho 'kiro-cli 3.1.4'\n")
    real.chmod(0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "kiro-cli").symlink_to(real)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    installed = install(sandbox, "official", timeout=30)
    assert (installed.path, installed.version) == (f"{tmp_path}/bin/kiro-cli", "3.1.4"), "the link, beside its siblings"


def test_official_that_is_not_there_is_never_downloaded(sandbox: LocalSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(
        InstallError, match=r"no kiro-cli on your PATH.*; install it from kiro.dev, or use --kiro-cli=scripted"
    ):
        install(sandbox, "official", timeout=30)


class Isolated(LocalSandbox):
    """A machine of which nothing is shared with this one, as far as the installation knows."""

    isolated = True

    def __init__(self, sandbox: LocalSandbox) -> None:
        super().__init__(sandbox._lease)
        self._warden = sandbox._warden  # which is closed with it


@pytest.fixture
def isolated(sandbox: LocalSandbox) -> Isolated:
    return Isolated(sandbox)


@pytest.mark.parametrize("what", ["path", "scripted", "official"])
def test_another_version_than_the_one_asked_for_is_refused(
    sandbox: LocalSandbox, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cli(sandbox, "exit 1")
    Path(path).with_name("kiro-cli").symlink_to(path)
    monkeypatch.setenv("PATH", f"{sandbox.home}/bin:/usr/bin:/bin")
    what = path if what == "path" else what
    found = install(sandbox, what, timeout=30)
    assert install(sandbox, what, timeout=30, version=found.version) == found
    with pytest.raises(InstallError) as caught:
        install(sandbox, what, timeout=30, version="2.24.1")
    said = str(caught.value)
    assert said.startswith(f"{found.path} is version {found.version}, but --kiro-cli-version asks for 2.24.1; leave it")
    assert f"ask for {found.version}, or use --kiro-cli=official" in said


def test_the_siblings_of_a_cli_are_on_its_path_and_it_is_kept_quiet(sandbox: LocalSandbox) -> None:
    """kiro-cli starts them by name, and an update in the middle of a run would change what is evaluated."""
    path = raw(sandbox, '#!/bin/sh\nexec sibling "$KIRO_NO_AUTO_UPDATE$KIRO_DISABLE_TELEMETRY"\n')
    sibling = str(Path(path).with_name("sibling"))
    sandbox.write_file(sibling, b'#!/bin/sh\necho "kiro-cli 2.29.$1"\n', mode=0o755)
    assert install(sandbox, path, timeout=30).version == "2.29.11"


def test_the_stand_in_is_put_on_path(sandbox: LocalSandbox) -> None:
    installed = install(sandbox, "scripted", timeout=60)
    assert installed.scripted
    assert installed.path == f"{sandbox.home}/.local/bin/kiro-cli"
    assert sandbox.exec("command -v kiro-cli").output.strip() == installed.path
    assert installed.version in sandbox.exec("kiro-cli --version").output


needs_python3 = pytest.mark.skipif(
    not shutil.which("python3"), reason="an isolated sandbox's stand-in runs by its python3"
)


class Counting(Isolated):
    """It remembers what was sent to it, and may do something else first."""

    def __init__(self, sandbox: LocalSandbox) -> None:
        super().__init__(sandbox)
        self.sent: list[str] = []

    def write_file(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        self.sent.append(path)
        super().write_file(path, data, mode=mode)


def pyz(sandbox: LocalSandbox) -> list[str]:
    return [path for path in sandbox.list_files(".") if "pyz" in path]


@needs_python3
def test_the_stand_in_is_sent_elsewhere_as_one_archive(isolated: Isolated) -> None:
    installed = install(isolated, "scripted", timeout=60)
    assert installed.scripted
    (archive,) = pyz(isolated)
    entries = zipfile.ZipFile(BytesIO(isolated.read_file(archive))).infolist()
    names = [entry.filename for entry in entries]
    assert "kiro_cli/app.py" in names
    assert {entry.date_time[0] for entry in entries} == {1980}, "its bytes, so its name, depend on its content only"
    assert not [name for name in names if "__pycache__" in name]
    assert "pytest_kiro" not in isolated.read_file(installed.path).decode()


@needs_python3
def test_the_stand_in_is_sent_once(sandbox: LocalSandbox) -> None:
    """Another worker that shares the sandbox comes later, and may be executing it already."""
    counting = Counting(sandbox)
    first = install(counting, "scripted", timeout=60)
    before = Path(pyz(counting)[0]).name, os.stat(f"{counting.home}/{pyz(counting)[0]}").st_ino
    assert len(counting.sent) == 1
    assert first.path not in counting.sent, "nothing that is executed is written in place"
    assert counting.sent[0].rpartition("/")[2] != before[0]

    assert install(counting, "scripted", timeout=60) == first
    assert len(counting.sent) == 1
    assert (Path(pyz(counting)[0]).name, os.stat(f"{counting.home}/{pyz(counting)[0]}").st_ino) == before
    assert sorted(os.listdir(Path(first.path).parent)) == ["kiro-cli"], "nothing temporary is left"
    assert len(pyz(counting)) == 1


@needs_python3
def test_two_workers_send_the_stand_in_at_once(sandbox: LocalSandbox) -> None:
    class Raced(Counting):
        def write_file(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
            if not self.sent:  # the other one is quicker, from its first step to its last
                self.sent.append("the other's")
                assert install(self, "scripted", timeout=60).scripted
            super().write_file(path, data, mode=mode)

    raced = Raced(sandbox)
    assert install(raced, "scripted", timeout=60).scripted
    assert len(raced.sent) == 3
    assert len(pyz(raced)) == 1
    assert os.listdir(f"{raced.home}/.local/bin") == ["kiro-cli"]


def test_a_stand_in_that_cannot_be_written_says_so(isolated: Isolated) -> None:
    isolated.write_file(".local/bin", b"a file where the folder would be")
    with pytest.raises(
        InstallError, match=r"(?s)could not be written to .*kiro-cli: exit code 1.*\| .*is its disk full"
    ):
        install(isolated, "scripted", timeout=60)
