# shellcheck shell=sh
# Writes into kiro-cli's settings whether it has a memory, and leaves the others as they are.
#
# memory_file      the settings, a JSON object in a folder of kiro-cli's own
# memory_settings  those of the memory, as they stand in such an object
# memory_own       whether a link in the place of its memories is removed: where it leads, others may remember as well
#
# No link is followed, and what is no object stays: whoever reads the settings after the turn sees that.
: "${memory_file?}" "${memory_settings?}" "${memory_own?}"
memory_write() {
  for memory_part in "${memory_file%/*/*}" "${memory_file%/*}" "$memory_file"; do
    [ ! -L "$memory_part" ] || return
  done
  memory_text='{}'
  if [ -e "$memory_file" ]; then
    [ -f "$memory_file" ] || return
    IFS= read -r memory_text <"$memory_file"
    # That is how it was written here, and nothing after it says otherwise.
    case $memory_text in
    "{$memory_settings"*'"memory.'*) ;;
    "{$memory_settings"*'}') return ;;
    esac
    memory_text=$(tr '\n\r\t' '   ' <"$memory_file")
    case $memory_text in *[!\ ]*) ;; *) memory_text='{}' ;; esac
  fi
  LC_ALL=C
  export LC_ALL
  printf '%s\n' "$memory_text" | grep -Eq '^ *\{.*\} *$' || return
  memory_text=$(printf '%s\n' "$memory_text" |
    sed -E 's/"memory\.(mode|reflection|enabled)" *: *("[^"]*"|[A-Za-z0-9.+-]+) *,?//g; s/^ *\{ *//; s/[ ,]*\} *$//')
  umask 077
  mkdir -p -- "${memory_file%/*}" &&
    printf '{%s%s}\n' "$memory_settings" "${memory_text:+,$memory_text}" >"$memory_file.$$" &&
    mv -f -- "$memory_file.$$" "$memory_file"
}
if [ -n "$memory_own" ] && [ ! -L "${memory_file%/*/*}" ]; then
  for memory_part in "${memory_file%/*/*}/memories" "${memory_file%/*/*}/memories"/*; do
    if [ -L "$memory_part" ]; then rm -f -- "$memory_part"; fi
  done
fi
( memory_write ) 2>/dev/null || :
