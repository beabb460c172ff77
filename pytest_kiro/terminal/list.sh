# shellcheck shell=sh
# Lists files, for the programs that stand behind it: what there is, and what stands in it.
#
# list_home       where the list begins
# list_workspace  the folder whose files' contents count; it may stand elsewhere
# list_left_out   quoted words: folders below list_home that are not listed
#
# An entry is "KIND MODE SIZE MTIME CTIME INODE", a tab, the path, a zero byte, where a link leads, a zero byte; kinds
# are find's: f, d, l, p, s, c, b. Paths begin with `./`, or with / in a workspace that stands elsewhere.
# Nothing is looked up where an agent can write. No process is begun for a file or a link: 2,000 links took 3 s.
: "${list_home?}" "${list_workspace?}" "${list_left_out?}"
# shellcheck disable=SC2034 # for the program behind it
list_path=$PATH
PATH=/usr/bin:/bin:/usr/sbin:/sbin:/run/current-system/sw/bin
unset IFS
list_newline='
'
if command -v sha256sum >/dev/null; then list_sum=sha256sum; else list_sum='shasum -a 256'; fi
case $list_workspace in
"$list_home") list_here=. list_root= ;;
"$list_home"/*) list_here=./${list_workspace#"$list_home"/} list_root= ;;
*) list_here=$list_workspace list_root=$list_workspace ;;
esac

list_entries() {
  eval "set -- $list_left_out"
  list_count=$#
  while [ "$list_count" -gt 0 ]; do
    set -- "$@" -path "./$1" -o
    shift
    list_count=$((list_count - 1))
  done
  # Of other workspaces nothing is said. Names are compared of folders only, and as bytes: of 20,000 files, in UTF-8,
  # that took twice as long as all the rest.
  set -- ${list_root:+"$list_root"} -mindepth 1 -type d \( "$@" \
    -path './work/*' ! -path "$list_here" ! -path "$list_here/*" \) -prune -o
  list_gnu=1
  # A folder that cannot be read makes it fail as well.
  LC_ALL=C find . "$@" -printf '%y %m %s %T@ %C@ %i\t%p\0%l\0' || find . -maxdepth 0 -printf '' && return
  list_gnu=
  list_others "$@"
}

# Where find has no -printf: kinds and numbers from stat, then the names. A link's own numbers stand for where it leads.
list_others() {
  echo numbers
  if stat -c %i . >/dev/null; then find . "$@" -exec stat -c '%f %s %Y %Z %i' {} +
  else find . "$@" -exec stat -f '%Xp %z %Fm %Fc %i' {} +
  fi
  echo names
  find . "$@" -print0
}

# Digests of the files in the workspace that are as the words say; of folders that programs make, none, and of at most
# 8 MiB a file and 256 MiB in all: beyond that size and times count. A name with a newline counts by its times as well.
list_sums() {
  set -- -type d \( -name .git -o -name __pycache__ -o -name .pytest_cache -o -name node_modules -o -name .venv \
    -o -name venv -o -name .mypy_cache -o -name .ruff_cache -o -name .tox -o -name .nox -o -name target \) -prune -o -type f "$@" \
    -size -16385 ! -path "*$list_newline*"
  if [ -z "$list_gnu" ]; then
    # shellcheck disable=SC2086 # a command with its words
    find "$list_here" "$@" -exec $list_sum {} +
    return
  fi
  list_files=$(LC_ALL=C find "$list_here" "$@" -printf '%s %p\n')
  [ -n "$list_files" ] || return 0
  # shellcheck disable=SC2086 # a command with its words
  printf '%s\n' "$list_files" | LC_ALL=C awk '(sum += $1) > 268435456 { exit } { sub(/^[0-9]+ /, ""); print }' |
    tr '\n' '\0' | xargs -0 -r $list_sum --
}
