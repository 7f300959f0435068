"""Which method is the best in each context, how surely, and whether contexts agree on the order of methods.

A context is a combination of all other factors; where no factor is ranked, settings are ranked and tasks are contexts.
Documents are drawn again (`resampling`) for the probability of winning; `stability` compares the orders.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dlm.analysis.sensitivity.resampling import Array
from dlm.analysis.sensitivity.stability import agreement, context_pairs

MOST_METHODS = 50
"""Methods that are ranked; of more, those that are best on average."""


@dataclass(frozen=True, kw_only=True)
class Rank:
    """One line of the ranks."""

    kind: str
    """`method`: how one does in one context, or over all (context empty); `pair`: two contexts compared; `mean`: of all
    pairs; `stopped`: a setting that a budget ended, which is not ranked."""
    method: str = ""
    context: str = ""
    context_2: str = ""
    value: float | None = None
    """The method's rate; over all contexts the mean."""
    rank: float | None = None
    """From 1, the best; of ties the mean."""
    wins: float | None = None
    """Probability that it is the best, ties divided; over all contexts that its mean is."""
    claimed: bool = False
    """Whether it is the method that is claimed to win."""
    tau: float | None = None
    tau_null: float | None = None
    tau_null_low: float | None = None
    tau_null_high: float | None = None
    flips: float | None = None
    flips_null: float | None = None
    flips_null_low: float | None = None
    flips_null_high: float | None = None
    flips_excess: float | None = None
    p_value: float | None = None
    """As `stability.Agreement` has them."""
    p_corrected: float | None = None
    """Of the mean: corrected for all rankings of the sweep."""
    n: int
    """Documents."""
    reason: str = ""
    """Why it was stopped."""


def ranks(
    methods: Sequence[str],
    rates_CM: Mapping[str, Array],
    again_RCM: Mapping[str, Array],
    n: Mapping[str, int],
    *,
    higher_is_better: bool = True,
    claimed: str | None = None,
) -> list[Rank]:
    """Return how methods rank in each context and over all, and how far that holds, of one model (and one task).

    Args:
        methods: names, two at least.
        rates_CM: of each context, the methods' rates (methods,).
        again_RCM: of each context, those of the replicates (replicates, methods).
        n: of each context, its documents.
        higher_is_better: which way is up.
        claimed: the method that is claimed to win; None: that which is best on average.
    """
    sign = 1.0 if higher_is_better else -1.0
    up = sign * np.array([*rates_CM.values()])
    again = sign * np.stack([*again_RCM.values()], axis=1)
    winner = claimed if claimed is not None else methods[int(np.argmax(up.mean(axis=0)))]
    least = min(n.values())
    found: list[Rank] = []
    for at, context in enumerate(rates_CM):
        found += _in_context(methods, up[at], again[:, at], context, sign, winner, n[context])
    found += _in_context(methods, up.mean(axis=0), again.mean(axis=1), "", sign, winner, least)
    if len(rates_CM) > 1:
        # Samples drawn from n documents scatter a little less than n documents do: by n - 1 over n.
        spread = np.array([math.sqrt(size / (size - 1)) if size > 1 else 1.0 for size in n.values()])
        found += _between([*rates_CM], up, (again - up) * spread[:, None], least)
    return found


def _in_context(
    methods: Sequence[str], up: Array, again: Array, context: str, sign: float, winner: str, n: int
) -> Iterator[Rank]:
    from scipy.stats import rankdata

    places, wins = rankdata(-np.round(up, 12)), _wins(again)
    for at, method in enumerate(methods):
        yield Rank(
            kind="method",
            method=method,
            context=context,
            value=float(sign * up[at]),
            rank=float(places[at]),
            wins=float(wins[at]),
            claimed=method == winner,
            n=n,
        )


def _wins(rates_RM: Array) -> Array:
    """Return the share of replicates in which each method is the best; ties are divided."""
    best = np.isclose(rates_RM, rates_RM.max(axis=1, keepdims=True), rtol=0, atol=1e-12)
    found: Array = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
    return found


def _between(contexts: Sequence[str], up: Array, noise: Array, n: int) -> Iterator[Rank]:
    pairs = context_pairs(len(contexts))
    for one, other in pairs:
        both = agreement(up[[one, other]], noise[:, [one, other]], [(0, 1)])
        yield Rank(kind="pair", context=contexts[one], context_2=contexts[other], **dataclasses.asdict(both), n=n)
    yield Rank(kind="mean", **dataclasses.asdict(agreement(up, noise, pairs)), n=n)
