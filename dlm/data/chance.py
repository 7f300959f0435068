"""Random choices that are the same on every machine and in every Python version.

Only ``Random.random()`` is promised to give the same sequence for ever; ``choice``, ``shuffle`` and their like are not.
Everything random in this room goes through the functions below.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


def stream(*parts: object) -> Random:
    """Return a generator seeded by ``parts``; equal parts give an equal sequence."""
    return Random("/".join(map(str, parts)))


def pick(random: Random, count: int) -> int:
    """Return a uniform integer from 0 to ``count`` - 1."""
    return int(random.random() * count)


def between(random: Random, low: int, high: int) -> int:
    """Return a uniform integer from ``low`` to ``high``, both included."""
    return low + pick(random, high - low + 1)


def choose(random: Random, options: Sequence[T]) -> T:
    """Return one of ``options``, each as likely as the others."""
    return options[pick(random, len(options))]


def shuffled(random: Random, items: Iterable[T]) -> list[T]:
    """Return ``items`` in a uniformly random order (Fisher-Yates)."""
    result = list(items)
    for last in range(len(result) - 1, 0, -1):
        other = pick(random, last + 1)
        result[last], result[other] = result[other], result[last]
    return result
