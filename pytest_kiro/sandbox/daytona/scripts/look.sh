# shellcheck shell=sh
# Says what is at a path, in `kind` and without another process; it stands before what calls it.
# f file, u unreadable, d folder, o other, m missing, n below a file
# shellcheck disable=SC2034 # for the caller
look() {
  if [ -f "$1" ]; then if [ -r "$1" ]; then kind=f; else kind=u; fi
  elif [ -d "$1" ]; then kind=d
  elif [ -e "$1" ]; then kind=o
  elif [ -L "$1" ]; then kind=m
  else above=${1%/*}
    # A file where a folder should be is another error than nothing there.
    while [ -n "$above" ] && ! [ -e "$above" ]; do above=${above%/*}; done
    if [ -z "$above" ] || [ -d "$above" ]; then kind=m; else kind=n; fi
  fi
}
