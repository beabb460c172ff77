# shellcheck shell=sh
# Makes the HOME of an owner, as the sandbox's own was when it was ready; it stands behind above.sh.
#
# home_path     the HOME to make
# home_folder   a folder that is made along with it, in any case; empty for none
# home_base     the sandbox's own
# home_archive  what template.sh has made; empty when nothing is in it
# home_sum      its SHA-256
# home_login    kiro-cli's data file with a newer login in it, empty without one
# home_login_sum  its SHA-256
# home_data     kiro-cli's data file, relative to HOME
# home_above    names of above.sh that the sandbox's HOME had then
#
# Other programs' files lie where an agent could write, so their sums are looked at first. What kiro-cli has unpacked
# (hundreds of MB) is linked to. It may be part of another program, and the first turn of each test waits for it: it
# begins no process that it can do without. When it fails, it ends with 126.
: "${home_path?}" "${home_folder?}" "${home_base?}" "${home_archive?}" "${home_sum?}" "${home_login?}" "${home_login_sum?}" "${home_data?}"
: "${home_above?}"
unset IFS
PATH=/usr/bin:/bin:/usr/sbin:/sbin:/run/current-system/sw/bin
home_fail() {
  echo "pytest-kiro: $*"
  exit 126
}
home_check() {
  if command -v sha256sum >/dev/null; then home_read=$(sha256sum <"$1"); else home_read=$(shasum -a 256 <"$1"); fi 2>/dev/null
  [ "${home_read%% *}" = "$2" ] ||
    home_fail "$1 is not what it was when the sandbox was ready: something in it, an agent perhaps, has altered it"
}
# One of several that come at once makes it, and the others wait: an owner may begin two conversations. One that was
# interrupted on the way has left its number, and the next one begins anew.
home_claim() {
  home_note=$home_path/work/.home home_tries=0 home_maker=
  until { echo "$$" >"$home_note"; } 2>/dev/null; do
    home_maker=
    { read -r home_maker <"$home_note"; } 2>/dev/null
    [ "$home_maker" != made ] || return
    home_tries=$((home_tries + 1))
    [ "$home_tries" -le 100 ] || home_fail "another launch of this test is still making its HOME"
    if [ -n "$home_maker" ] && ! kill -0 "$home_maker" 2>/dev/null; then rm -f -- "$home_note"; else sleep 0.1; fi
  done
}
home_make() {
  # Nothing but ours is wanted between the sandbox's HOME and this one.
  for home_entry in "${home_path%/*}"/* "${home_path%/*}"/.[!.]*; do
    case ${home_entry##*/} in '*' | '.[!.]*' | *.tar | *.login) ;; *[!0-9a-f]*) rm -rf -- "$home_entry" ;; esac
  done
  above='' && above "$home_base"
  [ "$above" = "$home_above" ] || home_fail "$home_base, above this HOME, has other settings than when the sandbox was" \
    "ready: ${above:-none}, not ${home_above:-none}. An agent may have put them where every test's programs look for them." \
    "Your own may be put there by pytest_kiro_sandbox_ready"
  if [ -n "$home_archive" ]; then
    home_check "$home_archive" "$home_sum"
    tar -xpf "$home_archive" -C "$home_path" || home_fail "HOME could not be unpacked"
  fi
  home_data=$home_path/$home_data
  if [ -n "$home_login" ]; then
    home_check "$home_login" "$home_login_sum"
    rm -f -- "$home_data" "$home_data-wal" "$home_data-shm"
    { mkdir -p -- "${home_data%/*}" && cp -p -- "$home_login" "$home_data"; } || home_fail "the login could not be copied"
  fi
  set --
  for home_entry in "$home_base/.local/share/kiro-cli"/*; do
    case ${home_entry##*/} in
    data.sqlite3* | *log* | *cache* | *history* | *session* | *knowledge* | *.lock | *.sock) continue ;;
    esac
    if [ -e "$home_entry" ]; then set -- "$@" "$home_entry"; fi
  done
  [ $# -eq 0 ] || { mkdir -p -- "${home_data%/*}" && ln -sf -- "$@" "${home_data%/*}/"; } ||
    home_fail "kiro-cli's data could not be linked to"
  echo made >"$home_note"
}
mkdir -p -- "$home_path/work" ${home_folder:+"$home_folder"} || home_fail "no HOME could be made"
set -C
home_claim
set +C
[ "$home_maker" = made ] || home_make
