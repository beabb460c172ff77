# shellcheck shell=sh
# Says where kiro-cli is, in a line, and then what it answers to --version; nothing when there is none.
PATH=$HOME/.local/bin:$PATH
export PATH
path=$HOME/.local/bin/kiro-cli
[ -x "$path" ] || path=$(command -v kiro-cli) || exit 0
echo "$path"
"$path" --version </dev/null
