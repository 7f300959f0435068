"""Sweeps: which settings of a model are changed, to which values and in which design, to see what decides a score."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from dlm.errors import SettingsError
from dlm.settings.checks import above, at_least
from dlm.settings.evaluation import TableRow

_STRICT = {"extra": "forbid", "use_attribute_docstrings": True}


@dataclass(frozen=True, kw_only=True)
class Factor:
    """What is varied: values of one setting, a range of it, or named levels that each change several settings.

    A setting is named as `dlm sample --set` names it (`temperature`), or by its way from the sampler
    (`proposer.guidance.scale`); what is not the sampler's has a prefix: `likelihood.`, `task.` (`num_fewshot`,
    `template`), `execution.` (`batch_size`, `dtype`, `device`, `threads`) or `recipe.`, which derives a checkpoint.
    `sampler` names an entry of the params' samplers; `seed`, `chat` and `response_prefix` are themselves;
    `tokens_per_step` chooses the steps that commit so many tokens each.
    """

    __pydantic_config__ = _STRICT
    setting: str | None = None
    """The setting that values and ranges are of; None: the factor's own name."""
    values: tuple[Any, ...] = ()
    """Values of the setting: numbers, words, true, false or null."""
    levels: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By the level's name: the settings that it changes, with their values; `{}` changes nothing."""
    low: float | None = None
    """Smallest value of a range."""
    high: float | None = None
    """Largest value of a range."""
    log: bool = False
    """Whether a range is divided by the logarithm of its values."""
    decimals: int = 3
    """Decimals that a value of a range is rounded to, of a range with `log` its significant digits (>= 0); 0: whole
    numbers."""
    rows: tuple[str, ...] = ()
    """Labels of the rows that it is varied for; none named: all."""
    published: dict[str, str] = field(default_factory=dict)
    """By level: the metric under which it is published, such as `percent_of_baseline temperature 0`; of another table
    than the sweep's as `table: metric`. Metrics that begin with `percent_of_baseline` are ratios."""

    def __post_init__(self) -> None:
        given = [bool(self.values), bool(self.levels), self.low is not None or self.high is not None]
        if sum(given) != 1:
            raise SettingsError("give one of values, levels, or low and high")
        if self.levels and self.setting is not None:
            raise SettingsError("setting does not apply to levels, which name theirs; remove it")
        if self.is_range:
            if self.low is None or self.high is None or not self.low < self.high:
                raise SettingsError(f"low and high must be two numbers, the smaller first, got {self.low}, {self.high}")
            if self.log:
                above("low", self.low, 0)
            at_least("decimals", self.decimals, 0)

    @property
    def is_range(self) -> bool:
        """Whether its values are those between two ends."""
        return self.low is not None or self.high is not None


@dataclass(frozen=True, kw_only=True)
class LatinHypercube:
    """Points that fill the space, each factor's range divided evenly (scipy.stats.qmc.LatinHypercube)."""

    __pydantic_config__ = _STRICT
    kind: Literal["latin_hypercube"] = "latin_hypercube"
    """Discriminator: `latin_hypercube`."""
    samples: int
    """Points (>= 1); those that fall on the same levels count once."""
    seed: int = 0
    """Of the points."""

    def __post_init__(self) -> None:
        at_least("samples", self.samples, 1)


@dataclass(frozen=True, kw_only=True)
class Sobol:
    """Points of a scrambled Sobol' sequence (scipy.stats.qmc.Sobol)."""

    __pydantic_config__ = _STRICT
    kind: Literal["sobol"] = "sobol"
    """Discriminator: `sobol`."""
    samples: int
    """Points, a power of two, for which the sequence is balanced."""
    seed: int = 0
    """Of the scrambling."""

    def __post_init__(self) -> None:
        if self.samples < 1 or self.samples & (self.samples - 1):
            raise SettingsError(f"samples must be a power of two, got {self.samples}")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Forward passes to spend: settings that are dominated on the first documents get no more (successive halving)."""

    __pydantic_config__ = _STRICT
    forward_passes: int
    """For the whole sweep (>= 1), the same for every model and task."""
    first: int = 16
    """Documents that every setting answers (>= 2)."""
    eta: int = 2
    """After a rung the better 1/eta stay, with whom cannot be told from the best; the next has eta times as many
    documents (>= 2)."""
    confidence: float = 0.95
    """Of the one-sided paired test that a setting is behind the best, shared among those of a rung (0.5 to 1)."""

    def __post_init__(self) -> None:
        at_least("forward_passes", self.forward_passes, 1)
        at_least("first", self.first, 2)
        at_least("eta", self.eta, 2)
        if not 0.5 <= self.confidence < 1:
            raise SettingsError(f"confidence must be from 0.5 to below 1, got {self.confidence}")


@dataclass(frozen=True, kw_only=True)
class SweepScale:
    """A sweep at one scale: the models and tasks, and how each is answered in the baseline."""

    __pydantic_config__ = _STRICT
    rows: tuple[TableRow, ...]
    """The models, each once, as rows of a table: what they say is the baseline."""
    tasks: dict[str, tuple[str, ...]] | tuple[str, ...]
    """Names under `tasks` of the params; or, by the label of each row, its own."""
    factors: dict[str, tuple[Any, ...] | Factor] = field(default_factory=dict)
    """Factors of this scale, in place of the sweep's of the same name."""
    benchmarks: dict[str, str] = field(default_factory=dict)
    """By task: the published benchmark that it stands for, in place of its own."""
    limit: int | None = None
    """Answer at most so many documents of each task, the first ones (>= 1); None: as many as the task says."""
    bundle: int | None = None
    """Cells (a task at a setting) in a sampling job (>= 1); None: 250, and more where that would be over 40 jobs."""
    budget: Budget | None = None
    """Forward passes to spend; None: every setting answers every document."""

    def __post_init__(self) -> None:
        for name in ("rows", "tasks"):
            if not getattr(self, name):
                raise SettingsError(f"{name} is empty; name at least one")
        lists = self.tasks.items() if isinstance(self.tasks, dict) else [("tasks", self.tasks)]
        for name, found in [("rows", [row.model for row in self.rows]), *lists]:
            if not found:
                raise SettingsError(f"{name} is empty; name at least one")
            if twice := {each for each in found if list(found).count(each) > 1}:
                raise SettingsError(f"{name} has '{min(twice)}' twice; keep one")
        if isinstance(self.tasks, dict) and (other := set(self.tasks) ^ {row.label for row in self.rows}):
            raise SettingsError(f"tasks by row: '{min(other)}' is not in both; name the tasks of every row's label")
        for name in ("limit", "bundle"):
            if getattr(self, name) is not None:
                at_least(name, getattr(self, name), 1)

    def tasks_of(self, label: str) -> tuple[str, ...]:
        """Return the tasks of the row with a label."""
        return self.tasks[label] if isinstance(self.tasks, dict) else self.tasks

    @property
    def all_tasks(self) -> tuple[str, ...]:
        """Every task once."""
        return tuple(dict.fromkeys(task for row in self.rows for task in self.tasks_of(row.label)))


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sensitivity study: models by tasks by factors."""

    __pydantic_config__ = _STRICT
    title: str
    """What it asks, in one line."""
    scales: dict[str, SweepScale]
    """By the scale's name; a scale that extends another has that one's, unless it has its own."""
    factors: dict[str, tuple[Any, ...] | Factor] = field(default_factory=dict)
    """By name: a list of values of the setting of that name, or a factor in full."""
    design: Literal["grid", "one_at_a_time"] | LatinHypercube | Sobol = "grid"
    """Which combinations of levels are answered: all of them, each level alone with all else as in the baseline, or
    points of a space-filling design. The baseline always is."""
    constraints: tuple[str, ...] = ()
    """What holds of every combination, by names of factors: `steps <= length`, `cache != 'none' or block == 8`."""
    ranked: str | None = None
    """The factor whose levels are ranked, in every combination of the others; None: settings, on every task."""
    claimed: str | None = None
    """The level of it that is claimed to win; None: that which is best on average."""
    correction: Literal["holm", "bonferroni", "fdr_bh", "fdr_by"] = "holm"
    """Of the p-values of all comparisons with a baseline (statsmodels.stats.multitest.multipletests)."""
    published: str | None = None
    """Name of the table in the published figures that factors name metrics of."""
