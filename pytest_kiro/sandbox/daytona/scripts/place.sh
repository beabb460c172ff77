# shellcheck shell=sh
# Unpacks files and puts them in their places.
#
# names    quoted words, two for each folder of the archive in turn: the folder into which it goes; `1` if that is guarded
# stage    a folder to be made, into which they are unpacked
# inline   the archive as base64; empty when it is in the file
# archive  that file
# unpack   the command that unpacks it
#
# It goes from folder to folder: below a guarded one a link is replaced and never followed, and it looks where it has
# come to. Files are renamed into their places: the stage is beside a guarded folder; for others it may be on another
# disk, so that they are first brought into a new folder beside their places. It answers `f` when all is done, or a letter of look.sh and the path that cannot be.
: "${names?}" "${stage?}" "${inline?}" "${archive?}" "${unpack?}"
failed() { printf '\nplaced %s %s\n' "$1" "$2"; exit 1; }
# Gives us back the permissions of a folder, which an agent may have taken.
open_up() { [ -r "$1" ] && [ -w "$1" ] && [ -x "$1" ] || chmod u+rwx "$1" 2>/dev/null || :; }
# Brings what is in the folder $1 into this one, which is $2.
merge() {
  new=./.${stage##*/} from=$1 here=$2
  set --
  for entry in "$from"/* "$from"/.[!.]* "$from"/..?*; do
    name=${entry##*/}
    if [ -d "$entry" ] && ! [ -L "$entry" ]; then
      if [ -n "$guarded" ] && [ -L "./$name" ]; then rm -f -- "./$name" || exit; fi
      if ! [ -d "./$name" ]; then
        if [ -n "$guarded" ]; then rm -f -- "./$name" || exit
        elif [ -e "./$name" ]; then failed n "$here/$name"
        fi
        mkdir -- "./$name" || exit
      fi
      (
        if [ -z "$guarded" ]; then cd -- "./$name" || exit
        else
          open_up "./$name"
          cd -P -- "./$name" && [ "$PWD" = "$here/$name" ] || failed strange "$here/$name"
        fi
        merge "$entry" "$here/$name"
      ) || exit
    elif [ -e "$entry" ] || [ -L "$entry" ]; then
      if [ -d "./$name" ] && ! [ -L "./$name" ]; then
        [ -n "$guarded" ] || failed d "$here/$name"
        rm -rf -- "./$name" 2>/dev/null || { chmod -R u+rwX -- "./$name" 2>/dev/null; rm -rf -- "./$name"; } || exit
      elif [ -d "./$name" ]; then rm -f -- "./$name" || exit # busybox would move into it
      elif [ -z "$guarded" ] && { [ -b "./$name" ] || [ -c "./$name" ]; } && ! [ -L "./$name" ]; then
        failed o "$here/$name"
      fi
      case $guarded$name in 1*.py)
        # Python would run this in place of the new source.
        if [ -L ./__pycache__ ]; then rm -f ./__pycache__
        elif [ -d ./__pycache__ ]; then
          open_up ./__pycache__
          for code in ./__pycache__/"${name%.py}".*.pyc; do [ -e "$code" ] && rm -rf -- "$code"; done
        fi ;;
      esac
      set -- "$@" "$name"
    fi
  done
  [ $# -gt 0 ] || return 0
  if [ -n "$guarded" ]; then move "$from" . "$@" || exit; return; fi
  mkdir -m 700 "$new" 2>/dev/null || { rm -rf "$new" && mkdir -m 700 "$new"; } || exit
  move "$from" "$new" "$@" && move "$new" . "$@" && rmdir "$new" || exit
}
# Moves files from the folder $1 into $2, so many at once that their names fit.
move() {
  source=$1 target=$2
  shift 2
  while [ $# -gt 0 ]; do
    (
      count=0
      for name do
        count=$((count + 1))
        [ $count -le 200 ] || break
        if [ $count -eq 1 ]; then set --; fi
        set -- "$@" "$source/$name"
      done
      exec mv -f -- "$@" "$target"
    ) || return
    if [ $# -gt 200 ]; then shift 200; else shift $#; fi
  done
}
rm -rf "$stage"
mkdir -m 700 "$stage" || exit
if [ -n "$inline" ]; then printf %s "$inline" | base64 -d; else cat <"$archive"; fi | ( cd "$stage" && eval "$unpack" ) || exit
eval "set -- $names"
number=0
while [ $# -gt 0 ]; do
  guarded=$2
  (
    if [ -z "$guarded" ]; then cd -- "$1" || exit
    else
      cd -P -- "$1" 2>/dev/null && [ "$PWD" = "$1" ] || failed strange "$1"
      open_up .
    fi
    merge "$stage/$number" "${1%/}"
  ) || exit 0
  number=$((number + 1))
  shift 2
done
rm -rf "$stage"
printf '\nplaced f\n'
