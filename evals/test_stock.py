"""Does Kiro ask the shop's MCP server, and not guess? And does it order no more than there are?"""

import json

import pytest

pytestmark = [
    pytest.mark.kiro(workspace="projects/stock"),
    pytest.mark.kiro_selfcheck(allow=["no-call"], reason="what the tools have done decides"),
]


def stock(kiro):
    return json.loads((kiro.workspace / "stock.json").read_text())


def test_orders_what_there_is(kiro):
    turn = kiro.run(
        "A customer wants three blue mugs. Look whether there are enough, then order them. Use the shop's tools."
    )

    asked = turn.used("in_stock")
    assert asked
    assert asked[0].output == "7"
    assert turn.used("@stock/order").filter(status="completed")
    assert stock(kiro) == {"blue mug": 4, "red mug": 2}
    assert not turn.commands  # nothing that goes round the server
    assert turn.changes.paths == {"stock.json"}


def test_says_when_there_are_not_enough(kiro):
    turn = kiro.run("A customer wants three red mugs. Order them with the shop's tools, or say how many there are.")

    assert turn.used("in_stock") or turn.used("order")
    assert "2" in turn.text or "two" in turn.text.lower()
    assert stock(kiro) == {"blue mug": 7, "red mug": 2}
    assert not turn.changes
