# shellcheck shell=sh
# Kills the processes of tasks, however they left them, until nothing is found.
#
# tasks     the folder of all tasks
# patterns  quoted words: options of grep, by which their environment or their limits are known
# void      a task that shall not begin any more, since its request may still be on its way; empty for none
# report    whether each process is told of, by number and name, behind one of two words:
# killed    for one that was found
# stuck     for one that could not be ended
# leader    a file with the number of a session whose processes are not told of; empty for none
#
# The limit tells although a process has left its session, its parents, its folder and its environment, and while it
# becomes another program, when the kernel shows no environment. Nothing is killed for a number that a file tells: an
# agent can write any there, the daemon's too.
: "${tasks?}" "${patterns?}" "${void?}" "${report?}" "${killed?}" "${stuck?}" "${leader?}"
if [ -n "$void" ]; then
  set -C
  if true >"$tasks/$void"; then echo '137 ended' >"$tasks/$void.status"; fi 2>/dev/null
  set +C
fi
all() { all="$*"; }
about() { # sets state, session and name of a process; the name may have anything in it, the others stand behind it
  stat=''
  while read -r part; do stat="$stat$part "; done <"/proc/$1/stat"
  state=${stat##*) } name=${stat#*\(} name=${name%) *}
  session=${state#* * * } session=${session%% *} state=${state%% *}
}
eval "set -- $patterns"
round=0 calm=0 seen=' ' own=0
if [ -n "$leader" ]; then read -r own <"$leader"; fi 2>/dev/null
while [ $calm -lt 2 ] && [ $round -lt 100 ]; do
  round=$((round + 1)) living=''
  all /proc/[0-9]* && before=$all
  # shellcheck disable=SC2013 # names without blanks
  for pid in $(grep -lasE "$@" /proc/[0-9]*/environ /proc/[0-9]*/limits); do
    pid=${pid#/proc/} pid=${pid%/*}
    case " $living " in *" $pid "*) continue ;; esac
    about "$pid"
    case $state in '' | Z | X) continue ;; esac
    living="$living $pid"
    case $seen in *" $pid "*) continue ;; esac
    seen="$seen$pid "
    [ -z "$report" ] || [ "$session" = "$own" ] || printf '%s%s %s\n' "$killed" "$pid" "$name"
  done 2>/dev/null
  if [ -z "$living" ]; then
    # Where nothing has begun while we looked, nothing can have been missed.
    all /proc/[0-9]*
    if [ "$all" = "$before" ]; then break; fi
    calm=$((calm + 1))
    continue
  fi
  calm=0
  # shellcheck disable=SC2086 # they are words
  kill -9 $living 2>/dev/null
  [ $round -eq 1 ] || sleep 0.02
  # What became another user's; the sandbox may let us.
  # shellcheck disable=SC2086
  [ $round -ne 10 ] || sudo -n kill -9 $living </dev/null >/dev/null 2>&1
done
for pid in $living; do
  about "$pid" 2>/dev/null
  [ -z "$report" ] || printf '%s%s %s\n' "$stuck" "$pid" "$name"
done
