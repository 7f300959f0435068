"""The expectations that estimates converge to, from every masking's sum of log-probabilities: for short answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from dlm.likelihood.maskings import llada_counts


def bound_by_count(length: int, sums: Mapping[tuple[int, ...], float]) -> list[float]:
    """Return, for k = 1..A masked tokens, (A / k) * the mean over the maskings of size k, in nats.

    Args:
        length: tokens of the answer, A.
        sums: sum of the masked tokens' log-probabilities by the masked indices: every masking but the empty one.
    """
    by_count: list[float] = []
    for count in range(1, length + 1):
        chosen = [value for masked, value in sums.items() if len(masked) == count]
        by_count.append(length / count * (sum(chosen) / len(chosen)))
    return by_count


def expected_bound(by_count: Sequence[float]) -> float:
    """Return the bound itself, k uniform on 1..A: what an unbiased estimate converges to."""
    return sum(by_count) / len(by_count)


def llada_bound(by_count: Sequence[float], batch_size: int) -> float:
    """Return what the estimate of :class:`dlm.settings.LLaDAMasks` converges to: the mean over its random starts."""
    length = len(by_count)
    counts = [llada_counts(start, length, batch_size) for start in range(1, length + 1)]
    return math.fsum(by_count[count - 1] for batch in counts for count in batch) / (length * batch_size)
