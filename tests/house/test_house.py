"""The house as it is drawn: floors, names, sizes and what an import costs."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import itertools
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest
from helpers import run_python
from packaging.requirements import Requirement

import pytest_kiro
from pytest_kiro import standin

ROOT = Path(pytest_kiro.__file__).parent
FILES = sorted(path for path in ROOT.rglob("*.py") if "kiro_cli" not in path.parts)
STAND_IN = sorted(standin.STAND_IN.rglob("*.py"))

DRAWING = Path(__file__).parents[2] / "docs" / "architecture.md"


@cache
def drawn() -> dict[str, int]:
    """The floor of each room and of each file that stands alone, as the drawing has it."""
    block = re.search(r"^```floors\n(.*?)^```", DRAWING.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert block
    floors, floor = {"__init__": 10}, -1  # which hands the public names on
    for line in block[1].splitlines():
        number, room = re.match(r"(?:F(\d))? +(\S+)", line).groups()
        floor = int(number) if number else floor
        floors[room.rstrip("/")] = floor
    return floors


#: Where what comes from outside may be imported.
OUTSIDE = {
    "pytest": lambda path: path.parent == ROOT / "plugin",
    "_pytest": lambda _: False,
    "pluggy": lambda path: path.parent == ROOT / "plugin",
    "daytona": lambda path: path.is_relative_to(ROOT / "sandbox" / "daytona"),
    "aiohttp": lambda path: path.is_relative_to(ROOT / "sandbox" / "daytona"),
    "jinja2": lambda path: path == ROOT / "report" / "html" / "rendering.py",
    "markupsafe": lambda path: path == ROOT / "report" / "html" / "rendering.py",
    "pexpect": lambda path: path == ROOT / "terminal" / "expect.py",
    "ptyprocess": lambda _: False,
}


class Import(NamedTuple):
    """One imported module; `typing` when only for types."""

    module: str
    line: int
    typing: bool


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> list[Import]:
    found: list[Import] = []

    def visit(node: ast.AST, typing: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(name.name, node.lineno, typing) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level or path in STAND_IN, (
                f"{path}:{node.lineno}: an import by its full name is found by a search"
            )
            package = f"{module_of(path.parent)}." if node.level else ""
            module = f"{package}{node.module or ''}".rstrip(".")
            for name in node.names:
                inner = ROOT.parent / Path(*module.split("."), name.name)
                is_module = inner.is_dir() or inner.with_suffix(".py").is_file()
                found.append(Import(f"{module}.{name.name}" if is_module else module, node.lineno, typing))
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for child in node.body:
                visit(child, True)
            for child in node.orelse:
                visit(child, typing)
        else:
            for child in ast.iter_child_nodes(node):
                visit(child, typing)

    visit(parsed(path), False)
    return found


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def floor_of(module: str) -> int:
    return drawn()[room_of(module)]


def at_run_time(path: Path) -> Iterator[Import]:
    return (imported for imported in imports(path) if not imported.typing)


def each_of(*files: Sequence[Path]) -> Callable[[Callable[[Path], None]], Callable[[], None]]:
    """Let one test ask each file, and tell all that fail: as tests of their own they would be 1,700."""

    def decorate(check: Callable[[Path], None]) -> Callable[[], None]:
        def test() -> None:
            failed = {}
            for path in itertools.chain(*files):
                try:
                    check(path)
                except Exception as error:
                    failed[str(path.relative_to(ROOT))] = error
            assert failed == {}

        test.__doc__ = check.__doc__
        return test

    return decorate


def test_every_room_is_in_the_drawing() -> None:
    assert {room_of(module_of(path)) for path in FILES} == set(drawn())


@each_of(FILES)
def test_a_file_imports_only_from_lower_floors_or_its_own_room(path: Path) -> None:
    """For types and within functions too."""
    me = module_of(path)
    for imported in imports(path):
        if imported.module.partition(".")[0] != "pytest_kiro" or imported.module == "pytest_kiro":
            continue
        lower = floor_of(imported.module) < floor_of(me)
        assert lower or room_of(imported.module) == room_of(me), f"{path}:{imported.line} imports {imported.module}"


@each_of(FILES)
def test_what_comes_from_outside_has_its_place(path: Path) -> None:
    for imported in at_run_time(path):
        allowed = OUTSIDE.get(imported.module.partition(".")[0])
        assert allowed is None or allowed(path), f"{path}:{imported.line} imports {imported.module}"


def test_nobody_imports_the_stand_in() -> None:
    """It runs in a sandbox, as another program."""
    for path in FILES:
        for imported in imports(path):
            assert not imported.module.startswith("pytest_kiro.standin.kiro_cli"), f"{path}:{imported.line}"


def test_the_stand_in_imports_nobody() -> None:
    """Standard library and itself only."""
    import sys

    for path in STAND_IN:
        tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
        for node in ast.walk(tree):
            names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in names:
                top = name.partition(".")[0]
                assert top in sys.stdlib_module_names or top == "kiro_cli", f"{path}:{node.lineno} imports {name}"


def test_no_circle() -> None:
    """Neither for types, nor when functions import later; the stand-in's program too."""
    files = [*FILES, *STAND_IN]
    graph = {
        module_of(path): {i.module for i in imports(path) if i.module.startswith("pytest_kiro.")} for path in files
    }
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, f"a circle: {' → '.join([*above[above.index(module) :], module])}"
        if module not in done:
            for other in sorted(graph.get(module, ())):
                visit(other, (*above, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@each_of(FILES, STAND_IN)
def test_no_file_is_too_long_to_be_read_at_once(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 330


@each_of(FILES, STAND_IN)
def test_a_file_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(parsed(path))


@each_of(FILES, STAND_IN)
def test_a_docstring_begins_with_a_short_sentence(path: Path) -> None:
    """At most twelve words, up to the first stop: what a reader who skims takes along."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(parsed(path)):
        if isinstance(node, documented) and (text := ast.get_docstring(node)):
            first = re.split(r"(?<=[.;:])\s|\n\n", text)[0]
            assert len(first.split()) <= 12, f"{path}:{getattr(node, 'lineno', 1)}: {first}"


# -- names


def test_public_names_are_the_lazy_table() -> None:
    table = [name for names in pytest_kiro._HOMES.values() for name in names.split()]
    assert sorted(pytest_kiro.__all__) == sorted(table)
    assert len(table) == len(set(table))
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    typed = {
        f"{node.module}.{name.asname}"  # only what has an `as` is exported to type checkers
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pytest_kiro.")
        for name in node.names
    }
    there = {f"pytest_kiro.{home}.{name}" for home, names in pytest_kiro._HOMES.items() for name in names.split()}
    assert typed == there, "what type checkers see is what is there"


@pytest.mark.parametrize("name", pytest_kiro.__all__)
def test_every_public_name_imports(name: str) -> None:
    value = getattr(pytest_kiro, name)
    assert value.__name__ == name
    assert value.__module__.partition(".")[0] == "pytest_kiro"  # of an error that was shown, the public name


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'pytest_kiro' has no attribute 'Kirro'"):
        _ = pytest_kiro.Kirro


def has_example(docstring: str | None) -> bool:
    return bool(docstring and doctest.DocTestParser().get_examples(docstring))


def has_docstring(value: object) -> bool:
    """Of its own: a class without one is given one by dataclass or by its parent."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(value)))
    return bool(ast.get_docstring(tree.body[0]))


@pytest.mark.parametrize("name", pytest_kiro.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    """Its methods too."""
    value = getattr(pytest_kiro, name)
    assert has_docstring(value)
    for method, function in vars(value).items():
        if method.startswith("_") or not callable(getattr(function, "fget", function)):
            continue
        function = getattr(function, "fget", getattr(function, "__func__", function))
        if inspect.isfunction(function) and function.__module__.startswith("pytest_kiro."):
            assert function.__doc__, f"{name}.{method}"


def examples_wanted() -> list[str]:
    """Errors are raised for people, and protocols are written against: neither is called by an eval."""
    return [
        name
        for name in pytest_kiro.__all__
        if not (isinstance(value := getattr(pytest_kiro, name), type) and issubclass(value, BaseException))
        and not getattr(value, "_is_protocol", False)
    ]


@pytest.mark.parametrize("name", examples_wanted())
def test_every_public_class_has_an_example(name: str) -> None:
    value = getattr(pytest_kiro, name)
    own = (getattr(f, "__doc__", None) for n, f in vars(value).items() if not n.startswith("_"))
    assert has_example(value.__doc__) or any(map(has_example, own))


# -- messages


def raised(path: Path) -> Iterator[tuple[int, str, str]]:
    """Every `raise OurError(...)`: its line, the error, and the text of its arguments' constants."""
    ours = {name for name in pytest_kiro.__all__ if name.endswith(("Error", "Failed", "Timeout", "Closed", "Miss"))}
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            name = getattr(node.exc.func, "id", "")
            if name in ours:
                yield node.lineno, name, ast.unparse(node.exc)


#: A message that says what a value must be is its own advice.
ADVICE = re.compile(r"advice=|must be|needs|neither .* nor")
#: Errors that say what is over, where nothing is to be done, and those that put their advice together themselves.
NO_ADVICE = ("PtyClosed", "RecordingMiss", "CommandFailed", "TurnTimeout", "SandboxTimeout", "TurnFailed")


@each_of(FILES)
def test_an_error_has_advice(path: Path) -> None:
    for line, name, text in raised(path):
        if name not in NO_ADVICE:
            assert ADVICE.search(text), f"{path}:{line}: {text}"


# -- what an import costs


def loaded_by(statement: str) -> set[str]:
    return set(run_python(f"{statement}\nimport sys; print(*sys.modules)").split())


#: What a pytest run without evals imports of ours.
LEAN = {
    "pytest_kiro",
    "pytest_kiro.errors",
    "pytest_kiro.plugin",
    "pytest_kiro.plugin.hookspecs",
    "pytest_kiro.plugin.owners",
    "pytest_kiro.plugin.state",
    "pytest_kiro.secrecy",
    "pytest_kiro.settings",
    "pytest_kiro.settings.rows",
}


#: Runs pytest as it is told, each time in a fork of one Python that has imported it and nothing else.
RUNS = """
import ast, json, os, pytest, sys
for argv in ast.literal_eval(sys.argv[1]):
    if os.fork() == 0:
        pytest.main(argv)
        print("\\nLOADED", *sys.modules, flush=True)
        os._exit(0)
    os.wait()
"""
PLAIN, COLLECTED, WITHOUT = "a run without evals", "a collected eval", "a run without the plugin"


@pytest.fixture(scope="module")
def loaded_in(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The modules that pytest runs of one file have loaded at their end."""
    folder = tmp_path_factory.mktemp("runs")
    for name, wanted in (("plain", "tmp_path"), ("eval", "kiro")):
        (folder / f"test_{name}.py").write_text(f"def test_it({wanted}): pass")
    argv = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--rootdir={folder}", "-c", "/dev/null"]
    runs = {
        PLAIN: [*argv, f"{folder}/test_plain.py"],
        COLLECTED: [*argv, f"{folder}/test_eval.py", "--collect-only"],
        WITHOUT: [*argv, f"{folder}/test_plain.py", "-p", "no:kiro"],
    }
    with pytest.MonkeyPatch.context() as patch:
        for name in ("KIRO_API_KEY", "DAYTONA_API_KEY"):
            patch.delenv(name, raising=False)
        said = run_python(RUNS, repr([*runs.values()]))
    told = [set(line.split()[1:]) for line in said.splitlines() if line.startswith("LOADED ")]
    return dict(zip(runs, told, strict=True))


def test_a_run_without_evals_loads_only_settings_hooks_and_fixtures(loaded_in: dict[str, set[str]]) -> None:
    loaded = loaded_in[PLAIN]
    assert {name for name in loaded if name.partition(".")[0] == "pytest_kiro"} == LEAN
    assert {name.partition(".")[0] for name in loaded - loaded_in[WITHOUT]} == {"pytest_kiro"}, (
        "nothing else comes with them"
    )


def test_what_a_run_without_evals_loads_is_short() -> None:
    """Where no bytecode is kept, as in images of CI jobs, each line is compiled in every run."""
    files = [(ROOT.parent / Path(*name.split("."))) for name in LEAN]
    texts = [(file / "__init__.py" if file.is_dir() else file.with_suffix(".py")).read_text() for file in files]
    assert (
        sum(len(text.splitlines()) for text in texts) <= 1_300
    )  # of which a row of the settings table has up to eight


def test_a_collected_eval_loads_what_only_evals_need(loaded_in: dict[str, set[str]]) -> None:
    loaded = loaded_in[COLLECTED] - loaded_in[WITHOUT]
    assert {"pytest_kiro.plugin.reporting", "pytest_kiro.plugin.hiding"} <= loaded
    for heavy in ("pexpect", "ptyprocess", "daytona", "asyncio", "sqlite3", "ssl", "aiohttp", "pydantic"):
        assert heavy not in loaded, heavy
    # Editors collect at every save: who runs turns, reads records of kiro-cli's or compares trials comes later.
    assert not {name for name in loaded if name.startswith(("pytest_kiro.kirocli.", "pytest_kiro.terminal."))} - {
        "pytest_kiro.kirocli.commands",
        "pytest_kiro.terminal.text",
    }
    assert not loaded & {"pytest_kiro.agent.bench", "pytest_kiro.trials.variants", "pytest_kiro.trials.runs"}


def test_what_starts_every_program_of_a_sandbox_loads_nothing_slow() -> None:
    code = f"import sys; sys.path.append({str(ROOT / 'sandbox')!r}); import warden; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"subprocess", "typing", "threading"} & set(loaded.split())


def test_the_package_loads_nothing_until_a_name_is_used() -> None:
    assert [m for m in loaded_by("import pytest_kiro") if m.startswith("pytest_kiro.")] == []
    loaded = loaded_by("from pytest_kiro import SettingsError")
    assert [m for m in loaded if m.startswith("pytest_kiro.")] == ["pytest_kiro.errors"]


@each_of(FILES)
def test_every_file_can_be_the_first_that_is_imported(path: Path) -> None:
    """In one process each would be slow; the order in which a fresh interpreter meets them is what circles hide in."""
    importlib.import_module(module_of(path))


def test_no_two_test_files_have_one_name() -> None:
    """Without our ini file pytest imports them by their bare names, in one process."""
    root = Path(__file__).parents[2]
    files = [*(root / "tests").glob("**/test_*.py"), *(root / "evals").glob("test_*.py")]
    names = [file.name for file in files]
    assert sorted(names) == sorted({*names})


def test_no_quantifier_is_possessive() -> None:
    """Python 3.11.2, which is Debian 12's, never comes back from some of them, and takes all memory (issue 11)."""
    for path in ROOT.rglob("*.py"):
        assert not re.search(r"\*\+|\?\+|\(\?>", path.read_text(encoding="utf-8")), path


def test_no_other_sdk_of_daytona_s_is_let_in() -> None:
    """2.x has no setting for the service's address, and moves what is used here into an extra (docs/daytona.md)."""
    project = tomllib.loads((ROOT.parent / "pyproject.toml").read_text(encoding="utf-8"))
    required = [*project["project"]["dependencies"], *(metadata.requires("pytest-kiro") or ())]
    said = [one for one in map(Requirement, required) if one.name == "daytona"]
    assert len(said) == 2, "one in pyproject.toml, one of what is installed"
    for one in said:
        assert one.specifier.contains("0.226.0")
        newer = ("0.225.0", "1.0.0a1", "1.0.0", "2.0.0a7", "2.0.0")
        assert list(one.specifier.filter(newer, prereleases=True)) == [], one
        assert one.specifier.contains(metadata.version("daytona")), "what is installed is another one"
