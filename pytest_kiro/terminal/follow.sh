# shellcheck shell=sh
# Asks for a program that was launched, and ends it (contract L6); it lies in no file of the sandbox.
#
# follow_folder  where the files of its launch are
# follow_stores  quoted words: its session stores
# follow_words   what is asked:
#
# tell OFFSET SIZE   a line on the program (waiting, running, over), then so much of its log, as base64
# idle               how many seconds ago its stores were written to
# interrupt          press Ctrl-C
# terminate          end it by SIGTERM
# end                kill the program and all that it started
: "${follow_folder?}" "${follow_stores?}" "${follow_words?}"
PATH=/usr/bin:/bin:/usr/sbin:/sbin:/run/current-system/sw/bin
unset IFS
cd "$follow_folder" || exit
eval "set -- $follow_words"
outer=$(cat pid 2>/dev/null) inner=$(cat begun 2>/dev/null)
case $1 in
tell)
  # In this order: of a program that is over, all that it left is there.
  state=waiting
  if [ -n "$outer" ]; then
    state=running
    # A dead process that nobody has reaped yet is still there, as a zombie.
    kill -0 "$outer" 2>/dev/null && ! grep -q '^State:.[ZX]' "/proc/$outer/status" 2>/dev/null || state=over
  fi
  status=-
  if [ -s status ]; then status=$(cat status); fi
  size=-
  if [ -f log ]; then size=$(($(wc -c <log))); fi
  echo "told $state ${inner:--} $status $size"
  if [ -f log ]; then tail -c "+$(($2 + 1))" log | head -c "$3" | base64; fi
  ;;
idle)
  eval "set -- $follow_stores"
  [ $# -gt 0 ] || exit 0
  # The system's own stat is GNU's, or else BSD's.
  # shellcheck disable=SC2016 # the shell that find starts has these words
  find "$@" -type f -exec sh -c 'stat -c %Y "$@" 2>/dev/null || stat -f %m "$@"' sh {} + 2>/dev/null |
    sort -n | tail -n 1 | while read -r newest; do echo $(($(date +%s) - newest)); done
  ;;
interrupt)
  [ -n "$inner" ] || exit 0
  # As the key does: the group that has the terminal, else that of the launch script, which takes no notice.
  group=$inner
  # shellcheck disable=SC2046 # its fields
  set -- $(sed 's/.*) //' "/proc/$inner/stat" 2>/dev/null)
  if [ "${6:-0}" -gt 0 ]; then group=$6; fi
  kill -s INT -- "-$group" 2>/dev/null
  exit 0
  ;;
terminate)
  # The program is the only child of its launch script's shell, as long as it runs.
  [ -n "$inner" ] && [ ! -f status ] || exit 0
  if [ -d /proc/self ]; then cat /proc/[0-9]*/stat 2>/dev/null
  else ps -A -o pid= -o ppid= | sed 's/ *\([0-9]*\) *\([0-9]*\).*/\1 () S \2/'
  fi | awk -v shell="$inner" '
    { pid = $1; sub(/.*\) /, ""); if ($2 == shell && $1 !~ /[ZX]/) print pid }' |
    while read -r pid; do kill -s TERM "$pid"; done
  ;;
end)
  [ -n "$outer" ] || exit 0
  for _ in 1 2 3 4 5 6 7 8 9 10; do # while we look, one may start another
    # The launch script first: it would write down the end that its program has from us, as if that were its own.
    pids=$(cat /proc/[0-9]*/stat 2>/dev/null | awk -v roots="$inner $outer" '
      BEGIN { count = split(roots, root); for (i = 1; i <= count; i++) ours[root[i]] = 1 }
      { pid = $1; sub(/.*\) /, ""); state[pid] = $1; parent[pid] = $2; session[pid] = $4 }
      END {
        do {
          more = 0
          for (pid in parent) if (!(pid in ours) && (parent[pid] in ours || session[pid] in ours)) more = ours[pid] = 1
        } while (more)
        for (i = 1; i <= count; i++) if (root[i] in ours && state[root[i]] !~ /[ZX]/) { print root[i]; delete ours[root[i]] }
        for (pid in parent) if (pid in ours && state[pid] !~ /[ZX]/) print pid
      }')
    [ -n "$pids" ] || break
    # shellcheck disable=SC2086 # several numbers
    kill -s KILL $pids 2>/dev/null
  done
  exit 0
  ;;
esac
