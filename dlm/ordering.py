"""The order in which an answer was decoded, told from the forward pass that committed each of its tokens."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Sequence


def order_tau(steps: Sequence[int]) -> float | None:
    """Return Kendall's tau-b between the places of tokens and the passes that committed them (Biometrika 33, 1945).

    Tokens of one pass are tied.

    Args:
        steps: the pass of each token, in the order of their places; -1: given, or left open, which does not count.

    Returns:
        1: from left to right, -1: from right to left, 0: neither. None: fewer than two passes, nothing to order.

    >>> order_tau([0, 1, 2]), order_tau([2, 1, 0]), order_tau([0, -1, 1, 0]), order_tau([1, 1])
    (1.0, -1.0, 0.0, None)
    """
    written = [step for step in steps if step >= 0]
    pairs = _pairs(len(written))
    untied = pairs - sum(map(_pairs, Counter(written).values()))
    if not untied:
        return None
    inversions, before = 0, list[int]()
    for step in written:
        inversions += len(before) - bisect_right(before, step)
        insort(before, step)
    return (untied - 2 * inversions) / (untied * pairs) ** 0.5


def tokens_per_pass(steps: Sequence[int], forward_passes: int) -> float:
    """Return how many tokens a forward pass committed on average; 0.0 of an answer that took none.

    >>> tokens_per_pass([0, 0, 1, -1], 2)
    1.5
    """
    return sum(step >= 0 for step in steps) / forward_passes if forward_passes else 0.0


def _pairs(number: int) -> int:
    return number * (number - 1) // 2
