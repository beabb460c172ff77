"""A provider of one's own: nine members are enough for whole evals, and the papers show which."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from plugin.eval_runs import RECALL, Evals

from pytest_kiro import Sandbox, SandboxBase

PAPER = Path(__file__).parents[2] / "docs/sandboxes.md"
#: A cloud that has the nine members and nothing else; a local sandbox plays its machine.
NINE = """
    from pytest_kiro import SandboxBase
    from pytest_kiro.sandbox.local import LocalProvider

    class Nine(SandboxBase):
        def __init__(self, machine):
            self._machine = machine

        id = property(lambda self: self._machine.id)
        home = property(lambda self: self._machine.home)

        def exec(self, command, *, cwd=None, env=None, timeout=None):
            return self._machine.exec(command, cwd=cwd, env=env, timeout=timeout)

        def open_pty(self, *, cwd=None, env=None, size=(120, 30)):
            return self._machine.open_pty(cwd=cwd, env=env, size=size)

        def read_file(self, path):
            return self._machine.read_file(path)

        def write_file(self, path, data, *, mode=0o644):
            self._machine.write_file(path, data, mode=mode)

        def list_files(self, path):
            return self._machine.list_files(path)

        def remove(self, path):
            self._machine.remove(path)

        def close(self):
            self._machine.close()

    class Cloud:
        name, isolated = "cloud", False

        def __init__(self, settings):
            self._machines = LocalProvider(settings)

        def create(self, spec):
            return Nine(self._machines.create(spec))

        def close(self):
            return self._machines.close()

    def pytest_kiro_register_providers(register):
        register("cloud", Cloud, isolated=False)
"""


@pytest.fixture
def evals(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Iterator[Evals]:
    """Evals with that provider; nothing of them is left."""
    tmp = Path(tempfile.mkdtemp(prefix="evals-")).resolve()
    evals = Evals(pytester, monkeypatch, tmp)
    evals.write("conftest.py", NINE)
    yield evals
    try:
        evals.nothing_is_left()
    finally:
        shutil.rmtree(tmp, ignore_errors=True)


def test_nine_members_are_enough(evals: Evals) -> None:
    source = """
    def test_it(kiro):
        assert type(kiro.sandbox).__name__ == "Nine"
        kiro.workspace.seed({"a.txt": "a", "run.sh": "#!/bin/sh"})
        assert kiro.run("Remember: the word is plum.").ok
        assert kiro.run("What is the word?").text == "plum"
        assert kiro.workspace.exec("cat a.txt").check().output == "a"
        assert kiro.workspace.contents() == {"a.txt": b"a", "run.sh": b"#!/bin/sh"}
    """
    result = evals.passes(source, {"test_it": ["Yes.", RECALL]}, "--kiro-sandbox=cloud")
    assert "sandboxes: created 1, deleted 1, leaked 0" in result.stdout.str()


def test_its_writes_follow_nothing_that_an_agent_left(evals: Evals) -> None:
    source = r"""
    import pytest
    from pytest_kiro import SandboxError

    def test_it(kiro):
        kiro.workspace.exec("mkdir ../out; ln -s ../out way; ln -s ../out/new file; mkfifo pipe; mkdir -p folder/in")
        files = {"way/a.py": "a", "file": "f", "pipe": "p", "folder": "x", "plain/b": "b"}
        kiro.workspace.seed(files)
        assert kiro.workspace.contents() == {name: text.encode() for name, text in files.items()}
        kiro.workspace.exec("rm -r way; ln -s ../out way; mkdir __pycache__; touch __pycache__/a.cpython-313.pyc")
        kiro.workspace.seed("seed")
        assert kiro.workspace.exec("readlink way/link; ls -A ../out __pycache__; ls way").output.split() == [
            "../a.py", "../out:", "__pycache__:", "empty", "link"
        ]
        kiro.workspace.exec("cd ..; mv $OLDPWD old; ln -s out $OLDPWD")
        with pytest.raises(SandboxError, match="is no folder of ours any more"):
            kiro.workspace.seed({"a": "b"})
    """
    evals.write("seed/a.py", "a")
    (evals.path / "seed/way/empty").mkdir(parents=True)
    (evals.path / "seed/way/link").symlink_to("../a.py")
    evals.passes(source, {"test_it": ["never asked"]}, "--kiro-sandbox=cloud")


def test_what_cannot_be_kept_is_removed_and_said_so(evals: Evals) -> None:
    evals.write("test_it.py", "def test_it(kiro): pass")
    result = evals.run("--kiro-sandbox=cloud", "--kiro-keep-sandbox=always")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*was not kept but removed: its provider cannot keep one; leave out --kiro-keep-s*"])


def test_a_member_that_is_missing_is_named_when_a_sandbox_is_made() -> None:
    class Half(SandboxBase):
        id = home = "x"  # type: ignore[assignment] # the shortest way to have them

    with pytest.raises(TypeError, match=r"abstract methods? .*'?exec'?, .*'?write_file'?"):
        Half()  # type: ignore[abstract] # mypy refuses it as well; here Python shall


@pytest.mark.skipif(not PAPER.exists(), reason="a copy of the tests alone, beside the built wheel, has no papers")
def test_the_papers_show_all_nine() -> None:
    (block,) = re.findall(r"^```python\n(# my_cloud.py\n.*?)^```", PAPER.read_text(), re.MULTILINE | re.DOTALL)
    scope: dict[str, Any] = {}
    exec(block, scope)
    shown = scope["MySandbox"]
    assert set(vars(shown)) >= SandboxBase.__abstractmethods__
    assert len(SandboxBase.__abstractmethods__) == 9
    assert isinstance(shown(), Sandbox)
