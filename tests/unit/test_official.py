"""The official CLI's installation: real shells, real archives; only the network is a program of ours."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import re
import shlex
import shutil
import sys
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pytest_kiro.errors import InstallError, SandboxTimeout
from pytest_kiro.kirocli import official
from pytest_kiro.kirocli.install import Installation, install
from pytest_kiro.sandbox.local import LocalSandbox
from pytest_kiro.sandbox.protocol import ExecResult

#: What the recipe may use of the machine; a developer's own kiro-cli, or a missing unzip, must not matter.
TOOLS = ["sh", "bash", "cat", "chmod", "cp", "grep", "gzip", "ls", "mkdir", "mv", "rm", "sed", "sha256sum", "sleep"]
TOOLS += ["tar", "tr", "wc"]
SITE = "prod.download.cli.kiro.dev/stable"
GUIDE = "cli.kiro.dev/install"
#: Like curl: what is in the folder is there, a host with a file `exit` in its folder fails so, others have no name.
CURL = """\
#!/bin/sh
while [ $# -gt 0 ]; do
  case "$1 $2" in
    "-o "*) out=$2; shift ;;
    "--proto =https" | "--connect-timeout "[1-9]* | "--retry "[1-9]*) shift ;;
    "-fsSL "*) ;;
    https://*) url=$1 ;;
    *) echo "curl: option $1: is unknown"; exit 2 ;;
  esac
  shift
done
echo "$url" >>"$WEB/log"
name=${url#https://} host=${url#https://}; host=${host%%/*}
[ -d "$WEB/$host" ] || { echo "curl: (6) Could not resolve host: $host" >&2; exit 6; }
[ -f "$WEB/$host/exit" ] && { read -r code <"$WEB/$host/exit"; echo "curl: ($code) it failed" >&2; exit "$code"; }
[ -f "$WEB/$host/hook" ] && . "$WEB/$host/hook"
[ -f "$WEB/$name" ] || { echo "curl: (22) The requested URL returned error: 404" >&2; exit 22; }
if [ -n "$out" ]; then cp "$WEB/$name" "$out"; else cat "$WEB/$name"; fi
"""
UNZIP = """\
#!{python}
import sys, zipfile
with zipfile.ZipFile(sys.argv[2]) as archive:
    archive.extractall(sys.argv[4])
"""
#: It knows its version and its settings, and asks its sibling by name, as the real launcher does.
PROGRAM = """\
#!/bin/sh
case $1 in
--version) echo "{name} {version}" ;;
settings) echo "$2=$3 $KIRO_NO_AUTO_UPDATE$KIRO_DISABLE_TELEMETRY" >>"$HOME/.settings" ;;
*) exec kiro-cli-chat --version ;;
esac
"""
#: Puts kiro-cli into its HOME, as the guide's script does.
SCRIPT = """\
mkdir -p "$HOME/.local/bin" && cd "$HOME/.local/bin" || exit 1
for name in kiro-cli kiro-cli-chat q; do cp "$WEB/$name" $name && chmod 755 $name; done
echo "setup skipped: $KIRO_CLI_SKIP_SETUP"
"""


def program(name: str = "kiro-cli", version: str = "2.24.1") -> str:
    return PROGRAM.format(name=name, version=version)


class Machine(LocalSandbox):
    """An isolated machine that remembers its commands, in front of a web that is a folder."""

    isolated = True

    def __init__(self, sandbox: LocalSandbox, folder: Path, *, tools: list[str]) -> None:
        self.web, self.commands = folder / "web", list[str]()
        (folder / "tools").mkdir()
        self.web.mkdir()
        for tool in tools:
            (folder / "tools" / tool).symlink_to(shutil.which(tool) or "/nowhere")
        super().__init__(sandbox._lease, {"PATH": f"{folder}/tools", "WEB": str(self.web)})
        self._warden = sandbox._warden  # which is closed with it
        self.bin = Path(self.home, ".local", "bin")
        self.stand_in("curl", CURL)
        self.stand_in("uname", '#!/bin/sh\n[ "$1" = -s ] && echo Linux || echo x86_64\n')
        self.stand_in("getconf", "#!/bin/sh\necho glibc 2.36\n")
        if "unzip" not in tools:
            self.stand_in("unzip", UNZIP.format(python=sys.executable))
        self.serve(GUIDE, SCRIPT)
        for name in ("kiro-cli", "kiro-cli-chat", "q"):
            self.serve(name, program(name, "2.29.0"))

    def exec(self, command: str, **given: Any) -> ExecResult:
        self.commands.append(command)
        return super().exec(command, **given)

    def stand_in(self, name: str, text: str) -> None:
        self.write_file(f".local/bin/{name}", text.encode(), mode=0o755)

    def serve(self, name: str, content: str | bytes) -> None:
        path = self.web / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def publish(self, file: str, version: str = "2.24.1", *, says: str | None = None, checksum: bool = True) -> bytes:
        """Put an archive on the site, with its checksum beside it."""
        data = archive(file, says or version)
        self.serve(f"{SITE}/{version}/{file}", data)
        if checksum:
            self.serve(f"{SITE}/{version}/{file}.sha256", hashlib.sha256(data).hexdigest().upper() + f"  {file}\r\n")
        return data

    @property
    def fetched(self) -> list[str]:
        log = self.web / "log"
        return log.read_text().splitlines() if log.exists() else []

    def left(self) -> list[str]:
        """Name what is in HOME and was not put there by `__init__`."""
        files = {str(path.relative_to(self.home)) for path in Path(self.home).rglob("*") if not path.is_dir()}
        return sorted(files - {f".local/bin/{name}" for name in ("curl", "uname", "getconf", "unzip")})


def archive(file: str, version: str) -> bytes:
    files = {name: program(name, version).encode() for name in ("kiro-cli", "kiro-cli-chat", "q")}
    data = io.BytesIO()
    if file.endswith(".zip"):
        with zipfile.ZipFile(data, "w") as packed:
            for name, content in files.items():
                packed.writestr(f"kirocli/bin/{name}", content)
    else:
        with tarfile.open(fileobj=data, mode="w:gz") as tar:
            for name, content in files.items():
                entry = tarfile.TarInfo(f"kirocli/bin/{name}")
                entry.size, entry.mode = len(content), 0o755
                tar.addfile(entry, io.BytesIO(content))
    return data.getvalue()


INSTALLED = [".local/bin/kiro-cli", ".local/bin/kiro-cli-chat", ".settings"]
GNU = "kirocli-x86_64-linux.tar.gz"


@pytest.fixture
def machine(sandbox: LocalSandbox, tmp_path: Path) -> Machine:
    return Machine(sandbox, tmp_path, tools=TOOLS)


def official_cli(machine: LocalSandbox, version: str | None = None, timeout: float = 60) -> Installation:
    return install(machine, "official", timeout=timeout, version=version)


def refused(machine: LocalSandbox, version: str | None = None, timeout: float = 60) -> str:
    with pytest.raises(InstallError) as caught:
        official_cli(machine, version, timeout)
    said = str(caught.value)
    assert "cli.kiro.dev, prod.download.cli.kiro.dev, desktop-release.q.us-east-1.amazonaws.com in the" in said
    for remedy in ("--kiro-snapshot", "--kiro-cli=/path", "--kiro-cli=scripted"):
        assert remedy in said.splitlines()[-1]
    return said


# -- the guide's script


def test_the_script_installs(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pytest_kiro.kirocli.official")
    assert official_cli(machine) == Installation(f"{machine.bin}/kiro-cli", "2.29.0", scripted=False)
    assert machine.fetched == [f"https://{GUIDE}"]
    assert machine.left() == INSTALLED, "and nothing temporary"
    assert len(machine.commands) == 2, "one to look, one to install: each costs over a network"
    assert caplog.messages == ["installing kiro-cli (latest) …", "installed kiro-cli 2.29.0"]


def test_setup_updates_and_telemetry_are_off(machine: Machine) -> None:
    machine.serve(GUIDE, SCRIPT + 'echo "$KIRO_CLI_SKIP_SETUP$KIRO_NO_AUTO_UPDATE" >"$WEB/seen"\n')
    official_cli(machine)
    assert (machine.web / "seen").read_text() == "11\n"
    assert machine.read_file(".settings").decode().splitlines() == [
        "telemetry.enabled=false 11",
        "app.disableAutoupdates=true 11",
    ]


def test_settings_that_cannot_be_set_do_not_undo_the_installation(machine: Machine) -> None:
    machine.serve("kiro-cli", program(version="2.29.0").replace("settings)", "settings) exit 1 ;; never)"))
    assert official_cli(machine).version == "2.29.0"


def test_the_clis_children_find_its_sibling(machine: Machine) -> None:
    """kiro-cli starts kiro-cli-chat by name; so does what the script starts."""
    machine.serve("kiro-cli", '#!/bin/sh\n[ "$1" = settings ] || kiro-cli-chat --version | sed s/-chat//\n')
    machine.serve(GUIDE, SCRIPT + 'echo "$PATH" >"$WEB/path"\n')
    assert official_cli(machine).version == "2.29.0"
    assert (machine.web / "path").read_text().startswith(f"{machine.bin}:")


def test_the_script_exits_0_and_leaves_nothing(machine: Machine) -> None:
    machine.serve(GUIDE, "echo all is well\n")
    said = refused(machine)
    assert said.startswith(f"kiro-cli (latest) was not installed into sandbox {machine.id} (curl -fsSL https://{GUIDE}")
    assert "| bash): the installer exited with 0 and left no kiro-cli\n" in said
    assert "  | all is well\n" in said
    assert machine.left() == []


def test_the_script_fails(machine: Machine) -> None:
    """What it left may be half of it: the CLI answers, and its chat program did not fit onto the disk."""
    machine.serve(GUIDE, SCRIPT + "rm kiro-cli-chat; echo no space left >&2; exit 3\n")
    said = refused(machine)
    assert "bash): the installer exited with 3\n" in said
    assert "  | no space left\n" in said
    assert machine.left() == []


@pytest.mark.parametrize("reads", ["read -r line; echo \"read: '$line' $?\"", "cat; echo \"read: '' 1\""])
def test_the_script_reads_end_of_file(machine: Machine, reads: str) -> None:
    """Piped into bash it would eat itself, and waiting for an answer is a hang."""
    machine.serve(GUIDE, f"{reads}\nexit 4\n")
    assert "  | read: '' 1\n  | pytest-kiro: the installer exited with 4\n" in refused(machine)


def test_the_script_hangs(machine: Machine) -> None:
    def out_of_time(command: str, **given: Any) -> ExecResult:
        if "fetching" not in command:
            return LocalSandbox.exec(machine, command, **given)
        assert given["timeout"] == 7
        token = re.findall(r" token=(\w+) ", command)[0]
        machine.write_file(f".local/bin/.pytest-kiro-{token}/install.sh", b"")
        raise SandboxTimeout("the command did not end", "pytest-kiro: fetching x\nProceed? [y/N]")

    machine.exec = out_of_time  # type: ignore[method-assign,assignment]
    said = refused(machine, timeout=7)
    assert "bash): it did not end within 7 s; --kiro-setup-timeout sets" in said
    assert "  | Proceed? [y/N]\n" in said
    assert machine.left() == []
    assert not list(machine.bin.glob(".*"))


def test_a_script_that_really_hangs_is_ended(machine: Machine) -> None:
    machine.serve(GUIDE, "sleep 1000\n")
    assert "did not end within 2 s" in refused(machine, timeout=2)
    assert machine.left() == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("echo hello", "wanted kiro-cli X.Y.Z, but it said: hello"),
        ("echo no libasound >&2; exit 127", "kiro-cli does not run here"),
        ("exit 0", "wanted kiro-cli X.Y.Z, but it said:"),
    ],
)
def test_a_version_check_that_prints_rubbish(machine: Machine, answer: str, reason: str) -> None:
    machine.stand_in("kiro-cli", program(version="broken"))
    machine.serve("kiro-cli", f"#!/bin/sh\n{answer}\n")
    said = refused(machine)
    assert f"bash): {reason}" in said
    assert "  | pytest-kiro: kiro-cli --version exited with " in said
    assert "kiro-cli broken" in machine.exec("$HOME/.local/bin/kiro-cli --version").output, "what was there stays"
    assert machine.left() == [".local/bin/kiro-cli"]


def test_a_sibling_that_does_not_run_is_found_now(machine: Machine) -> None:
    """The real one is linked to libraries that an image may not have, and chat needs it."""
    machine.serve("kiro-cli-chat", "#!/bin/sh\necho 'error while loading shared libraries: libasound.so.2'\nexit 127\n")
    said = refused(machine)
    assert "bash): kiro-cli-chat does not run here\n" in said
    assert "exited with 127 and said: error while loading shared libraries: libasound.so.2\n" in said
    assert machine.left() == []


def test_a_cli_that_breaks_by_being_moved(machine: Machine) -> None:
    moved = 'case $0 in *.pytest-kiro-*) echo "kiro-cli 2.29.0" ;; *) echo moved; exit 5 ;; esac'
    machine.serve("kiro-cli", f"#!/bin/sh\n{moved}\n")
    said = refused(machine)
    assert "bash): it is in place, but its --version exited with 5 and said no version\n" in said
    assert "  | moved\n" in said


def test_a_program_named_q_does_not_stop_the_script(machine: Machine) -> None:
    """It takes it for the CLI's predecessor, and refuses unless it is forced; kiro-cli itself brings a q along."""
    machine.serve(GUIDE, 'if [ "$1" != --force ] && command -v q; then exit 1; fi\n' + SCRIPT)
    machine.stand_in("q", program("q"))
    assert official_cli(machine).version == "2.29.0"


# -- pinned archives


@pytest.mark.parametrize(
    ("kernel", "libc", "file"),
    [
        ("x86_64", "echo glibc 2.34", "kirocli-x86_64-linux.tar.gz"),
        ("x86_64", "echo glibc 2.33", "kirocli-x86_64-linux-musl.tar.gz"),
        ("x86_64", "echo glibc 3.0", "kirocli-x86_64-linux.tar.gz"),
        ("x86_64", "exit 1", "kirocli-x86_64-linux-musl.tar.gz"),
        ("aarch64", "echo glibc 2.39", "kirocli-aarch64-linux.tar.gz"),
        ("aarch64", "echo glibc 2.36", "kirocli-aarch64-linux-musl.tar.gz"),
        ("arm64", "echo glibc 2.41", "kirocli-aarch64-linux.tar.gz"),
    ],
)
def test_the_archive_fits_the_machine(machine: Machine, kernel: str, libc: str, file: str) -> None:
    machine.stand_in("uname", f'#!/bin/sh\n[ "$1" = -s ] && echo Linux || echo {kernel}\n')
    machine.stand_in("getconf", f"#!/bin/sh\n{libc}\n")
    machine.publish(file)
    installed = official_cli(machine, "2.24.1")
    assert installed == Installation(f"{machine.bin}/kiro-cli", "2.24.1", scripted=False)
    base = f"https://{SITE}/2.24.1/{file}"
    assert machine.fetched == [f"{base}.sha256", base]
    assert machine.left() == INSTALLED
    assert len(machine.commands) == 2


@pytest.mark.parametrize(
    ("ldd", "file"),
    [
        ("echo 'ldd (Debian GLIBC 2.36-9+deb12u7) 2.36'; echo Copyright 2022", "kirocli-x86_64-linux.tar.gz"),
        ("echo 'ldd (GNU libc) 2.26'", "kirocli-x86_64-linux-musl.tar.gz"),
        ("echo 'musl libc (x86_64)' >&2; echo 'Version 1.2.5' >&2; exit 1", "kirocli-x86_64-linux-musl.tar.gz"),
    ],
)
def test_without_getconf_ldd_knows_the_libc(machine: Machine, ldd: str, file: str) -> None:
    machine.remove(".local/bin/getconf")
    machine.stand_in("ldd", f"#!/bin/sh\n{ldd}\n")
    machine.publish(file)
    assert official_cli(machine, "2.24.1").version == "2.24.1"


def test_a_machine_for_which_there_is_none(machine: Machine) -> None:
    machine.stand_in("uname", '#!/bin/sh\n[ "$1" = -s ] && echo Linux || echo riscv64\n')
    assert f"({official.ARCHIVES}/2.24.1/): there is no kiro-cli for Linux on riscv64\n" in refused(machine, "2.24.1")
    assert machine.fetched == []


@pytest.mark.parametrize("release", ["2.24.1", "latest"])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_manifest_has_the_checksum_where_none_is_beside_the_archive(
    machine: Machine, release: str, indent: int | None
) -> None:
    data = machine.publish(GNU, checksum=False)
    digest = {"other": "0" * 64, "this": hashlib.sha256(data).hexdigest().upper()}
    packages = [
        {"os": "linux", "download": f"{version}/{file}", "sha256": digest[whose], "size": 1}
        for version, file, whose in (
            ("2.24.0", GNU, "other"),
            ("2.24.1", "kirocli-x86_64-linux-musl.tar.gz", "other"),
            ("2.24.1", GNU, "this"),
            ("2.24.1", f"{GNU}.xz", "other"),
        )
    ]
    manifest = json.dumps({"version": "2.24.1", "packages": packages}, indent=indent)
    machine.serve(f"{SITE}/{release}/manifest.json", manifest)
    assert official_cli(machine, "2.24.1").version == "2.24.1"


@pytest.mark.parametrize("beside", [None, "<html>log in first</html>", "", "abc123", "0" * 65])
def test_without_a_checksum_nothing_is_installed(machine: Machine, beside: str | None) -> None:
    machine.publish(GNU, checksum=False)
    if beside is not None:
        machine.serve(f"{SITE}/2.24.1/{GNU}.sha256", beside)
    newer = {"packages": [{"download": f"2.29.0/{GNU}", "sha256": "0" * 64}]}
    machine.serve(f"{SITE}/latest/manifest.json", json.dumps(newer))
    said = refused(machine, "2.24.1")
    assert f"/): no SHA-256 of {GNU} is published for version 2.24.1; is there such a version?\n" in said
    assert f"https://{SITE}/2.24.1/{GNU}" not in machine.fetched
    assert machine.left() == []


def test_a_version_that_does_not_exist(machine: Machine) -> None:
    machine.publish(GNU)
    said = refused(machine, "9.9.9")
    assert said.startswith("kiro-cli 9.9.9 was not installed")
    assert "is there such a version?\n" in said
    assert f"  | pytest-kiro: curl exited with 22 for https://{SITE}/latest/manifest.json\n" in said


def test_a_checksum_without_its_archive(machine: Machine) -> None:
    machine.publish(GNU)
    (machine.web / SITE / "2.24.1" / GNU).unlink()
    said = refused(machine, "2.24.1")
    assert f"/2.24.1/): curl exited with 22 for https://{SITE}/2.24.1/{GNU}\n" in said


def test_a_wrong_checksum(machine: Machine) -> None:
    data = machine.publish(GNU)
    machine.serve(f"{SITE}/2.24.1/{GNU}.sha256", "0" * 64)
    got = hashlib.sha256(data).hexdigest()
    said = refused(machine, "2.24.1")
    assert f"/): {GNU} has the SHA-256 {got}, but {'0' * 64} is published for it\n" in said
    assert machine.left() == []


@pytest.mark.parametrize("file", [GNU, "kirocli-x86_64-linux.zip"])
def test_a_truncated_archive(machine: Machine, file: str) -> None:
    if file.endswith("zip"):
        (machine.web.parent / "tools" / "tar").unlink()
    data = machine.publish(file)
    machine.serve(f"{SITE}/2.24.1/{file}", data[:-100])
    assert "has the SHA-256" in refused(machine, "2.24.1")

    machine.serve(f"{SITE}/2.24.1/{file}.sha256", hashlib.sha256(data[:-100]).hexdigest())
    assert f"/2.24.1/): {file} could not be unpacked\n" in refused(machine, "2.24.1")
    assert machine.left() == []


def test_an_archive_of_another_version(machine: Machine) -> None:
    machine.publish(GNU, "2.24.1", says="2.24.10")
    assert "/): wanted kiro-cli 2.24.1, but it said: kiro-cli 2.24.10\n" in refused(machine, "2.24.1")
    assert machine.left() == []


def test_an_archive_of_another_layout(machine: Machine) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("bin/kiro"))
    machine.serve(f"{SITE}/2.24.1/{GNU}", data.getvalue())
    machine.serve(f"{SITE}/2.24.1/{GNU}.sha256", hashlib.sha256(data.getvalue()).hexdigest())
    assert f"/): {GNU} was unpacked and left no kiro-cli\n" in refused(machine, "2.24.1")


def test_without_tar_the_zip_is_taken(machine: Machine) -> None:
    (machine.web.parent / "tools" / "gzip").unlink()
    machine.publish("kirocli-x86_64-linux.zip")
    assert official_cli(machine, "2.24.1").version == "2.24.1"
    assert machine.left() == INSTALLED


# -- tools


@pytest.mark.parametrize(
    ("version", "without", "missing"),
    [
        (None, ["unzip"], "unzip"),
        (None, ["curl", "bash"], "curl bash"),
        ("2.24.1", ["sha256sum"], "sha256sum"),
        ("2.24.1", ["unzip", "tar"], "tar and gzip, or unzip"),
    ],
)
def test_a_missing_tool_is_named_before_anything_is_fetched(
    machine: Machine, version: str | None, without: list[str], missing: str
) -> None:
    for tool in without:
        for folder in (machine.bin, machine.web.parent / "tools"):
            (folder / tool).unlink(missing_ok=True)
    said = refused(machine, version)
    assert f"): missing in the sandbox: {missing}\n" in said
    assert "curl, bash, unzip, tar and sha256sum in its image" in said
    assert machine.fetched == []
    assert machine.left() == []


def test_a_home_that_cannot_be_written(machine: Machine) -> None:
    for name in os.listdir(machine.bin):
        (machine.bin / name).rename(machine.web.parent / "tools" / f"{name}")
    machine.bin.rmdir()
    machine.bin.write_text("a file")
    assert f"bash): {machine.bin} cannot be written\n" in refused(machine)


# -- what is there already


def test_a_cli_that_is_there_stays(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pytest_kiro.kirocli.official")
    first = official_cli(machine)
    machine.commands.clear()
    (machine.web / "log").unlink()
    assert official_cli(machine) == official_cli(machine, "2.29.0") == first
    assert machine.fetched == []
    assert len(machine.commands) == 2, "one each"
    assert caplog.messages[-1] == "kiro-cli 2.29.0 is already there"


def test_a_cli_of_the_image_stays_where_it_is(machine: Machine) -> None:
    path = machine.web.parent / "tools" / "kiro-cli"
    path.write_text(program())
    path.chmod(0o755)
    assert official_cli(machine) == Installation(str(path), "2.24.1", scripted=False)
    assert official_cli(machine, "2.24.1").path == str(path)
    assert machine.fetched == []


@pytest.mark.parametrize("where", ["home", "image"])
def test_another_version_than_the_pinned_one_is_replaced(machine: Machine, where: str) -> None:
    path = machine.bin / "kiro-cli" if where == "home" else machine.web.parent / "tools" / "kiro-cli"
    path.write_text(program(version="2.24.10"))
    path.chmod(0o755)
    machine.publish(GNU)
    installed = official_cli(machine, "2.24.1")
    assert installed == Installation(f"{machine.bin}/kiro-cli", "2.24.1", scripted=False)
    assert machine.exec("$HOME/.local/bin/kiro-cli --version").output == "kiro-cli 2.24.1\n"


def test_the_stand_in_is_not_the_official_one(machine: Machine) -> None:
    machine.stand_in("kiro-cli", "#!/bin/sh\necho 'kiro-cli 2.29.0 (pytest-kiro stand-in)'\n")
    assert not official_cli(machine).scripted


def test_one_that_hangs_is_named(machine: Machine) -> None:
    machine.stand_in("kiro-cli", "#!/bin/sh\necho thinking\nsleep 1000\n")
    with pytest.raises(InstallError, match=r"(?s)did not answer --version within 0.5 s\n.*remove it from the image"):
        official_cli(machine, timeout=0.5)


# -- the network


@pytest.mark.parametrize("version", [None, "2.24.1"])
@pytest.mark.parametrize(
    ("code", "how"),
    [
        (6, "its name was not resolved"),
        (7, "no connection could be made"),
        (28, "it did not answer in time"),
        (35, "the TLS handshake failed"),
        (56, "the connection broke"),
        (60, "its TLS certificate is not trusted, as behind a proxy that reads along"),
    ],
)
def test_no_network_names_the_host(machine: Machine, version: str | None, code: int, how: str) -> None:
    host = "cli.kiro.dev" if version is None else "prod.download.cli.kiro.dev"
    machine.serve(f"{host}/exit", f"{code}\n")
    said = refused(machine, version)
    assert f"): {host} could not be reached from the sandbox: {how} (curl exit {code})\n" in said
    assert len(machine.fetched) == 1, "the other sources are behind the same door"
    assert machine.left() == []


@pytest.mark.parametrize(
    ("prints", "reason"),
    [
        ("curl: (6) Could not resolve host: a.kiro.dev", "a.kiro.dev could not be reached from the sandbox: its name"),
        ("curl: (7) Failed to connect to b.kiro.dev port 443", "b.kiro.dev could not be reached from the sandbox: no "),
        ("curl: (35) TLS connect error: in connection to c.kiro.dev:443", "c.kiro.dev could not be reached"),
        ("Failed to download https://d.kiro.dev/x\ncurl: (28) Timeout", "d.kiro.dev could not be reached"),
        ("curl: (28) Timeout", "a host that the installer needs could not be reached from the sandbox: it did not"),
        ("curl: (22) The requested URL returned error: 403", "the installer exited with 1"),
    ],
)
def test_the_scripts_own_curl_may_find_no_network(machine: Machine, prints: str, reason: str) -> None:
    machine.serve(GUIDE, f"echo '{prints}' >&2; exit 1\n")
    assert f"bash): {reason}" in refused(machine)


# -- two at once


MEET = 'mkdir "$WEB/met.$$"; until [ "$(ls -d "$WEB"/met.* | wc -l)" -ge 2 ]; do :; done\n'


@pytest.mark.parametrize("version", [None, "2.24.1"])
def test_two_workers_install_at_once(sandbox: LocalSandbox, tmp_path: Path, version: str | None) -> None:
    """Both have looked and found nothing; neither sees half of what the other does."""
    machine = Machine(sandbox, tmp_path, tools=TOOLS)
    machine.serve("prod.download.cli.kiro.dev/hook", f"case $url in *.tar.gz) {MEET} ;; esac\n")
    machine.serve("cli.kiro.dev/hook", MEET)
    machine.publish(GNU)
    with ThreadPoolExecutor() as pool:
        both = [pool.submit(official_cli, machine, version) for _ in range(2)]
        found = {worker.result() for worker in both}
    assert found == {Installation(f"{machine.bin}/kiro-cli", version or "2.29.0", scripted=False)}
    assert machine.left() == INSTALLED


@pytest.mark.parametrize("version", [None, "2.24.1"])
def test_everything_is_renamed_into_place_and_kiro_cli_comes_last(machine: Machine, version: str | None) -> None:
    """Whoever finds it can use it."""
    machine.publish(GNU)
    machine.stand_in("mv", f'#!/bin/sh\necho "$2 $3" >>"$WEB/moves"\nexec {shutil.which("mv")} "$@"\n')
    official_cli(machine, version)
    moves = [line.split() for line in (machine.web / "moves").read_text().splitlines()]
    assert [Path(source).name for source, _ in moves] == ["kiro-cli-chat", "kiro-cli"]
    for source, target in moves:
        assert Path(source).is_relative_to(machine.bin), "on one file system a rename is one step"
        assert Path(target) in (machine.bin, machine.bin / "kiro-cli")


# -- building an image


@pytest.mark.parametrize("version", [None, "2.24.1", "2.30.0-rc.1+b"])
@pytest.mark.parametrize("shell", ["dash", "bash", "sh"])
def test_the_lines_of_an_image(machine: Machine, version: str | None, shell: str) -> None:
    if not (path := shutil.which(shell)):
        pytest.skip(f"no {shell} here")
    machine.publish(GNU, version or "2.24.1")
    machine.serve(GUIDE, f"read -r line && exit 9\n{SCRIPT}")
    lines = official.build_lines(version)
    assert lines == official.build_lines(version), "a snapshot is named by them"
    assert lines[-1].endswith('"$HOME/.local/bin/kiro-cli" --version')
    for line in lines:
        assert "\n" not in line
        assert "<<" not in line
        assert not line.endswith("\\")
        assert line.isascii()
        machine.write_file("line", line.encode())
        result = machine.exec(f"echo noise | {path} ./line")
        assert result.ok, result.output
    assert result.output == f"kiro-cli {version or '2.29.0'}\n"
    machine.remove("line")
    assert machine.left() == INSTALLED


def test_a_line_that_fails_fails_the_build(machine: Machine) -> None:
    recipe, proof = official.build_lines("9.9.9")
    assert machine.exec(recipe).exit_code == 1
    assert machine.exec(proof).exit_code == 127


@pytest.mark.parametrize("version", [None, "2.24.1"])
def test_it_is_the_recipe_of_the_live_installation(machine: Machine, version: str | None) -> None:
    machine.publish(GNU)
    official_cli(machine, version)
    live = machine.commands[-1]
    recipe, proof = official.build_lines(version)
    unnamed = shlex.quote("token=''")
    nameless = re.sub(r" token=\w+ ", f" {unnamed} ", live)
    assert nameless == f"{recipe} && {proof} </dev/null"
