# shellcheck shell=sh
# Lists all below a folder: a letter of look.sh, then folders, a dash, and others, as base64.
#
# names  quoted words: the folder
: "${names?}"
kind=''
eval "set -- $names"
look "$1"; echo "$kind"
[ "$kind" = d ] || exit 0
cd -- "$1" || exit
find . -mindepth 1 -type d -print0 | base64
echo -
find . -mindepth 1 ! -type d -print0 | base64
