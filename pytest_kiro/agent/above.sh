# shellcheck shell=sh
# Finds files that programs look for from the folders below theirs; it stands before what calls it.
#
# What an agent puts above its HOME would be found from the next test's workspace: settings of pytest, node's modules,
# a repository of git.
# above FOLDER sets `above` to their names there, each behind a slash.
# shellcheck disable=SC2034 # for the caller
above() {
  above=
  for above_entry in "$1"/* "$1"/.[!.]*; do
    case ${above_entry##*/} in
    conftest.py | pytest.* | .pytest.* | tox.ini | setup.cfg | pyproject.toml | ruff.toml | .ruff.toml | .*-version) ;;
    package.json | node_modules | .nvmrc | [jt]sconfig.json | *eslint* | *babel* | *prettier* | jest.config.* | vite*) ;;
    .git | .hg | .editorconfig | .tool-versions | .envrc | .cargo | rust-toolchain* | go.mod | go.work | Gemfile) ;;
    .mvn | pom.xml | *.gradle | *.gradle.kts | global.json | Directory.*) ;;
    *) continue ;;
    esac
    if [ -e "$above_entry" ]; then above=$above/${above_entry##*/}; fi
  done
}
