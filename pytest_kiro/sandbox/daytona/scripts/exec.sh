# shellcheck shell=sh
# Executes a command of the user's once; it stands behind begin.sh.
#
# task_command  the command
# task_folder   the folder of all tasks
# task_name     this task's name in it
# task_tag      marks the command's processes in their environment
# task_mark     and in their limit of file locks, which nobody looks at
# task_cwd      the folder in which it is executed
# task_root     the guarded folder that is in, which has to be itself; empty for none
# task_cap      bytes of its output that are answered
# task_given    what sets its variables and then becomes it, empty for none
#
# It runs in a session of its own, with a file for its output, and a folder by whose name a repeated request finds what
# the first one began. What becomes of its files, in a temporary folder that anybody may clear, is of no importance to the
# first request: it has the output open, and knows the status.
: "${task_command?}" "${task_folder?}" "${task_name?}" "${task_tag?}" "${task_mark?}" "${task_cwd?}" "${task_cap?}"
: "${task_given?}" "${task_root?}"
task_files=$task_folder/$task_name task_status='' task_session=0 task_dead=0
exec 3</dev/null
if mkdir "$task_files" 2>/dev/null; then
  if ! true >"$task_files/output"; then task_status='1 full'
  elif [ -n "$task_root" ] && ! ( cd -P -- "$task_root" && [ "$PWD" = "$task_root" ] ); then task_status='1 strange'
  elif exec 3<"$task_files/output"; { cd "$task_cwd"; } 2>"$task_files/output"; then
    if [ -n "$task_given" ]; then set -- /bin/sh -c "$task_given" sh "$task_command"
    else set -- /bin/sh -c "$task_command"
    fi
    {
      # shellcheck disable=SC3045 # bash's word, or dash's
      ulimit -x "$task_mark" || ulimit -w "$task_mark"
      SANDBOX_TASK=$task_tag
      export SANDBOX_TASK
      exec setsid "$@" >"$task_files/output" 2>&1
    } </dev/null 2>/dev/null 3<&- &
    task_session=$!
    echo "$task_session" >"$task_files.session"
    { wait "$task_session"; } 2>/dev/null
    task_status="$? ended"
  elif [ -d "$task_cwd" ]; then task_status='1 closed'
  elif [ -e "$task_cwd" ]; then task_status='1 file'
  else task_status='1 missing'
  fi
  echo "$task_status" >"$task_files/part" || [ ! -d "$task_files" ] || task_status="${task_status%% *} full"
  mv "$task_files/part" "$task_files/status"
  kill -0 "-$task_session" || rm -f "$task_files.session"
elif [ -d "$task_files" ]; then
  while [ -d "$task_files" ] && ! [ -f "$task_files/status" ] && [ $task_dead -lt 30 ]; do
    sleep 0.1
    if read -r task_session <"$task_files.session" && ! kill -0 "$task_session"; then task_dead=$((task_dead + 1)); fi
  done
  if [ -f "$task_files/status" ]; then
    task_status=$(cat "$task_files/status")
    if [ -f "$task_files/output" ]; then exec 3<"$task_files/output"; fi
  fi
else task_status='1 full'
fi 2>/dev/null
task_output=/proc/self/fd/3
task_size=$(wc -c <$task_output)
if [ "$task_size" -le "$task_cap" ]; then cat <$task_output
else
  head -c $((task_cap / 2)) <$task_output
  printf '\n[... %d bytes in the middle were not kept ...]\n' $((task_size - task_cap))
  tail -c $((task_cap / 2)) <$task_output
fi 2>/dev/null
printf '\n%s %s\n' "$task_name" "$task_status"
