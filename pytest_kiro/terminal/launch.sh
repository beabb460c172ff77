# shellcheck shell=sh
# Starts one program in a terminal, after listing what files there are (contract L); it stands behind list.sh.
#
# launch_folder     where the files of this launch are; this program is `launch` in it
# launch_workspace  the folder in which the program runs
# launch_home       the program's HOME
# launch_prepare    commands that make that HOME, before all else; they end the launch when they fail
# launch_marker     what is printed on a line of its own, with the digests of the list, just before the program begins
# launch_program    the commands that become the program; what they export is for it alone
# launch_stdin      whether the program reads the file `stdin`, and not what is typed
# launch_apart      whether its stderr goes into the file `stderr`, whose end is brought back
# launch_make       whether the workspace is made first
# launch_since      seconds since 1970: contents of what did not change since are known; empty when none are
# launch_durable    whether the output is kept in the file `log` as well, for a link that may be lost
# launch_logs       whether `script` can do that, 1 or 0; empty when that is still to be tried
# launch_lingers    whether the terminal stays a moment, for a link that ends while its last output is under way
# list_path         the machine's PATH, as list.sh found it
# list_sum          what makes digests, as words
#
# Without a word it starts it; `inside` starts it within `script`.
#
# The program may alter what is written here. So the list's digests are printed before it begins, and its status is
# compared with the terminal's own; that is why the list may lie on the disk, where one survives that is killed.
#
# Its own names are long, since a variable of the sandbox with the same name would be overwritten for the program; what
# the user exports is for the program alone, since a PATH or IFS of theirs must not change what is found here.
: "${launch_folder?}" "${launch_workspace?}" "${launch_home?}" "${launch_prepare?}" "${launch_marker?}" "${launch_program?}"
: "${launch_stdin?}" "${launch_apart?}" "${launch_make?}" "${launch_since?}" "${launch_durable?}" "${launch_lingers?}"
: "${launch_logs?}" "${list_path?}" "${list_sum?}"
trap 'exit 130' INT
# `script` copies a terminal into a file and hands size, keys and status through (tried, on util-linux 2.38). It goes
# around this whole program, so that in the inner terminal all is as it is without it: what a signal to this shell, a
# hang-up and the end do. It blocks SIGHUP, so a link that is lost by hanging up does not end the program either; that
# is what closing is for. Other systems have a `script` of other words, so what is needed of it is tried.
# It starts SHELL, which may be none and reads files of its own; and says its last words in the locale's language.
if [ -n "$launch_durable" ]; then
  if [ "${1-}" != inside ]; then
    echo $$ >"$launch_folder/pid" # and of script, which takes the place of this shell
    launch_again=$launch_folder/launch launch_shell=${SHELL+=$SHELL} launch_locale=${LC_ALL+=$LC_ALL}
    launch_outer=$list_path
    SHELL=/bin/sh LC_ALL=C
    export SHELL LC_ALL launch_again launch_shell launch_locale launch_outer
    if [ -z "$launch_logs" ]; then
      script -qefc 'exit 3' /dev/null </dev/null >/dev/null 2>&1
      if [ $? -eq 3 ]; then launch_logs=1; fi
    fi
    if [ "$launch_logs" = 1 ]; then
      # shellcheck disable=SC2016 # the shell that script starts has it
      exec script -qefc 'exec /bin/sh "$launch_again" inside' "$launch_folder/log"
    fi
  fi
  case $launch_shell in =*) SHELL=${launch_shell#=} ;; *) unset SHELL ;; esac
  case $launch_locale in =*) LC_ALL=${launch_locale#=} ;; *) unset LC_ALL ;; esac
  list_path=$launch_outer
  unset launch_again launch_shell launch_locale launch_outer
fi
eval "$launch_prepare"
[ -z "$launch_make" ] || [ -d "$launch_workspace" ] || mkdir -p -- "$launch_workspace" || exit 126
{
  cd "$launch_home" && list_entries "$launch_folder/fresh" ${launch_since:+-newerct "@$launch_since"}
} >"$launch_folder/before" 2>/dev/null
list_sums >"$launch_folder/sums" 2>/dev/null
cd "$launch_workspace" || exit 126
# shellcheck disable=SC2046,SC2086 # words; within the folder, whose name may have blanks
set -- $(cd "$launch_folder" && $list_sum before sums 2>/dev/null)
# Ctrl-C is for the program: without the trap this shell would die of it and no status would be written.
# HUP and TERM end both, or a closed terminal would leave the program running.
trap : INT
echo $$ >"$launch_folder/begun"
printf '\n%s %s %s\n' "$launch_marker" "${1:--}" "${3:--}"
(
  [ -z "$launch_stdin" ] || exec <"$launch_folder/stdin" || exit
  [ -z "$launch_apart" ] || exec 2>"$launch_folder/stderr" || exit
  unset ENV ZDOTDIR
  PATH=$list_path HOME=$launch_home
  export HOME
  eval "$launch_program"
)
launch_status=$?
trap '' INT # a late one would leave no status
{ printf '%s' "$launch_status" >"$launch_folder/status"; } 2>/dev/null
[ -z "$launch_lingers" ] || sleep 0.2
exit "$launch_status"
