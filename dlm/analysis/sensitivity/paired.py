"""A setting beside the baseline, on the same documents: difference, ratio, and the probability of chance alone.

Intervals of difference and ratio are made of the two rates' own intervals and of the correlation between the documents'
outcomes (the method of variance estimates recovery: Newcombe 1998 for differences, Donner and Zou 2012 for ratios).
Like the tables' intervals they are never of zero width, and hold for shares of 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dlm.analysis.estimates import Estimate, estimate, paired_gain
from dlm.settings.metrics import MetricKind

Documents = tuple[Sequence[float], Sequence[float]]
"""Numerators and weights, one of each a document."""


@dataclass(frozen=True, kw_only=True)
class Paired:
    """A setting compared with the baseline over n documents."""

    delta: float
    """Its rate minus the baseline's; of perplexities the difference of logarithms."""
    delta_low: float
    delta_high: float
    """95 % interval."""
    ratio: float | None
    """Its value over the baseline's; None where that is 0."""
    ratio_low: float | None
    ratio_high: float | None
    """95 % interval; None: no bound."""
    p_value: float | None
    """Two-sided, of so large a difference where there is none; None: one document says nothing."""
    n: int


def compare_paired(baseline: Documents, other: Documents, kind: MetricKind) -> Paired:
    """Compare a setting with the baseline, both of the same documents in the same order.

    Raises:
        DataError: the documents' weights differ, or are bad in themselves.
    """
    gain = paired_gain(baseline, other, kind)
    before, after = estimate(*baseline, kind), estimate(*other, kind)
    together = _correlation(baseline, other)
    low, high = _difference(_ends(after), _ends(before), together)
    if kind.exponential:
        ratio: tuple[float | None, ...] = tuple(kind.value(each) for each in (gain.value, low, high))
    else:
        ratio = _ratio(_ends(after), _ends(before), together)
    return Paired(
        delta=gain.value,
        delta_low=low,
        delta_high=high,
        ratio=ratio[0],
        ratio_low=ratio[1],
        ratio_high=ratio[2],
        p_value=gain.p_value,
        n=gain.n,
    )


def _ends(found: Estimate) -> tuple[float, float, float]:
    """Return rate, lower and upper end of an estimate, all as rates."""
    rate = found.kind.rate
    high = found.high if math.isinf(found.high) else rate(found.high)
    return found.rate, rate(found.low) if found.low > 0 or not found.kind.exponential else -math.inf, high


def _correlation(one: Documents, other: Documents) -> float:
    """Return the correlation of the documents' departures from their rates; 0 where one side has none."""
    sides = []
    for numerators, weights in (one, other):
        rate = math.fsum(numerators) / math.fsum(weights)
        sides.append([x - rate * w for x, w in zip(numerators, weights, strict=True)])
    squares = [math.fsum(each * each for each in side) for side in sides]
    if not all(squares):
        return 0.0
    product = math.fsum(a * b for a, b in zip(*sides, strict=True))
    return max(-1.0, min(1.0, product / math.sqrt(squares[0] * squares[1])))


def _difference(
    one: tuple[float, float, float], other: tuple[float, float, float], together: float
) -> tuple[float, float]:
    """Return the interval of ``one - other``, each (rate, low, high)."""
    (a, a_low, a_high), (b, b_low, b_high) = one, other
    if math.isinf(a_high) or math.isinf(b_high) or math.isinf(a_low) or math.isinf(b_low):
        return -math.inf, math.inf
    below = (a - a_low) ** 2 - 2 * together * (a - a_low) * (b_high - b) + (b_high - b) ** 2
    above = (a_high - a) ** 2 - 2 * together * (a_high - a) * (b - b_low) + (b - b_low) ** 2
    return a - b - math.sqrt(max(below, 0.0)), a - b + math.sqrt(max(above, 0.0))


def _ratio(
    one: tuple[float, float, float], other: tuple[float, float, float], together: float
) -> tuple[float | None, float | None, float | None]:
    """Return ``one / other`` and its interval, each (rate, low, high) of at least 0.

    An end is where the squared distance of ``one - x other`` from 0 is that of the interval's end: a root of
    x² A - 2 x B + C.
    """
    (a, a_low, a_high), (b, b_low, b_high) = one, other
    if b <= 0:
        return None, None, None
    if math.isinf(a_high) or math.isinf(b_high):
        return a / b, None, None
    middle = a * b - together * (a - a_low) * (b_high - b)
    low = _root(b_high * (2 * b - b_high), middle, a_low * (2 * a - a_low), -1)
    middle = a * b - together * (a_high - a) * (b - b_low)
    high = _root(b_low * (2 * b - b_low), middle, a_high * (2 * a - a_high), 1)
    return a / b, max(low, 0.0) if low is not None else 0.0, high


def _root(square: float, middle: float, constant: float, sign: int) -> float | None:
    inner = math.sqrt(max(middle * middle - square * constant, 0.0))
    if abs(square) < 1e-15:
        return constant / (2 * middle) if sign < 0 and middle > 0 else None
    return (middle + sign * inner) / square
