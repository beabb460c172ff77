"""One expensive turn, many asserts: a module's fixture runs it, and each test looks at another side of it."""

import json
import re

import pytest

pytestmark = [
    pytest.mark.kiro_selfcheck(allow=["no-call", "exit-code"], reason="what it leaves decides, not how it got there"),
    pytest.mark.kiro_selfcheck(allow=["* shop/__init__.py"], reason="a package may do without one"),
]


@pytest.fixture(scope="module")
def shop(kiro):
    """The turn in which Kiro builds a service."""
    return kiro.run(
        "Build a price list service as a Python package shop/, with nothing but the standard library.\n"
        "- `python3 -m shop --port 0` takes any free port and first prints its address, like http://127.0.0.1:8000\n"
        "- GET /prices answers all prices in cents as JSON: apple 45, pear 60, plum 30\n"
        "- GET /prices/apple answers the JSON number 45; a fruit that is not there is a 404\n"
        "Write tests too, so that `python3 -m unittest` finds and passes them."
    )


def test_its_tests_pass(shop):
    tests = shop.workspace.exec("python3 -B -m unittest", timeout=60)
    assert tests.ok
    assert int(re.search(r"Ran (\d+) test", tests.output)[1]) >= 3


def test_it_answers(shop):
    shop.workspace.seed("checks/price_list")
    asked = shop.workspace.exec("python3 -B ask.py /prices /prices/pear /prices/moon", timeout=60).check()
    assert json.loads(asked.output) == {
        "/prices": [200, {"apple": 45, "pear": 60, "plum": 30}],
        "/prices/pear": [200, 60],
        "/prices/moon": [404, None],
    }


def test_it_is_small(shop):
    assert "shop/__main__.py" in shop.changes.added
    assert len(shop.changes.added) < 20
