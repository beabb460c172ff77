# shellcheck shell=sh
# Looks at what an ended program left, for the harness; it stands behind list.sh, and lies in no file.
#
# survey_folder  where the files of the launch are
# survey_token   a word in the names of files that are made here; nobody knew it while the program ran
# survey_stores  quoted words: files to bring back, and folders whose files are when they were written to since
# survey_marker  what the marker's line begins with
# survey_ended   whether the program must have ended, and its log is of importance
# survey_end     commands that end what the terminal has left, and say so: `PID name` on a line
# survey_before  the digest of the list from before
# survey_brief   whether an equal list need not be brought back
# survey_inline  how many blocks of 512 bytes may come back with the answer; empty when a file can be read as quickly
# list_home      where the list begins
# list_sum       what makes digests, as words
# list_gnu       whether find is GNU's
# list_newline   a newline
#
# It answers a word: `none`, the program has not ended; `record`, then an archive as base64; `large`, then the archive
# is to be read. Both say what the names of its files begin with. It may be carried out twice, and removes nothing.
# It is executed for each turn, and a process takes a millisecond or more: so there is one walk for all that is read.
: "${survey_folder?}" "${survey_token?}" "${survey_stores?}" "${survey_marker?}" "${survey_ended?}" "${survey_end?}"
: "${survey_before?}" "${survey_brief?}" "${survey_inline?}"
: "${list_home?}" "${list_sum?}" "${list_newline?}" "${list_gnu?}"
umask 077
export LC_ALL=C # characters are bytes; of 5,000 files, names in UTF-8 took twice as long to compare
if [ -n "$survey_ended" ] && [ ! -f "$survey_folder/status" ]; then echo none; exit; fi
made=$survey_folder/$survey_token.$$
{ true >"$made-survivors"; } 2>/dev/null || { made=$(mktemp -d)/$survey_token.$$ && true >"$made-survivors"; } || exit
[ -z "$survey_end" ] || { eval "$survey_end"; } >"$made-survivors" 2>/dev/null </dev/null
# What has ended now could have seen the word, and have put files here that would be taken for ours.
set -- "$made"-*
[ "$*" = "$made-survivors" ] || { echo "something has put files in the way: $*"; exit 1; }
true >"$made-listed" # its time is that of the list

# Of a log that is large: how much the program has printed. Its own words before and after that are left out.
survey_size() {
  first=0 marked=
  while IFS= read -r line && [ $first -lt 4096 ]; do
    first=$((first + ${#line} + 1))
    case $line in "$survey_marker "*) marked=1 && break ;; esac
  done <"$survey_folder/log"
  [ -n "$marked" ] || first=0
  last=$(tail -c 400 "$survey_folder/log")
  last=${last##*"$list_newline"}
  case $last in "Script done on "*) last=$((${#last} + 2)) ;; *) last=0 ;; esac
  echo $(($(wc -c <"$survey_folder/log") - first - last))
}

# Prints which of these files are brought back, and into descriptor 3 those that are too large.
# How a path begins says what is wanted of it. `././`: one of ours, when it has at most 64 KiB. `./`: it is wanted whole,
# since what belongs to it may be the only one that was touched (SQLite's WAL). Others when they were written to since.
# At most 64 MiB of each. Times are compared before names: of 5,000 old sessions, 2 ms of 15.
survey_files() {
  # shellcheck disable=SC2016 # the shell that find starts has it
  exec find "$@" \( -path './*' -o -newer "$survey_since" \) -type f ! -path "*$list_newline*" \( \
    -path '././*' -size -129 -print -o \
    ! -path '././*' \( -size -131073 -print -o -exec sh -c 'for file do printf "/%s\n" "${file#./}" >&3; done' sh {} + \) \)
}

# Whether this file of ours is among them.
is_small() { case $list_newline$survey_small$list_newline in *"$list_newline././${1#/}$list_newline"*) ;; *) return 1 ;; esac; }

{
  # What changed since is younger than the files of the launch. One that an agent has made younger yet hides nothing:
  # without a digest, the times count.
  survey_since=$survey_folder/launch
  if ! [ -f "$survey_since" ] || [ "$survey_since" -nt "$made-listed" ]; then
    survey_since=$made-listed
    true >"$made-strange"
  fi
  if cd "$list_home"; then
    list_entries "$made-fresh" -cnewer "$survey_since" >"$made-after"
    list_sums >"$made-after-sums"
  fi
  cd / || exit
  eval "set -- $survey_stores"
  survey_count=$#
  while [ "$survey_count" -gt 0 ]; do
    if [ -f "$1" ]; then set -- "$@" "./${1#/}"; fi
    if [ -d "$1" ]; then set -- "$@" "${1#/}"; fi
    shift
    survey_count=$((survey_count - 1))
  done
  for name in "$made-after" "$survey_folder/stderr" ${survey_ended:+"$survey_folder/log"}; do
    if [ -s "$name" ]; then set -- "././${name#/}" "$@"; fi # before the stores, of which not all may come
  done
  survey_small=
  if [ $# -gt 0 ]; then survey_small=$(survey_files "$@" 3>"$made-beyond"); fi
  set -- status sums before
  survey_made='listed strange after-sums survivors beyond stderr size'
  if ! is_small "$made-after"; then
    survey_sum=$($list_sum "$made-after")
    # Others' times are in seconds.
    if [ -n "$list_gnu" ] && [ "${survey_sum%% *}" = "$survey_before" ]; then
      echo same >"$made-same"
      set -- status sums
      survey_made="$survey_made same"
    else survey_brief=
    fi
    if [ -z "$survey_brief" ]; then survey_made="$survey_made after"; fi
  fi
  if [ -s "$survey_folder/stderr" ] && ! is_small "$survey_folder/stderr"; then
    tail -c 262144 "$survey_folder/stderr" >"$made-stderr"
  fi
  if [ -n "$survey_ended" ] && [ -s "$survey_folder/log" ] && ! is_small "$survey_folder/log"; then
    survey_size >"$made-size"
  fi
  {
    for name do
      if [ -s "$survey_folder/$name" ]; then printf '%s\n' "${survey_folder#/}/$name"; fi
    done
    for name in $survey_made; do
      if [ -e "$made-$name" ]; then printf '%s\n' "${made#/}-$name"; fi
    done
    printf '%s\n' "$survey_small"
  } >"$made-names"
  # 260 MiB of it.
  survey_pack() { ( ulimit -f "$1" && exec tar -cf "$made-answer" -T "$made-names" ); }
  if [ -n "$survey_inline" ] && { survey_pack "$survey_inline" || [ $? -eq 1 ]; }; then word=record
  else
    survey_pack 532480
    word=large
  fi
} 2>/dev/null
echo "$word $made"
[ $word = large ] || base64 <"$made-answer"
