# shellcheck shell=sh
# Kills the processes of tasks, and all in their sessions, until nothing is found.
#
# tasks  the folder of all tasks
# tags   quoted words: each the beginning of the tags of many tasks, or one task's own
# void   a task that shall not begin any more, since its request may still be on its way; empty for none
#
# After a kill it looks twice: a process may fork, or be just becoming another program, while we look.
: "${tasks?}" "${tags?}" "${void?}"
if [ -n "$void" ]; then mkdir "$tasks/$void" 2>/dev/null && echo '137 ended' >"$tasks/$void/status"; fi
eval "set -- $tags"
calm=1 round=0
marks=$(for tag do echo "SANDBOX_TASK=$tag"; done)
while [ $calm -lt 2 ] && [ $round -lt 100 ]; do
  sessions=$(for tag do cat "$tasks/$tag"*session; done 2>/dev/null)
  # shellcheck disable=SC2086,SC2116 # the lines of sessions become one
  found=$(
    grep -laF "$marks" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3
    [ -z "$sessions" ] || cat /proc/[0-9]*/stat 2>/dev/null | awk -v wanted="$(echo $sessions)" '
      BEGIN { count = split(wanted, each); for (i = 1; i <= count; i++) ours[each[i]] = 1 }
      { pid = $1; sub(/.*\) /, ""); if ($4 in ours && $1 !~ /[ZX]/) print pid }'
  )
  # shellcheck disable=SC2086 # they are words
  if [ -n "$found" ]; then kill -9 $found 2>/dev/null; calm=0; else calm=$((calm + 1)); fi
  round=$((round + 1))
  [ $calm -eq 2 ] || sleep 0.02
done
for tag do rm -f "$tasks/$tag"*session; done
