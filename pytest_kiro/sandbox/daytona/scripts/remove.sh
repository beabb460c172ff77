# shellcheck shell=sh
# Removes a path although an agent may have taken the permission to.
#
# names  quoted words: the path
: "${names?}"
eval "set -- $names"
rm -rf -- "$1" 2>/dev/null && exit
chmod -R u+rwX -- "$1" 2>/dev/null
rm -rf -- "$1"
