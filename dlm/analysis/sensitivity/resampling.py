"""Documents drawn again: what the settings' rates would be on other documents of the same kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlm.analysis.estimates import CONFIDENCE

Array = NDArray[np.float64]
REPLICATES = 1000
_SEED = 20260222  # of the drawing alone: the same scores give the same intervals
_AT_ONCE = 100  # replicates, so that ten thousand settings need no more memory than their own


@dataclass(frozen=True)
class Draws:
    """Samples of documents drawn with replacement, the same for all settings."""

    rates_RS: Array
    """(replicates, settings)."""
    own_R: Array
    """The share of each sample's weight that the documents have; 1 where the sample was not enlarged."""
    swing_R: Array
    """What the two added documents contribute: the one's share of the weight minus the other's; 0 without."""


def rates(numerators_SD: Array, weights_D: Array) -> Array:
    """Return the rate of each setting, (settings,), from numerators (settings, documents) and weights (documents,)."""
    found: Array = numerators_SD.sum(axis=1) / weights_D.sum()
    return found


def resampled(
    numerators_SD: Array, weights_D: Array, *, enlarged: bool = False, stream: int = 0, replicates: int = REPLICATES
) -> Draws:
    """Draw the documents again.

    Args:
        numerators_SD, weights_D: (settings, documents) and (documents,).
        enlarged: draw from a sample with two more documents of average weight, which `Draws.swing_R` tells, as the
            intervals of `dlm.analysis.estimates` have it.
        stream: of the random numbers; other documents (another task's) need another one, to be independent.
        replicates: samples.
    """
    documents, added = len(weights_D), 2 if enlarged else 0
    generator = np.random.default_rng([_SEED, stream] if stream else _SEED)
    found = np.empty((replicates, len(numerators_SD)))
    own, swing = np.ones(replicates), np.zeros(replicates)
    point, chances = rates(numerators_SD, weights_D), np.full(documents + added, 1 / (documents + added))
    for begin in range(0, replicates, _AT_ONCE):
        part = slice(begin, min(begin + _AT_ONCE, replicates))
        drawn = generator.multinomial(documents + added, chances, size=part.stop - begin).astype(float)
        counts, more = drawn[:, :documents], drawn[:, documents:]
        weight = counts @ weights_D
        some = np.where(weight > 0, weight, 1.0)
        found[part] = np.where(weight[:, None] > 0, (counts @ numerators_SD.T) / some[:, None], point)
        if enlarged:
            extra = more * weights_D.mean()
            whole = weight + extra.sum(axis=1)
            own[part], swing[part] = weight / whole, (extra[:, 0] - extra[:, 1]) / whole
    return Draws(found, own, swing)


def percentile(values: Any, axis: int = 0) -> tuple[Array, Array]:
    """Return the ends of the 95 % percentile interval of replicates."""
    tail = 50 * (1 - CONFIDENCE)
    known = np.percentile if not np.isnan(values).any() else np.nanpercentile  # the latter takes its time
    low, high = known(values, [tail, 100 - tail], axis=axis)
    return low, high


def reflected(value: Any, values: Any, axis: int = 0) -> tuple[Array, Array]:
    """Return the ends of the basic bootstrap interval, 2 value - percentiles, cut to 0 and 1.

    For shares of variance, which replicates overstate by what drawing documents adds: the reflection takes that out.
    """
    low, high = percentile(values, axis)
    return np.clip(2 * value - high, 0, 1), np.clip(2 * value - low, 0, 1)
