"""What a table costs: passes, tokens, GPU hours and memory of each training and each evaluation.

Hours are what a GPU needs at assumed shares of its data sheet's rates (`dlm.planning.gpus`), model loading and scoring
left out: good for a choice between settings, and to a factor of two or so for a budget.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

from dlm.errors import SettingsError
from dlm.params import Cell, Plan
from dlm.params.task_files import own_tasks
from dlm.planning.gpus import GPU
from dlm.planning.networks import Sizes, checkpoint_sizes
from dlm.planning.passes import Work, likelihood_work, sampling_work
from dlm.settings import (
    BD3LM,
    GeneratedMixture,
    GeneratedProblems,
    GreedySettings,
    Recipe,
    SamplerSettings,
    TrainedCheckpoint,
)
from dlm.settings.planning import DataSize, TaskSize

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_ADAM_BYTES = 16  # a trained number in float32, its gradient and its two moments
_LAYER_BYTES = 34  # activations of a layer per token and unit of width, 16 bits each (arXiv 2205.05198, eq. 1)
_GIB = 2**30


@dataclass(frozen=True)
class Cost:
    """One training, or one checkpoint on one task at one setting."""

    step: str
    """`train` or `sample`."""
    checkpoint: str
    task: str
    """Of an evaluation; empty for a training."""
    setting: str
    """Name of the sampler, or of how likelihoods are estimated; a training's recipe."""
    documents: int
    """Documents that are scored; a training's rows, each time it is seen."""
    passes: float
    """Forward passes over one sequence."""
    tokens: float
    """Positions that the network computes."""
    hours: float
    """Of one GPU."""
    memory: float
    """GiB at the peak."""
    assumed: str = ""
    """What the numbers rest on beyond the settings."""
    at_most: bool = False
    """Whether passes, tokens and hours are those of the longest answers that there can be, or of all that a budget
    allows."""


@dataclass(frozen=True)
class TableCost:
    """All that a table needs."""

    table: str
    jobs: dict[str, int]
    """By step, if nothing is there yet."""
    costs: tuple[Cost, ...]
    unknown: tuple[str, ...]
    """What could not be estimated, and which entry of the params would tell."""

    @property
    def hours(self) -> float:
        """Of one GPU, in all."""
        return sum(cost.hours for cost in self.costs)


def table_cost(plan: Plan, table: str, gpu: GPU) -> TableCost:
    """Estimate what one table costs when nothing is there yet.

    Raises:
        SettingsError: there is no such table.
    """
    products = plan.products(table)
    costs: list[Cost] = []
    unknown: list[str] = []
    for name in products["checkpoints"]:
        try:
            costs += _training(plan, name, gpu)
        except SettingsError as error:
            unknown.append(str(error))
    for cells, allowed in _together(plan, table):
        try:
            costs += _within(allowed, [_evaluation(plan, cell, gpu) for cell in cells])
        except SettingsError as error:
            unknown.append(str(error))
    return TableCost(
        table=table,
        jobs={step: len(names) for step, names in products.items() if names},
        costs=tuple(dict.fromkeys(costs)),
        unknown=tuple(dict.fromkeys(unknown)),
    )


def _together(plan: Plan, table: str) -> Iterator[tuple[list[Cell], tuple[int, int] | None]]:
    """Yield the cells of a table that are reckoned together: those that a budget has them share, others one by one.

    With them the forward passes that they may take, and the documents that are answered in any case.
    """
    sweep = plan.sweep_of(table)
    if sweep is None or (budget := sweep.file.scale.budget) is None:
        yield from (([cell], None) for cell in plan.asked_cells(table))
        return
    for bundle, cells in sweep.bundles.items():
        passes, *_ = sweep.budget_of(bundle)
        for task in dict.fromkeys(cell.task for cell in cells):
            yield [cell for cell in cells if cell.task == task], (passes, budget.first)


def _within(allowed: tuple[int, int] | None, costs: list[Cost]) -> list[Cost]:
    """Return costs as far as a budget goes, each setting's share of it: which of them go on is not known before."""
    if allowed is None:
        return costs
    passes, first = allowed
    all_passes = sum(cost.passes for cost in costs)
    most = max(passes, sum(cost.passes * min(1, first / cost.documents) for cost in costs))
    share = min(1.0, most / all_passes) if all_passes else 1.0
    note = "" if share == 1 else f"{100 * share:.0f} % of all documents' passes, for the budget"
    return [
        dataclasses.replace(
            cost,
            passes=share * cost.passes,
            tokens=share * cost.tokens,
            hours=share * cost.hours,
            assumed="; ".join(filter(None, (cost.assumed, note))),
            at_most=True,
        )
        for cost in costs
    ]


def _evaluation(plan: Plan, cell: Cell, gpu: GPU) -> Cost:
    size, sizes = task_size(plan, cell), checkpoint_sizes(plan, cell.checkpoint)
    execution = cell.execution or plan.params.execution
    work, assumed = _work(plan, cell, size)
    stops = _stops(plan, cell)
    batch = execution.batch_size
    width = _BYTES[execution.dtype]
    operations = work.columns_per_pass * (2 * sizes.body + 4 * sizes.layers * sizes.hidden * work.keys)
    operations += 2 * sizes.projection * work.projected / max(work.passes, 1)
    moved = (sizes.body + sizes.projection) * width
    seconds = work.passes * gpu.seconds(batch * operations, moved, execution.dtype) / batch
    return Cost(
        step="sample",
        checkpoint=cell.checkpoint,
        task=cell.task,
        setting=cell.setting,
        documents=size.documents,
        passes=size.documents * work.passes,
        tokens=size.documents * work.columns,
        hours=size.documents * seconds / 3600,
        memory=_sampling_memory(sizes, cell, work, batch, width),
        assumed="; ".join(filter(None, (assumed, "stop texts end answers sooner" if stops else ""))),
        at_most=stops,
    )


def _stops(plan: Plan, cell: Cell) -> bool:
    """Return whether stop texts of its task may end a cell's answers; lm-eval's own tasks are not read, and may."""
    if cell.sampler is None:
        return False
    file = own_tasks(plan.layout.root).get(cell.task_settings.lm_eval)
    return file is None or file.stops


def _work(plan: Plan, cell: Cell, size: TaskSize) -> tuple[Work, str]:
    if cell.sampler is None:
        assert cell.likelihood is not None
        return likelihood_work(cell.likelihood, size), ""
    if isinstance(cell.sampler, GreedySettings):
        return sampling_work(cell.sampler, size), "" if size.answer_tokens else "answers of full length"
    at_once = plan.params.planning.tokens_per_pass.get(cell.setting.partition("@")[0], 1.0)
    notes = []
    if cell.sampler.selector.kind in ("threshold", "factor"):
        notes.append(f"{at_once:g} tokens a pass")
    if cell.sampler.stop and size.answer_tokens is None:
        notes.append("answers of full length")
    return sampling_work(cell.sampler, size, at_once), "; ".join(notes)


def _sampling_memory(sizes: Sizes, cell: Cell, work: Work, batch: int, width: int) -> float:
    """Weights, the widest layer's activations, kept keys and values, and the logits of a pass with their float64s."""
    rows = batch * (2 if isinstance(cell.sampler, SamplerSettings) and cell.sampler.proposer.guidance else 1)
    activations = rows * work.longest * (4 * sizes.hidden + 3 * sizes.intermediate) * width
    cached = isinstance(cell.sampler, GreedySettings) or (
        isinstance(cell.sampler, SamplerSettings) and cell.sampler.canvas.cache not in (None, "none")
    )
    kept = 2 * sizes.layers * sizes.keys * rows * work.longest * width if cached else 0
    logits = rows * work.projected / max(work.passes, 1) * 2 * sizes.vocab * 4
    return (sizes.parameters * width + activations + kept + logits) / _GIB


def _training(plan: Plan, name: str, gpu: GPU) -> Iterator[Cost]:
    entry = plan.params.checkpoints[name]
    if not isinstance(entry, TrainedCheckpoint):
        return
    recipe, sizes = plan.params.recipes[entry.recipe], checkpoint_sizes(plan, name)
    data = [data_size(plan, each) for each in entry.datasets]
    rows = sum(each.rows for each in data)
    length = min(recipe.max_length, math.ceil(sum(each.rows * each.tokens for each in data) / rows))
    seen = recipe.batch_size * recipe.steps if recipe.steps else math.ceil(rows * (recipe.epochs or 1))
    copies = 2 if isinstance(recipe.objective, BD3LM) else 1
    tokens = seen * length * copies
    # Forward, and backward once for the inputs and once for the weights; a frozen weight needs the former only.
    times = (2 if recipe.lora else 3) + (1 if recipe.gradient_checkpointing else 0)
    dtype = "bfloat16" if recipe.precision == "bf16" else "float32"
    per_token = 2 * sizes.body + 4 * sizes.layers * sizes.hidden * length * copies + sizes.projection  # half is masked
    batch = recipe.micro_batch_size or recipe.batch_size
    # Each micro-batch reads the weights about `times` times.
    seconds = gpu.seconds(times * tokens * per_token, times * seen / batch * sizes.parameters * 4, dtype)
    yield Cost(
        step="train",
        checkpoint=name,
        task="",
        setting=entry.recipe,
        documents=seen,
        passes=seen,
        tokens=tokens,
        hours=seconds / 3600,
        memory=_training_memory(sizes, recipe, batch * length * copies),
    )


def _training_memory(sizes: Sizes, recipe: Recipe, tokens: int) -> float:
    """Weights with what the optimizer keeps of them, the activations of a micro-batch, and a chunk of logits."""
    if recipe.lora:
        # A pair of factors for each matrix of a layer.
        widths = 4 * sizes.hidden + 2 * sizes.keys + 3 * (sizes.hidden + sizes.intermediate)
        adapted = sizes.layers * recipe.lora.rank * widths
        weights = sizes.parameters * (0.5 if recipe.four_bit else 2) + adapted * _ADAM_BYTES
    else:
        weights = sizes.parameters * _ADAM_BYTES
    per_token = _LAYER_BYTES * sizes.layers
    if recipe.gradient_checkpointing:
        per_token = 2 * sizes.layers + _LAYER_BYTES
    return (weights + tokens * sizes.hidden * per_token + 2**29) / _GIB


def task_size(plan: Plan, cell: Cell) -> TaskSize:
    """Return how much a cell's task asks, with the documents that are scored.

    Raises:
        SettingsError: the params do not say.
    """
    sizes, task, name = plan.params.planning.tasks, cell.task_settings, cell.task
    if name not in sizes:
        raise SettingsError(f"the size of task '{name}' is not known; write it under planning.tasks")
    size = sizes[name]
    prepared = plan.params.data.get(task.dataset or "")
    documents = prepared.rows if isinstance(prepared, GeneratedProblems) else size.documents
    return TaskSize(
        documents=min(documents, task.limit or documents),
        prompt_tokens=size.prompt_tokens,
        answer_tokens=size.answer_tokens,
        choices=size.choices,
        choice_tokens=size.choice_tokens,
        shared_tokens=size.shared_tokens,
    )


def data_size(plan: Plan, name: str) -> DataSize:
    """Return how much training data there is.

    Raises:
        SettingsError: the params do not say.
    """
    sizes, entry = plan.params.planning.data, plan.params.data[name]
    if name not in sizes:
        raise SettingsError(f"the size of data '{name}' is not known; write it under planning.data")
    rows = sum(entry.rows.values()) if isinstance(entry, GeneratedMixture) else sizes[name].rows
    return DataSize(rows=rows, tokens=sizes[name].tokens)
