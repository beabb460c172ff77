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
    .venv | uv.toml | .mypy.ini | mypy.ini | .pylintrc | pylintrc | .isort.cfg | Pipfile | .pixi | pixi.toml) ;;
    .yarnrc* | .pnp.* | pnpm-workspace.yaml | lerna.json | nx.json | turbo.json | deno.json* | biome.json* | *stylelint*) ;;
    Cargo.toml | .rustfmt.toml | rustfmt.toml | .clang-* | .bazel* | WORKSPACE* | MODULE.bazel | dune-project) ;;
    composer.json | pubspec.yaml | Package.swift | .rubocop.yml | .bundle | [Nn]u[Gg]et.[Cc]onfig | stack.yaml) ;;
    [Rr]akefile* | .justfile | [Jj]ustfile | [Tt]askfile.* | [Gg]ulpfile.* | .mise* | mise.* | *compose.y*ml) ;;
    .ignore | .rgignore | .fdignore) ;;
    *) continue ;;
    esac
    if [ -e "$above_entry" ]; then above=$above/${above_entry##*/}; fi
  done
}
