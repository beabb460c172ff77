# shellcheck shell=sh
# Copies uploaded files to where they belong.
#
# names  quoted words: uploaded name, path, mode, and so on
#
# What is there is checked first, so that a pipe that an agent made does not hold us up; a link is followed. It answers
# `f` after all of them, or a letter of look.sh and the number of the one that cannot be.
: "${names?}"
eval "set -- $names"
number=0 kind=''
while [ $# -gt 0 ]; do
  look "$2"
  case $kind in d | o | n) echo "$kind $number"; exit 0 ;; esac
  case $2 in */*) [ -d "${2%/*}" ] || mkdir -p -- "${2%/*}" || exit ;; esac
  cat <"$1" >"$2" && chmod "$3" -- "$2" || exit
  number=$((number + 1))
  shift 3
done
echo f
