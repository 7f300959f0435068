"""A checkpoint's scores with their intervals and settings, as the tables of its scale have them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlm.analysis import Estimate
from dlm.analysis.cells import Cell, read_cells
from dlm.errors import DataError
from dlm.files import read_json
from dlm.params import Cell as Asked
from dlm.params import Plan
from dlm.settings import Task


@dataclass(frozen=True, kw_only=True)
class Score:
    """One task at one setting."""

    task: Task
    cell: Cell
    numbers: Estimate
    asked: Asked
    dataset: str
    """Hub id of the test set; the name of the prepared one where it is no hub's."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """How it was answered, by the names of a params file."""
        answering = self.asked.sampler or self.asked.likelihood
        assert answering is not None
        return dataclasses.asdict(answering)


def scores_of(plan: Plan, name: str, digest: str) -> list[Score]:
    """Return what the checkpoint ``name``, whose manifest has this digest, scored: as far as it was.

    Raises:
        DataError: scores are damaged, or of other weights.
    """
    found: list[Score] = []
    for label, asked in plan.bundles(name).items():
        path = Path(plan.layout.manifest("scores", label))
        if not path.is_file():
            continue
        scores = read_json(path)
        cells = read_cells(name, plan.scale, scores)
        if scores.get("checkpoint") != digest:
            again = f"run `dlm sample {name} --scale {plan.scale}` and `dlm score {name} --scale {plan.scale}` again"
            raise DataError(f"{path}: scores of other weights than those of checkpoint '{name}'; {again}")
        by_setting = {_key(cell.task, cell.setting, cell.chat, cell.response_prefix): cell for cell in asked}
        for cell in cells:
            key = _key(cell.task, cell.setting, cell.extra.get("chat"), cell.extra.get("response_prefix"))
            if key in by_setting:  # scores of settings that no table asks for any more are left out
                found.append(_score(plan, cell, by_setting[key]))
    return found


def _key(*parts: Any) -> tuple[Any, ...]:
    return parts


def _score(plan: Plan, cell: Cell, asked: Asked) -> Score:
    data = plan.params.data.get(asked.dataset or "")
    return Score(
        task=asked.task_settings,
        cell=cell,
        numbers=cell.estimate,
        asked=asked,
        dataset=getattr(data, "repository", None) or asked.dataset or asked.task_settings.lm_eval,
    )
