# shellcheck shell=sh
# Puts the stand-in's archive and its launcher into place; exits with 9 when the archive was not sent yet.
#
# sent      the archive as it was sent
# archive   where it belongs
# launcher  the path of kiro-cli
# part      where the launcher is written
# text      what is in it
#
# Both come into place by renaming: another worker may be executing them already.
: "${sent?}" "${archive?}" "${launcher?}" "${part?}" "${text?}"
if [ -f "$sent" ]; then mv -f "$sent" "$archive"; fi
[ -f "$archive" ] || exit 9
mkdir -p "${launcher%/*}" && printf %s "$text" >"$part" && chmod 755 "$part" && mv -f "$part" "$launcher" && exit
rm -f "$part"
exit 1
