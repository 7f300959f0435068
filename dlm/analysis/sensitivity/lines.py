"""The lines of a sweep's table: each setting beside its baseline, and beside what is published of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlm.analysis.cells import Cell, again, read_cells
from dlm.analysis.estimates import Estimate
from dlm.analysis.published import Figure, Published
from dlm.analysis.repeats import mean_cell
from dlm.analysis.sensitivity.correction import corrected
from dlm.analysis.sensitivity.paired import Paired, compare_paired
from dlm.analysis.sensitivity.resampling import Array
from dlm.errors import DataError
from dlm.params import Cell as Asked
from dlm.params.sweeps import Alike, Answered, Expanded
from dlm.params.sweeps.reading import published_metric
from dlm.settings import Task

RATIO = "percent_of_baseline"
"""How the published metrics begin that are ratios, in percent."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One setting of one model on one task."""

    answered: Answered
    cell: Cell
    """The mean over its seeds."""
    seeds: tuple[Cell, ...]
    """The cell of each seed."""
    estimate: Estimate
    paired: Paired | None
    """Beside the baseline, over the documents that both answered; None: it is the baseline."""
    p_corrected: float | None
    published: Figure | None
    verdict: str
    """`baseline`, `higher`, `lower`, or `no difference seen`."""

    @property
    def stopped(self) -> Mapping[str, Any] | None:
        """Why it answered a part of the documents, where a budget ended it."""
        found: Mapping[str, Any] | None = self.cell.extra.get("stopped")
        return found

    @property
    def published_ratio(self) -> float | None:
        """What is published of its value over the baseline's."""
        return ratio_of(self.published)


def read_lines(
    expanded: Expanded,
    tasks: Mapping[str, Task],
    scale: str,
    scores: Mapping[str, Sequence[Mapping[str, Any]]],
    published: Published | None,
    *,
    meaningless: bool,
) -> tuple[Line, ...]:
    """Return the lines of a sweep; the arguments and errors are those of `build_study`."""
    found = _Found(scale, scores)
    seeds = [tuple(found.cell(line, cell) for cell in line.cells) for line in expanded.lines]
    cells = [mean_cell(each) for each in seeds]
    paired = _paired(expanded, cells)
    p_corrected = corrected([each.p_value if each else None for each in paired], expanded.file.sweep.correction)
    still = {(line.row.model, line.task): line.levels for line in expanded.lines if line.baseline}
    return tuple(
        Line(
            answered=line,
            cell=cell,
            seeds=of_seeds,
            estimate=cell.estimate,
            paired=each,
            p_corrected=p,
            published=_figure(expanded, line, still[line.row.model, line.task], tasks, published),
            verdict=f"meaningless ({scale})" if meaningless else _verdict(each, p),
        )
        for line, cell, of_seeds, each, p in zip(expanded.lines, cells, seeds, paired, p_corrected, strict=True)
    )


@dataclass(frozen=True, kw_only=True)
class Unmoved:
    """Levels that change nothing of what a model is asked on a task, and what is published of them."""

    alike: Alike
    combinations: int
    """That have them."""
    published: Figure | None

    @property
    def published_ratio(self) -> float | None:
        """What is published of their value over the baseline's."""
        return ratio_of(self.published)


def read_unmoved(expanded: Expanded, tasks: Mapping[str, Task], published: Published | None) -> tuple[Unmoved, ...]:
    """Return the levels of a sweep that have no line of their own, since they ask what another line does."""
    baselines = {(line.row.label, line.task): line for line in expanded.lines if line.baseline}
    found = []
    for alike, count in expanded.alike.items():
        still = baselines[alike.label, alike.task]
        moved = dataclasses.replace(still, levels={**still.levels, **dict(alike.levels)})
        figure = _figure(expanded, moved, still.levels, tasks, published)
        found.append(Unmoved(alike=alike, combinations=count, published=figure))
    return tuple(found)


def ratio_of(figure: Figure | None) -> float | None:
    """Return the ratio, 1 for all of the baseline, that a figure is; None: it is none."""
    return round(figure.value / 100, 10) if figure and figure.metric.startswith(RATIO) else None


def matrix(lines: Sequence[Line]) -> tuple[Array, Array]:
    """Return numerators (settings, documents) and weights (documents,) of the documents that all lines answered."""
    pairs = _common([line.cell for line in lines], lines[0].answered)
    return np.array([numerators for numerators, _ in pairs], float), np.array(pairs[0][1], float)


def compared(lines: Sequence[Line]) -> tuple[list[Line], list[Line]]:
    """Return the lines of the design, of one model on one task, that came farthest, and those that a budget ended.

    Where a budget ended all of them at the same document, all came farthest.
    """
    design = [line for line in lines if line.answered.in_design]
    most = max((line.cell.n for line in design), default=0)
    return [line for line in design if line.cell.n == most], [line for line in design if line.cell.n < most]


class _Found:
    """The cells of a sweep's scores, by checkpoint, task and setting."""

    def __init__(self, scale: str, scores: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        self.scale = scale
        self.cells = {
            (model, cell.task, cell.setting): cell
            for model, several in scores.items()
            for one in several
            for cell in read_cells(model, scale, one)
        }

    def cell(self, line: Answered, asked: Asked) -> Cell:
        key = (asked.checkpoint, line.task, asked.setting)
        if key not in self.cells:
            raise DataError(
                f"scores of '{asked.checkpoint}': no cell for task '{line.task}' (setting '{asked.setting}'); "
                f"{again(asked.checkpoint, self.scale)}"
            )
        return self.cells[key]


def _paired(expanded: Expanded, cells: Sequence[Cell]) -> list[Paired | None]:
    """Return each line's comparison with the baseline of its model and task."""
    baselines = {
        (line.row.model, line.task): cell for line, cell in zip(expanded.lines, cells, strict=True) if line.baseline
    }
    found: list[Paired | None] = []
    for line, cell in zip(expanded.lines, cells, strict=True):
        if line.baseline:
            found.append(None)
            continue
        before, after = _common([baselines[line.row.model, line.task], cell], line)
        found.append(compare_paired(before, after, cell.kind))
    return found


def _common(cells: Sequence[Cell], line: Answered) -> list[tuple[list[float], list[float]]]:
    """Return (numerators, weights) of the documents that all cells answered: the first ones.

    Raises:
        DataError: they answered others.
    """
    least = min(cell.n for cell in cells)
    ids = [cell.extra.get("doc_ids", [])[:least] for cell in cells]
    weights = [cell.weights[:least] for cell in cells]
    if any(each != ids[0] for each in ids) or any(each != weights[0] for each in weights):
        raise DataError(
            f"model '{line.row.model}', task '{line.task}': settings answered other documents than the baseline; score "
            "the sweep again"
        )
    return [(cell.numerators[:least], cell.weights[:least]) for cell in cells]


def _verdict(paired: Paired | None, p_corrected: float | None) -> str:
    if paired is None:
        return "baseline"
    if p_corrected is None or p_corrected >= 0.05:
        return "no difference seen"
    return "higher" if paired.delta > 0 else "lower"


def _figure(
    expanded: Expanded,
    line: Answered,
    still: Mapping[str, str],
    tasks: Mapping[str, Task],
    published: Published | None,
) -> Figure | None:
    """Return what is published of a setting in which one factor, at most, has not the baseline's level (``still``)."""
    table, model = expanded.file.sweep.published, line.row.published
    if published is None or table is None or model is None:
        return None
    benchmark = expanded.file.scale.benchmarks.get(line.task, tasks[line.task].benchmark)
    factors = expanded.file.factors_of(line.row.label)
    moved = [name for name in factors if line.levels[name] != still[name]]
    if benchmark is None or len(moved) > 1:
        return None
    for name in moved or factors:
        if (text := factors[name].published.get(line.levels[name])) is not None:
            place, metric = published_metric(table, text)
            found = [
                figure
                for figure in published.figures
                if (figure.table, figure.model, figure.benchmark, figure.metric) == (place, model, benchmark, metric)
            ]
            wanted = line.row.published_source
            found = [figure for figure in found if wanted in (None, figure.source)]
            return min(found, key=published.rank, default=None)
    return None
