"""Names files that other programs run or obey by themselves."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection
from pathlib import PurePosixPath

#: What pytest, Python, npm and their kind take up without being told, by a file's name.
_TAKEN_UP = {
    "conftest.py": "pytest runs it",
    "sitecustomize.py": "Python runs it when it starts",
    "usercustomize.py": "Python runs it when it starts",
    "package.json": "npm runs its scripts",
    ".npmrc": "npm obeys it",
    **dict.fromkeys(
        ("pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "tox.ini", "setup.cfg", "pyproject.toml"),
        "pytest may obey it",
    ),
}
#: A module's name, with or without its source: `json.py`, `json.pyc`, `json.cpython-313-x86_64-linux-gnu.so`.
_MODULE = re.compile(r"(\w+)(?:\.[\w-]+)?\.(?:py|pyc|so|pyd)")


def planted(paths: Collection[str]) -> dict[str, str]:
    """Return the paths that other programs run by themselves, and why.

    A module counts as shadowing the standard library's where Python looks for it by its plain name: not within a
    package, as far as these paths tell.

    >>> planted({"conftest.py", "src/app.py", "unittest/__init__.py", "app/__init__.py", "app/types.py"})
    {'conftest.py': 'pytest runs it', 'unittest/__init__.py': "shadows the standard library's unittest"}
    """
    known = frozenset(paths)
    return {path: why for path in sorted(known) if (why := _why(PurePosixPath(path), known))}


def _why(path: PurePosixPath, known: frozenset[str]) -> str:
    if ".git" in path.parts:
        return "git runs it" if "hooks" in path.parts and path.suffix != ".sample" else ""
    if path.suffix == ".pth":
        return "Python runs it when it starts"
    if why := _TAKEN_UP.get(path.name.removesuffix("c") if path.suffix == ".pyc" else path.name):
        return why
    # Byte code in a cache stands for the module beside that cache.
    folder = path.parent.parent if path.parent.name == "__pycache__" else path.parent
    match = _MODULE.fullmatch(path.name)
    if match and match[1] == "__init__":
        folder, name = folder.parent, folder.name
    else:
        name = match[1] if match else ""
    # What cannot be shadowed is left out: Python has these before it looks into any folder.
    if name not in sys.stdlib_module_names or name in sys.builtin_module_names or str(folder / "__init__.py") in known:
        return ""
    return f"shadows the standard library's {name}"
