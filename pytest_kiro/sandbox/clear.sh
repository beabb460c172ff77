# shellcheck shell=sh
# Clears the way for files that another call then writes, and makes links and folders.
#
# names  quoted words, four an entry: the guarded folder or nothing, the path in it, `file`, `link` or `folder`, and
#        where a link leads
#
# It goes from folder to folder, so that no link below the guarded one leads it elsewhere.
: "${names?}"
# Gives us back the permissions of a folder, which an agent may have taken.
open_up() { [ -r "$1" ] && [ -w "$1" ] && [ -x "$1" ] || chmod u+rwx "$1" 2>/dev/null || :; }
eval "set -- $names"
while [ $# -gt 0 ]; do
  (
    rest=$2 name=
    if [ -n "$1" ]; then
      cd -P -- "$1" && [ "$PWD" = "$1" ] || { echo "$1 is no folder of ours any more"; exit 1; }
      open_up .
    else cd /
    fi
    while [ "${rest#*/}" != "$rest" ] || [ "$3" = folder ]; do
      name=${rest%%/*}
      if [ -n "$1" ] && [ -L "./$name" ] || ! [ -d "./$name" ]; then
        if [ -n "$1" ]; then rm -f -- "./$name"; fi
        mkdir -- "./$name" || exit
      fi
      if [ -n "$1" ]; then open_up "./$name"; fi
      cd -P -- "./$name" || exit
      if [ "${rest#*/}" = "$rest" ]; then exit 0; fi
      rest=${rest#*/}
    done
    if [ -n "$1" ] && { [ -L "./$rest" ] || ! [ -f "./$rest" ]; }; then
      rm -rf -- "./$rest" 2>/dev/null || { [ -L "./$rest" ] || chmod -R u+rwX -- "./$rest"; rm -rf -- "./$rest"; } || exit
    fi
    case $rest in *.py)
      if [ -n "$1" ] && [ -L ./__pycache__ ]; then rm -f ./__pycache__
      elif [ -n "$1" ] && [ -d ./__pycache__ ]; then
        open_up ./__pycache__
        rm -f -- ./__pycache__/"${rest%.py}".*.pyc
      fi ;;
    esac
    if [ "$3" = link ]; then rm -f -- "./$rest" && ln -s -- "$4" "./$rest"; fi
  ) || exit
  shift 4
done
