# shellcheck shell=sh
# Answers `strange` and ends when one of the folders is no folder any more, or is reached by a link.
#
# names  quoted words: absolute paths without a link in them
: "${names?}"
eval "set -- $names"
for name do
  ( cd -P -- "$name" && [ "$PWD" = "$name" ] ) 2>/dev/null || { echo "strange $name"; exit 0; }
done
