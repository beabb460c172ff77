# shellcheck shell=sh
# Asks kiro-cli who is logged in, and ends it at the last line of a device login, which would wait for a human.
#
# command   kiro-cli and its arguments, quoted
: "${command?}"

eval "set -- $command"
# shellcheck disable=SC2016 # the inner shell expands them: its own id is what is to be killed
sh -c 'echo $$; exec "$@"' sh "$@" 2>&1 | {
  read -r pid
  while IFS= read -r line || [ -n "$line" ]; do
    printf '%s\n' "$line"
    case $line in 'Open this URL:'*) kill -9 "$pid"; break ;; esac
  done
}
