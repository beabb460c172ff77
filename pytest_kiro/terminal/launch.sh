# shellcheck shell=sh
# Starts one program in a terminal, and writes down what it left behind (contract L).
#
# launch_folder     where the files of this launch are, relative to HOME; this program is `launch` in it
# launch_workspace  the folder in which the program runs
# launch_home       the program's HOME, empty for the machine's
# launch_prepare    commands that make that HOME, before all else; a failure of theirs ends the launch
# launch_nonce      what the lines between the parts of the record begin with
# launch_marker     what is printed on a line of its own, just before the program begins
# launch_program    the commands that become the program; what they export is for it alone
# launch_stores     quoted words: files to bring back, and folders whose files are when the program touched them
# launch_stdin      whether the program reads the file `stdin`, and not what is typed
# launch_apart      whether its stderr goes into the file `stderr`, whose end is brought back
# launch_make       whether the workspace is made first
# launch_durable    whether the output is kept in the file `log` as well, for a link that may be lost
#
# Words: none to start it, `inside` to start it within `script`; `collect` to write the record of a program that was
# killed; `terminate` to end it by SIGTERM; `idle` to say how many seconds ago the stores were written to.
#
# Its own names are long, since a variable of the sandbox with the same name would be overwritten for the program; what
# the user exports is for the program alone, since a PATH or IFS of theirs must not change what is found here.
: "${launch_folder?}" "${launch_workspace?}" "${launch_home?}" "${launch_nonce?}" "${launch_marker?}" "${launch_program?}"
: "${launch_stores?}" "${launch_stdin?}" "${launch_apart?}" "${launch_make?}" "${launch_durable?}" "${launch_prepare?}"
unset IFS
launch_folder=$HOME/$launch_folder
if command -v sha256sum >/dev/null 2>&1; then launch_sum=sha256sum; else launch_sum='shasum -a 256'; fi
frame() { printf '\n%s %s\n' "$launch_nonce" "$1"; }
# git rewrites its index, and Python its caches, while they only read.
# shellcheck disable=SC2086,SC2016 # $launch_sum is a command with its words; what is in '' is for another shell
snapshot() {
  frame "$1-files"
  find . \( -name .git -o -name __pycache__ \) -prune -o -type f -perm -u=r -exec $launch_sum {} +
  frame "$1-others"
  find . \( -name .git -o -name __pycache__ \) -prune -o \( -type l -o -type f ! -perm -u=r \) -exec sh -c '
    for name do printf "%s\0" "$name"; readlink "$name" || echo unreadable; printf "\0"; done' sh {} +
}
# shellcheck disable=SC2016 # the shell that find starts has these variables
collect() {
  launch_status=$1
  eval "set -- $launch_stores"
  {
    # What nobody but us has written comes first: a frame that stands in a file which Kiro may write is not heard.
    frame status
    printf '%s' "$launch_status"
    ( cd "$launch_workspace" && snapshot after )
    cat "$launch_folder/before"
    # 256 KiB of it.
    if [ -f "$launch_folder/stderr" ]; then frame stderr; tail -c 262144 "$launch_folder/stderr"; fi
    for store do
      # A file is wanted whole, since what belongs to it may be the only one that was touched (SQLite's WAL). In a
      # folder, files that are not older, rather than newer: their clock is coarse.
      if [ -f "$store" ]; then frame "store $store"; cat "$store"; fi
      [ -d "$store" ] && find "$store" -type f -exec sh -c '
        nonce=$0 begun=$1
        shift
        for name do
          [ "$begun" -nt "$name" ] || { printf "\n%s %s\n" "$nonce" "store $name"; cat "$name"; }
        done' "$launch_nonce" "$launch_folder/before" {} +
    done
    frame end
  } >"$launch_folder/record.part" 2>/dev/null
  printf '%s' "$launch_status" >"$launch_folder/status"
  mv "$launch_folder/record.part" "$launch_folder/record"
}
case ${1-} in
collect) collect killed; exit ;;
terminate)
  # The program is the only child of this script's shell, as long as it runs.
  [ -f "$launch_folder/over" ] || {
    if [ -d /proc/self ]; then cat /proc/[0-9]*/stat 2>/dev/null
    else ps -A -o pid= -o ppid= | sed 's/ *\([0-9]*\) *\([0-9]*\).*/\1 () S \2/'
    fi | awk -v shell="$(cat "$launch_folder/begun")" '
      { pid = $1; sub(/.*\) /, ""); if ($2 == shell && $1 !~ /[ZX]/) print pid }'
  } | while read -r launch_pid; do kill -s TERM "$launch_pid"; done
  exit ;;
idle)
  eval "set -- $launch_stores"
  [ $# -gt 0 ] || exit
  # The system's own stat is GNU's, or else BSD's.
  # shellcheck disable=SC2016 # the shell that find starts has these words
  find "$@" -type f -exec sh -c 'stat -c %Y "$@" 2>/dev/null || stat -f %m "$@"' sh {} + 2>/dev/null |
    sort -n | tail -n 1 | while read -r launch_newest; do echo $(($(date +%s) - launch_newest)); done
  exit ;;
esac
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
    SHELL=/bin/sh LC_ALL=C
    export SHELL LC_ALL launch_again launch_shell launch_locale
    if script -qefc 'exit 3' /dev/null </dev/null >/dev/null 2>&1; [ $? -eq 3 ]; then
      # shellcheck disable=SC2016 # the shell that script starts has it
      exec script -qefc 'exec sh "$launch_again" inside' "$launch_folder/log"
    fi
  fi
  case $launch_shell in =*) SHELL=${launch_shell#=} ;; *) unset SHELL ;; esac
  case $launch_locale in =*) LC_ALL=${launch_locale#=} ;; *) unset LC_ALL ;; esac
  unset launch_again launch_shell launch_locale
fi
[ -z "$launch_prepare" ] || ( eval "$launch_prepare" ) || exit 126
[ -z "$launch_make" ] || mkdir -p -- "$launch_workspace" || exit 126
cd "$launch_workspace" || exit 126
snapshot before >"$launch_folder/before" 2>/dev/null
# Ctrl-C is for the program: without the trap this shell would die of it and no status would be written.
# HUP and TERM end both, or a closed terminal would leave the program running.
trap : INT
echo $$ >"$launch_folder/begun"
printf '\n%s\n' "$launch_marker"
(
  [ -z "$launch_stdin" ] || exec <"$launch_folder/stdin" || exit
  [ -z "$launch_apart" ] || exec 2>"$launch_folder/stderr" || exit
  if [ -n "$launch_home" ]; then HOME=$launch_home; export HOME; fi
  eval "$launch_program"
)
launch_status=$?
true >"$launch_folder/over" # not `:`, with which a folder that is gone would end this shell
trap '' INT # a late one would cut the list of files short, and files would seem to be deleted
collect "$launch_status" 2>/dev/null
exit "$launch_status"
