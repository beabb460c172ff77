"""Installs the official kiro-cli into a sandbox: one recipe, used live and for building an image.

Where the SHA-256 of a pinned version comes from, in this order; without one nothing is installed:

1. `<archive>.sha256` beside the archive. A public CI action reads it for whatever version it is asked for (2.28.0).
2. `stable/<version>/manifest.json`. A guess: the one public reader that asks for it falls back by itself.
3. `stable/latest/manifest.json`, when its entry is `<version>/<archive>`: proven by many, for the latest version only.
"""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_kiro.errors import HIDE_FRAMES, InstallError, SandboxError, SandboxTimeout, message
from pytest_kiro.kirocli import commands
from pytest_kiro.sandbox.protocol import Sandbox
from pytest_kiro.turn.causes import exit_name

if TYPE_CHECKING:
    from pytest_kiro.settings.table import Settings

__tracebackhide__ = HIDE_FRAMES
_log = logging.getLogger(__name__)

SCRIPT = "https://cli.kiro.dev/install"
ARCHIVES = "https://prod.download.cli.kiro.dev/stable"
#: What must be reachable for installing, in an allow-list's words.
HOSTS = ("cli.kiro.dev", "prod.download.cli.kiro.dev", "desktop-release.q.us-east-1.amazonaws.com")
#: Survives this run, unlike `commands.QUIET`: whoever starts the CLI by hand has no update and no telemetry either.
_SETTINGS = {"telemetry.enabled": "false", "app.disableAutoupdates": "true"}
_PROOF = f'PATH="$HOME/.local/bin:$PATH" "$HOME/.local/bin/{commands.NAME}" {shlex.join(commands.version())}'
_FOUND = "pytest-kiro: kiro-cli is in place\n"
#: What curl's exit codes say about the network; 22 (the server said no) is none of them.
_CURL = {
    5: "the proxy's name was not resolved",
    6: "its name was not resolved",
    7: "no connection could be made",
    28: "it did not answer in time",
    35: "the TLS handshake failed",
    52: "it answered nothing",
    56: "the connection broke",
    60: "its TLS certificate is not trusted, as behind a proxy that reads along",
}

# Every line ends where a blank may stand for its line end: an image's RUN takes one line. Nothing is written in
# place, since a second worker may be executing what is there: all is made and proved in $stage, then renamed, and
# kiro-cli comes last. The stage is beside its destination, because between file systems mv copies.
_TOOLS = r"""
bin="$HOME/.local/bin";
PATH="$bin:$PATH"; export PATH KIRO_CLI_SKIP_SETUP=1;
say() { echo "pytest-kiro: $*"; };
fail() { say "$*"; exit 1; };
has() { command -v "$1" >/dev/null 2>&1; };
need() {
  missing=;
  for tool in "$@"; do has "$tool" || missing="$missing $tool"; done;
  [ -z "$missing" ] || fail "missing in the sandbox:$missing";
};
fetch() {
  say "fetching $1";
  code=0; curl -fsSL --proto '=https' --connect-timeout 20 --retry 2 -o "$2" "$1" || code=$?;
  [ "$code" = 0 ] && return;
  say "curl exited with $code for $1";
  [ "$code" = 22 ] || exit 1;
  return 1;
};
place() {
  [ -f "$1/kiro-cli" ] || fail "$2 and left no kiro-cli";
  for name in kiro-cli-chat kiro-cli; do
    [ -f "$1/$name" ] || continue;
    chmod 755 "$1/$name";
    code=0; said=$(PATH="$1:$PATH" "$1/$name" --version 2>&1) || code=$?;
    say "$name --version exited with $code and said: $said";
    [ "$code" = 0 ] || fail "$name does not run here";
  done;
  echo "$said" | grep -Eq "^kiro-cli $answer" || fail "wanted kiro-cli $version, but it said: $said";
  for path in "$1"/kiro-cli-*; do
    [ ! -f "$path" ] || mv -f "$path" "$bin/" || fail "$bin cannot be written";
  done;
  mv -f "$1/kiro-cli" "$bin/kiro-cli" || fail "$bin cannot be written";
};
mkdir -p "$bin" && mkdir "$stage" || fail "$bin cannot be written";
trap 'rm -rf "$stage"' EXIT;
"""
# Downloaded first: piped into bash, half a script would be executed, curl's exit code be lost, and whoever reads
# standard input would eat the script. It has a HOME of its own, because it writes in place and asks on /dev/tty
# before it replaces anything (copies of it are public); a program named q makes it refuse unless it is forced.
_BY_SCRIPT = rf"""
need curl bash unzip sha256sum;
fetch {SCRIPT} "$stage/install.sh" || exit 1;
force=; if has q; then force=--force; fi;
mkdir "$stage/home" "$stage/tmp";
code=0; HOME="$stage/home" TMPDIR="$stage/tmp" bash "$stage/install.sh" $force || code=$?;
say "the installer exited with $code";
[ "$code" = 0 ] || fail "the installer exited with $code";
place "$stage/home/.local/bin" "the installer exited with 0";
"""
# glibc: 2.34 on x86_64, 2.39 on aarch64; the archive's own install.sh and four public installers say so.
# The manifest is cut at its braces: its entries are flat objects, and jq is on few machines.
_BY_ARCHIVE = rf"""
need curl sha256sum;
if has tar && has gzip; then kind=tar.gz; elif has unzip; then kind=zip;
else fail "missing in the sandbox: tar and gzip, or unzip"; fi;
case $(uname -s)-$(uname -m) in
  Linux-x86_64 | Linux-amd64) arch=x86_64 least=34 ;;
  Linux-aarch64 | Linux-arm64) arch=aarch64 least=39 ;;
  *) fail "there is no kiro-cli for $(uname -s) on $(uname -m)" ;;
esac;
glibc=$({{ getconf GNU_LIBC_VERSION || ldd --version; }} 2>/dev/null |
  sed -n '1s/.*[^0-9.]\([0-9][0-9]*\.[0-9][0-9]*\).*/\1/p');
major=${{glibc%%.*}}; minor=${{glibc#*.}}; libc=-musl;
if [ "${{major:-0}}" -gt 2 ] || {{ [ "${{major:-0}}" = 2 ] && [ "$minor" -ge "$least" ]; }}; then libc=; fi;
file="kirocli-$arch-linux$libc.$kind"; sum=;
if fetch "{ARCHIVES}/$version/$file.sha256" "$stage/sum"; then
  sum=$(tr A-F a-f <"$stage/sum" | sed -n '1s/^\([0-9a-f]\{{64\}}\)\([[:space:]].*\)\{{0,1\}}$/\1/p');
fi;
for release in "$version" latest; do
  if [ -z "$sum" ] && fetch "{ARCHIVES}/$release/manifest.json" "$stage/manifest"; then
    sum=$(tr '{{}}\n\r' '\n\n  ' <"$stage/manifest" | grep -F "\"$version/$file\"" |
      sed -n 's/.*"sha256" *: *"\([0-9A-Fa-f]\{{64\}}\)".*/\1/p' | tr A-F a-f);
  fi;
done;
[ -n "$sum" ] || fail "no SHA-256 of $file is published for version $version; is there such a version?";
fetch "{ARCHIVES}/$version/$file" "$stage/archive" || exit 1;
got=$(sha256sum <"$stage/archive"); got=${{got%% *}};
[ "$got" = "$sum" ] || fail "$file has the SHA-256 $got, but $sum is published for it";
if [ "$kind" = zip ]; then unzip -qo "$stage/archive" -d "$stage"; else tar -xzof "$stage/archive" -C "$stage"; fi ||
  fail "$file could not be unpacked";
rm -f "$stage/archive";
place "$stage/kirocli/bin" "$file was unpacked";
"""
_FIND = f"""
PATH="$HOME/.local/bin:$PATH"; export PATH;
found="$HOME/.local/bin/{commands.NAME}";
[ -x "$found" ] || found=$(command -v {commands.NAME}) || exit 0;
echo "$found"; "$found" {shlex.join(commands.version())} </dev/null;
"""


def build_lines(version: str | None) -> list[str]:
    """Return shell commands, each one line, that install kiro-cli for the user who executes them.

    `version` is the one to install, None for the latest. They fail unless it answers in `~/.local/bin`.

    >>> build_lines("2.29.0")[-1]
    'PATH="$HOME/.local/bin:$PATH" "$HOME/.local/bin/kiro-cli" --version'
    """
    return [_recipe(version, '"$HOME/.local/bin/.pytest-kiro-$$"'), _PROOF]


def snapshot_lines(settings: Settings) -> Sequence[str]:
    """Return the commands that build a snapshot: what would be installed into each sandbox is in it."""
    return build_lines(settings.cli_version) if settings.cli in (None, "official") else ()


def provide(sandbox: Sandbox, version: str | None, *, timeout: float) -> tuple[str, tuple[str, bool]]:
    """Return kiro-cli's path and what `commands.read_version` read from it, after installing it where it is missing.

    A kiro-cli that is there already, and is of this `version` if one is given, stays. `timeout` (seconds) bounds
    each of the two steps. Raises `InstallError` with what was tried and what was printed.
    """
    return _there(sandbox, version, timeout) or _install(sandbox, version, timeout)


def _recipe(version: str | None, stage: str) -> str:
    """Put the recipe together as one `sh` line; `stage` is a folder in shell's words that is not there yet."""
    answer = "[0-9]+[.][0-9]+" if version is None else version.replace(".", "[.]").replace("+", "[+]") + "( |$)"
    quiet = " ".join(f"{name}={shlex.quote(value)}" for name, value in commands.QUIET.items())
    given = f"version={shlex.quote(version or 'X.Y.Z')}; answer={shlex.quote(answer)}; stage={stage}; export {quiet};"
    settings = [
        f'"$bin/kiro-cli" settings {key} {value} >/dev/null 2>&1 || say "{key} could not be set";'
        for key, value in _SETTINGS.items()
    ]
    parts = [given, _TOOLS, _BY_SCRIPT if version is None else _BY_ARCHIVE, *settings, f"echo '{_FOUND.strip()}'"]
    return f"( {_one_line(*parts)} ) </dev/null"


def _one_line(*texts: str) -> str:
    return " ".join(line.strip() for text in texts for line in text.splitlines() if line.strip())


def _there(sandbox: Sandbox, version: str | None, timeout: float) -> tuple[str, tuple[str, bool]] | None:
    """Look for a kiro-cli that fits: a snapshot has one, and so has a sandbox that another worker came to first."""
    try:
        result = sandbox.exec(_one_line(_FIND), env=commands.QUIET, timeout=timeout)
    except SandboxTimeout as error:
        what = f"the kiro-cli in sandbox {sandbox.id} did not answer --version within {timeout:g} s"
        advice = "remove it from the image, or give the absolute path of another with --kiro-cli"
        raise InstallError(message(what, output=error.output, advice=advice)) from error
    path, _, said = result.output.partition("\n")
    read = commands.read_version(said) if result.ok else None
    if read is None or read[1] or not path.startswith("/") or version not in (None, read[0]):
        return None
    _log.info("kiro-cli %s is already there", read[0])
    return path, read


def _install(sandbox: Sandbox, version: str | None, timeout: float) -> tuple[str, tuple[str, bool]]:
    _log.info("installing kiro-cli %s …", version or "(latest)")
    stage = f"{sandbox.home}/.local/bin/.pytest-kiro-{secrets.token_hex(8)}"
    command = f"{_recipe(version, shlex.quote(stage))} && {_PROOF} </dev/null"
    try:
        result = sandbox.exec(command, env=commands.QUIET, timeout=timeout)
    except SandboxTimeout as error:
        with contextlib.suppress(SandboxError):  # killed, it could not clean up
            sandbox.remove(stage)
        reason = f"it did not end within {timeout:g} s; --kiro-setup-timeout sets how long it may take"
        raise _failed(sandbox, version, reason, error.output) from error
    read = commands.read_version(result.output.rpartition(_FOUND)[2]) if result.ok else None
    if read is None:
        raise _failed(sandbox, version, _reason(result.output, result.exit_code), result.output)
    _log.info("installed kiro-cli %s", read[0])
    return f"{sandbox.home}/.local/bin/{commands.NAME}", read


def _reason(output: str, code: int) -> str:
    """Say why the recipe ended: the network by curl's exit code, else its own last word."""
    if _FOUND in output:
        return f"it is in place, but its --version exited with {exit_name(code)} and said no version"
    last = output.rpartition("pytest-kiro: fetching ")[2].partition("\n")[2]  # what came of the last download
    codes: list[str] = re.findall(r"curl(?: exited with |: \()(\d+)", last)
    if codes and (how := _CURL.get(int(codes[-1]))):
        hosts: list[str] = re.findall(r"(?:https?://|resolve host: |connect to |connection to )([\w.-]+\w)", last)
        host = hosts[-1] if hosts else "a host that the installer needs"
        return f"{host} could not be reached from the sandbox: {how} (curl exit {codes[-1]})"
    words: list[str] = re.findall(r"^pytest-kiro: (.*)", output, re.MULTILINE)
    return words[-1] if words else f"it exited with {exit_name(code)}"


def _failed(sandbox: Sandbox, version: str | None, reason: str, output: str) -> InstallError:
    tried = f"curl -fsSL {SCRIPT} | bash" if version is None else f"{ARCHIVES}/{version}/"
    what = f"kiro-cli {version or '(latest)'} was not installed into sandbox {sandbox.id} ({tried}): {reason}"
    advice = (
        f"installing needs {', '.join(HOSTS)} in the sandbox's network allow-list, and curl, bash, unzip, tar and "
        "sha256sum in its image; or bring kiro-cli along: --kiro-snapshot with one that has it in, or --kiro-cli=/path "
        "of it; --kiro-cli=scripted needs neither"
    )
    return InstallError(message(what, output=output, advice=advice, lines=20))
