"""What only the bubblewrap provider promises: what is seen, reached, spent and changed from inside."""

from __future__ import annotations

import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import is_alive, open_folder, run_python, wait_until
from namespaces import end_namespaces, first_process, number_outside, why_none

from pytest_kiro.errors import InstallError, SandboxError, SettingsError
from pytest_kiro.kirocli.install import install
from pytest_kiro.sandbox.bubblewrap.provider import BubblewrapProvider, BubblewrapSandbox
from pytest_kiro.sandbox.protocol import Sandbox, SandboxSpec
from pytest_kiro.settings.table import Settings, read

SETTINGS = read(option={"cli": "scripted"}.get, environ={}, ini=lambda _: None)
as_root = pytest.mark.skipif(os.getuid() != 0, reason="not root, so nobody else's files can be made")


@pytest.fixture(autouse=True)
def base(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary directory of its own, in which nothing is left."""
    if reason := why_none():
        pytest.skip(reason)
    temporary = tmp_path_factory.mktemp("t").resolve()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    yield temporary
    assert list(temporary.glob("sandboxes-*/*")) == []


@contextmanager
def sandbox_of(settings: Settings = SETTINGS, **spec: object) -> Iterator[BubblewrapSandbox]:
    provider = BubblewrapProvider(replace(settings, run_id=os.urandom(8).hex()), hosts=["*.kiro.test"])
    try:
        sandbox = provider.create(SandboxSpec(**spec))
        assert isinstance(sandbox, BubblewrapSandbox)
        yield sandbox
    finally:
        assert provider.close() == []


@pytest.fixture
def sandbox() -> Iterator[BubblewrapSandbox]:
    with sandbox_of() as made:
        yield made


def said(sandbox: Sandbox, command: str) -> str:
    return sandbox.exec(command, timeout=60).output.strip()


# -- what is seen


def test_it_has_namespaces_of_its_own_and_no_rights(sandbox: BubblewrapSandbox) -> None:
    kinds = ("user", "pid", "mnt", "ipc", "uts", "cgroup")
    inside = said(sandbox, f"cd /proc/self/ns; for kind in {' '.join(kinds)}; do readlink $kind; done").split()
    outside = [str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in kinds]
    assert len(inside) == len(kinds)
    assert not set(inside) & set(outside)
    assert said(sandbox, "grep -cE 'Cap(Prm|Eff|Bnd|Inh|Amb):.0000000000000000|NoNewPrivs:.1' /proc/self/status") == "6"
    assert said(sandbox, "hostname") == "localhost"
    assert "unshare failed" in said(sandbox, "unshare -Ur true"), "more namespaces are more of the kernel to attack"
    assert said(sandbox, "ls /proc | grep -c '^[0-9]'") <= "9", "no process of this machine"


#: What writes to the system, in its ways; each fails.
WRITES = [
    *("touch /x", "touch /usr/x", "touch /etc/x", "touch /run/tools/x", "rm /run/tools/python3", "touch /opt/x"),
    *("touch /dev/x", "echo x >/proc/sys/kernel/domainname", "mount -t tmpfs none /mnt", "chroot / true"),
]


def test_the_system_is_read_only_and_the_rest_is_its_own(sandbox: BubblewrapSandbox) -> None:
    before = [Path("/proc/sys/kernel/domainname").read_text(), Path("/dev/null").stat().st_mode]
    for write in WRITES:
        assert not sandbox.exec(write).ok, write
    sandbox.exec("chmod 600 /dev/null")
    assert [Path("/proc/sys/kernel/domainname").read_text(), Path("/dev/null").stat().st_mode] == before
    assert said(sandbox, "cd ~; pwd; echo $TMPDIR; touch x /tmp/x /dev/shm/x && ls -A /tmp /dev/shm ..").split() == [
        *("/var/home/user", "/tmp", "..:", "user", "/dev/shm:", "x", "/tmp:", "x")
    ]
    assert said(sandbox, "echo fine >/dev/null; head -c 3 /dev/zero | wc -c; python3 -c 'print(6 * 7)'") == "3\n42"


def test_nothing_of_the_developers_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: Path, sandbox: BubblewrapSandbox
) -> None:
    (tmp_path / "key").write_text("secret")
    (base / "key").write_text("secret")
    for name in ("KIRO_API_KEY", "AWS_PROFILE", "HTTPS_PROXY", "SSH_AUTH_SOCK"):
        monkeypatch.setenv(name, "secret")
    with sandbox_of() as another:
        another.write_file("mine", b"secret")
        there = said(sandbox, "env; cat /etc/passwd; cat /proc/1/environ; ls /home /root /mnt /srv /var /tmp /run")
    assert "secret" not in there
    assert "pytest" not in there.lower()
    assert "kiro" not in there.lower()
    names = {line.partition(":")[0] for line in said(sandbox, "cat /etc/passwd").splitlines()}
    assert names <= {"root", "user"}, "who else is on this machine is nobody's business"
    assert said(sandbox, "id -un; echo $USER $LOGNAME; cd; echo ~user").split() == ["user"] * 3 + ["/var/home/user"]
    for path in (tmp_path / "key", base / "key", Path(__file__), *base.glob("sandboxes-*/*")):
        assert not sandbox.exec(f"ls {path}").ok, path
    (base / "key").unlink()


@as_root
def test_what_only_some_may_read_is_not_there_for_root_either(sandbox: BubblewrapSandbox) -> None:
    assert "secret" not in said(sandbox, "cat /etc/shadow /etc/gshadow; ls /etc/ssl/private")
    assert said(sandbox, "cat /etc/shadow; ls -A /etc/ssl/private 2>/dev/null").count(":") <= 2


# -- files: what a path means


#: How an agent may lead the harness to a file out here, by a link.
LEADS = {
    "a link": "ln -s {0} lead",
    "a link to its folder": "ln -s $(dirname {0}) above; ln -s above/$(basename {0}) lead",
    "a folder that is a link": "mkdir -p away; ln -s {0} away/lead; ln -s away/lead lead",
}


@pytest.mark.parametrize("lead", LEADS)
def test_no_link_leads_the_harness_out(tmp_path: Path, sandbox: BubblewrapSandbox, lead: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("kept")
    sandbox.exec(LEADS[lead].format(secret)).check()
    for read_it in (lambda: sandbox.read_file("lead"), lambda: sandbox.read_files(["lead"])):
        with pytest.raises(FileNotFoundError):
            read_it()
    sandbox.exec(f"ln -s {tmp_path} folder").check()
    with pytest.raises(FileNotFoundError):
        sandbox.list_files("folder")
    with pytest.raises(OSError, match=r"Read-only|No such file|File exists"):
        sandbox.write_file("folder/new", b"")
    sandbox.remove("folder/secret")
    sandbox.remove("folder")
    sandbox.remove("lead")
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
    assert secret.read_text() == "kept"


def test_who_reads_the_files_cannot_be_seen_and_is_begun_again(sandbox: BubblewrapSandbox) -> None:
    sandbox.write_file("file", b"x")
    reader = sandbox._inside._process
    assert reader is not None
    assert number_outside(sandbox, reader.pid) == 0
    assert "CapEff:\t0000000000000000" in Path(f"/proc/{reader.pid}/status").read_text()
    reader.kill()
    reader.wait()
    with pytest.raises(SandboxError, match=r"is gone, or its files do not answer \(read\)"):
        sandbox.read_file("file")
    assert sandbox.read_file("file") == b"x"


def test_another_file_system_than_homes(base: Path) -> None:
    """The temporary directory is often one of its own, in memory."""
    source = f"""
import tempfile
tempfile.tempdir = {str(base)!r}
from pytest_kiro.sandbox.bubblewrap.provider import BubblewrapProvider
from pytest_kiro.sandbox.protocol import SandboxSpec
from pytest_kiro.settings.table import read
provider = BubblewrapProvider(read(option={{"cli": "scripted"}}.get, environ={{}}, ini=lambda _: None, run_id="r"))
sandbox = provider.create(SandboxSpec())
sandbox.write_file("folder/file", b"x")
sandbox.guard(f"{{sandbox.home}}/folder")
sandbox.exec("rm file; mkdir file", cwd="folder").check()
sandbox.write_file("folder/file", b"y")
print(sandbox.exec("cat folder/file; echo >/dev/null; mv folder /tmp/ && ls /tmp").output)
provider.close()
"""
    unshare = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--map-current-user", "--mount"]
    script = f'mount -t tmpfs -o nodev none {base} && exec "$@"'
    done = subprocess.run(
        [*unshare, "sh", "-ec", script, "sh", sys.executable, "-c", source], capture_output=True, text=True, check=False
    )
    if "mount:" in done.stderr:
        pytest.skip("mounting is not allowed here")
    assert (done.stdout.split(), done.stderr) == (["yfolder"], "")


# -- processes


#: Stops or kills what can be: all inside but the shell that says so, and who watches it.
OTHERS = "for pid in $(ls /proc | grep '^[0-9]'); do [ $pid = $$ ] || [ $pid = $PPID ] || kill -{} $pid; done"


def test_what_watches_cannot_be_ended_from_inside(sandbox: BubblewrapSandbox) -> None:
    first = first_process(sandbox)
    with pytest.raises(SandboxError, match="how the command ended is not known"):
        sandbox.exec("kill -9 -1")
    for signal in ("STOP", "KILL"):
        sandbox.exec(OTHERS.format(signal), timeout=20)
        assert sandbox.exec("echo on", timeout=20).output == "on\n"
    assert first_process(sandbox) == first


OWNER = f"""
import sys, tempfile
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
tempfile.tempdir = sys.argv[1]
from pytest_kiro.sandbox.bubblewrap.provider import BubblewrapProvider
from pytest_kiro.sandbox.protocol import SandboxSpec
from pytest_kiro.settings.table import read
provider = BubblewrapProvider(
    read(option={{"cli": "scripted", "network": "kiro"}}.get, environ={{}}, ini=lambda _: None, run_id="run")
)
sandbox = provider.create(SandboxSpec())
sandbox.exec(sys.argv[2])
sandbox.list_files("")
print(sandbox._spaces.pid, sandbox._inside._process.pid, flush=True)
sys.stdin.read()
"""


def test_a_run_that_is_killed_takes_all_along(base: Path) -> None:
    """Also where an agent has stopped whatever it could: who waits for an order inside would not hear the end."""
    stop = f"setsid env -i sleep 1000 & {OTHERS.format('STOP')}"
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(base), stop], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdin
    assert owner.stdout
    first, porter = map(int, owner.stdout.readline().split())
    assert is_alive(first)
    owner.kill()
    owner.wait()
    assert wait_until(lambda: not is_alive(first))
    assert wait_until(lambda: not is_alive(porter))
    owner.stdin.close()
    owner.stdout.close()
    with sandbox_of():  # which clears away its folder
        pass


def test_namespaces_that_have_ended_are_an_error_that_says_so(sandbox: BubblewrapSandbox) -> None:
    pty = sandbox.open_pty()
    end_namespaces(sandbox)
    for verb in (lambda: sandbox.exec("true"), sandbox.open_pty, lambda: sandbox.list_files("")):
        with pytest.raises(SandboxError, match=r"is gone: process 1 of its namespaces has ended\n.*memory was short"):
            verb()
    assert pty.wait(5) is None, "nobody knows how that ended, and it is no pass"


# -- limits


def test_limits_hold(base: Path) -> None:
    with sandbox_of(resources={"memory": 1, "processes": 40, "open_files": 50, "file_size": 1}) as sandbox:
        hog = "python3 -c 'data = bytearray(1 << 30); data[::4096] = bytes(len(data[::4096]))'"
        assert not sandbox.exec(hog, timeout=60).ok
        sandbox.exec("mkdir bomb").check()
        many = "i=0; while [ $((i += 1)) -le 60 ]; do sleep 1000 & done"
        assert "ork" in sandbox.exec(many, cwd="bomb", timeout=20).output, "there are no more processes to be had"
        with suppress(SandboxError):  # it may begin what it has made ready before
            sandbox.exec("true", timeout=1)
        sandbox.remove("bomb")
        opened = "python3 -c 'files = [open(\"/dev/null\") for _ in range(60)]'"
        assert "Too many open files" in said(sandbox, opened)
        assert not sandbox.exec("truncate -s 2G large").ok
        assert said(sandbox, "echo on") == "on"


@pytest.mark.parametrize("resources", [{"cpu": 1}, {"memory": 0}, {"memory": "8"}, {"processes": True}])
def test_other_limits_are_refused(resources: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=r"which the bubblewrap sandbox cannot give; wanted: .*memory, processes"):
        BubblewrapProvider(SETTINGS).create(SandboxSpec(resources=resources))


@pytest.mark.parametrize("field", ["image", "region", "labels"])
def test_what_it_cannot_be_is_refused(field: str) -> None:
    with pytest.raises(SettingsError, match=f"the bubblewrap sandbox has no {field}; it takes env, resources and"):
        BubblewrapProvider(SETTINGS).create(SandboxSpec(**{field: {"a": "b"} if field == "labels" else "x"}))


# -- network


@pytest.fixture
def server() -> Iterator[int]:
    """A web server of this machine; returns its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"reached")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made.server_port
        made.shutdown()
        thread.join()


#: Asks by a tunnel through the proxy, as https does, and directly.
ASK = """
import http.client, os, sys, urllib.request
def tell(what, ask):
    try:
        print(what, ask())
    except OSError as error:
        print(what, error)
proxy = os.environ.get("HTTPS_PROXY", "http://127.0.0.1:9").rpartition("/")[2]
def tunnel(target):
    link = http.client.HTTPConnection(proxy, timeout=20)
    name, port = target.split(":")
    link.set_tunnel(name, int(port))
    link.request("GET", "/")
    return link.getresponse().read().decode()
def direct(url):
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=20).read().decode()
def plain(url):
    link = http.client.HTTPConnection(proxy, timeout=20)
    link.request("GET", url)
    answer = link.getresponse()
    return f"{answer.status} {answer.read().decode().strip()}"
for word in sys.argv[1:]:
    kind, _, target = word.partition("=")
    tell(word, lambda: {"tunnel": tunnel, "direct": direct, "plain": plain}[kind](target))
"""


def asked(network: str, *words: str, **spec: object) -> list[str]:
    settings = replace(SETTINGS, network=network)
    with sandbox_of(settings, **spec) as sandbox:
        sandbox.write_file("ask.py", ASK.encode())
        said_ = sandbox.exec(f"python3 ask.py {' '.join(words)}", timeout=60).check().output
        assert said_.count("\n") == len(words)
        return [line.partition(" ")[2] for line in said_.splitlines()]


def test_the_network_is_this_machines_or_none(server: int) -> None:
    direct = f"direct=http://127.0.0.1:{server}"
    assert asked("on", direct) == ["reached"]
    (refused,) = asked("off", direct)
    assert "Connection refused" in refused


def test_a_list_of_hosts_is_reached_and_nothing_else(server: int) -> None:
    here = f"127.0.0.1:{server}"
    answers = asked(
        f"{here},localhost:1,host.test",
        f"tunnel={here}",
        f"direct=http://{here}",
        f"tunnel=127.0.0.2:{server}",
        "tunnel=localhost:1",
        f"tunnel=localhost:{server}",
        "tunnel=other.test:443",
        "tunnel=host.test:80",
        "tunnel=api.kiro.test:443",
        f"plain=http://{here}/",
    )
    assert answers[0] == "reached"
    assert "refused" in answers[1]
    assert answers[2] == "Tunnel connection failed: 403 Forbidden"
    assert answers[3] == "Tunnel connection failed: 502 Bad Gateway", "it may be reached, but nobody listens"
    assert answers[4:7] == ["Tunnel connection failed: 403 Forbidden"] * 3
    assert answers[7] == "Tunnel connection failed: 502 Bad Gateway", "Kiro's own may always be reached"
    assert answers[8] == "405 only https goes through here (CONNECT)"
    assert asked("on", f"tunnel={here}", domain_allow_list=[here]) == ["reached"]


def test_a_name_may_not_lead_elsewhere() -> None:
    from pytest_kiro.sandbox.bubblewrap.proxy import hosts

    wild, exact, local, address = hosts(["*.corp.test", "pypi.corp.test", "localhost", "10.0.0.7"])
    assert [
        wild.may_be(ip) for ip in ("1.1.1.1", "10.0.0.7", "127.0.0.1", "169.254.169.254", "::1", "fe80::1%eth0")
    ] == [*(True, False, False, False, False, False)]
    assert [exact.may_be(ip) for ip in ("1.1.1.1", "10.0.0.7", "127.0.0.1", "169.254.169.254", "0.0.0.0", "::1")] == [
        *(True, True, False, False, False, False)
    ]
    assert local.may_be("127.0.0.1")
    assert address.may_be("10.0.0.7")
    assert [wild.matches(*host) for host in (("a.b.corp.test", 443), ("corp.test", 443), ("evilcorp.test", 443))] == [
        *(True, False, False)
    ]


def test_kiro_is_not_shut_off_from_its_service() -> None:
    settings = read(option={"network": "off"}.get, environ={}, ini=lambda _: None)
    with pytest.raises(
        SettingsError, match=r"--kiro-network: with network off, Kiro does not.*use --kiro-network=kiro"
    ):
        BubblewrapProvider(settings).create(SandboxSpec())


# -- kiro-cli


@pytest.fixture
def own_cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A developer's kiro-cli, which is a link and needs what is beside it."""
    place, folder = tmp_path / "place", tmp_path / "bin"
    place.mkdir()
    folder.mkdir()
    for name, text in (("kiro-cli", 'exec kiro-cli-chat "$@"'), ("kiro-cli-chat", "echo kiro-cli 2.30.1")):
        (place / name).write_text(f"#!/bin/sh\n{text}\n")
        (place / name).chmod(0o755)
    (place / "other").write_text("secret")
    (folder / "kiro-cli").symlink_to(place / "kiro-cli")
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return place


def test_kiro_cli_is_the_developers_and_cannot_be_changed(own_cli: Path) -> None:
    with sandbox_of(replace(SETTINGS, cli=None)) as sandbox:
        installed = install(sandbox, "official", timeout=60)
        assert (installed.path, installed.version, installed.scripted) == ("/run/cli/kiro-cli", "2.30.1", False)
        assert said(sandbox, "ls /run/cli").split() == ["kiro-cli", "kiro-cli-chat"]
        for harm in ("rm /run/cli/kiro-cli", "echo x >/run/cli/kiro-cli-chat", "mv /run/cli /run/clo"):
            assert not sandbox.exec(harm).ok, harm
    assert (own_cli / "kiro-cli-chat").read_text().endswith("2.30.1\n")


def test_a_kiro_cli_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(SETTINGS, cli="official")
    bwrap = shutil.which("bwrap")
    assert bwrap is not None
    (tmp_path / "bwrap").symlink_to(bwrap)
    monkeypatch.setenv("PATH", str(tmp_path))  # on which nothing else is
    with pytest.raises(
        InstallError, match=r"no kiro-cli on your PATH for the bubblewrap.*install it from kiro.dev, or"
    ):
        BubblewrapProvider(settings).create(SandboxSpec())
    with sandbox_of(replace(settings, cli_version="2.29.0")) as sandbox:  # it is installed inside
        assert not sandbox.exec("command -v kiro-cli").ok
    with sandbox_of(replace(settings, replies="recording")):
        pass


# -- without root


@as_root
def test_all_of_it_without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", None)  # pytest's folders are closed to others
    source = f"""
import sys, tempfile
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from helpers import drop_root
from pytest_kiro.errors import SandboxError
from pytest_kiro.sandbox.bubblewrap.provider import BubblewrapProvider
from pytest_kiro.sandbox.protocol import SandboxSpec
from pytest_kiro.settings.table import read
tempfile.tempdir = sys.argv[1]
settings = read(option={{"cli": "scripted", "network": "kiro"}}.get, environ={{}}, ini=lambda _: None, run_id="run")
drop_root()
provider = BubblewrapProvider(settings)
sandbox = provider.create(SandboxSpec(resources={{"processes": 30}}))
sandbox.write_file("folder/file", b"x")
print(sandbox.exec("id -u; id -un; cat folder/file; chmod 000 folder; tty").output.split())
many = "i=0; while [ $((i += 1)) -le 60 ]; do sleep 20 & done"
sandbox.exec("mkdir bomb")
print("ork" in sandbox.exec(many, cwd="bomb").output)
sandbox.remove("bomb")
pty = sandbox.open_pty()
pty.write(b" tty; exit 7\\n")
print(pty.wait(30), b"/dev/pts/0" in pty.read(5))
print(sandbox.exec("cat /proc/1/status | grep Cap | sort -u; echo $HTTPS_PROXY").output.count("0000000000000000"))
sandbox.remove("folder")
print(sandbox.list_files(""), provider.close())
"""
    with open_folder() as folder:
        lines = run_python(source, folder).splitlines()
        assert lines == [
            *("['65534', 'user', 'xnot', 'a', 'tty']", "True", "7 True", "5", "[] []"),
        ]
        assert list(Path(folder).glob("*/*")) == []


SCOPED = f"""
import os, sys, tempfile
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from helpers import drop_root
from pytest_kiro.sandbox.bubblewrap.provider import BubblewrapProvider
from pytest_kiro.sandbox.protocol import SandboxSpec
from pytest_kiro.settings.table import read
tempfile.tempdir = sys.argv[1]
settings = read(option={{"cli": "scripted"}}.get, environ={{}}, ini=lambda _: None, run_id="run")
drop_root()
provider = BubblewrapProvider(settings)
sandbox = provider.create(SandboxSpec(resources={{"memory": 2, "processes": 99}}))
print(sandbox.exec("echo on; env").output)
provider.close()
"""


@as_root
@pytest.mark.parametrize("answers", [True, False])
def test_the_users_systemd_limits_it_where_that_answers(monkeypatch: pytest.MonkeyPatch, answers: bool) -> None:
    """A stand-in for systemd-run, which starts what it is given, as `--scope` does."""
    monkeypatch.setattr("tempfile.tempdir", None)  # pytest's folders are closed to others
    with open_folder() as folder:
        program = Path(folder, "systemd-run")
        run = 'until [ "$1" = true ] || [ "${1##*/}" = bwrap ]; do shift; done; exec "$@"' if answers else "exit 1"
        program.write_text(f'#!/bin/sh\necho "$@" >>{folder}/asked\n{run}\n')
        program.chmod(0o755)
        env = {"PATH": f"{folder}:{os.environ['PATH']}", "XDG_RUNTIME_DIR": folder}
        said = run_python(SCOPED, folder, env=env)
        asked = Path(folder, "asked").read_text().splitlines()
    assert said.startswith("on\n")
    assert "XDG_RUNTIME_DIR" not in said
    assert len(asked) == (2 if answers else 1), "it is tried before it is trusted"
    for line in asked:
        assert line.startswith("--user --scope --quiet --collect --property=MemoryMax=2147483648 ")
        assert "--property=MemorySwapMax=0 --property=TasksMax=99 " in line


def test_first_process_is_the_warden(sandbox: BubblewrapSandbox) -> None:
    assert "start.py" in Path(f"/proc/{first_process(sandbox)}/cmdline").read_text()
