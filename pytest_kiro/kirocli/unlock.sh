# shellcheck shell=sh
# Removes the lock that a killed kiro-cli has left on its session: it is refused for ever after, also to us.
#
# unlock_file   the lock, `{"pid": 12927, "started_at": "…"}`
# unlock_alone  whether this HOME is one test's, so that a lock that names no process is of one that died as it wrote it
#
# What may be a living process's stays, and so does what is no lock of kiro-cli's, such as a link: kiro-cli then says why
# the session cannot go on.
: "${unlock_file?}" "${unlock_alone?}"
unlock_of() {
  printf '%s\n' "$unlock_text" | sed -n "s/.*\"$1\" *: *\"\{0,1\}\([^\",}]*[^\",} ]\).*/\1/p"
}
unlock_is_dead() {
  unlock_pid=$(unlock_of pid)
  unlock_host=$(unlock_of 'host[A-Za-z_]*')
  [ -z "$unlock_host" ] || [ "$unlock_host" = "$(uname -n)" ] || return 1
  case $unlock_pid in
  '') [ -n "$unlock_alone" ] && [ $(($(date +%s) - unlock_time)) -gt 1 ]; return ;;
  *[!0-9]* | 0*) return 1 ;;
  esac
  if ! unlock_said=$(LC_ALL=C kill -0 "$unlock_pid" 2>&1); then
    case $unlock_said in *ermitted*) return 1 ;; *) return 0 ;; esac
  fi
  [ -r "/proc/$unlock_pid/stat" ] || return 1
  # shellcheck disable=SC2046 # words
  set -- $(sed 's/.*) //' "/proc/$unlock_pid/stat")
  [ "$1" != Z ] || return 0
  # The number may be another's by now. Who holds a lock began before it was written; `started_at` may be the session's.
  # A clock that was set since tells the wrong time, so the name has to be another one as well.
  case $(tr '\0' ' ' <"/proc/$unlock_pid/cmdline") in '' | *[Kk]iro*) return 1 ;; esac
  [ $(($(sed -n 's/^btime //p' /proc/stat) + ${20} / $(getconf CLK_TCK))) -gt $((unlock_time + 5)) ]
}
if [ -f "$unlock_file" ] && [ ! -L "$unlock_file" ]; then
  (
    unlock_text=$(head -c 4096 "$unlock_file" | tr '\n' ' ')
    unlock_time=$(date -r "$unlock_file" +%s)
    if unlock_is_dead; then rm -f -- "$unlock_file"; fi
  ) 2>/dev/null || :
fi
