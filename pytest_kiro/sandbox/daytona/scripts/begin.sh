# shellcheck shell=sh
# Takes the command from standard input, which has no limit of length: the beginning of exec.sh and errand.sh.
#
# task_folder  the folder of all tasks
# task_name    this task's name in it
#
# Its names are long, since a variable of the sandbox with the same name would be overwritten for the command.
: "${task_folder?}" "${task_name?}"
unset IFS
cd "$HOME" || exit 1
task_command=$(cat; echo .)
# shellcheck disable=SC2034 # for the program behind it
task_command=${task_command%.}
# shellcheck disable=SC2174 # what is above it is there
mkdir -p -m 700 "$task_folder" 2>/dev/null
