"""Contrasts of settings: sums of their rates with coefficients that add up to 0, such as the effect of a level.

A document contributes the same sum of its outcomes, so a contrast is tested as the difference of two settings is
(`dlm.analysis.estimates`), which it is where two settings alone have coefficients:

* two settings of all-or-nothing outcomes of weight 1: McNemar's exact test;
* other shares: Student's test, t(n+1), with two more documents of average weight, one wholly won (right wherever the
  coefficient is positive, wrong elsewhere) and one wholly lost;
* losses: Student's test, t(n-1); where all documents change alike, the sign test.

Intervals are percentiles over documents drawn again, of shares from the sample enlarged by the same two documents: so
they have a width also where no document differs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dlm.analysis.estimates import TOLERANCE, paired_gain
from dlm.analysis.sensitivity.resampling import Array, Draws, percentile, rates
from dlm.settings.metrics import MetricKind

_TINY = 1e-12
"""Coefficients up to it are rounding."""


@dataclass(frozen=True)
class Contrast:
    """One contrast as estimated."""

    effect: float
    low: float | None
    high: float | None
    """95 % interval; None: one document gives a loss none."""
    p_value: float | None
    """Two-sided, of so large an effect where there is none; None: one document gives a loss no test."""


def contrasts(
    coefficients_KS: Array, numerators_SD: Array, weights_D: Array, draws: Draws, kind: MetricKind
) -> list[Contrast]:
    """Estimate and test contrasts of the settings' rates.

    Args:
        coefficients_KS: (contrasts, settings), each row with the sum 0.
        numerators_SD, weights_D: what the documents gave, (settings, documents) and (documents,).
        draws: of the same documents, enlarged where ``kind`` is a share.
        kind: what they are.
    """
    reach_K = np.maximum(coefficients_KS, 0).sum(axis=1)  # what a document wholly won contributes
    effects_K = coefficients_KS @ rates(numerators_SD, weights_D)
    again_RK = draws.own_R[:, None] * (draws.rates_RS @ coefficients_KS.T) + draws.swing_R[:, None] * reach_K
    low_K, high_K = percentile(again_RK)
    p_values = _p_values(coefficients_KS, reach_K, numerators_SD, weights_D, kind)
    bounded = len(weights_D) > 1 or not kind.loss
    return [
        Contrast(float(effect), float(low) if bounded else None, float(high) if bounded else None, p_value)
        for effect, low, high, p_value in zip(effects_K, low_K, high_K, p_values, strict=True)
    ]


def _p_values(
    coefficients_KS: Array, reach_K: Array, numerators_SD: Array, weights_D: Array, kind: MetricKind
) -> list[float | None]:
    # A contrast of two settings is a paired comparison, and gets the very test of one.
    pairs = [np.flatnonzero(np.abs(row) > _TINY) for row in coefficients_KS]
    several = _students(coefficients_KS, reach_K, numerators_SD, weights_D, kind)
    weights = weights_D.tolist()

    def paired(one: int, other: int) -> float | None:
        sides = [(numerators_SD[at].tolist(), weights) for at in (one, other)]
        return paired_gain(sides[0], sides[1], kind).p_value

    return [paired(*pair) if len(pair) == 2 else p for pair, p in zip(pairs, several, strict=True)]


def _students(
    coefficients_KS: Array, reach_K: Array, numerators_SD: Array, weights_D: Array, kind: MetricKind
) -> list[float | None]:
    from scipy.stats import t

    gains_KD, weights, documents = coefficients_KS @ numerators_SD, weights_D, len(weights_D)
    if not kind.loss:
        swing = weights_D.mean() * reach_K[:, None]
        gains_KD, weights = np.hstack([gains_KD, swing, -swing]), np.append(weights_D, [weights_D.mean()] * 2)
    elif documents < 2:
        return [None] * len(gains_KD)
    n = len(weights)
    effects_K = gains_KD.sum(axis=1) / weights.sum()
    apart = np.square(gains_KD - effects_K[:, None] * weights).sum(axis=1)
    errors_K = np.sqrt(n / (n - 1) * apart) / weights.sum()
    alike = errors_K <= TOLERANCE * np.maximum(np.abs(effects_K), reach_K * _TINY)
    known = 2 * t.sf(np.abs(effects_K) / np.where(alike, 1.0, errors_K), n - 1)
    same = np.where(np.abs(effects_K) > _TINY, 2.0 * 0.5**documents, 1.0)  # the sign test
    return [float(each) for each in np.where(alike, same, known)]
