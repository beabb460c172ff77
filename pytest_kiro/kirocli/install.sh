# shellcheck shell=sh
# Installs the official kiro-cli into ~/.local/bin, live and while an image is built.
#
# version   the version to install, empty for the latest
# answer    what its version line has after its name, as a regular expression
# token     what makes the name of a folder of ours, empty for the number of this process
# quiet     quoted assignments: variables for kiro-cli
# settings  quoted words: each a setting of kiro-cli, = and its value
# script    the address of the guide's script, which installs the latest version
# archives  the address below which the versions are
# done      the last line that is printed when all went well
#
# Nothing is written in place, since a second worker may be executing what is there: all is made and proved in $stage,
# then renamed, and kiro-cli comes last. The stage is beside its destination, because between file systems mv copies.
: "${version?}" "${answer?}" "${token?}" "${quiet?}" "${settings?}" "${script?}" "${archives?}" "${done?}"
wanted=${version:-X.Y.Z}
bin=$HOME/.local/bin
stage=$bin/.pytest-kiro-${token:-$$}
eval "export $quiet"
PATH=$bin:$PATH
export PATH KIRO_CLI_SKIP_SETUP=1
say() { echo "pytest-kiro: $*"; }
fail() {
  say "$*"
  exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }
need() {
  missing=
  for tool do has "$tool" || missing="$missing $tool"; done
  [ -z "$missing" ] || fail "missing in the sandbox:$missing"
}
fetch() {
  say "fetching $1"
  code=0
  curl -fsSL --proto '=https' --connect-timeout 20 --retry 2 -o "$2" "$1" || code=$?
  [ "$code" = 0 ] && return
  say "curl exited with $code for $1"
  [ "$code" = 22 ] || exit 1
  return 1
}
place() {
  [ -f "$1/kiro-cli" ] || fail "$2 and left no kiro-cli"
  for name in kiro-cli-chat kiro-cli; do
    [ -f "$1/$name" ] || continue
    chmod 755 "$1/$name"
    code=0
    said=$(PATH="$1:$PATH" "$1/$name" --version 2>&1) || code=$?
    say "$name --version exited with $code and said: $said"
    [ "$code" = 0 ] || fail "$name does not run here"
  done
  echo "$said" | grep -Eq "^kiro-cli $answer" || fail "wanted kiro-cli $wanted, but it said: $said"
  for path in "$1"/kiro-cli-*; do
    [ ! -f "$path" ] || mv -f "$path" "$bin/" || fail "$bin cannot be written"
  done
  mv -f "$1/kiro-cli" "$bin/kiro-cli" || fail "$bin cannot be written"
}
# The script is downloaded first: piped into bash, half a script would be executed, curl's exit code be lost, and what
# reads standard input would eat the script. It has a HOME of its own, because it writes in place and asks on /dev/tty
# before it replaces anything (copies of it are public); a program named q makes it refuse unless it is forced.
by_script() {
  need curl bash unzip sha256sum
  fetch "$script" "$stage/install.sh" || exit 1
  force=
  if has q; then force=--force; fi
  mkdir "$stage/home" "$stage/tmp"
  code=0
  HOME="$stage/home" TMPDIR="$stage/tmp" bash "$stage/install.sh" ${force:+"$force"} || code=$?
  say "the installer exited with $code"
  [ "$code" = 0 ] || fail "the installer exited with $code"
  place "$stage/home/.local/bin" "the installer exited with 0"
}
by_archive() {
  need curl sha256sum
  if has tar && has gzip; then kind=tar.gz
  elif has unzip; then kind=zip
  else fail "missing in the sandbox: tar and gzip, or unzip"
  fi
  # glibc: 2.34 on x86_64, 2.39 on aarch64; the archive's own install.sh and four public installers say so.
  case $(uname -s)-$(uname -m) in
    Linux-x86_64 | Linux-amd64) arch=x86_64 least=34 ;;
    Linux-aarch64 | Linux-arm64) arch=aarch64 least=39 ;;
    *) fail "there is no kiro-cli for $(uname -s) on $(uname -m)" ;;
  esac
  glibc=$({ getconf GNU_LIBC_VERSION || ldd --version; } 2>/dev/null |
    sed -n '1s/.*[^0-9.]\([0-9][0-9]*\.[0-9][0-9]*\).*/\1/p')
  major=${glibc%%.*} minor=${glibc#*.} libc=-musl
  if [ "${major:-0}" -gt 2 ] || { [ "${major:-0}" = 2 ] && [ "$minor" -ge "$least" ]; }; then libc=; fi
  file=kirocli-$arch-linux$libc.$kind sum=
  if fetch "$archives/$version/$file.sha256" "$stage/sum"; then
    sum=$(tr A-F a-f <"$stage/sum" | sed -n '1s/^\([0-9a-f]\{64\}\)\([[:space:]].*\)\{0,1\}$/\1/p')
  fi
  # The manifest is cut at its braces: its entries are flat objects, and jq is on few machines.
  # shellcheck disable=SC2020 # each of these characters is one
  for release in "$version" latest; do
    if [ -z "$sum" ] && fetch "$archives/$release/manifest.json" "$stage/manifest"; then
      sum=$(tr '{}\n\r' '\n\n  ' <"$stage/manifest" | grep -F "\"$version/$file\"" |
        sed -n 's/.*"sha256" *: *"\([0-9A-Fa-f]\{64\}\)".*/\1/p' | tr A-F a-f)
    fi
  done
  [ -n "$sum" ] || fail "no SHA-256 of $file is published for version $version; is there such a version?"
  fetch "$archives/$version/$file" "$stage/archive" || exit 1
  got=$(sha256sum <"$stage/archive")
  got=${got%% *}
  [ "$got" = "$sum" ] || fail "$file has the SHA-256 $got, but $sum is published for it"
  if [ "$kind" = zip ]; then unzip -qo "$stage/archive" -d "$stage"
  else tar -xzof "$stage/archive" -C "$stage"
  fi || fail "$file could not be unpacked"
  rm -f "$stage/archive"
  place "$stage/kirocli/bin" "$file was unpacked"
}
{ mkdir -p "$bin" && mkdir "$stage"; } || fail "$bin cannot be written"
trap 'rm -rf "$stage"' EXIT
if [ -n "$version" ]; then by_archive; else by_script; fi
eval "set -- $settings"
for pair do
  "$bin/kiro-cli" settings "${pair%%=*}" "${pair#*=}" >/dev/null 2>&1 || say "${pair%%=*} could not be set"
done
echo "$done"
