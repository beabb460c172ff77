"""The provider for a container engine that the papers show, on an engine where there is one."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from plugin.eval_runs import RECALL, Evals

PAPER = Path(__file__).parents[2] / "docs/sandboxes.md"
IMAGE = "sandbox-of-tests"
#: The machine's own programs are the image's, so that nothing is downloaded.
SHOWN = ["--network=none", "--volume=/usr:/usr:ro"]
LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}


def blocks() -> dict[str, str]:
    """The files that the papers show, by their names."""
    found = re.findall(r"^```python\n# (container|conftest).py\n(.*?)^```", PAPER.read_text(), re.MULTILINE | re.DOTALL)
    return {name: text for name, text in found if "ontainers" in text}


def image() -> bytes:
    """A file system with nothing in it but links to the machine's programs."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name in ("etc", "tmp", "usr", "home", "proc", "dev", "sys"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            archive.addfile(folder)
        for name, target in LINKS.items():
            if Path("/", name).is_symlink():
                link = tarfile.TarInfo(name)
                link.type, link.linkname = tarfile.SYMTYPE, target
                archive.addfile(link)
    return data.getvalue()


@pytest.fixture(scope="module")
def engine() -> Iterator[str]:
    """A container engine that runs containers."""
    for name in ("docker", "podman"):
        if not shutil.which(name):
            continue
        subprocess.run([name, "import", "-", IMAGE], input=image(), capture_output=True, check=False)
        words = [name, "run", "--rm", "--init", *SHOWN, IMAGE, "python3", "-c", "print(42)"]
        if subprocess.run(words, capture_output=True, timeout=60, check=False).stdout == b"42\n":
            yield name
            subprocess.run([name, "rmi", "--force", IMAGE], capture_output=True, check=False)
            return
    pytest.skip("there is no container engine here that runs containers")


@pytest.fixture
def evals(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Iterator[Evals]:
    tmp = Path(tempfile.mkdtemp(prefix="evals-")).resolve()
    yield Evals(pytester, monkeypatch, tmp)
    shutil.rmtree(tmp, ignore_errors=True)


EVAL = r"""
import time
import pytest
from pytest_kiro import SandboxClosed, SandboxTimeout

def test_it(kiro):
    kiro.workspace.seed({"a.txt": "a", "in/run.sh": "#!/bin/sh"})
    assert kiro.run("Remember: the word is plum.").ok
    assert kiro.run("What is the word?").text == "plum"
    assert kiro.workspace.contents() == {"a.txt": b"a", "in/run.sh": b"#!/bin/sh"}
    sandbox = kiro.sandbox
    failed = sandbox.exec("echo one; echo two >&2; echo $MINE; pwd; exit 3", env={"MINE": "a b"}, cwd="/tmp")
    assert (failed.output, failed.exit_code) == ("one\ntwo\na b\n/tmp\n", 3)
    with pytest.raises(SandboxTimeout) as caught:
        sandbox.exec("echo begun; setsid sleep 1000 & echo $! >pid; wait", timeout=3)
    assert caught.value.output == "begun\n"
    assert not sandbox.exec("kill -0 $(cat pid)").ok
    begun = time.monotonic()
    sandbox.exec("mkdir -p served; cd served; sleep 1000 & echo $! >../pid").check()
    assert time.monotonic() - begun < 60
    sandbox.remove("served")
    assert not sandbox.exec("kill -0 $(cat pid)").ok
    for path, error in (("none", FileNotFoundError), ("/tmp", IsADirectoryError)):
        with pytest.raises(error):
            sandbox.read_file(path)
    with pytest.raises(FileNotFoundError):
        sandbox.exec("true", cwd="none")
    sandbox.write_file("odd/two words\n*", b"\0\xff", mode=0o755)
    assert sandbox.list_files("odd") == ["two words\n*"]
    assert sandbox.read_file("odd/two words\n*") == b"\0\xff"
    pty = sandbox.open_pty(size=(101, 37))
    pty.write(b" stty size; sleep 1000 & exit 7\n")
    assert pty.wait(60) == 7
    seen = b""
    while data := pty.read(30):
        seen += data
    assert b"37 101" in seen
    pty.close()
    assert pty.read(0) == b""
"""


@pytest.mark.skipif(not PAPER.exists(), reason="a copy of the tests alone, beside the built wheel, has no papers")
def test_evals_work_in_containers(engine: str, evals: Evals) -> None:
    shown = blocks()
    assert sorted(shown) == ["conftest", "container"]
    text = re.sub(r'= "docker", "[^"]*"', f'= "{engine}", "{IMAGE}"', shown["container"], count=1)
    assert text != shown["container"]
    evals.write("container.py", text.replace("OPTIONS = [", f"OPTIONS = [*{SHOWN!r}, ", 1))
    evals.write("conftest.py", shown["conftest"])
    result = evals.passes(EVAL, {"test_it": ["Yes.", RECALL]}, "--kiro-sandbox=container", "--kiro-cli=scripted")
    assert "sandboxes: created 1, deleted 1, leaked 0" in result.stdout.str()
    left = subprocess.run([engine, "ps", "-aq", "--filter", f"ancestor={IMAGE}"], capture_output=True, check=False)
    assert left.stdout == b""
