# shellcheck shell=sh
# Lists a workspace: KIND, WORD and PATH, each with a zero byte behind, and all of it as base64, since a name may be any
# bytes. A file's word is its SHA-256, or ~SIZE of one above 8 MiB; a link's is where it leads.
#
# present_folder  the workspace
: "${present_folder?}"
unset IFS
PATH=/usr/bin:/bin:/usr/sbin:/sbin:/run/current-system/sw/bin
cd -- "$present_folder" || exit 1
if command -v sha256sum >/dev/null; then present_sum=sha256sum; else present_sum='shasum -a 256'; fi
export present_sum
{
  # shellcheck disable=SC2016 # it is for the inner shell
  find . -type f -size -16385 -exec sh -c '
    for path do
      if [ -x "$path" ]; then kind=exec; else kind=file; fi
      sum=$($present_sum <"$path") && printf "%s\0%s\0%s\0" "$kind" "${sum%% *}" "${path#./}"
    done' sh {} +
  # shellcheck disable=SC2016
  find . -type f ! -size -16385 -exec sh -c '
    for path do
      if [ -x "$path" ]; then kind=exec; else kind=file; fi
      printf "%s\0~%s\0%s\0" "$kind" "$(wc -c <"$path" | tr -d " ")" "${path#./}"
    done' sh {} +
  # shellcheck disable=SC2016
  find . -type l -exec sh -c '
    for path do printf "link\0%s\0%s\0" "$(readlink -- "$path")" "${path#./}"; done' sh {} +
  # shellcheck disable=SC2016
  find . -mindepth 1 -type d -exec sh -c '
    for path do
      set -- "$path"/* "$path"/.[!.]* "$path"/..?*
      for inner do { [ -e "$inner" ] || [ -L "$inner" ]; } && continue 2; done
      printf "folder\0\0%s\0" "${path#./}"
    done' sh {} +
  # shellcheck disable=SC2016
  find . ! -type f ! -type d ! -type l -exec sh -c '
    for path do printf "other\0\0%s\0" "${path#./}"; done' sh {} +
} 2>/dev/null | base64
