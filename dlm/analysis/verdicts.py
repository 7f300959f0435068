"""Whether a computed share agrees with a published one, said so that it can be checked.

The test: Newcombe's hybrid interval (1998, method 10) of the difference, made of the two 95 % intervals; the numbers
differ where it leaves out zero. It uses both sample sizes, stands small samples and shares of 0 and 1, and never
contradicts the intervals that the table shows.

The published interval: Wilson's where our outcomes are all-or-nothing; else ours, moved to the published value and
scaled by sqrt(n / published n), as if documents scatter alike in both; of perplexities all this is done with their
logarithms. The published sample size, in this order:

1. stated by the figure (`Figure.n`);
2. ours, where we scored every document of the benchmark: the publisher most likely did too;
3. unknown, where we scored a part only: the published share is then taken as exact, since it rests on more documents
   than ours, and the test is whether it lies in our interval.

Both sides saw the same documents, which makes differences smaller than independent samples would have; nobody
publishes outcomes by document, so the test cannot pair them and leans towards *agrees*. A table tests each cell by
itself: of twenty true agreements up to one is expected to be called *differs*.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dlm.analysis.estimates import Estimate, wilson
from dlm.analysis.published import Figure
from dlm.settings import Task


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a reader should make of a cell."""

    text: str
    """`comparison`, and `; at chance` or `; below chance`, or `; at floor` where guessing earns nothing."""
    comparison: str
    """`agrees`, `differs`, `settings differ: …` (several apart by `; `), `not published` or `meaningless (…)`."""
    at_chance: bool
    """The interval does not lie above what blind guessing earns: it holds that, or lies below it."""
    published_n: int | None
    """Sample size taken for the published figure; None: no figure, or taken as exact."""


def judge(
    ours: Estimate, task: Task, figure: Figure | None, *, differing: Sequence[str], meaningless: str | None
) -> Verdict:
    """Return the verdict on one cell.

    Args:
        ours: the computed value.
        task: gives the share that blind guessing earns (of a loss nothing is), and whether every document was scored.
        figure: what is published, if anything.
        differing: the settings in which the computed number differs from the published one, in words.
        meaningless: name of the scale where its numbers mean nothing; None: they do.
    """
    if meaningless is not None:
        text = f"meaningless ({meaningless})"
        return Verdict(text=text, comparison=text, at_chance=False, published_n=None)
    published_n = None if figure is None else sample_size(figure, ours, task)
    if figure is None:
        text = "not published"
    elif differing:
        text = f"settings differ: {'; '.join(differing)}"
    else:
        text = "agrees" if agrees(ours, figure.value, published_n) else "differs"
    at_chance = not ours.kind.loss and ours.low <= task.chance
    suffix = f"; {_beside_chance(ours, task)}" if at_chance else ""
    return Verdict(text=text + suffix, comparison=text, at_chance=at_chance, published_n=published_n)


def _beside_chance(ours: Estimate, task: Task) -> str:
    """Name where a share stands that is not above what blind guessing earns."""
    if task.chance == 0:
        return "at floor"
    return "below chance" if ours.high < task.chance else "at chance"


def sample_size(figure: Figure, ours: Estimate, task: Task) -> int | None:
    """Return the number of documents that the published figure is taken to rest on; None: it is taken as exact."""
    if figure.n is not None:
        return figure.n
    return ours.n if task.limit is None else None


def agrees(ours: Estimate, published: float, published_n: int | None) -> bool:
    """Return whether the 95 % interval of the difference between ``ours`` and ``published`` holds zero."""
    rate = ours.kind.rate
    value, low, high, figure = rate(ours.value), rate(ours.low), rate(ours.high), rate(published)
    if published_n is None:
        least, most = figure, figure
    elif ours.binary:
        least, most = wilson(published, published_n)
    else:
        scale = math.sqrt(ours.n / published_n)
        least, most = figure - (value - low) * scale, figure + (high - value) * scale
    difference = value - figure
    below, above = math.hypot(value - low, most - figure), math.hypot(high - value, figure - least)
    return difference - below <= 0 <= difference + above
