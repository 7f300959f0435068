"""Cells: one (checkpoint, task, setting) each, and how a row of a table answers a task."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from dlm.params.schema import Params, is_causal
from dlm.settings import (
    ExactLikelihood,
    ExecutionSettings,
    GreedySettings,
    LikelihoodSettings,
    SamplerSettings,
    TableRow,
    Task,
)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One (checkpoint, task, setting) that a table asks for."""

    checkpoint: str
    task: str
    task_settings: Task
    setting: str
    chat: bool
    response_prefix: str
    sampler: SamplerSettings | GreedySettings | None
    likelihood: LikelihoodSettings | ExactLikelihood | None
    seed: int
    dataset: str | None
    execution: ExecutionSettings | None = None
    """How its model is run; None: as the params say."""


def row_cells(params: Params, row: TableRow, name: str) -> tuple[Cell, ...]:
    """Return how a row of a table answers the task called ``name``, once with each seed, the params' own first.

    The setting of every further one is named `<setting>@<seed>`.
    """
    task = params.tasks[name]
    sampler, likelihood, setting = _answering(params, row, name, task)
    prefixed = task.prefix_for == "all" or row.stage != "before SFT"
    first = Cell(
        checkpoint=row.model,
        task=name,
        task_settings=task,
        setting=setting,
        chat=row.chat,
        response_prefix=task.response_prefix if prefixed else "",
        sampler=sampler,
        likelihood=likelihood,
        seed=params.seed,
        dataset=task.dataset,
    )
    count = 1 if is_causal(params, row.model) else row.seeds or task.seeds
    return first, *(seeded(first, seed) for seed in range(first.seed + 1, first.seed + count))


def seeded(cell: Cell, seed: int) -> Cell:
    """Return a cell with another seed, which its setting's name tells."""
    return dataclasses.replace(cell, setting=f"{cell.setting}@{seed}", seed=seed)


def _answering(
    params: Params, row: TableRow, name: str, task: Task
) -> tuple[SamplerSettings | GreedySettings | None, LikelihoodSettings | ExactLikelihood | None, str]:
    """Return how answers are sampled or how likelihoods are found, and the name of that."""
    causal, chosen = is_causal(params, row.model), row.setting_of(name, task)
    if task.output == "likelihood":
        return (None, ExactLikelihood(), "exact") if causal else (None, params.likelihoods[chosen], chosen)
    sampler = params.samplers[chosen]
    if causal:
        greedy = GreedySettings(max_new_tokens=sampler.canvas.max_new_tokens)
        return greedy, None, f"greedy{greedy.max_new_tokens}"
    return sampler, None, chosen
