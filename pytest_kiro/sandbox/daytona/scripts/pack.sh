# shellcheck shell=sh
# Answers what each path is, one letter of look.sh each; if all are files it packs them.
#
# names   quoted words: the paths
# inner   the same without their first slash
# tar     the command that packs, with its option
# most    bytes that may come at all
# inline  bytes that come with the answer, as base64; for more the answer says `big`
# pack    the file into which more is packed
: "${names?}" "${inner?}" "${tar?}" "${inline?}" "${pack?}" "${most?}"
eval "set -- $names"
kinds='' kind='' && for name do look "$name"; kinds=$kinds$kind; done
echo "$kinds"
case $kinds in *[!f]*) exit 0 ;; esac
# A sparse file has a size that no disk has.
large=$(find -L "$@" -prune -size "+${most}c")
size=0
[ -n "$large" ] || size=$(cat -- "$@" | wc -c)
if [ -n "$large" ] || [ "$size" -gt "$most" ]; then echo large; exit; fi
eval "set -- $inner"
# 1 is "a file changed while it was read": an agent's server may be writing its log.
# shellcheck disable=SC2086 # tar may have an option
if [ "$size" -le "$inline" ]; then $tar -chf - -C / -- "$@" 2>/dev/null | base64; exit; fi
# shellcheck disable=SC2086
said=$($tar -chf "$pack" -C / -- "$@" 2>&1)
if [ $? -gt 1 ]; then echo failed; echo "$said"; rm -f "$pack"; exit; fi
# The service cuts all that is downloaded by one line, and the SDK takes it for the end wherever it stands.
boundary=--DAYTONA-FILE-BOUNDARY
if grep -qaF -- "$boundary" "$pack"; then
  if gzip -1 <"$pack" >"$pack.gz" && mv "$pack.gz" "$pack"; then :
  else
    rm -f "$pack" "$pack.gz"
    echo failed
    ( cd / && grep -laF -- "$boundary" "$@" )
    echo "has $boundary in it, by which Daytona cuts what is downloaded, and cannot be packed by gzip"
    exit
  fi
fi 2>/dev/null
echo big
