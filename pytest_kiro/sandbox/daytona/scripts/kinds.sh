# shellcheck shell=sh
# Answers what each path is, one letter of look.sh each.
#
# names  quoted words: the paths
: "${names?}"
kind=''
eval "set -- $names"
for name do look "$name"; printf %s "$kind"; done
echo
