"""P-values corrected for many comparisons, each kind over the whole sweep."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from dlm.analysis.sensitivity.effects import Effect
from dlm.analysis.sensitivity.ranks import Rank

Key = tuple[str, str]
"""Model and task."""


def corrected(p_values: Sequence[float | None], method: str) -> list[float | None]:
    """Correct p-values together; None stays None. ``method`` is statsmodels' (`multipletests`)."""
    from statsmodels.stats.multitest import multipletests

    known = [p for p in p_values if p is not None]
    found = iter(multipletests(known, method=method)[1] if known else [])
    return [None if p is None else float(next(found)) for p in p_values]


def correct_effects(effects: Mapping[Key, Sequence[Effect]], method: str) -> dict[Key, list[Effect]]:
    """Correct the tests of all levels and interactions together."""
    distinct: dict[Any, float | None] = {}
    for key, found in effects.items():
        sizes = _sizes(found)
        for each in found:
            if each.p_value is not None:
                distinct.setdefault((key, _test(each, sizes)), each.p_value)
    known = dict(zip(distinct, corrected([*distinct.values()], method), strict=True))
    corrected_effects = {}
    for key, found in effects.items():
        sizes = _sizes(found)
        corrected_effects[key] = [
            dataclasses.replace(each, p_corrected=known.get((key, _test(each, sizes)))) for each in found
        ]
    return corrected_effects


def correct_ranks(ranks: Mapping[Key, Sequence[Rank]], method: str) -> dict[Key, list[Rank]]:
    """Correct the tests of all rankings, the mean over pairs of contexts of each, together."""
    means = [(key, each) for key, found in ranks.items() for each in found if each.kind == "mean"]
    known = dict(zip([key for key, _ in means], corrected([each.p_value for _, each in means], method), strict=True))
    return {
        key: [dataclasses.replace(each, p_corrected=known[key]) if each.kind == "mean" else each for each in found]
        for key, found in ranks.items()
    }


def _sizes(found: Sequence[Effect]) -> dict[str, int]:
    """Return the number of levels of each factor."""
    levels = {(each.factor, each.level) for each in found if each.kind == "level"}
    return {factor: sum(name == factor for name, _ in levels) for factor, _ in levels}


def _test(each: Effect, sizes: Mapping[str, int]) -> tuple[str, ...]:
    """Name the test of an effect: that of a factor's second level of two is the first's, with the sign turned."""
    pairs = ((each.factor, each.level), (each.factor_2, each.level_2))
    return (each.kind, *(part for name, level in pairs for part in (name, level if sizes.get(name) != 2 else "")))
