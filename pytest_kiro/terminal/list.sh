# shellcheck shell=sh
# Lists files, for the programs that stand behind it: what there is, and what stands in it.
#
# list_home       where the list begins
# list_workspace  the folder whose files' contents count; it may stand elsewhere
# list_left_out   quoted words: folders below list_home that are not listed
#
# An entry is "KIND MODE SIZE CTIME INODE", a tab, the path, a zero byte, where a link leads, a zero byte; kinds are
# find's: f, d, l, p, s, c, b. Paths begin with `./`, or with / in a workspace that stands elsewhere. (Whatever changes
# a file's mtime changes its ctime as well, and of 20,000 files a time takes 15 ms.)
# Nothing is looked up where an agent can write. No process is begun for a file or a link: 2,000 links took 3 s.
: "${list_home?}" "${list_workspace?}" "${list_left_out?}"
# shellcheck disable=SC2034 # for the program behind it
list_path=$PATH
PATH=/usr/bin:/bin:/usr/sbin:/sbin:/run/current-system/sw/bin
unset IFS
list_newline='
' list_gnu='' list_fresh=''
# In these folders contents do not count.
list_unread='.git __pycache__ .pytest_cache node_modules .venv venv .mypy_cache .ruff_cache .tox .nox target'
if command -v sha256sum >/dev/null; then list_sum=sha256sum; else list_sum='shasum -a 256'; fi
case $list_workspace in
"$list_home") list_here=. list_root= ;;
"$list_home"/*) list_here=./${list_workspace#"$list_home"/} list_root= ;;
*) list_here=$list_workspace list_root=$list_workspace ;;
esac

# Lists what there is, from list_home. The file $1 is for list_sums; the other words are find's, for what has changed.
list_entries() {
  list_fresh=$1
  shift
  list_changed=${1-} list_than=${2-}
  eval "set -- $list_left_out"
  list_count=$#
  while [ "$list_count" -gt 0 ]; do
    set -- "$@" -path "./$1" -o
    shift
    list_count=$((list_count - 1))
  done
  # Of other workspaces nothing is said, whose names have eight digits. Names are compared of folders only, and as
  # bytes: of 20,000 files, in UTF-8, that took twice as long as all the rest.
  list_digits='[0-9a-f][0-9a-f][0-9a-f][0-9a-f]'
  set -- \( "$@" -path "./work/$list_digits$list_digits" ! -path "$list_here" \) -prune -o
  list_gnu=1
  list_printed "$@" && return
  if find . -maxdepth 0 -printf ''; then
    # A folder that cannot be read makes it fail as well. What is told twice is the same then, or the later counts.
    list_opened "$@"
    list_printed "$@"
    return
  fi
  list_gnu=
  list_opened "$@"
  list_others "$@"
}

# Opens the folders that their owner may not look into: nothing can be hidden in one, from this list or from the eval.
# First those that can be seen, in one process; then each that is in one of these, on the way into it.
list_opened() {
  set -- . ${list_root:+"$list_root"} -mindepth 1 "$@" -type d ! -perm -500 -exec chmod u+rwx {}
  find "$@" +
  find "$@" \;
}

# By GNU's find, which notes on its way whose contents have to be read: a second walk would take half as long again.
# It compares names first, wherever they stand, but for what an action stands before: here two that print nothing.
list_printed() {
  set -- "$@" -printf '%y %m %s %C@ %i\t%p\0%l\0' -type f ${list_changed:+"$list_changed" "$list_than"} -printf '' \
    -size -16385 -path "$list_here/*" ! -path "*$list_newline*"
  for list_name in $list_unread; do set -- "$@" ! -path "*/$list_name/*"; done
  LC_ALL=C find . ${list_root:+"$list_root"} -mindepth 1 -type d -printf '' "$@" -fprintf "$list_fresh" '%s %p\n'
}

# Where find has no -printf: kinds and numbers from stat, then the names. A link's own numbers stand for where it leads.
list_others() {
  set -- ${list_root:+"$list_root"} -mindepth 1 -type d "$@"
  echo numbers
  if stat -c %i . >/dev/null; then find . "$@" -exec stat -c '%f %s %Z %i' {} +
  else find . "$@" -exec stat -f '%Xp %z %Fc %i' {} +
  fi
  echo names
  find . "$@" -print0
}

# Digests of the files in the workspace that have changed, of all where find is not GNU's: of at most 8 MiB a file and
# 256 MiB in all; beyond that size and times count. A name with a newline counts by its times as well.
list_sums() {
  if [ -z "$list_gnu" ]; then
    set --
    for list_name in $list_unread; do set -- "$@" -o -name "$list_name"; done
    shift
    # shellcheck disable=SC2086 # a command with its words
    find "$list_here" -type d \( "$@" \) -prune -o -type f -size -16385 ! -path "*$list_newline*" -exec $list_sum {} +
  elif [ -s "$list_fresh" ]; then
    # shellcheck disable=SC2086 # a command with its words
    LC_ALL=C awk '(sum += $1) > 268435456 { exit } { sub(/^[0-9]+ /, ""); print }' "$list_fresh" |
      tr '\n' '\0' | xargs -0 -r $list_sum --
  fi
}
