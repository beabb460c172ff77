"""Says which trials are compared: variants of a parameter, by `mark.kiro_compare`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pytest_kiro.plugin.trials import ANSWERED_AS, number_of, parameters_without, test_of, trial_of
from pytest_kiro.records.tests import VariantRecord
from pytest_kiro.settings.table import did_you_mean
from pytest_kiro.trials.comparison import MIN_EFFECT

if TYPE_CHECKING:
    from pytest_kiro.settings.table import Settings

MARK = "kiro_compare"
_WORDS = ("parameter", "baseline", "min_effect")


class _Plan(NamedTuple):
    parameter: str
    baseline: str
    min_effect: float


def variant_of(item: pytest.Item, group: str, settings: Settings) -> VariantRecord | None:
    """Return what a trial is compared as, if it is."""
    number = number_of(item)
    if settings.variants is not None and number is not None and number.variant is not None:
        return VariantRecord(
            comparison=f"--kiro-{settings.variants.name}",
            parameter=settings.variants.name,
            variant=number.variant,
            baseline=settings.variants.values[0],
            task=parameters_without(group, number.variant),
            min_effect=MIN_EFFECT,
        )
    if (plan := _plan(item)) is None:
        return None
    variant = _id(item, plan.parameter)
    return VariantRecord(
        comparison=test_of(item),
        parameter=plan.parameter,
        variant=variant,
        baseline=plan.baseline,
        task=_group(item, plan.parameter),
        min_effect=plan.min_effect,
    )


def wrong_comparison(items: Sequence[pytest.Item], settings: Settings) -> str | None:
    """Say what is wrong with the first comparison that cannot be."""
    variants: defaultdict[str, dict[str, None]] = defaultdict(dict)
    plans: dict[str, _Plan] = {}
    for item in items:
        if item.get_closest_marker(MARK) is None:
            continue
        name = test_of(item)
        if settings.variants is not None:
            several = f"--kiro-{settings.variants.name} is given several times"
            return f"{name}: mark.{MARK}: {several}, and one thing is compared at a time; leave one of them out"
        try:
            plan = _checked_plan(item)
        except ValueError as error:
            return f"{name}: mark.{MARK}: {error}"
        assert plan is not None
        if not number_of(item):
            return f"{name}: mark.{MARK} is for tests that ask for kiro; this one does not"
        names = [one for mark in item.iter_markers("parametrize") for one in _names(mark)]
        if plan.parameter not in names:
            hint = did_you_mean(plan.parameter, names)
            known = ", ".join(names) or "none"
            what = f"{name}: mark.{MARK} compares {plan.parameter!r}, which is no parameter of mark.parametrize{hint}"
            return f"{what}; known: {known}"
        variants[name][_id(item, plan.parameter)] = None
        plans[name] = plan
    for name, ids in variants.items():
        plan = plans[name]
        if plan.baseline not in ids:
            hint = did_you_mean(plan.baseline, list(ids))
            what = f"{name}: mark.{MARK}: no variant is the baseline {plan.baseline!r}{hint}"
            return f"{what}; there are: {', '.join(ids)}"
        if len(ids) < 2:
            return f"{name}: mark.{MARK}: there is one variant only, {plan.baseline!r}, and nothing to compare it with"
    return None


def all_are_the_baseline(items: Sequence[pytest.Item], settings: Settings) -> None:
    """Give each variant its baseline's values (`--kiro-aa`)."""
    baselines: dict[str, Any] = {}
    compared = [(item, plan, _id(item, plan.parameter)) for item in items if (plan := _plan(item))]
    for item, plan, variant in compared:
        if variant == plan.baseline:
            baselines[test_of(item)] = _parameters(item)[plan.parameter]
    for item, plan, _ in compared:
        _parameters(item)[plan.parameter] = baselines[test_of(item)]
    for item in items:
        trial = trial_of(item)
        if trial is not None and (as_one := variant_of(item, trial.group, settings)) is not None:
            item.stash[ANSWERED_AS] = (
                _group(item, plan.parameter, by=as_one.baseline)
                if (plan := _plan(item))
                else parameters_without(trial.group, as_one.variant, by=as_one.baseline)
            )


def plans_of(items: Sequence[pytest.Item], settings: Settings) -> dict[str, tuple[int, int, int]]:
    """Count each comparison's variants, trials of each, and tasks."""
    groups: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    most: defaultdict[str, int] = defaultdict(int)
    for item in items:
        trial = trial_of(item)
        if trial is None or (variant := variant_of(item, trial.group, settings)) is None:
            continue
        most[variant.comparison] = max(most[variant.comparison], trial.number)
        groups[variant.comparison][variant.variant].add(variant.task)
    return {
        name: (len(variants), most[name], max(len(tasks) for tasks in variants.values()))
        for name, variants in groups.items()
    }


def _plan(item: pytest.Item) -> _Plan | None:
    """Return what a test's mark says; `wrong_comparison` tells a wrong one."""
    try:
        return _checked_plan(item)
    except ValueError:
        return None


def _checked_plan(item: pytest.Item) -> _Plan | None:
    """Return what a test's mark says; `ValueError` when it says it wrongly."""
    mark = item.get_closest_marker(MARK)
    if mark is None:
        return None
    words = {**dict(zip(_WORDS, mark.args, strict=False)), **mark.kwargs}
    unknown = next((word for word in words if word not in _WORDS), None)
    if unknown is not None:
        raise ValueError(f"no keyword {unknown!r}{did_you_mean(unknown, list(_WORDS))}; known: {', '.join(_WORDS)}")
    if len(mark.args) > 1 or not isinstance(words.get("parameter"), str):
        raise ValueError("it takes the name of a parameter, and keywords")
    if "baseline" not in words or not isinstance(words["baseline"], str):
        raise ValueError("baseline= is missing: the id of the variant that the others are compared with")
    effect = words.get("min_effect", MIN_EFFECT)
    if isinstance(effect, bool) or not isinstance(effect, int | float) or not 0 <= effect <= 1:
        raise ValueError(f"min_effect is {effect!r}; it must be from 0 to 1")
    return _Plan(words["parameter"], words["baseline"], float(effect))


def _parameters(item: pytest.Item) -> dict[str, Any]:
    """Return the values with which a parametrised test is called."""
    call = getattr(item, "callspec", None)  # of functions only
    values: dict[str, Any] = call.params if call else {}
    return values


def _names(mark: pytest.Mark) -> list[str]:
    """Return the parameters of a `mark.parametrize`."""
    names = mark.kwargs.get("argnames", mark.args[0] if mark.args else ())
    return [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)


def _id(item: pytest.Item, parameter: str) -> str:
    """Return a parameter's id, as the test's name has it."""
    place = _place(item, parameter)
    return "" if place is None else _ids(item)[place]


def _group(item: pytest.Item, parameter: str, by: str = "") -> str:
    """Return a trial's group with a parameter's id left out, or replaced.

    By its place: another id may end as it does (`long`, `very-long`).
    """
    place, ids = _place(item, parameter), _ids(item)[:-1]
    if place is not None:
        ids[place : place + 1] = [by] if by else []
    return f"{test_of(item)}[{'-'.join(ids)}]" if any(ids) else test_of(item)


def _place(item: pytest.Item, parameter: str) -> int | None:
    """Return which of a test's ids is that of a parameter.

    pytest keeps the ids in the order of the marks, and ours of the trial behind them.
    """
    marks, count = list(item.iter_markers("parametrize")), len(_ids(item))
    place = next((place for place, mark in enumerate(marks) if parameter in _names(mark)), None)
    return None if place is None or count < len(marks) + 1 else count - 1 - len(marks) + place


def _ids(item: pytest.Item) -> list[str]:
    """Return the ids of a test's parameters; pytest has no public way to ask."""
    return [str(one) for one in getattr(getattr(item, "callspec", None), "_idlist", ())]
