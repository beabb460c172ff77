# shellcheck shell=sh
# Takes the command: the beginning of exec.sh and errand.sh.
#
# task_folder  the folder of all tasks
# task_name    this task's name in it
#
# The command is a word, or standard input, which has no limit of length. Tools are the system's, wherever an agent may
# have put some of their names. The names here are long, since a variable of the sandbox with the same name would be
# overwritten for the command.
: "${task_folder?}" "${task_name?}"
unset IFS ZDOTDIR
# shellcheck disable=SC2034 # for the program behind it
task_path=$PATH
PATH=/usr/bin:/bin:/usr/sbin:/sbin:$PATH
cd "$HOME" || exit 1
if [ $# -gt 0 ]; then task_command=$1
else
  task_command=$(cat; echo .)
  # shellcheck disable=SC2034 # for the program behind it
  task_command=${task_command%.}
fi
# shellcheck disable=SC2174 # what is above it is there
[ -d "$task_folder" ] || mkdir -p -m 700 "$task_folder" 2>/dev/null
