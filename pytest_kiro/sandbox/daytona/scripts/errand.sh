# shellcheck shell=sh
# Executes a command of our own, which may be done twice; it stands behind begin.sh.
#
# task_command  the command
# task_name     this task's name
#
# It needs no file, so that a full disk can still be cleared, and no other process.
: "${task_command?}" "${task_name?}"
exec </dev/null 2>&1
trap 'printf "\n%s %s ended\n" "$task_name" "$?"' EXIT
eval "$task_command"
