# shellcheck shell=sh
# Answers what became of a program whose terminal's link is lost; it lies beside the launch program (contract L6).
#
# tell OFFSET SIZE           a line on the program (waiting, running, over), then so much of its log, as base64
# report SIZE GIVEN MARKER   one word: `none`, the record is not there (yet); `cut`, the program had more to say than
#                            the GIVEN bytes; `large`, the record has more than SIZE bytes; else `record` and itself,
#                            as base64, and the files of the launch are removed
# interrupt                  press Ctrl-C
# end                        kill the program and all that it started
cd "${0%/*}" || exit
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
  if [ -f record ]; then status=$(cat status); fi
  size=-
  if [ -f log ]; then size=$(($(wc -c <log))); fi
  echo "told $state ${inner:--} $status $size"
  if [ -f log ]; then tail -c "+$(($2 + 1))" log | head -c "$3" | base64; fi
  ;;
report)
  size= # which is not known without a log
  if [ -f log ]; then
    # Its own words before and after the program's are left out.
    first=$(head -c 4096 log | LC_ALL=C awk -v marker="$4" '
      { size += length($0) + 1; sub(/\r$/, "") } $0 == marker { print size; exit }')
    last=$(tail -c 400 log | LC_ALL=C awk '{ line = $0 } END { if (line ~ /^Script done on /) print length(line) + 2 }')
    size=$(($(wc -c <log) - ${first:-0} - ${last:-0}))
  fi
  if ! [ -f record ]; then echo none
  elif [ "$size" != "$3" ]; then echo cut
  elif [ "$(wc -c <record)" -gt "$2" ]; then echo large
  else echo record && base64 <record && rm -rf "$PWD"
  fi
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
end)
  [ -n "$outer" ] || exit 0
  for _ in 1 2 3 4 5 6 7 8 9 10; do # while we look, one may start another
    pids=$(cat /proc/[0-9]*/stat 2>/dev/null | awk -v roots="$outer $inner" '
      BEGIN { count = split(roots, root); for (i = 1; i <= count; i++) ours[root[i]] = 1 }
      { pid = $1; sub(/.*\) /, ""); state[pid] = $1; parent[pid] = $2; session[pid] = $4 }
      END {
        do {
          more = 0
          for (pid in parent) if (!(pid in ours) && (parent[pid] in ours || session[pid] in ours)) more = ours[pid] = 1
        } while (more)
        for (pid in parent) if (pid in ours && state[pid] !~ /[ZX]/) print pid
      }')
    [ -n "$pids" ] || break
    # shellcheck disable=SC2086 # several numbers
    kill -s KILL $pids 2>/dev/null
  done
  exit 0
  ;;
esac
