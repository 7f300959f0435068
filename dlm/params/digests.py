"""What a product's settings come to, as a digest: Snakemake, DVC and the stamps make it again when that changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from dlm.files import digest
from dlm.params.cells import Cell
from dlm.params.folders import state_of_weights
from dlm.params.schema import Params
from dlm.settings import ExecutionSettings, FolderCheckpoint, TrainedCheckpoint

if TYPE_CHECKING:
    from dlm.params.plan import Plan
    from dlm.params.sweeps import Expanded


def product_digest(plan: Plan, step: str, name: str) -> str:
    """Digest every setting that a step's product ``name`` depends on."""
    if step in ("responses", "shards", "scores"):
        return _answers_digest(plan, step, name)
    if step == "tables" and (sweep := plan.sweep_of(name)):
        return _sweep_digest(plan.params, sweep)
    params, entry = plan.params, plan.entry(step, name)
    parts: list[Any] = [dataclasses.asdict(entry)]
    if step == "data":
        parts.append(dataclasses.asdict(params.problems))
    if step == "checkpoints":
        parts += [params.seed, params.execution.threads]
        if isinstance(entry, TrainedCheckpoint):
            parts.append(dataclasses.asdict(params.recipes[entry.recipe]))
            parts.append(dataclasses.asdict(params.samplers[entry.sampler]) if entry.sampler else None)
        if isinstance(entry, FolderCheckpoint):
            parts.append(state_of_weights(plan.layout.root / entry.path))
    if step == "tables":
        parts += [params.meaningless, params.title, _tasks(params, entry.tasks)]
    return digest(parts)


def running(execution: ExecutionSettings) -> dict[str, Any]:
    """Return how a model is run, as far as answers may depend on it.

    Neither the company that cells have in a job is a part of it, nor whether their order is recorded: records without
    it stay good.
    """
    return dataclasses.asdict(dataclasses.replace(execution, bundle=None, record_order=False))


def _answers_digest(plan: Plan, step: str, name: str) -> str:
    cells = plan.bundle(name)
    asked = _cells_digest(plan.params, cells)
    if (sweep := plan.sweep_of_bundle(name)) and (budget := sweep.file.scale.budget):
        passes, *_ = sweep.budget_of(name)
        asked = digest([asked, dataclasses.asdict(budget), passes])
    limits = plan.limits(cells) if step == "scores" else None
    return digest([asked, dataclasses.asdict(limits)]) if limits else asked


def _cells_digest(params: Params, cells: Iterable[Cell]) -> str:
    asked = [dataclasses.asdict(cell) | {"execution": cell.execution and running(cell.execution)} for cell in cells]
    return digest([asked, running(params.execution)])


def _sweep_digest(params: Params, sweep: Expanded) -> str:
    return digest([sweep.file.asked(), params.meaningless, params.title, _tasks(params, sweep.file.scale.all_tasks)])


def _tasks(params: Params, names: Iterable[str]) -> list[dict[str, Any]]:
    return [dataclasses.asdict(params.tasks[name]) for name in names]
