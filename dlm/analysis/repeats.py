"""Cells that differ in their seed alone, as one: their mean, and how far they lie apart."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence

from dlm.analysis.cells import Cell
from dlm.analysis.estimates import ratio
from dlm.errors import DataError

ANSWERS = ("empty_share", "truncated_share", "mean_tokens", "tokens_per_pass", "order_tau")
"""What scores say of how sampled answers look: each the mean over answers, but for tokens a pass."""


def mean_cell(cells: Sequence[Cell]) -> Cell:
    """Return a cell in which each document counts what it counted on average over the seeds.

    So its value is the mean of the seeds' (of perplexities the mean is of logarithms), and its standard error over
    documents that of the mean. How its answers look (`ANSWERS`) is the mean over the seeds, too. Its other fields are
    the first seed's, but for the Monte-Carlo errors, which are independent and become those of the mean.

    Raises:
        DataError: the seeds answered other documents.
    """
    first = cells[0]
    if len(cells) == 1:
        return first
    for cell in cells[1:]:
        if (cell.extra.get("doc_ids"), cell.weights) != (first.extra.get("doc_ids"), first.weights):
            where = f"task '{first.task}', settings '{first.setting}' and '{cell.setting}'"
            raise DataError(f"{where}: not the same documents; score the checkpoint again")
    numerators = [math.fsum(values) / len(cells) for values in zip(*(cell.numerators for cell in cells), strict=True)]
    extra = {key: value for key, value in first.extra.items() if key not in ANSWERS} | _looks(cells)
    if "mc_stderrs" in extra:
        by_document = zip(*(cell.extra["mc_stderrs"] for cell in cells), strict=True)
        extra["mc_stderrs"] = [_error(errors) for errors in by_document]
    value = first.kind.value(ratio(numerators, first.weights))
    return dataclasses.replace(first, value=value, numerators=numerators, extra=extra)


def _looks(cells: Sequence[Cell]) -> dict[str, float]:
    """Return the means over the seeds of what is said of their answers; nothing of what one of them does not say."""
    said = [name for name in ANSWERS if all(name in cell.extra for cell in cells)]
    return {name: math.fsum(cell.extra[name] for cell in cells) / len(cells) for name in said}


def spread(cells: Sequence[Cell]) -> float | None:
    """Return the standard deviation of the value over the seeds (n - 1); None where there is one."""
    return statistics.stdev(cell.value for cell in cells) if len(cells) > 1 else None


def _error(errors: Sequence[float | None]) -> float | None:
    known = [error for error in errors if error is not None]
    return math.hypot(*known) / len(errors) if len(known) == len(errors) else None
