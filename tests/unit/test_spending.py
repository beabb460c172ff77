"""The budget of a test: which further turn of its own is refused, and what is no budget."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_kiro.agent.bench import Owner
from pytest_kiro.agent.spending import check_spent
from pytest_kiro.errors import BudgetExceeded, SettingsError
from pytest_kiro.turn.provenance import Provenance


def owner(
    budget: Any,
    *turns: float | None,
    retried: tuple[float, ...] = (),
    ok: bool = True,
    recorded: str | None = None,
) -> Owner:
    """A test with this budget, each of whose turns was of a conversation of its own; None told no credits."""

    def made(credits: float | None) -> Any:
        return SimpleNamespace(credits=credits, ok=ok, provenance=Provenance(recorded=recorded))

    one = Owner("t.py::test", (), Path("t.py"), marker=lambda: {"budget": budget})
    conversations: list[Any] = [SimpleNamespace(turns=[made(turn)], retried=[]) for turn in turns]
    one.conversations = [*conversations, SimpleNamespace(turns=[], retried=[made(turn) for turn in retried])]
    return one


@pytest.mark.parametrize(
    "allowed",
    [
        owner(None, 100.0),
        owner(0.5),
        owner(0.5, 0.25),
        owner(0.5, None),
        owner(1, 0.3, 0.3, 0.3),
        owner(0.5, 1.0, recorded="2026-11-29"),
    ],
    ids=["no_budget", "first", "less", "unmetered", "sum", "replayed"],
)
def test_a_turn_is_begun_while_less_was_spent(allowed: Owner) -> None:
    check_spent(allowed, scripted=False)


REFUSED = {
    "zero": (owner(0), "0.00 credits spent, mark.kiro(budget=0)"),
    "all": (owner(0.5, 0.25, 0.25), "0.50 credits spent, mark.kiro(budget=0.5)"),
    "rounding": (owner(0.3, 0.1, 0.1, 0.1), "0.30 credits spent"),
    "run_again": (owner(0.5, 0.25, retried=(0.25,)), "0.50 credits spent"),
    "untold": (owner(0.5, 0.25, None, ok=False), "0.50 credits spent (1 turn ended without telling the cost"),
    "nothing_told": (owner(1, None, ok=False), "1.00 credits spent (1 turn ended without telling the cost"),
}


@pytest.mark.parametrize(("spent", "message"), REFUSED.values(), ids=REFUSED)
def test_the_turn_after_the_budget_is_refused(spent: Owner, message: str) -> None:
    with pytest.raises(BudgetExceeded) as caught:
        check_spent(spent, scripted=False)
    assert str(caught.value).startswith("t.py::test: the budget of this test is used up, so this turn was not begun: ")
    assert message in str(caught.value)
    assert str(caught.value).endswith("; raise it, or run fewer turns")


def test_scripted_turns_that_were_ended_cost_nothing() -> None:
    check_spent(owner(0.5, None, ok=False), scripted=True)


@pytest.mark.parametrize("budget", [-1, float("nan"), float("inf"), True, "1"])
def test_what_is_no_budget_is_refused(budget: Any) -> None:
    with pytest.raises(SettingsError, match=r"mark\.kiro: budget=.* is not right; wanted: credits, 0 or more"):
        check_spent(owner(budget), scripted=False)
