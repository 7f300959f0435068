"""Which factors decide a score: effects of levels, two-way interactions, and shares of the variance over settings.

The rates of a design's settings are fitted by least squares with deviation coding (the effects of a factor's levels
sum to 0): additive for the levels' effects, with all two-way interactions whose combinations were all answered for
theirs. In a full grid that is a level's mean minus the mean of all. A share of variance is a type II sum of squares
over the total one (as `statsmodels.stats.anova.anova_lm(typ=2)` has it); in designs that are not balanced shares need
not sum to 1, and where one setting at a time was changed they would be large for all factors, so none is told. An
effect is a contrast of the settings' rates, with its test and interval (`contrasts`); intervals of shares are over
documents drawn again (`resampling`).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dlm.analysis.sensitivity.contrasts import Contrast, contrasts
from dlm.analysis.sensitivity.resampling import Array, rates, reflected, resampled
from dlm.settings.metrics import SHARE, MetricKind

BINS = 4
"""Into how many parts of equal size a factor is divided that is a range."""
MOST_COLUMNS = 300
"""Columns of a linear model; interactions for which there is no room are not estimated."""
Term = tuple[str, ...]
"""One factor, or two."""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One line of the effects."""

    kind: str
    """`level`, `interaction`, `share` or `share_interaction` of the variance, `share_rest` of what none of these
    explains, or `share_noise`: what drawing documents alone would make of it."""
    factor: str = ""
    level: str = ""
    factor_2: str = ""
    level_2: str = ""
    effect: float
    """Difference of rates; a share is from 0 to 1."""
    low: float | None = None
    high: float | None = None
    """95 % interval."""
    p_value: float | None = None
    """Two-sided, of a level's or an interaction's effect where there is none."""
    p_corrected: float | None = None
    """Corrected for all levels and interactions of the sweep."""
    settings: int = 0
    n: int = 0
    """Settings and documents that it rests on."""


@dataclass(frozen=True)
class Effects:
    """What is known of one model on one task."""

    found: list[Effect] = field(default_factory=list)
    none: str = ""
    """Why nothing is; empty where something is."""
    unshared: str = ""
    """Why the variance is not shared out; empty where it is."""
    rest: str = ""
    """What `share_rest` holds."""


@dataclass(frozen=True)
class _Fit:
    """Columns of a linear model, by their terms."""

    columns: Mapping[Term, Array]

    def matrix(self, terms: Sequence[Term]) -> Array:
        rows = len(next(iter(self.columns.values())))
        parts = [np.ones((rows, 1)), *(self.columns[term] for term in terms)]
        return np.hstack(parts)

    def independent(self, terms: Sequence[Term]) -> bool:
        """Return whether no column follows from the others."""
        matrix = self.matrix(terms)
        return bool(np.linalg.matrix_rank(matrix) == matrix.shape[1])

    def explained(self, terms: Sequence[Term], rates_RS: Array) -> Array:
        """Return the sum of squares that the terms explain of each replicate, (replicates,); the mean is a term."""
        basis, triangle = np.linalg.qr(self.matrix(terms))
        keep = np.abs(np.diag(triangle)) > 1e-9
        found: Array = np.square(rates_RS @ basis[:, keep]).sum(axis=1)
        return found

    def coefficients(self, terms: Sequence[Term]) -> dict[Term, Array]:
        """Return, of each term, the contrasts of the settings that its columns' coefficients are."""
        solve = np.asarray(np.linalg.pinv(self.matrix(terms)), float)
        begin, found = 1, {}
        for term in terms:
            count = self.columns[term].shape[1]
            found[term] = solve[begin : begin + count]
            begin += count
        return found


def effects(
    levels: Sequence[Mapping[str, str]],
    numerators_SD: Array,
    weights_D: Array,
    factors: Sequence[str],
    kind: MetricKind = SHARE,
    ranges: Collection[str] = (),
) -> Effects:
    """Return effects, interactions and shares of variance of one model on one task.

    Args:
        levels: of each setting, the level of each factor.
        numerators_SD, weights_D: what its documents gave.
        factors: whose effects are asked; one that has a single level is left out.
        kind: what the rates are.
        ranges: factors that are ranges, told in quarters.
    """
    table = {name: [setting[name] for setting in levels] for name in factors}
    table |= {name: _binned(table[name]) for name in ranges}
    names = {name: list(dict.fromkeys(table[name])) for name in factors if len(set(table[name])) > 1}
    if not names:
        return Effects(none="no factor has two levels among the settings that are compared")
    singles: dict[Term, Array] = {(name,): _coded(table[name], known) for name, known in names.items()}
    fit = _Fit(singles)
    if not fit.independent([*singles]):
        return Effects(none="the settings that are compared tie factors together, so no one's effect can be told")
    pairs = _affordable(list(_crossed(table, names)), {name: len(known) - 1 for name, known in names.items()})
    both = _Fit({**singles, **{pair: _product(singles, pair) for pair in pairs}})
    if both.independent([*both.columns]):
        fit = both
    terms, draws = [*fit.columns], resampled(numerators_SD, weights_D, enlarged=not kind.loss)
    rest = _rest([*names], terms, [name for name in ranges if name in names])

    def tested(coefficients_KS: Array) -> list[Contrast]:
        return contrasts(coefficients_KS, numerators_SD, weights_D, draws, kind)

    found = [*_levels(_Fit(singles), names, tested), *_interactions(fit, names, tested)]
    # As many settings as unknowns: each effect rests on settings of its own, and no two are ever seen together.
    alone = len(names) > 1 and fit.matrix(terms).shape[1] == len(levels) and all(len(term) == 1 for term in terms)
    unshared = "each setting changes one factor alone; a grid tells shares" if alone else ""
    if not alone:
        found += _shares(fit, terms, rates(numerators_SD, weights_D)[None, :], draws.rates_RS)
    found = [dataclasses.replace(each, settings=len(levels), n=len(weights_D)) for each in found]
    return Effects(found, unshared=unshared, rest=rest)


def _rest(names: Sequence[str], terms: Sequence[Term], ranges: Sequence[str]) -> str:
    """Say what the model leaves unexplained."""
    left = [" × ".join(pair) for pair in itertools.combinations(names, 2) if pair not in terms]
    parts = [f"within the quarters of {', '.join(ranges)}"] if ranges else []
    parts += [f"interactions not estimated: {', '.join(left)}"] if left else []
    parts += ["interactions of three factors and more"] if len(names) > 2 else []
    return "; ".join(parts)


def _binned(values: Sequence[str]) -> list[str]:
    """Return, of values of a range, the quarter that each lies in."""
    numbers = [float(value) for value in values]
    if len(set(numbers)) <= BINS:
        return list(values)
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, BINS + 1)))
    places = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, len(edges) - 2)
    return [f"{edges[place]:.4g} to {edges[place + 1]:.4g}" for place in places]


def _crossed(table: Mapping[str, Sequence[str]], names: Mapping[str, Sequence[str]]) -> Iterator[Term]:
    """Yield the pairs of factors of which every combination of levels was answered."""
    for one, other in itertools.combinations(names, 2):
        if len(set(zip(table[one], table[other], strict=True))) == len(names[one]) * len(names[other]):
            yield one, other


def _affordable(pairs: Sequence[Term], columns: Mapping[str, int]) -> list[Term]:
    """Return the pairs of factors that a model has room for, those of few levels first, in their own order."""
    left, chosen = MOST_COLUMNS - sum(columns.values()), set()
    for pair in sorted(pairs, key=lambda pair: columns[pair[0]] * columns[pair[1]]):
        left -= columns[pair[0]] * columns[pair[1]]
        if left >= 0:
            chosen.add(pair)
    return [pair for pair in pairs if pair in chosen]


def _coded(values: Sequence[str], known: Sequence[str]) -> Array:
    """Return a factor's columns in deviation coding, (settings, levels - 1)."""
    place = np.array([known.index(level) for level in values])
    coded = (place[:, None] == np.arange(len(known) - 1)[None, :]).astype(float)
    coded[place == len(known) - 1] = -1.0
    return coded


def _product(singles: Mapping[Term, Array], pair: Term) -> Array:
    one, other = (singles[name,] for name in pair)
    product: Array = (one[:, :, None] * other[:, None, :]).reshape(len(one), -1)
    return product


def _levels(fit: _Fit, names: Mapping[str, list[str]], tested: Callable[[Array], list[Contrast]]) -> Iterator[Effect]:
    for (name,), coefficients in fit.coefficients([*fit.columns]).items():
        for level, each in zip(names[name], tested(_closed(coefficients)), strict=True):
            yield Effect(kind="level", factor=name, level=level, **dataclasses.asdict(each))


def _interactions(
    fit: _Fit, names: Mapping[str, list[str]], tested: Callable[[Array], list[Contrast]]
) -> Iterator[Effect]:
    for term, coefficients in fit.coefficients([*fit.columns]).items():
        if len(term) == 1:
            continue
        one, other = term
        rows, columns = len(names[one]), len(names[other])
        whole = _closed(_closed(coefficients.reshape(rows - 1, columns - 1, -1)), axis=1).reshape(rows * columns, -1)
        cells = itertools.product(names[one], names[other])
        for (level, level_2), each in zip(cells, tested(whole), strict=True):
            yield Effect(
                kind="interaction",
                factor=one,
                level=level,
                factor_2=other,
                level_2=level_2,
                **dataclasses.asdict(each),
            )


def _closed(coefficients: Array, axis: int = 0) -> Array:
    """Add the last level's contrast, which makes the sum 0."""
    return np.concatenate([coefficients, -coefficients.sum(axis=axis, keepdims=True)], axis=axis)


def _shares(
    fit: _Fit,
    terms: Sequence[Term],
    point: Array,
    again: Array,
) -> Iterator[Effect]:
    totals = [np.square(side - side.mean(axis=1, keepdims=True)).sum(axis=1) for side in (point, again)]
    if totals[0][0] < 1e-24:
        return  # nothing varies, so nothing has a share of it
    noise = max(float(totals[1].mean() / totals[0][0] - 1), 0.0)
    for term in terms:
        below = [other for other in terms if not set(term) <= set(other)]
        sides = [fit.explained([*below, term], side) - fit.explained(below, side) for side in (point, again)]
        yield _share("share_interaction" if len(term) > 1 else "share", term, sides, totals, noise)
    whole = [fit.explained([], side) for side in (point, again)]
    fitted = [fit.explained(terms, side) for side in (point, again)]
    rest = [total - (more - mean) for total, more, mean in zip(totals, fitted, whole, strict=True)]
    yield _share("share_rest", (), rest, totals, noise)
    yield Effect(kind="share_noise", effect=noise)


def _share(
    kind: str,
    term: Term,
    sides: Sequence[Array],
    totals: Sequence[Array],
    noise: float,
) -> Effect:
    """Return a share with its interval, which is everything where the settings differ by no more than the noise."""
    share = max(float(sides[0][0] / totals[0][0]), 0.0)
    drawn = sides[1] / np.where(totals[1] > 1e-24, totals[1], np.nan)
    low, high = (np.array(0.0), np.array(1.0)) if noise >= 1 else reflected(share, drawn)
    one, other = (*term, "", "")[:2]
    return Effect(kind=kind, factor=one, factor_2=other, effect=share, low=float(low), high=float(high))
