"""What only the local provider promises: environment, leases, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from helpers import is_alive, open_folder, run_python, wait_until

from pytest_kiro.errors import SandboxError, SandboxTimeout, SettingsError
from pytest_kiro.sandbox import leases, processes
from pytest_kiro.sandbox.local import LocalProvider, LocalSandbox
from pytest_kiro.sandbox.protocol import SandboxSpec
from pytest_kiro.settings.table import read

IMPORTS = f"""
import os, sys, tempfile, json
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from helpers import drop_root, is_alive
from pytest_kiro.errors import *
from pytest_kiro.sandbox import leases
from pytest_kiro.sandbox.local import LocalProvider, LocalSandbox
from pytest_kiro.sandbox.protocol import SandboxSpec
from pytest_kiro.settings.table import read
import importlib.util, shutil, pty, pexpect
provider = LocalProvider(read(option=lambda _: None, environ={{}}, ini=lambda _: None, run_id="runrunrun"))
"""
as_root = pytest.mark.skipif(os.getuid() != 0, reason="not root, so nobody else's files can be made")


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty temporary directory; returns the folder in it where sandboxes will be."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path.resolve() / f"sandboxes-{os.getuid()}"


@pytest.fixture
def provider(base: Path) -> Iterator[LocalProvider]:
    made = LocalProvider(read(option=lambda _: None, environ={}, ini=lambda _: None, run_id="0123456789"))
    yield made
    made.close()
    assert list(base.glob("*")) == []


@pytest.fixture
def sandbox(provider: LocalProvider) -> LocalSandbox:
    return provider.create(SandboxSpec())


# -- environment


def test_the_environment_is_inherited_only_as_documented(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = [
        *("KIRO_API_KEY", "KIRO_HOME", "AWS_PROFILE", "AWS_SECRET_ACCESS_KEY", "DAYTONA_API_KEY", "DAYTONA_TARGET"),
        *(
            "GITHUB_TOKEN",
            "OPENAI_API_KEY",
            "HTTPS_PROXY",
            "EDITOR",
            "PYTHONPATH",
            "PYTEST_CURRENT_TEST",
            "ENV",
            "BASH_ENV",
        ),
    ]
    inherited = {
        "LANG": "de_DE.UTF-8",
        "LC_ALL": "C.UTF-8",
        "LC_CTYPE": "C",
        "LOGNAME": "ada",
        "TZ": "UTC",
        "USER": "ada",
    }
    for name, value in {**dict.fromkeys(secrets, "secret"), **inherited}.items():
        monkeypatch.setenv(name, value)
    sandbox = LocalSandbox(leases.acquire("r"), {"EXTRA": "e"})
    lines = sandbox.exec("/usr/bin/env -0").output.rstrip("\0").split("\0")
    seen = dict(line.split("=", 1) for line in lines)
    sandbox.close()
    task, path = seen.pop("SANDBOX_TASK"), seen.pop("PATH")
    assert {n: v for n, v in seen.items() if n not in ("PWD", "_", "SHLVL", "OLDPWD")} == {
        **inherited,
        "HOME": sandbox.home,
        "TMPDIR": str(Path(sandbox.home).with_name("tmp")),
        "SHELL": "/bin/sh",
        "PIP_REQUIRE_VIRTUALENV": "1",
        "EXTRA": "e",
    }
    assert "secret" not in f"{seen}{path}"
    assert "kiro" not in task.lower(), "the agent can read it"
    assert "pytest" not in task.lower()


def test_a_locale_is_set_when_none_is_inherited(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LANG", "LC_ALL", "LC_CTYPE"):
        monkeypatch.delenv(name, raising=False)
    sandbox = LocalSandbox(leases.acquire("r"))
    assert sandbox.exec('echo "$LC_CTYPE$LANG"').output == "C.UTF-8\n"
    sandbox.close()


def test_path_is_a_python_then_what_is_inherited_then_own_programs(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = f"{Path(sys.prefix) / 'bin'}"
    monkeypatch.setenv("PATH", f"{own}:/usr/bin:/bin:/of/the/machine")
    sandbox = LocalSandbox(leases.acquire("r"))
    tools = Path(sandbox.home).with_name("tools")
    path = sandbox.exec('printf %s "$PATH"').output
    assert path == f"{tools}:/usr/bin:/bin:/of/the/machine:{sandbox.home}/.local/bin"
    sandbox.close()


@pytest.mark.parametrize(
    "harm",
    [
        "ln -sf /bin/true python3",
        "ln -s /bin/true find",
        "rm -rf ../tools",
        "cd ..; rm -rf tools; ln -s /bin tools",
        "rm *",
    ],
)
def test_what_an_agent_makes_of_the_tools_does_not_last(sandbox: LocalSandbox, harm: str) -> None:
    asked = "python3 -c 'print(6 * 7)'; command -v find"
    before = sandbox.exec(asked).output
    sandbox.exec(f"cd ../tools && {{ {harm}; }}").check()
    assert sandbox.exec(asked).output == before
    assert before.startswith("42\n")


@pytest.mark.parametrize(
    "harm", ["rm -rf $TMPDIR", "rm -rf $TMPDIR; ln -s / $TMPDIR", "rm -rf $TMPDIR; : >$TMPDIR", "chmod 0 $TMPDIR"]
)
def test_what_an_agent_makes_of_the_temporary_folder_does_not_last(sandbox: LocalSandbox, harm: str) -> None:
    sandbox.exec(harm).check()
    made = sandbox.exec("ls -ld $TMPDIR; mktemp -d").check().output
    assert made.startswith("drwx"), made


def test_a_program_named_sh_in_the_sandbox_is_not_taken_for_the_shell(sandbox: LocalSandbox) -> None:
    sandbox.write_file(".local/bin/sh", b"#!/bin/false\n", mode=0o755)
    assert sandbox.exec("echo fine").output == "fine\n"
    pty = sandbox.open_pty()
    pty.write(b" exit 5\n")
    assert pty.wait(30) == 5
    pty.close()


@pytest.mark.parametrize("field", ["image", "snapshot", "resources", "labels"])
def test_what_a_folder_cannot_be_is_refused(provider: LocalProvider, field: str) -> None:
    value = {"a": 1} if field in ("resources", "labels") else "x"
    with pytest.raises(SettingsError, match=f"the local sandbox has no {field}"):
        provider.create(SandboxSpec(**{field: value}))


# -- leases


@pytest.mark.skipif(not hasattr(os, "ST_NOEXEC"), reason="this system does not tell how a folder is mounted")
def test_a_folder_in_which_nothing_can_be_executed(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status = os.statvfs(base.parent)
    flags = type("Flags", (), {"f_flag": status.f_flag | os.ST_NOEXEC})
    monkeypatch.setattr(os, "statvfs", lambda path: flags)
    with pytest.raises(
        SandboxError, match="it is mounted noexec, and programs are executed there; set TMPDIR to anoth"
    ):
        leases.acquire("run")


@pytest.mark.parametrize(("name", "why"), [("\udcff", "its name is no UTF-8"), ("a\nb", "its name has a line break")])
def test_a_folder_with_a_name_that_no_path_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, why: str
) -> None:
    folder = tmp_path / name
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system has no such names")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with pytest.raises(SandboxError, match=f"no sandbox can be made at '.*': {why}; set TMPDIR to another directory"):
        leases.acquire("run")
    shutil.rmtree(folder)


OWNER = (
    IMPORTS
    + """
sandbox = provider.create(SandboxSpec())
sandbox.exec("setsid sh -c 'echo $$ >pid; exec sleep 1000' >/dev/null 2>&1 & while ! [ -s pid ]; do :; done").check()
pty = sandbox.open_pty()
print(sandbox.home, sandbox.read_file("pid").decode().strip(), flush=True)
sys.stdin.read()
"""
)


def own_a_sandbox(base: Path) -> tuple[subprocess.Popen[str], Path, int]:
    """Start a process that owns a sandbox with a child in it; return it, the sandbox's home and the child."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(base.parent)},
    )
    assert owner.stdout
    home, pid = owner.stdout.readline().split()
    return owner, Path(home), int(pid)


def end(owner: subprocess.Popen[str]) -> None:
    owner.kill()
    owner.wait(30)
    for stream in (owner.stdin, owner.stdout):
        assert stream
        stream.close()


def test_what_a_killed_run_left_is_swept_by_the_next(base: Path, provider: LocalProvider) -> None:
    owner, home, pid = own_a_sandbox(base)
    assert home.is_relative_to(base)
    end(owner)
    assert wait_until(lambda: not is_alive(pid)), "who watches it ends it as well"
    with subprocess.Popen(
        ["sleep", "1000"], cwd=home, start_new_session=True
    ) as stray:  # as where that was killed, too
        provider.create(SandboxSpec())
        assert not home.parent.exists()
        assert stray.wait(30) == -signal.SIGKILL


def test_two_runs_at_once_leave_each_other_alone(base: Path, provider: LocalProvider) -> None:
    owner, home, pid = own_a_sandbox(base)
    provider.create(SandboxSpec()).close()
    provider.close()
    assert home.is_dir()
    assert is_alive(pid)
    end(owner)
    assert leases.sweep() == 0
    assert not home.exists()


def test_a_run_counts_its_own_that_are_still_owned(base: Path) -> None:
    """So that closing waits for workers that are just ending, and for nobody else."""
    lease = leases.acquire("0123456789")
    assert (leases.sweep("0123456789"), leases.sweep("another"), leases.sweep()) == (1, 0, 1)
    lease.release()
    lease.release()
    assert leases.sweep() == 0
    assert list(base.iterdir()) == []


@as_root
def test_an_old_one_that_cannot_be_removed_does_not_stand_in_the_way() -> None:
    source = (
        IMPORTS
        + """
tempfile.tempdir = sys.argv[1]
left = leases.acquire("old")
root = os.fork()
if root == 0:
    (left.path / "of-root").mkdir(); (left.path / "of-root" / "file").touch(); os._exit(0)
os.waitpid(root, 0)
os.close(left._descriptor)
for path in (left.path.parent, left.path, left.path.with_name(left.path.name + ".lock")):
    os.chown(path, 65534, 65534)
drop_root()
os.rename(left.path.parent, left.path.parent.with_name("sandboxes-65534"))
sandbox = provider.create(SandboxSpec())
print(sandbox.exec("id -u").output)
sandbox.close()
try:
    leases.remove_tree(leases.base() / left.path.name)
except SandboxError as error:
    print(error)
"""
    )
    with open_folder() as folder:
        said = run_python(source, folder).splitlines()
    assert said[0] == "65534"
    assert said[-1].endswith("look what in it is not yours, and remove it by hand")


# -- a temporary directory that does not let us


def test_a_folder_that_is_not_private_is_refused(base: Path, provider: LocalProvider) -> None:
    base.mkdir(mode=0o755)
    base.chmod(0o755)
    with pytest.raises(
        SandboxError, match=r"not a private directory .*mode 755.*; remove it, or point TMPDIR elsewhere"
    ):
        provider.create(SandboxSpec())
    base.rmdir()
    (base.parent / "elsewhere").mkdir(mode=0o700)
    base.symlink_to(base.parent / "elsewhere")
    with pytest.raises(SandboxError, match="not a private directory"):
        provider.create(SandboxSpec())
    base.unlink()


def test_a_temporary_directory_that_is_gone(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(base.parent / "missing"))
    with pytest.raises(
        SandboxError, match=r"no sandbox can be made at .*/missing/sandboxes-.*; free space there, or set TMPDIR"
    ):
        leases.acquire("r")


ADVICE = """
try:
    provider.create(SandboxSpec())
except SandboxError as error:
    print(error)
"""


def confined(script: str, source: str, tmp: Path) -> str:
    """Run Python after a shell script that changes what is mounted, which nobody else sees."""
    unshare = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here, so a disk can be made neither full nor read-only")
    done = subprocess.run(
        [*unshare, "sh", "-ec", f'{script}\nexec "$@"', "sh", sys.executable, "-c", IMPORTS + source],
        cwd="/",
        env={**os.environ, "TMPDIR": str(tmp), "TEMP": str(tmp), "TMP": str(tmp)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_temporary_directory_that_can_be_written(tmp_path: Path) -> None:
    mounts = [
        f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder}"
        for folder in dict.fromkeys(os.path.realpath(f) for f in (tmp_path, "/tmp", "/var/tmp", "/usr/tmp"))
        if os.path.isdir(folder)
    ]
    said = confined("\n".join([*mounts, "cd /tmp"]), ADVICE, tmp_path)
    assert said.startswith("no sandbox can be made in the temporary directory: ")
    assert "; free space there, or set TMPDIR to a directory that can be written" in said


def test_a_disk_that_becomes_read_only(tmp_path: Path) -> None:
    source = f"tempfile.gettempdir(); os.system('mount -o remount,ro {tmp_path}')\n{ADVICE}"
    said = confined(f"mount -t tmpfs none {tmp_path}", source, tmp_path)
    assert "Read-only file system; free space there, or set TMPDIR" in said


def test_a_full_disk(tmp_path: Path) -> None:
    source = """
sandbox = provider.create(SandboxSpec())
try:
    sandbox.write_file("big", bytes(10_000_000))
except SandboxError as error:
    print(error)
result = sandbox.exec("cat /dev/zero >fill")
print(result.exit_code)
sandbox.close()
print(os.listdir(leases.base()))
"""
    said = confined(f"mount -t tmpfs -o size=64k none {tmp_path}", source, tmp_path).splitlines()
    assert "big could not be written: No space left on device; free space there" in said[0]
    assert said[1:] == ["1", "[]"]


def test_a_disk_without_room_for_a_folder(tmp_path: Path) -> None:
    """What was begun is taken back: no folder and no lock stay."""
    source = f"""
tempfile.gettempdir(); leases.base()
for number in range(100):
    try:
        os.mkdir(f"{tmp_path}/{{number}}")
    except OSError:
        break
for free in (0, 1, 2, 3):
    for wanted in range(free):
        number -= 1
        os.rmdir(f"{tmp_path}/{{number}}")
    try:
        provider.create(SandboxSpec())
    except SandboxError as error:
        print(free, str(error).count("No space left on device; free space there"), os.listdir(leases.base()))
"""
    said = confined(f"mount -t tmpfs -o nr_inodes=12 none {tmp_path}", source, tmp_path).splitlines()
    assert said == ["0 1 []", "1 1 []", "2 1 []", "3 1 []"]


# -- nothing is left


def test_folders_that_an_agent_has_locked_are_removed() -> None:
    """For a user without root, to whom mode 000 means something."""
    source = (
        IMPORTS
        + """
tempfile.tempdir = sys.argv[1]
os.mkdir(sys.argv[1] + "/outside", 0o755)
if os.getuid() == 0:
    os.chown(sys.argv[1] + "/outside", 65534, 65534)
    drop_root()
sandbox = provider.create(SandboxSpec())
sandbox.exec(f"mkdir -p a/b/c; echo x >a/b/c/file; ln -s {sys.argv[1]}/outside a/b/link; chmod 000 a/b/c a/b a").check()
sandbox.remove("a")
print(sandbox.list_files(""))
sandbox.exec("mkdir -p a/b/c; echo x >a/b/c/file; chmod 000 a/b/c a/b a; cd ..; chmod 000 home tmp .").check()
for verb in (lambda: sandbox.exec("true"), sandbox.open_pty, lambda: sandbox.read_file("x")):
    try:
        print(verb())
    except SandboxError as error:
        print(type(error).__name__)
sandbox.close()
print(os.listdir(leases.base()), oct(os.stat(sys.argv[1] + "/outside").st_mode & 0o777))
"""
    )
    with open_folder() as folder:
        said = run_python(source, folder).splitlines()
    assert said == ["[]", *["SandboxError"] * 3, "[] 0o755"]


def test_a_home_that_cannot_be_entered_is_a_clear_error() -> None:
    """And leaves no copy of this process behind, as a fork whose chdir fails would."""
    source = (
        IMPORTS
        + """
tempfile.tempdir = sys.argv[1]
if os.getuid() == 0:
    drop_root()
sandbox = provider.create(SandboxSpec())
sandbox.exec("chmod 000 .").check()
for verb in (lambda: sandbox.exec("true"), sandbox.open_pty):
    try:
        verb()
    except SandboxError as error:
        print(error)
sandbox.close()
print("closed")
"""
    )
    with open_folder() as folder:
        said = run_python(source, folder).splitlines()
    assert len(said) == 3, "one line each: a copy of the process would say its own"
    assert said[0].startswith("no command can be started in ")
    assert said[1].startswith("no terminal can be started in ")
    assert all("ermission" in line and "; look at" in line for line in said[:2])
    assert said[2] == "closed"


def test_a_shell_that_is_not_there(base: Path) -> None:
    sandbox = LocalSandbox(leases.acquire("r"), shell=("no-such-shell",))
    with pytest.raises(SandboxError, match=r"no terminal can be started in .*no-such-shell.*; look at"):
        sandbox.open_pty()
    sandbox.close()


def test_a_command_longer_than_the_machine_takes(sandbox: LocalSandbox) -> None:
    with pytest.raises(SandboxError, match=r"no command can be started in .*too long"):
        sandbox.exec(": " + "x" * 4_000_000)
    assert sandbox.exec("echo on").output == "on\n"


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc, so open files cannot be counted")
def test_no_descriptor_is_left_open(base: Path, provider: LocalProvider) -> None:
    def use() -> None:
        sandbox = provider.create(SandboxSpec())
        sandbox.exec("mkfifo pipe; mkdir folder; sleep 1000 &")
        for path in ("folder", "pipe", "missing"):
            with pytest.raises(OSError):  # noqa: PT011 - which one is proved by the contract tests
                sandbox.read_file(path)
        pty = sandbox.open_pty()
        pty.write(b" exit\n")
        pty.wait(30)
        pty.close()
        sandbox.open_pty()
        sandbox.close()

    use()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        use()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_processes_that_are_just_starting_another_program_are_found(sandbox: LocalSandbox) -> None:
    """In the midst of it the kernel shows no environment: what starts itself anew for ever is often seen without."""
    sandbox.write_file("again", b"#!/bin/sh\necho $$ >>pids\nexec ./again\n", mode=0o755)

    def started() -> set[int]:
        return {int(line) for line in sandbox.read_file("pids").split(b"\n")[:-1]}

    for _ in range(5):
        sandbox.write_file("pids", b"")
        sandbox.exec("for i in 1 2 3 4 5 6; do setsid ./again & done")
        wait_until(lambda: len(started()) == 6)
        processes.end(tags=[f"{sandbox.id}."])
        assert wait_until(lambda: not any(map(is_alive, started())), 3) is True


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_no_warning_of_forks_beside_threads(version: str, tmp_path: Path) -> None:
    """Python 3.12 and later warn of them, and many people turn warnings into errors."""
    import pexpect
    import ptyprocess

    import pytest_kiro

    roots = sorted({str(Path(m.__file__).parents[1]) for m in (pexpect, ptyprocess, pytest_kiro) if m.__file__})
    source = f"""{IMPORTS}
import threading, warnings
threading.Thread(target=threading.Event().wait, daemon=True).start()
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    filters = list(warnings.filters)
    sandbox = provider.create(SandboxSpec())
    pty = sandbox.open_pty()
    pty.write(b" exit 3\\n")
    print(pty.wait(30), sandbox.exec("exit 4").exit_code, warnings.filters == filters, seen)
    sandbox.close()
"""
    said = run_python(source, env={"PYTHONPATH": ":".join(roots), "TMPDIR": str(tmp_path)}, python=_python(version))
    assert said == "3 4 True []\n"


def _python(version: str) -> str:
    if "{}.{}".format(*sys.version_info) == version:
        return sys.executable
    for name in (f"python{version}", *sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))):
        found = shutil.which(name)
        if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
            return found
    pytest.skip(f"no Python {version} on this machine")


def test_a_daemon_that_has_shed_session_and_environment_ends_with_the_sandbox(sandbox: LocalSandbox) -> None:
    """As of a server that writes its title over its environment; it still works in a folder of ours."""
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux tells where a process works")
    pid = int(
        sandbox.exec(
            "env -i setsid sh -c 'echo $$ >pid; exec sleep 1000' & while ! [ -s pid ]; do :; done; cat pid"
        ).output
    )
    assert is_alive(pid)
    sandbox.close()
    assert wait_until(lambda: not is_alive(pid))


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT], ids=lambda number: number.name)
def test_a_terminal_has_the_usual_signals_although_we_ignore_some(
    sandbox: LocalSandbox, number: signal.Signals
) -> None:
    """As under nohup, and in the background of a script."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        pty = sandbox.open_pty()
    finally:
        signal.signal(number, before)
    pty.write(f" exec sh -c 'kill -{number.name[3:]} $$; exit 0'\n".encode())
    while pty.read(30):
        pass
    assert pty.wait(30) == 128 + number
    pty.close()


def test_a_process_with_many_open_files_has_terminals_too() -> None:
    """`select` takes no descriptor above 1023, and a run on many workers with many plugins has some."""
    source = r"""
import os, resource, sys
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
if hard != resource.RLIM_INFINITY and hard < 1200:
    sys.exit(0)
resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200) if soft != resource.RLIM_INFINITY else soft, hard))
held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1050)]
from pytest_kiro.sandbox.local import LocalProvider
from pytest_kiro.sandbox.protocol import SandboxSpec
from pytest_kiro.settings.table import read
sandbox = LocalProvider(read(option=lambda _: None, environ={}, ini=lambda _: None)).create(SandboxSpec())
pty = sandbox.open_pty()
pty.write(b" exec echo $((6 * 7))\n")
said = b""
while data := pty.read(60):
    said += data
sandbox.close()
assert b"42" in said, said
"""
    run_python(source)


#: What a program does that does not want to be found; it notes its number, and waits.
_DAEMONS = {
    "setsid": "setsid ~/daemon ~/pid &",
    "double fork": "(setsid ~/daemon ~/pid &) &",
    "neither environment nor descriptors": "(p=$HOME; cd /; setsid env -i $p/daemon $p/pid <&- >&- 2>&- &) &",
}


@pytest.mark.parametrize("command", _DAEMONS.values(), ids=_DAEMONS)
def test_a_daemon_ends_with_its_terminal_and_with_its_folder(sandbox: LocalSandbox, command: str) -> None:
    command += " until [ -s ~/pid ]; do sleep 0.01; done"
    sandbox.write_file("daemon", b'#!/bin/sh\necho $$ >"$1"; exec sleep 1000\n', mode=0o755)

    def begun() -> int:
        daemon = int(sandbox.read_file("pid"))
        assert is_alive(daemon)
        sandbox.remove("pid")
        return daemon

    pty = sandbox.open_pty()
    pty.write(f" {command}; exit 3\n".encode())
    assert pty.wait(30) == 3
    daemon = begun()
    pty.close()
    assert not is_alive(daemon)
    assert pty.survivors.killed == (f"{daemon} sleep",)

    sandbox.exec("mkdir work")
    assert sandbox.exec(command, cwd="work").ok
    daemon = begun()
    sandbox.remove("work")
    assert not is_alive(daemon)


def test_any_tree_can_be_removed(tmp_path: Path) -> None:
    """Deeper than a path may be long and than a process may open files, and with folders that nobody may enter."""
    top = tmp_path / "top"
    top.mkdir()
    kept = tmp_path / "kept"
    kept.write_text("not ours")
    program = """
import os, resource, sys
from pathlib import Path
from pytest_kiro.sandbox.leases import remove_tree  # deep down below each import would take its time
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
os.chdir(sys.argv[1])
for number in range(1200):
    os.mkdir("d" * 100); os.chdir("d" * 100)
    open("file", "w").close(); os.symlink(sys.argv[2], "link")
os.mkfifo("pipe"); os.mkdir("locked"); os.mkdir("locked/in"); os.chmod("locked", 0)
os.mkdir("fixed"); os.mkdir("fixed/in"); open("kept", "w").close(); open("fixed/in/file", "w").close()
os.system("{ chattr +a fixed/in; chattr +i kept fixed .; } 2>/dev/null")  # as far as one may
os.chdir(sys.argv[1]); os.system("chattr +a . 2>/dev/null")
remove_tree(Path(sys.argv[1]))
"""
    done = subprocess.run([sys.executable, "-c", program, top, kept], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir(tmp_path) == ["kept"]


def test_an_exit_code_is_known_whoever_reaps(sandbox: LocalSandbox) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert sandbox.exec("exit 3").exit_code == 3
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_no_program_can_answer_for_its_supervisor(sandbox: LocalSandbox) -> None:
    assert sandbox.exec("ls /proc/$$/fd").output.split() == ["0", "1", "2"]


def test_a_command_that_kills_what_watches_it_has_no_exit_code(sandbox: LocalSandbox) -> None:
    with pytest.raises(SandboxError, match="how the command ended is not known"):
        sandbox.exec("sleep 1000 & echo $! >pid; kill -9 $PPID; exit 0")
    assert wait_until(lambda: not is_alive(int(sandbox.read_file("pid"))))
    pty = sandbox.open_pty()
    pty.write(b" kill -9 $PPID\n")
    assert pty.wait(30) is None


def test_a_warden_that_was_killed_is_begun_again(sandbox: LocalSandbox) -> None:
    with pytest.raises(SandboxError, match="not known"):
        sandbox.exec("kill -9 $(ps -o ppid= -p $PPID) $PPID")
    assert sandbox.exec("echo again").output == "again\n"


def test_who_watches_cannot_be_stopped_for_long(sandbox: LocalSandbox) -> None:
    sandbox.exec("mkdir folder").check()
    with suppress(SandboxTimeout):  # it is woken when it was stopped before it could say that the command has begun
        sandbox.exec("sleep 1000 & echo $! >../pid; kill -STOP $PPID", cwd="folder", timeout=0.5)
    sandbox.remove("folder")
    assert not is_alive(int(sandbox.read_file("pid")))
    sandbox.exec("kill -STOP $(ps -o ppid= -p $PPID)").check()
    assert sandbox.exec("echo again", timeout=20).output == "again\n"
    for word in ("STOP", "KILL"):  # also the one that waits for the next command
        others = "$(ps -o pid= --ppid $(ps -o ppid= -p $PPID))"
        sandbox.exec(f"sleep 0.1; for pid in {others}; do [ $pid = $PPID ] || kill -{word} $pid; done").check()
        assert sandbox.exec("echo again", timeout=20).output == "again\n"
    sandbox.exec("kill -STOP $(ps -o ppid= -p $PPID)").check()  # and the fixture closes it


def test_pytests_own_environment_is_not_the_sandboxs(sandbox: LocalSandbox) -> None:
    prefix = sandbox.exec("python3 -c 'import sys; print(sys.prefix)'").output.strip()
    assert Path(prefix) == Path(sys.base_prefix)
    assert "virtualenv" in sandbox.exec("python3 -m pip install nothing-of-the-kind").output
