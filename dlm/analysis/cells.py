"""Cells of a scores file, checked before a table is made of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dlm.analysis.estimates import TOLERANCE, Estimate, check_documents, estimate, ratio
from dlm.errors import DataError
from dlm.files import SCORES_FORMAT
from dlm.settings.metrics import MetricKind, metric_kind

_KINDS: dict[str, type | tuple[type, ...]] = {
    "task": str,
    "setting": str,
    "metric": str,
    "filter": str,
    "value": (int, float),
    "n": int,
    "numerators": list,
    "weights": list,
}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One (checkpoint, task, setting) as scored, with its documents."""

    task: str
    setting: str
    metric: str
    filter: str
    value: float
    """Share (0 to 1), perplexity or bits, as the scores file states it."""
    n: int
    """Number of documents."""
    numerators: list[float]
    """What was right, or the negative log-likelihood, a document each."""
    weights: list[float]
    """What there was to get right, or the length, a document each."""
    extra: Mapping[str, Any]
    """The cell's other fields: where it came from, and under `executions` how its model was run."""

    @property
    def kind(self) -> MetricKind:
        """What its metric is."""
        return metric_kind(self.metric)

    @property
    def estimate(self) -> Estimate:
        """The value with its error and interval."""
        return estimate(self.numerators, self.weights, self.kind, self.extra.get("mc_stderrs"))


def read_cells(model: str, scale: str, scores: Mapping[str, Any]) -> list[Cell]:
    """Return the checked cells of a loaded scores file.

    Raises:
        DataError: the file is of another format, model or scale, or a cell is damaged; names the model and task.
    """
    remedy = again(model, scale)
    if not isinstance(scores, Mapping):
        raise DataError(f"scores of '{model}': not an object; {remedy}")
    for key, expected in (("format", SCORES_FORMAT), ("model", model), ("scale", scale)):
        if (found := scores.get(key)) != expected:
            raise DataError(f"scores of '{model}': {key} is '{found}', expected '{expected}'; {remedy}")
    cells = scores.get("cells")
    if not isinstance(cells, list):
        raise DataError(f"scores of '{model}': no list of cells; {remedy}")
    executions = scores.get("executions", {})
    return [_read_cell(f"scores of '{model}'", index, cell, executions, remedy) for index, cell in enumerate(cells)]


def again(model: str, scale: str) -> str:
    """Return the remedy for scores that cannot be used."""
    return f"delete the folder results/{scale}/scores/{model} and run `dlm score {model} --scale {scale}` again"


def _read_cell(where: str, index: int, cell: Any, executions: Mapping[str, Any], remedy: str) -> Cell:
    if not isinstance(cell, dict):
        raise DataError(f"{where}: cell {index} is not an object; {remedy}")
    where += f", task '{cell.get('task', f'of cell {index}')}'"
    for key, kind in _KINDS.items():
        if not isinstance(cell.get(key), kind):
            raise DataError(f"{where}: {key} is missing or of the wrong kind; {remedy}")
    extra = {key: value for key, value in cell.items() if key not in _KINDS}
    extra["executions"] = {how: executions[how] for how in cell.get("how", ()) if how in executions}
    read = Cell(**{key: cell[key] for key in _KINDS}, extra=extra)
    _check_numbers(read, where, remedy)
    return read


def _check_numbers(cell: Cell, where: str, remedy: str) -> None:
    """Refuse a cell whose parts contradict each other."""
    if not all(isinstance(number, (int, float)) for number in (*cell.numerators, *cell.weights)):
        raise DataError(f"{where}: numerators or weights that are not numbers; {remedy}")
    if cell.n != len(cell.weights):
        raise DataError(f"{where}: n is {cell.n} for {len(cell.weights)} documents; {remedy}")
    try:
        check_documents(cell.numerators, cell.weights, cell.kind)
    except DataError as error:
        raise DataError(f"{where}: {error}; {remedy}") from error
    value = cell.kind.value(ratio(cell.numerators, cell.weights))
    if not math.isclose(cell.value, value, rel_tol=TOLERANCE if cell.kind.loss else 0, abs_tol=TOLERANCE):
        raise DataError(f"{where}: value is {cell.value}, its documents give {value}; {remedy}")
