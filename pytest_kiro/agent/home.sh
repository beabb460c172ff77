# shellcheck shell=sh
# Makes the HOME of an owner, as the sandbox's own was when it was ready.
#
# home_path     the HOME to make
# home_base     the sandbox's own
# home_archive  what template.sh has made
# home_sum      its SHA-256
# home_login    kiro-cli's data file with a newer login in it, empty without one
# home_login_sum  its SHA-256
# home_data     kiro-cli's data file, relative to HOME
#
# Other programs' files lie where an agent could write, so their sums are looked at first. What kiro-cli has unpacked
# (hundreds of MB) is linked to.
: "${home_path?}" "${home_base?}" "${home_archive?}" "${home_sum?}" "${home_login?}" "${home_login_sum?}" "${home_data?}"
unset IFS
PATH=/usr/bin:/bin
command -v tar >/dev/null || PATH=$(command -p getconf PATH)
fail() {
  echo "pytest-kiro: $*"
  exit 126
}
check() {
  # shellcheck disable=SC2046 # the sum, and the name of what has been read
  set -- "$1" "$2" $({ sha256sum || shasum -a 256; } <"$1" 2>/dev/null)
  [ "$2" = "${3-}" ] || fail "$1 is not what it was when the sandbox was ready: something in it, an agent perhaps, has altered it"
}
mkdir -p -- "$home_path/work" || fail "no HOME could be made"
# One of several that come at once makes it, and the others wait: an owner may begin two conversations. One that was
# interrupted on the way has left its number, and the next one begins anew.
home_note=$home_path/work/.home home_tries=0
set -C
until { echo "$$" >"$home_note"; } 2>/dev/null; do
  home_maker=
  { read -r home_maker <"$home_note"; } 2>/dev/null
  [ "$home_maker" != made ] || exit 0
  home_tries=$((home_tries + 1))
  [ "$home_tries" -le 100 ] || fail "another launch of this test is still making its HOME"
  if [ -n "$home_maker" ] && ! kill -0 "$home_maker" 2>/dev/null; then rm -f -- "$home_note"; else sleep 0.1; fi
done
set +C
check "$home_archive" "$home_sum"
[ ! -s "$home_archive" ] || tar -xpf "$home_archive" -C "$home_path" || fail "HOME could not be unpacked"
home_data=$home_path/$home_data
if [ -n "$home_login" ]; then
  check "$home_login" "$home_login_sum"
  rm -f -- "$home_data" "$home_data-wal" "$home_data-shm"
  { mkdir -p -- "${home_data%/*}" && cp -p -- "$home_login" "$home_data"; } || fail "the login could not be copied"
fi
set --
for entry in "$home_base/.local/share/kiro-cli"/*; do
  case ${entry##*/} in data.sqlite3* | *log* | *cache* | *history* | *session* | *knowledge* | *.lock | *.sock) continue ;; esac
  if [ -e "$entry" ]; then set -- "$@" "$entry"; fi
done
[ $# -eq 0 ] || { mkdir -p -- "${home_data%/*}" && ln -sf -- "$@" "${home_data%/*}/"; } ||
  fail "kiro-cli's data could not be linked to"
echo made >"$home_note"
