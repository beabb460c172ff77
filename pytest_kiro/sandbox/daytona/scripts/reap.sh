# shellcheck shell=sh
# Kills the processes of tasks, however they left them, until nothing is found.
#
# tasks     the folder of all tasks
# proc      where the kernel tells of processes
# patterns  quoted words: options of grep, by which their environment is known
# marks     quoted words: the digits with which their limit of file locks begins
# top       the highest such limit; empty when none that is lower is looked for
# alive     quoted words: the digits of those that go on
# void      a task that shall not begin any more, since its request may still be on its way; empty for none
# report    whether each process is told of, by number and name, behind one of two words:
# killed    for one that was found
# stuck     for one that could not be ended
# leader    a file with the number of a session whose processes are not told of; empty for none
#
# The limit tells although a process has left its session, its parents, its folder and its environment, and while it
# becomes another program, when the kernel shows no environment. It cannot be raised again, so one that is lower and
# nobody's was lowered by what wants to hide. Other workers' have 19 digits as well, and are left alone.
# Nothing is killed for a number that a file tells: an agent can write any there, the daemon's too.
: "${tasks?}" "${proc?}" "${patterns?}" "${marks?}" "${top?}" "${alive?}"
: "${void?}" "${report?}" "${killed?}" "${stuck?}" "${leader?}"
if [ -n "$void" ]; then
  set -C
  if true >"$tasks/$void"; then echo '137 ended' >"$tasks/$void.status"; fi 2>/dev/null
  set +C
fi
all() { all="$*"; }
about() { # sets state, session and name of a process; the name may have anything in it, the others stand behind it
  stat=''
  while read -r part; do stat="$stat$part "; done <"$proc/$1/stat"
  state=${stat##*) } name=${stat#*\(} name=${name%) *}
  session=${state#* * * } session=${session%% *} state=${state%% *}
}
begins() { # whether the number $1 begins with one of the others
  number=$1
  shift
  for digits do case $number in "$digits"*) return 0 ;; esac; done
  return 1
}
is_ours() { # whether a process with this limit is to end
  eval "begins \"\$1\" $marks" && return
  [ -n "$top" ] && [ "$1" != "$usual" ] && [ "$1" -lt "$top" ] || return
  [ ${#1} -lt ${#top} ] || { begins "$1" "${top%??????????}" && ! eval "begins \"\$1\" $alive"; }
}
take() { # notes a process, once
  case " $living " in *" $1 "*) return ;; esac
  about "$1"
  case $state in '' | Z | X) return ;; esac
  living="$living $1"
  case $seen in *" $1 "*) return ;; esac
  seen="$seen$1 "
  [ -z "$report" ] || [ "$session" = "$own" ] || printf '%s%s %s\n' "$killed" "$1" "$name"
}
eval "set -- $patterns"
round=0 calm=0 seen=' ' own=0
if [ -n "$leader" ]; then read -r own <"$leader"; fi 2>/dev/null
while [ $calm -lt 2 ] && [ $round -lt 100 ]; do
  round=$((round + 1)) living='' limited='' usual=''
  all "$proc"/[0-9]* && before=$all
  # It says `FILE:Max file locks SOFT HARD`, or `FILE:` and a variable without blanks.
  # shellcheck disable=SC2013 # words
  for word in $(grep -HasoE "$@" -e '^Max file locks +[a-z0-9]+ +[0-9]+' "$proc"/[0-9]*/environ "$proc"/[0-9]*/limits); do
    case $word in
    "$proc"/*/environ:*) pid=${word#"$proc"/} && take "${pid%%/*}" ;;
    "$proc"/*) pid=${word#"$proc"/} pid=${pid%%/*} place=0 ;;
    *)
      place=$((place + 1))
      if [ $place -eq 4 ]; then limited="$limited $pid:$word"; fi
      if [ "$place $pid" = "4 $$" ]; then usual=$word; fi # this shell's own
      ;;
    esac
  done 2>/dev/null
  for word in $limited; do
    if is_ours "${word#*:}"; then take "${word%%:*}"; fi
  done 2>/dev/null
  if [ -z "$living" ]; then
    # Where nothing has begun while we looked, nothing can have been missed.
    all "$proc"/[0-9]*
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
