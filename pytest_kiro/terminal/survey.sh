# shellcheck shell=sh
# Looks at what an ended program left, for the harness; it stands behind list.sh, and lies in no file.
#
# survey_folder  where the files of the launch are
# survey_stores  quoted words: files to bring back, and folders whose files are when they were written to since
# survey_marker  what the marker's line begins with
# survey_read    how many bytes of output have come; empty when that is of no importance
# survey_end     commands that end what the terminal has left, and say so: `PID name` on a line
# survey_before  the digest of the list from before
# survey_brief   whether an equal list need not be brought back
# survey_most    how many bytes may come back
# list_home      where the list begins
# list_sum       what makes digests, as words
# list_gnu       whether find is GNU's
# list_newline   a newline
#
# It answers a word: `none`, the program has not ended; `cut`, it had more to say than was read; `record`, then an
# archive as base64, and the files of the launch are gone; `large`, then the archive is to be read. Both say the folder
# in which it was made.
: "${survey_folder?}" "${survey_stores?}" "${survey_marker?}" "${survey_read?}" "${survey_end?}" "${survey_before?}"
: "${survey_brief?}" "${survey_most?}"
: "${list_home?}" "${list_sum?}" "${list_newline?}" "${list_gnu=}"
umask 077
LC_ALL=C # characters are bytes
if [ -n "$survey_read" ]; then
  [ -f "$survey_folder/status" ] || { echo none; exit; }
  size= # which is not known without a log
  if [ -f "$survey_folder/log" ]; then
    # Its own words before and after the program's are left out. By the shell: each process takes a millisecond.
    first=0 marked=
    while IFS= read -r line && [ $first -lt 4096 ]; do
      first=$((first + ${#line} + 1))
      case $line in "$survey_marker "*) marked=1 && break ;; esac
    done <"$survey_folder/log"
    [ -n "$marked" ] || first=0
    last=$(tail -c 400 "$survey_folder/log")
    last=${last##*"$list_newline"}
    case $last in "Script done on "*) last=$((${#last} + 2)) ;; *) last=0 ;; esac
    size=$(($(wc -c <"$survey_folder/log") - first - last))
  fi
  [ "$size" = "$survey_read" ] || { echo cut; exit; }
fi
made=$(mktemp -d) || exit
[ -z "$survey_end" ] || { eval "$survey_end"; } >"$made/survivors" 2>/dev/null </dev/null
{
  true >"$made/listed" # its time is that of the list
  cd "$list_home" && list_entries >"$made/after"
  # shellcheck disable=SC2046,SC2086 # words
  set -- $($list_sum "$made/after")
  if [ -n "$list_gnu" ] && [ "${1-}" = "$survey_before" ]; then # others' times are in seconds
    echo same >"$made/listed"
    if [ -n "$survey_brief" ]; then rm "$made/after"; fi
  else
    # What changed since is younger than the files of the launch. One that an agent has made younger yet hides nothing:
    # without a digest, the times count.
    list_sums ${list_gnu:+-cnewer "$survey_folder/launch"} >"$made/after-sums"
    if [ -f "$survey_folder/before" ]; then printf '%s\n' "${survey_folder#/}/before"; fi
  fi >"$made/names"
  # 256 KiB of it.
  if [ -s "$survey_folder/stderr" ]; then tail -c 262144 "$survey_folder/stderr" >"$made/stderr"; fi
  for name in status sums; do
    if [ -s "$survey_folder/$name" ]; then printf '%s\n' "${survey_folder#/}/$name"; fi
  done >>"$made/names"
  for name in listed after after-sums stderr survivors; do
    if [ -e "$made/$name" ]; then printf '%s\n' "${made#/}/$name"; fi
  done >>"$made/names"
  cd / || exit
  # A file is wanted whole, since what belongs to it may be the only one that was touched (SQLite's WAL). At most 64 MiB
  # of each.
  survey_files() {
    # shellcheck disable=SC2016 # the shell that find starts has it
    find "$@" ! -path "*$list_newline*" \
      \( -size -131073 -print -o -exec sh -c 'printf "/%s\n" "$@" >&3' sh {} + \) 3>>"$made/beyond"
  }
  eval "set -- $survey_stores"
  survey_count=$#
  while [ "$survey_count" -gt 0 ]; do
    store=${1#/}
    shift
    survey_count=$((survey_count - 1))
    if [ -f "$store" ]; then set -- "$@" "$store"; fi
    if [ -d "$store" ]; then survey_files "$store" -type f -newer "$survey_folder/launch"; fi
  done >>"$made/names"
  if [ $# -gt 0 ]; then survey_files "$@" -type f >>"$made/names"; fi
  if [ -s "$made/beyond" ]; then printf '%s\n' "${made#/}/beyond" >>"$made/names"; fi
  # 260 MiB of it.
  ( ulimit -f 532480; exec tar -cf "$made/answer" -T "$made/names" )
} 2>/dev/null
if [ "$(wc -c <"$made/answer")" -gt "$survey_most" ]; then echo "large $made"
else
  echo "record $made"
  base64 <"$made/answer"
  rm -rf "$made" "$survey_folder"
fi
