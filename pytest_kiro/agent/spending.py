"""Limits what the turns of one test may cost: `mark.kiro(budget=…)`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_kiro.errors import HIDE_FRAMES, BudgetExceeded, SettingsError
from pytest_kiro.turn.amounts import added_up

if TYPE_CHECKING:
    from pytest_kiro.agent.bench import Owner

__tracebackhide__ = HIDE_FRAMES

#: Credits that a turn is taken to cost that did not tell it, where none of the test has.
_FIRST_GUESS = 1.0


def check_spent(owner: Owner, *, scripted: bool) -> None:
    """Refuse a further turn of an owner that has spent its budget.

    As in the budget of the run, a turn that ended before it told its cost counts as the dearest one that did; of
    `scripted` ones nobody is billed.
    """
    cap = owner.marker().get("budget")
    if cap is None:
        return
    if isinstance(cap, bool) or not isinstance(cap, int | float) or not 0 <= cap < math.inf:
        raise SettingsError(f"mark.kiro: budget={cap!r} is not right", advice="wanted: credits, 0 or more")
    run = [turn for one in owner.conversations for turn in (*one.retried, *one.turns)]
    turns = [turn for turn in run if turn.provenance.recorded is None]  # a replay costs nothing
    metered = [turn.credits for turn in turns if turn.credits is not None]
    untold = 0 if scripted else sum(turn.credits is None and not turn.ok for turn in turns)
    spent = added_up([*metered, *[max(metered, default=_FIRST_GUESS)] * untold])
    if spent >= cap:
        guessed = f" ({untold} turn{'s' * (untold > 1)} ended without telling the cost, which is guessed)"
        raise BudgetExceeded(
            f"{owner.name}: the budget of this test is used up, so this turn was not begun: {spent:.2f} credits "
            f"spent{guessed if untold else ''}, mark.kiro(budget={cap:g})",
            spent=spent,
            cap=cap,
            advice="raise it, or run fewer turns",
        )
