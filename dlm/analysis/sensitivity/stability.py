"""How far two contexts agree on the order of methods, and how far they would if contexts did not matter.

Documents are few, so orders differ between contexts by chance alone, the more the closer the methods are. What chance
makes is simulated under the null hypothesis that methods differ alike in all contexts (rate = context + method): each
method keeps its mean over the contexts, which estimates its place under the null, and around it documents drawn again
scatter the contexts' rates as they scatter the interaction of method and context (a residual bootstrap of the additive
fit). In simulations with 2 and 4 contexts, 6 methods and 32 to 128 documents the test at 0.05 rejected a true null in
0 to 3 % of samples (`tests/analysis/test_analysis_stability.py` repeats a part).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dlm.analysis.sensitivity.resampling import Array, percentile

MOST_PAIRS = 500
"""Pairs of contexts that are compared; where there are more, each context is compared with the first alone."""
_AT_ONCE = 2_000_000
"""Orders (replicates × contexts × pairs of methods) that are held together."""
Signs = NDArray[np.int8]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Of two contexts, or the mean over pairs of contexts."""

    tau: float | None
    """Kendall's tau-b; None: in some context all methods are tied."""
    tau_null: float | None
    tau_null_low: float | None
    tau_null_high: float | None
    """Mean and 95 % range of tau if contexts did not matter."""
    flips: float
    """Share of pairs of methods whose order is the other way round; a pair that one context ties counts half."""
    flips_null: float
    flips_null_low: float
    flips_null_high: float
    """Mean and 95 % range of that share if contexts did not matter."""
    flips_excess: float
    """`flips` less `flips_null`."""
    p_value: float
    """One-sided: of so many flips or more if contexts did not matter."""


def context_pairs(contexts: int) -> list[tuple[int, int]]:
    """Return the pairs of contexts, by their numbers, that are compared."""
    pairs = list(itertools.combinations(range(contexts), 2))
    return pairs if len(pairs) <= MOST_PAIRS else [(0, other) for other in range(1, contexts)]


def agreement(point_CM: Array, noise_RCM: Array, pairs: Sequence[tuple[int, int]]) -> Agreement:
    """Compare contexts by pairs, beside what chance alone would make.

    Args:
        point_CM: rates of the methods in each context (contexts, methods), higher is better.
        noise_RCM: what drawing documents changes in them (replicates, contexts, methods).
        pairs: which contexts to compare, by their places; the means are over these.
    """
    (tau,), (flips,) = _over_pairs(order_signs(point_CM[None]), pairs)
    drawn = [_over_pairs(order_signs(null), pairs) for null in _nulls(point_CM, noise_RCM)]
    taus, flipped = (np.concatenate(side) for side in zip(*drawn, strict=True))
    known = not np.isnan(taus).all()
    tau_ends = [float(end) for end in percentile(taus)] if known else [None, None]
    flips_low, flips_high = (float(end) for end in percentile(flipped))
    return Agreement(
        tau=None if np.isnan(tau) else float(tau),
        tau_null=float(np.nanmean(taus)) if known else None,
        tau_null_low=tau_ends[0],
        tau_null_high=tau_ends[1],
        flips=float(flips),
        flips_null=float(flipped.mean()),
        flips_null_low=flips_low,
        flips_null_high=flips_high,
        flips_excess=float(flips - flipped.mean()),
        p_value=float((1 + (flipped >= flips - 1e-12).sum()) / (1 + len(flipped))),
    )


def _nulls(point_CM: Array, noise_RCM: Array) -> Iterator[Array]:
    """Yield rates under the null hypothesis, some replicates at a time."""
    contexts, methods = point_CM.shape
    size = max(1, _AT_ONCE // (contexts * methods * methods))
    for begin in range(0, len(noise_RCM), size):
        part = noise_RCM[begin : begin + size]
        yield point_CM.mean(axis=0) + part - part.mean(axis=1, keepdims=True)


def order_signs(rates_RCM: Array) -> Signs:
    """Return, of each pair of methods, which is better: 1, -1 or 0, (replicates, contexts, pairs of methods)."""
    one, other = np.triu_indices(rates_RCM.shape[-1], 1)
    rounded = np.round(rates_RCM, 12)
    found: Signs = (rounded[..., one] > rounded[..., other]).astype(np.int8)
    found -= rounded[..., one] < rounded[..., other]
    return found


def tau_and_flips(one_RP: Signs, other_RP: Signs) -> tuple[Array, Array]:
    """Return Kendall's tau-b, nan where one side is all ties, and the share of flipped pairs, each (replicates,)."""
    product = one_RP * other_RP
    some, others = np.count_nonzero(one_RP, axis=1), np.count_nonzero(other_RP, axis=1)
    untied = np.sqrt(some.astype(float) * others)
    tau = np.where(untied > 0, product.sum(axis=1) / np.where(untied > 0, untied, 1.0), np.nan)
    flipped = np.count_nonzero(product < 0, axis=1)
    half = some + others - 2 * np.count_nonzero(product, axis=1)  # tied on one side alone
    return tau, (flipped + half / 2) / one_RP.shape[1]


def _over_pairs(signs_RCP: Signs, pairs: Sequence[tuple[int, int]]) -> tuple[Array, Array]:
    """Return the means of tau, where it is known, and of flips over pairs of contexts, each (replicates,)."""
    known = np.zeros(len(signs_RCP))
    tau, flips = np.zeros(len(signs_RCP)), np.zeros(len(signs_RCP))
    for one, other in pairs:
        taus, flipped = tau_and_flips(signs_RCP[:, one], signs_RCP[:, other])
        tau += np.nan_to_num(taus)
        known += ~np.isnan(taus)
        flips += flipped
    return np.where(known > 0, tau / np.maximum(known, 1), np.nan), flips / len(pairs)
