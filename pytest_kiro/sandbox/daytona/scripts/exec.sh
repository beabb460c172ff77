# shellcheck shell=sh
# Executes a command of the user's once; it stands behind begin.sh.
#
# task_command  the command
# task_folder   the folder of all tasks
# task_name     this task's name in it
# task_path     the command's PATH
# task_tag      marks the command's processes in their environment
# task_mark     and in their limit of file locks, which nobody looks at
# task_cwd      the folder in which it is executed
# task_root     the guarded folder that it is in, empty for none: one that is reached by a link is none of ours
# task_cap      bytes of its output that are answered
# task_given    what sets its variables and then becomes it, empty for none
#
# It runs in a session of its own, with a file for its output, and others by whose names a repeated request finds what
# the first one began. What becomes of its files, in a temporary folder that anybody may clear, is of no importance to the
# first request: it has the output open, and knows the status. No process is begun that is not needed: it is made for
# each turn.
: "${task_command?}" "${task_folder?}" "${task_name?}" "${task_path?}" "${task_tag?}" "${task_mark?}" "${task_cwd?}"
: "${task_root?}" "${task_cap?}" "${task_given?}"
task_files=$task_folder/$task_name task_status='' task_session=0 task_dead=0 task_setsid=setsid
if [ -x /usr/bin/setsid ]; then task_setsid=/usr/bin/setsid; fi
exec 3</dev/null
set -C # what is there already is not written to: so one of two requests begins
if true >"$task_files"; then
  set +C
  if ! true >"$task_files.output"; then task_status='1 full'
  elif [ -n "$task_root" ] && ! { cd -P -- "$task_root" && [ "$PWD" = "$task_root" ]; }; then task_status='1 strange'
  elif exec 3<"$task_files.output"; { cd "$task_cwd"; } 2>"$task_files.output"; then
    if [ -n "$task_given" ]; then set -- /bin/sh -c "$task_given" sh "$task_command"
    else set -- /bin/sh -c "$task_command"
    fi
    {
      # shellcheck disable=SC3045 # bash's word, or dash's
      ulimit -x "$task_mark" || ulimit -w "$task_mark"
      SANDBOX_TASK=$task_tag PATH=$task_path
      export SANDBOX_TASK
      exec "$task_setsid" "$@" >"$task_files.output" 2>&1
    } </dev/null 3<&- &
    task_session=$!
    echo "$task_session" >"$task_files.session"
    { wait "$task_session"; }
    task_status="$? ended"
  elif [ -d "$task_cwd" ]; then task_status='1 closed'
  elif [ -e "$task_cwd" ]; then task_status='1 file'
  else task_status='1 missing'
  fi
  # One write, so that nobody reads half of it.
  echo "$task_status" >"$task_files.status" || [ ! -e "$task_files" ] || task_status="${task_status%% *} full"
elif [ -e "$task_files" ]; then
  while [ -e "$task_files" ] && ! read -r task_status <"$task_files.status" && [ $task_dead -lt 30 ]; do
    sleep 0.1
    if read -r task_session <"$task_files.session" && ! kill -0 "$task_session"; then task_dead=$((task_dead + 1)); fi
  done
  if [ -n "$task_status" ] && [ -f "$task_files.output" ]; then exec 3<"$task_files.output"; fi
else task_status='1 full'
fi 2>/dev/null
task_output=/proc/self/fd/3
if [ -s $task_output ]; then
  head -c $((task_cap / 2)) <&3
  # Where it stopped says whether there may be more. A shell that read on would do so byte by byte to a line's end.
  read -r _ task_size </proc/self/fdinfo/3
  if [ "$task_size" -ge $((task_cap / 2)) ]; then
    task_size=$(($(wc -c <$task_output) - task_cap / 2))
    if [ "$task_size" -gt $((task_cap / 2)) ]; then
      printf '\n[... %d bytes in the middle were not kept ...]\n' $((task_size - task_cap / 2))
      task_size=$((task_cap / 2))
    fi
    tail -c "$task_size" <$task_output
  fi
fi 2>/dev/null
printf '\n%s %s\n' "$task_name" "$task_status"
