"""What is scored: tasks, models as evaluated, and the tables made of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from dlm.errors import SettingsError
from dlm.settings.checks import at_least, between
from dlm.settings.metrics import check_chance

_STRICT = {"extra": "forbid", "use_attribute_docstrings": True}
PROMPT = "{prompt}"
"""What stands for the question in a template."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One benchmark, as lm-eval runs it."""

    __pydantic_config__ = _STRICT
    title: str
    """Name in tables."""
    lm_eval: str
    """lm-eval's name of the task: one of the project's own (`dlm_…`) or a stock one."""
    output: Literal["generate", "likelihood"]
    """`generate`: answers are sampled; `likelihood`: given choices, or whole texts, are scored."""
    metric: str
    """lm-eval's name of the metric that is tabulated. `word_perplexity`, `byte_perplexity`, `bits_per_byte` and
    `perplexity` are losses: lower is better; every other one is a share of right answers."""
    filter: str = "none"
    """lm-eval's name of the answer filter."""
    dataset: str | None = None
    """Name of the prepared test set under `data`; None: lm-eval fetches its own."""
    num_fewshot: int = 0
    """Solved examples in the prompt (>= 0)."""
    template: str | None = None
    """Text around the question of every document and solved example, which stands in it as `{prompt}`, such as
    `Question: {prompt}`; None: the question as the task asks it."""
    limit: int | None = None
    """Score the first so many documents; None: all."""
    seeds: int = 1
    """Seeds with which the task is answered (1 to 100), the params' own and those that follow it: the table has the
    mean over them and how far they lie apart. What draws nothing answers alike; autoregressive models answer once."""
    chance: float = 0.0
    """Expected value of blind guessing (0 to 1); rows whose interval does not lie above it are marked. Of a loss, 0."""
    sampler: str | None = None
    """Name of the sampler under `samplers`; required where output is `generate`, absent otherwise."""
    likelihood: str | None = None
    """Name of the estimate under `likelihoods`; required where output is `likelihood`, absent otherwise."""
    response_prefix: str = ""
    """Text that every answer is made to begin with, such as the opening reasoning tag."""
    prefix_for: Literal["all", "tuned"] = "all"
    """Whose answers begin with response_prefix: all models', or only those that do not stand before SFT."""
    benchmark: str | None = None
    """Name of the benchmark in the published figures."""

    def __post_init__(self) -> None:
        at_least("num_fewshot", self.num_fewshot, 0)
        between("seeds", self.seeds, 1, 100)
        between("chance", self.chance, 0, 1)
        check_chance(self.metric, self.chance)
        if self.template is not None and self.template.count(PROMPT) != 1:
            raise SettingsError(f"template must hold {PROMPT} once, where the question stands, got '{self.template}'")
        if self.limit is not None:
            at_least("limit", self.limit, 1)


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """One model of a table."""

    __pydantic_config__ = _STRICT
    model: str
    """Name of the checkpoint under `checkpoints`."""
    label: str
    """Name in the rendered table."""
    stage: Literal["before SFT", "after SFT", "baseline", "accelerated", "variant"] | None = None
    """Which side of a comparison on the same documents the row stands on: `after SFT` is compared with the nearest row
    above it `before SFT`, `accelerated` and `variant` (other settings) with the nearest `baseline`; None: it stands
    alone."""
    sampler: str | None = None
    """Name of the sampler that answers all tasks of the row that generate, in place of theirs."""
    samplers: Mapping[str, str] = field(default_factory=dict)
    """By task: the sampler of this row for it, in place of the task's and of `sampler`."""
    seeds: int | None = None
    """Seeds with which the row answers each of its tasks (1 to 100), in place of theirs."""
    likelihood: str | None = None
    """Name of the estimate under `likelihoods` for all tasks of the row that score choices, in place of theirs."""
    likelihoods: Mapping[str, str] = field(default_factory=dict)
    """By task: the estimate of this row for it, in place of the task's and of `likelihood`."""
    chat: bool = True
    """Wrap prompts in the checkpoint's chat template."""
    published: str | None = None
    """Name of the model in the published figures."""
    published_in: str | tuple[str, ...] | None = None
    """Names of the published tables of this row, as `published` of a table, where they are others than the table's."""
    published_metric: str | tuple[str, ...] | None = None
    """Names of the published metrics, where several are published of one model and benchmark (`accuracy +cache`): the
    first is compared with, the others stand beside it; None: all."""
    published_source: str | None = None
    """Whose figure the row is compared with (`dllm`, `official`, …); None: the paper's own, else the authors'."""

    def __post_init__(self) -> None:
        if self.seeds is not None:
            between("seeds", self.seeds, 1, 100)

    def setting_of(self, name: str, task: Task) -> str:
        """Return the name of the sampler, or of the estimate, with which the row answers the task called ``name``."""
        generates = task.output == "generate"
        by_task, own = (self.samplers, self.sampler) if generates else (self.likelihoods, self.likelihood)
        return by_task.get(name, own or str(task.sampler if generates else task.likelihood))


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A setting in which a table is known not to be as published."""

    __pydantic_config__ = _STRICT
    setting: str
    """Ours and the published one in a few words, such as `steps 64, published 256`."""
    tasks: tuple[str, ...] = ()
    """Tasks of the table that it concerns; none named: all."""
    models: tuple[str, ...] = ()
    """Models of the table that it concerns; none named: all."""
    rows: tuple[str, ...] = ()
    """Rows of the table that it concerns, by their labels, where one model has several; none named: all."""

    def __post_init__(self) -> None:
        if not self.setting.strip() or len(self.setting) > 80 or ";" in self.setting or not self.setting.isprintable():
            raise SettingsError(
                "setting must be one line of 1 to 80 characters without ';', such as 'steps 64, published 256'"
            )


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the paper: models by tasks."""

    __pydantic_config__ = _STRICT
    title: str
    """Caption."""
    rows: tuple[TableRow, ...]
    """Models, in the order of the paper."""
    tasks: tuple[str, ...]
    """Names under `tasks`, in the order of the columns."""
    published: str | tuple[str, ...] | None = None
    """Name of the table in the published figures, or several: the first is compared with, what the others say of the
    same models and benchmarks stands beside it; None: nothing to compare with."""
    beside: tuple[str, ...] = ()
    """Names of models in the published figures that the rendering shows below the rows, not computed."""
    differs: tuple[Difference, ...] = ()
    """Settings that are known not to be the published ones, beside those in which the paper scale's rows differ; the
    verdicts of what they concern name them."""

    def __post_init__(self) -> None:
        if not self.tasks:
            raise SettingsError("tasks is empty; name at least one task")
        if not self.rows:
            raise SettingsError("rows is empty; give at least one model")
        for task, count in Counter(self.tasks).items():
            if count > 1:
                raise SettingsError(f"tasks names '{task}' {count} times; keep one")
        for name in ("beside", "differs"):
            if getattr(self, name) and self.published is None:
                raise SettingsError(f"{name} asks for published figures; name their table as `published`, or remove it")

    def differences(self, row: TableRow, task: str) -> tuple[str, ...]:
        """Return the settings in which one row's figure for one task is known not to be as published."""
        return tuple(
            difference.setting
            for difference in self.differs
            if row.model in (difference.models or (row.model,))
            and row.label in (difference.rows or (row.label,))
            and task in (difference.tasks or (task,))
        )

    def published_tables(self, row: TableRow) -> tuple[str, ...]:
        """Return the published tables of one row, that which it is compared with first."""
        return listed(row.published_in or self.published)


def listed(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """Return what a field names that may name one thing, several or none."""
    return (value,) if isinstance(value, str) else value or ()
