"""The whole of a params file, and the checks that need more than one of its entries."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from dlm.settings import (
    CheckpointSettings,
    ConvertedCheckpoint,
    DataSettings,
    ExecutionSettings,
    ForeignCheckpoint,
    LikelihoodSettings,
    PlanningSettings,
    ProblemSettings,
    Recipe,
    SamplerSettings,
    SandboxSettings,
    Scratch,
    Table,
    Task,
    TrainedCheckpoint,
)
from dlm.settings.checks import at_least


@dataclass(frozen=True, kw_only=True)
class Params:
    """Everything that one scale runs."""

    __pydantic_config__ = {"extra": "forbid", "use_attribute_docstrings": True}
    title: str
    """What this scale is, in one line."""
    meaningless: bool = False
    """True: the numbers test the pipeline only; tables say so in every row."""
    seed: int = 0
    """Seed of every training, sampling and estimate (>= 0)."""
    limit: int | None = None
    """Score at most so many documents of every task, the first ones (>= 1); None: as many as each task says."""
    sandbox: SandboxSettings | None = None
    """Limits of the programs that models write. Giving them, `sandbox: {}` for the defaults, allows tasks to run such
    programs, isolated; None: those tasks are planned, and refused when they are to be run."""
    execution: ExecutionSettings = field(default_factory=ExecutionSettings)
    """How models are run."""
    problems: ProblemSettings = field(default_factory=ProblemSettings)
    """Difficulty of the generated problems."""
    data: dict[str, DataSettings] = field(default_factory=dict)
    """Prepared data by name."""
    recipes: dict[str, Recipe] = field(default_factory=dict)
    """Training recipes by name."""
    checkpoints: dict[str, CheckpointSettings] = field(default_factory=dict)
    """Checkpoints by name."""
    samplers: dict[str, SamplerSettings] = field(default_factory=dict)
    """Decoding methods by name; the name stands in the tables' `setting` column."""
    likelihoods: dict[str, LikelihoodSettings] = field(default_factory=dict)
    """Estimates of likelihoods by name; the name stands in the tables' `setting` column."""
    tasks: dict[str, Task] = field(default_factory=dict)
    """Benchmarks by name."""
    tables: dict[str, Table] = field(default_factory=dict)
    """Tables by name: `results/tables/<name>.csv`."""
    planning: PlanningSettings = field(default_factory=PlanningSettings)
    """What `dlm plan` estimates with; nothing that is made depends on it."""

    def __post_init__(self) -> None:
        at_least("seed", self.seed, 0)
        if self.limit is not None:
            at_least("limit", self.limit, 1)
            # Frozen, and whoever asks for a task asks here: so the tasks themselves say what is scored.
            limited = {name: replace(task, limit=self._least(task)) for name, task in self.tasks.items()}
            object.__setattr__(self, "tasks", limited)

    def _least(self, task: Task) -> int | None:
        return self.limit if task.limit is None or self.limit is None else min(task.limit, self.limit)


def root_architecture(params: Params, checkpoint: str) -> Scratch | None:
    """Follow a checkpoint's starts to the network it grew from; None where that is a published one."""
    entry = params.checkpoints[checkpoint]
    while isinstance(entry, TrainedCheckpoint | ConvertedCheckpoint):
        if isinstance(entry.start, Scratch):
            return entry.start
        entry = params.checkpoints[entry.start]
    return None


def is_causal(params: Params, checkpoint: str) -> bool:
    """Return whether a checkpoint's attention is causal: an autoregressive network that was never converted."""
    entry = params.checkpoints[checkpoint]
    while isinstance(entry, TrainedCheckpoint):
        if isinstance(entry.start, Scratch):
            return entry.start.causal
        entry = params.checkpoints[entry.start]
    return isinstance(entry, ForeignCheckpoint) and entry.autoregressive
