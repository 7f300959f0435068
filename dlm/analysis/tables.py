"""A table of a scale: every cell recomputed from its documents, beside the published figure, with a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from dlm.analysis.cells import Cell, again, read_cells
from dlm.analysis.estimates import Estimate, Gain, paired_gain
from dlm.analysis.published import Figure, Joined, Published
from dlm.analysis.repeats import mean_cell, spread
from dlm.analysis.verdicts import Verdict, judge
from dlm.errors import DataError
from dlm.settings import Table, TableRow, Task
from dlm.settings.evaluation import listed

COMPARED_WITH = {"after SFT": "before SFT", "accelerated": "baseline", "variant": "baseline"}
"""On which side of a comparison a row stands, by the side that it is compared with."""


Departures = Callable[[TableRow, str, Figure], Sequence[str]]
"""What in a row's settings for a task is not known to be a figure's, in words."""


class Asked(NamedTuple):
    """How a row answers a task: what tells the cell of this table from those of others."""

    setting: str
    """Name of the sampler, or of how likelihoods were estimated."""
    response_prefix: str = ""
    """What every answer was made to begin with."""
    repeats: tuple[str, ...] = ()
    """Names of the settings that differ from it in their seed alone; the row has the mean of all."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One line of the CSV: one (model, task, setting)."""

    row: TableRow
    cell: Cell
    """The mean over its seeds."""
    cells: tuple[Cell, ...]
    """A cell a seed."""
    spread: float | None
    """Standard deviation of the value over the seeds; None: there is one."""
    estimate: Estimate
    published: Joined
    """The published figure that it is compared with, and what else is published of it."""
    differing: tuple[str, ...]
    """The settings that are not the published ones, or not known to be, in words."""
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class PairedGain:
    """What a row gained over the one it is compared with, on one task, on the same documents."""

    before: str
    """Checkpoint of the row that it is compared with."""
    after: str
    """Its own checkpoint."""
    settings: tuple[str, str]
    """The settings at which the two answered."""
    task: str
    gain: Gain


@dataclass(frozen=True, kw_only=True)
class Beside:
    """A published model that is shown, not computed."""

    model: str
    figures: tuple[Figure | None, ...]
    """In the order of the table's tasks; None: not published."""


@dataclass(frozen=True, kw_only=True)
class TableResult:
    """A table as computed; `dlm.analysis.render` writes it."""

    name: str
    scale: str
    table: Table
    tasks: Mapping[str, Task]
    results: tuple[Result, ...]
    """In the order of the table's rows, then of its tasks."""
    gains: tuple[PairedGain, ...]
    """In the order of the rows that are compared, then of the tasks."""
    meaningless: bool
    """The scale is too small for its numbers to mean anything."""
    about: str = ""
    """What the scale is, in one line."""
    beside: tuple[Beside, ...] = ()


def build_table(
    name: str,
    table: Table,
    tasks: Mapping[str, Task],
    scale: str,
    scores: Mapping[str, Sequence[Mapping[str, Any]]],
    asked: Callable[[TableRow, str], Asked],
    published: Published | None = None,
    meaningless: bool = False,
    about: str = "",
    departures: Departures | None = None,
) -> TableResult:
    """Compute a table from the scores of its models.

    Args:
        name: the table's name under `tables` in the params.
        table: its rows and tasks.
        tasks: every task by name.
        scale: name of the scale.
        scores: the loaded `scores.json` of every bundle of the table's cells, by model.
        asked: how a row answers a task.
        published: figures to compare with; used where ``table.published`` names a table of them.
        meaningless: say so in every verdict (a scale for tests).
        about: what the scale is, in one line.
        departures: of a row, the task and the figure that it is compared with, the settings that are not known to be
            the figure's (`dlm.analysis.declared`); None: those that the table names itself are all.

    Raises:
        DataError: a cell is missing, damaged, or scored by another metric than the task's; names model and task.
    """
    by_row = [_index(row, table, tasks, scale, scores, asked) for row in table.rows]
    results = []
    for row, cells in zip(table.rows, by_row, strict=True):
        for name_of_task in table.tasks:
            task = tasks[name_of_task]
            joined = published.join_row(table, row, task) if published else Joined()
            differing = _differing(table, row, name_of_task, joined.figure, departures)
            line = _result(row, cells[name_of_task], task, joined, differing, scale if meaningless else None)
            results.append(line)
    return TableResult(
        name=name,
        scale=scale,
        table=table,
        tasks={task: tasks[task] for task in table.tasks},
        results=tuple(results),
        gains=_gains(table, scale, [{name: mean_cell(cells) for name, cells in row.items()} for row in by_row]),
        meaningless=meaningless,
        about=about,
        beside=_beside(published, table, tasks),
    )


def _beside(published: Published | None, table: Table, tasks: Mapping[str, Task]) -> tuple[Beside, ...]:
    if published is None or table.published is None:
        return ()
    first, benchmarks = listed(table.published)[0], [tasks[task].benchmark for task in table.tasks]
    return tuple(
        Beside(
            model=model,
            figures=tuple(published.find(first, model, name) if name else None for name in benchmarks),
        )
        for model in table.beside
    )


def pairs(table: Table) -> list[tuple[int | None, int]]:
    """Return (before, after) for every row that is compared: the nearest above it that it is compared with, or None."""
    found: list[tuple[int | None, int]] = []
    nearest: dict[str | None, int] = {}
    for index, row in enumerate(table.rows):
        if row.stage in COMPARED_WITH:
            found.append((nearest.get(COMPARED_WITH[row.stage]), index))
        nearest[row.stage] = index
    return found


def _index(
    row: TableRow,
    table: Table,
    tasks: Mapping[str, Task],
    scale: str,
    scores: Mapping[str, Sequence[Mapping[str, Any]]],
    asked: Callable[[TableRow, str], Asked],
) -> dict[str, tuple[Cell, ...]]:
    """Return the cells of one row by task, one a seed, those of other tables left out."""
    if row.model not in scores:
        raise DataError(
            f"table row '{row.label}': no scores of model '{row.model}'; run `dlm score {row.model} --scale {scale}`"
        )
    cells = [cell for each in scores[row.model] for cell in read_cells(row.model, scale, each)]
    found = {}
    for task in table.tasks:
        first = asked(row, task)
        settings = [first, *(first._replace(setting=setting) for setting in first.repeats)]
        found[task] = tuple(_cell(cells, row, task, each, tasks[task], scale) for each in settings)
    return found


def _cell(cells: Sequence[Cell], row: TableRow, task: str, asked: Asked, settings: Task, scale: str) -> Cell:
    found = [
        cell
        for cell in cells
        if (cell.task, cell.setting) == (task, asked.setting)
        and cell.extra.get("chat", row.chat) == row.chat
        and cell.extra.get("response_prefix", asked.response_prefix) == asked.response_prefix
    ]
    if not found:
        raise DataError(
            f"scores of '{row.model}': no cell for task '{task}' (setting '{asked.setting}', "
            f"chat {str(row.chat).lower()}); run `dlm sample {row.model} --scale {scale}` and "
            f"`dlm score {row.model} --scale {scale}`"
        )
    if len(found) > 1:
        where = f"scores of '{row.model}', task '{task}'"
        raise DataError(f"{where}: setting '{asked.setting}' stands there twice; {again(row.model, scale)}")
    _check_metric(row.model, scale, found[0], settings)
    return found[0]


def _check_metric(model: str, scale: str, cell: Cell, task: Task) -> None:
    if (cell.metric, cell.filter) != (task.metric, task.filter):
        raise DataError(
            f"scores of '{model}', task '{cell.task}': scored by {cell.metric} ({cell.filter}), "
            f"the task asks for {task.metric} ({task.filter}); {again(model, scale)}"
        )


def _differing(
    table: Table, row: TableRow, task: str, figure: Figure | None, departures: Departures | None
) -> tuple[str, ...]:
    """Return the settings that are not the published ones, each once, those that the table names itself first."""
    found = list(table.differences(row, task))
    if figure is not None and departures is not None:
        found += departures(row, task, figure)
    return tuple(dict.fromkeys(found))


def _result(
    row: TableRow,
    cells: tuple[Cell, ...],
    task: Task,
    published: Joined,
    differing: tuple[str, ...],
    meaningless: str | None,
) -> Result:
    cell = mean_cell(cells)
    computed = cell.estimate
    return Result(
        row=row,
        cell=cell,
        cells=cells,
        spread=spread(cells),
        estimate=computed,
        published=published,
        differing=differing,
        verdict=judge(computed, task, published.figure, differing=differing, meaningless=meaningless),
    )


def _gains(table: Table, scale: str, by_row: list[dict[str, Cell]]) -> tuple[PairedGain, ...]:
    found = []
    for before, after in pairs(table):
        if before is None:
            continue
        names = table.rows[before].model, table.rows[after].model
        for task in table.tasks:
            cells = by_row[before][task], by_row[after][task]
            settings = cells[0].setting, cells[1].setting
            gain = _gain(*cells, names, scale)
            found.append(PairedGain(before=names[0], after=names[1], settings=settings, task=task, gain=gain))
    return tuple(found)


def _gain(before: Cell, after: Cell, models: tuple[str, str], scale: str) -> Gain:
    where = f"scores of '{models[0]}' and '{models[1]}', task '{before.task}'"
    remedy = f"; run `dlm score NAME --scale {scale}` for both again"
    if before.extra.get("doc_ids") != after.extra.get("doc_ids"):
        raise DataError(f"{where}: not the same documents in the same order{remedy}")
    try:
        return paired_gain((before.numerators, before.weights), (after.numerators, after.weights), before.kind)
    except DataError as error:
        raise DataError(f"{where}: {error}{remedy}") from error
