"""Which files other programs run by themselves."""

from __future__ import annotations

import pytest

from pytest_kiro.turn.planted import planted

WHY = {
    "conftest.py": "pytest runs it",
    "deep/er/conftest.py": "pytest runs it",
    "conftest.pyc": "pytest runs it",
    "sitecustomize.py": "Python runs it when it starts",
    "usercustomize.py": "Python runs it when it starts",
    "lib/a.pth": "Python runs it when it starts",
    "pytest.ini": "pytest may obey it",
    "package.json": "npm runs its scripts",
    ".git/hooks/pre-commit": "git runs it",
    "sub/.git/hooks/post-checkout": "git runs it",
    "unittest.py": "shadows the standard library's unittest",
    "unittest/__init__.py": "shadows the standard library's unittest",
    "unittest/__main__.py": "",
    "tests/json.py": "shadows the standard library's json",
    "random.cpython-313-x86_64-linux-gnu.so": "shadows the standard library's random",
    "re.pyc": "shadows the standard library's re",
    "__pycache__/re.cpython-313.pyc": "shadows the standard library's re",
    "sys.py": "",  # it is built in, so no file is looked for
    "app.py": "",
    "README.md": "",
    ".git/hooks/pre-commit.sample": "",
    ".git/index": "",
}


@pytest.mark.parametrize("path", WHY)
def test_what_is_run_by_others_is_named(path: str) -> None:
    assert planted({path}) == ({path: WHY[path]} if WHY[path] else {})


def test_a_module_of_a_package_shadows_nothing() -> None:
    assert planted({"shop/__init__.py", "shop/types.py", "shop/json/__init__.py"}) == {}
    assert list(planted({"shop/types.py"})) == ["shop/types.py"]
