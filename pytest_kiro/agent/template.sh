# shellcheck shell=sh
# Notes how HOME is when the sandbox is ready: an archive of it, from which the HOMEs of owners are made. It stands behind
# above.sh.
#
# template_homes    the folder of those HOMEs
# template_base     the sandbox's HOME
# template_archive  the archive, empty when HOME is shared
# template_most     KiB that may go into it
# template_remote   whether terminals have to be kept in logs
#
# Answers in lines: PATH; the folder without links in it; `logs` when `script` can keep what a terminal shows; features of
# kiro-cli that the machine's environment switches; the archive's SHA-256; the names of above.sh that are there; what is
# not in it and why.
: "${template_homes?}" "${template_base?}" "${template_archive?}" "${template_most?}" "${template_remote?}"
# `pwd -P`, since Kiro notes its folder without links in it, and a session is found by its folder.
mkdir -p -- "$template_homes" && cd -- "$template_homes" || exit
printf '%s\n' "$PATH"
pwd -P
PATH=/usr/bin:/bin:/usr/sbin:/sbin:/run/current-system/sw/bin
unset IFS
if [ -n "$template_remote" ]; then SHELL=/bin/sh script -qefc 'exit 3' /dev/null </dev/null >/dev/null 2>&1; fi # as launch.sh
if [ $? -eq 3 ]; then echo logs; else echo none; fi
printf '%s %s\n' "${KIRO_ROLLOUT_FEATURES-}" "${KIRO_ENABLED_FEATURES-}" | tr '\n' ' '
echo
[ -n "$template_archive" ] || exit 0
umask 077 # the login is in it
cd -- "$template_base" || exit
# Minutes since this machine began. What is older came with its image, and is reached by its path.
age=
if [ -r /proc/1/stat ] && [ -r /proc/stat ]; then
  ticks=$(getconf CLK_TCK 2>/dev/null) || ticks=100
  age=$(($(date +%s) - $(sed -n 's/^btime //p' /proc/stat) - $(sed 's/.*) //' /proc/1/stat | cut -d ' ' -f 20) / ticks))
  age=$((age / 60 + 2))
  [ "$age" -gt 0 ] || age=
fi
is_new() { [ -z "$age" ] || [ -n "$(find "$1" -cmin "-$age" 2>/dev/null | head -n 1)" ]; }
is_small_file() { [ -f "$1" ] && [ ! -L "$1" ] && [ "$(wc -c <"$1")" -le 262144 ]; }
total=0 large=
set --
for entry in .kiro/* .kiro/.[!.]* .local/share/kiro-cli/* .[!.]* ..?* * .local/* .local/share/*; do
  [ -e "$entry" ] || [ -L "$entry" ] || continue
  case $entry in
  .kiro | .local | .local/share | .local/share/kiro-cli) continue ;; # which are looked into
  .kiro/*session* | .kiro/*log* | .kiro/*cache* | .kiro/memories) continue ;; # a link to them would be everybody's
  .kiro/*) ;;
  .local/share/kiro-cli/data.sqlite3*) ;;
  .local/share/kiro-cli/*) continue ;; # what kiro-cli unpacks; home.sh makes links to it
  # What belongs to the machine, and what package managers keep.
  users | work | .local/bin | .local/state | .local/lib | .local/share/kiro-cli-*) continue ;;
  *cache | .npm | .nvm | .yarn | .pnpm-store | .bun | .deno | .cargo | .rustup | .gem | .rbenv | .pyenv) continue ;;
  .m2 | .gradle | .nuget | .dotnet | go | snap | node_modules | .*_history | .local/share/uv | .local/share/pnpm) continue ;;
  .*) is_small_file "$entry" || is_new "$entry" || continue ;;
  *) is_new "$entry" || continue ;;
  esac
  size=$(du -sk -- "$entry" 2>/dev/null) size=${size%%[!0-9]*}
  if [ $((total + ${size:-0})) -gt "$template_most" ]; then
    large="$large~/$entry: too large
"
  else
    total=$((total + ${size:-0}))
    set -- "$@" "$entry"
  fi
done 2>/dev/null # a file may vanish meanwhile, or be root's; what is said of it would be taken for an answer
true >"$template_archive" || exit
# It goes on without what it may not read, which root may have left here.
if [ $# -gt 0 ]; then said=$(tar -cf "$template_archive" -- "$@" 2>&1); fi
{ sha256sum || shasum -a 256; } <"$template_archive" 2>/dev/null || exit
above='' && above .
printf '%s\n%s%s' "$above" "$large" "${said-}"
