"""The plan: which files each step reads and writes, and which cells a checkpoint is evaluated on.

The workflow asks here; it computes no path of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlm.errors import SettingsError, did_you_mean
from dlm.files import MANIFEST, digest
from dlm.params.checking import load_params
from dlm.params.folders import described_by, state_of_weights
from dlm.params.schema import Params, is_causal, root_architecture
from dlm.params.task_files import files_beside, own_tasks
from dlm.settings import (
    BD3LM,
    ExactLikelihood,
    FixedTestSet,
    FolderCheckpoint,
    GreedySettings,
    LikelihoodSettings,
    OwnDocuments,
    SamplerSettings,
    SandboxSettings,
    Scratch,
    TableRow,
    Task,
    TokenizerData,
    TrainedCheckpoint,
)

TABLE_SUFFIXES = (".csv", ".md", ".speed.csv", ".lineage.json")


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


@dataclass(frozen=True)
class Layout:
    """Where a scale's files lie, relative to the project's root."""

    scale: str
    root: Path = Path()

    @property
    def base(self) -> Path:
        """Folder of everything that the scale makes."""
        return self.root / "results" / self.scale

    def folder(self, step: str, name: str) -> Path:
        """Folder of one product of a step (`data`, `checkpoints`, `responses`, `scores`)."""
        return self.base / step / name

    def manifest(self, step: str, name: str) -> str:
        """Path of a product's manifest (for `scores`: its scores.json), as Snakemake wants it."""
        return str(self.folder(step, name) / ("scores.json" if step == "scores" else MANIFEST))

    def lock(self, step: str, name: str) -> Path:
        """File that whoever makes a product keeps locked; away from the products, which come and go."""
        return self.base / ".locks" / step / name

    @property
    def tables(self) -> Path:
        """Folder of the scale's own tables."""
        return self.base / "tables"

    @property
    def published(self) -> Path:
        """Folder of the published tables, shared by all scales."""
        return self.root / "results" / "tables"


@dataclass(frozen=True)
class Plan:
    """Params and layout of one scale."""

    scale: str
    params: Params
    layout: Layout

    def entry(self, section: str, name: str) -> Any:
        """Return an entry of the params by section and name, or refuse the name with the closest known one."""
        entries = getattr(self.params, section)
        if name not in entries:
            raise SettingsError(
                f"scale '{self.scale}' has no {section.rstrip('s')} named '{name}': {did_you_mean(name, entries)}"
            )
        return entries[name]

    def cells(self, checkpoint: str) -> tuple[Cell, ...]:
        """Return the distinct cells on which any table evaluates ``checkpoint``, in the order of the tables."""
        return tuple(dict.fromkeys(cell for name in self.params.tables for cell in self.table_cells(name, checkpoint)))

    def bundles(self, checkpoint: str) -> dict[str, tuple[Cell, ...]]:
        """Split the cells of ``checkpoint`` into what a job samples, named `<checkpoint>/<number>`.

        A table's own come together, those that a table before it asks for left out: a table needs no other's.
        """
        bundles: dict[str, tuple[Cell, ...]] = {}
        known: set[Cell] = set()
        for name in self.params.tables:
            cells = [cell for cell in self.table_cells(name, checkpoint) if cell not in known]
            size = self.params.execution.bundle or max(len(cells), 1)
            for at in range(0, len(cells), size):
                bundles[f"{checkpoint}/{len(bundles) + 1}"] = tuple(cells[at : at + size])
            known.update(cells)
        return bundles

    def table_cells(self, table: str, checkpoint: str) -> tuple[Cell, ...]:
        """Return the distinct cells on which a table evaluates ``checkpoint``, in its order."""
        settings = self.params.tables[table]
        rows = [row for row in settings.rows if row.model == checkpoint]
        return tuple(
            dict.fromkeys(cell for row in rows for name in settings.tasks for cell in self.row_cells(row, name))
        )

    def bundle(self, name: str) -> tuple[Cell, ...]:
        """Return the cells of one bundle, or refuse its number with those that there are."""
        checkpoint, _, number = name.partition("/")
        bundles = self.bundles(checkpoint)
        if name not in bundles:
            raise SettingsError(
                f"checkpoint '{checkpoint}' has no bundle '{number}': its tables' cells fill {len(bundles)}"
            )
        return bundles[name]

    def row_cells(self, row: TableRow, name: str) -> tuple[Cell, ...]:
        """Return how a row of a table answers a task, once with each seed; the first is :meth:`cell`.

        The setting of every further one is named `<setting>@<seed>`.
        """
        first = self.cell(row, name)
        count = 1 if is_causal(self.params, row.model) else row.seeds or self.params.tasks[name].seeds
        seeds = range(first.seed + 1, first.seed + count)
        more = [dataclasses.replace(first, setting=f"{first.setting}@{seed}", seed=seed) for seed in seeds]
        return first, *more

    def cell(self, row: TableRow, name: str) -> Cell:
        """Return how a row of a table answers a task with the params' own seed."""
        task = self.params.tasks[name]
        sampler, likelihood, setting = self._answering(row, name, task)
        prefixed = task.prefix_for == "all" or row.stage != "before SFT"
        return Cell(
            checkpoint=row.model,
            task=name,
            task_settings=task,
            setting=setting,
            chat=row.chat,
            response_prefix=task.response_prefix if prefixed else "",
            sampler=sampler,
            likelihood=likelihood,
            seed=self.params.seed,
            dataset=task.dataset,
        )

    def _answering(
        self, row: TableRow, name: str, task: Task
    ) -> tuple[SamplerSettings | GreedySettings | None, LikelihoodSettings | ExactLikelihood | None, str]:
        """Return how answers are sampled or how likelihoods are found, and the name of that."""
        causal, chosen = is_causal(self.params, row.model), row.setting_of(name, task)
        if task.output == "likelihood":
            return (None, ExactLikelihood(), "exact") if causal else (None, self.params.likelihoods[chosen], chosen)
        sampler = self.params.samplers[chosen]
        if causal:
            greedy = GreedySettings(max_new_tokens=sampler.canvas.max_new_tokens)
            return greedy, None, f"greedy{greedy.max_new_tokens}"
        return sampler, None, chosen

    def data_inputs(self, name: str) -> list[str]:
        """Files that preparing ``name`` reads: the corpora of a tokenizer, a test set's copy on this machine."""
        data = self.entry("data", name)
        if isinstance(data, FixedTestSet | OwnDocuments):
            return [data.path] if data.path else []
        corpora = data.corpora if isinstance(data, TokenizerData) else ()
        return [self.layout.manifest("data", corpus) for corpus in corpora]

    def checkpoint_inputs(self, name: str) -> list[str]:
        """Manifests that making checkpoint ``name`` reads."""
        entry = self.entry("checkpoints", name)
        inputs = []
        if isinstance(entry, TrainedCheckpoint):
            inputs += [self.layout.manifest("data", dataset) for dataset in entry.datasets]
        start = getattr(entry, "start", None)
        if isinstance(start, Scratch):
            inputs.append(self.tokenizer_manifest(start.tokenizer))
        elif start is not None:
            inputs.append(self.layout.manifest("checkpoints", start))
        if isinstance(entry, FolderCheckpoint):
            inputs += [str(path) for path in described_by(self.layout.root / entry.path)]
        return inputs

    def tokenizer_manifest(self, name: str) -> str:
        """Manifest of the tokenizer of a network with random weights: a prepared one, or a published checkpoint's."""
        return self.layout.manifest("data" if name in self.params.data else "checkpoints", name)

    def evaluation_inputs(self, checkpoint: str, cells: Iterable[Cell]) -> list[str]:
        """Files that evaluating ``checkpoint`` on some cells reads: its manifest, test sets', a person's task files."""
        cells = list(cells)
        sets = dict.fromkeys(cell.dataset for cell in cells if cell.dataset)
        tasks = own_tasks(self.layout.root)
        own = [tasks[name] for name in dict.fromkeys(cell.task_settings.lm_eval for cell in cells) if name in tasks]
        return [
            self.layout.manifest("checkpoints", checkpoint),
            *(self.layout.manifest("data", name) for name in sets),
            *dict.fromkeys(str(path) for file in own for path in files_beside(file)),
        ]

    def urgency(self, checkpoint: str) -> int:
        """Return how much training waits for a checkpoint, its own included, from 0 to 100: what is ready starts so."""
        longest = max(map(self._chain, self.params.checkpoints), default=0)
        return round(100 * self._chain(checkpoint) / longest) if longest else 0

    def _chain(self, checkpoint: str) -> int:
        """Return the work of the longest chain of trainings that begins with a checkpoint."""
        after = [name for name, entry in self.params.checkpoints.items() if getattr(entry, "start", None) == checkpoint]
        return self._training_work(checkpoint) + max(map(self._chain, after), default=0)

    def _training_work(self, checkpoint: str) -> int:
        """Return the work of one training, up to a factor: sequences that are seen, times the size of the network."""
        entry = self.params.checkpoints[checkpoint]
        if not isinstance(entry, TrainedCheckpoint):
            return 0
        recipe, scratch = self.params.recipes[entry.recipe], root_architecture(self.params, checkpoint)
        size = scratch.architecture.layers * scratch.architecture.hidden_size**2 if scratch else 1
        copies = 2 if isinstance(recipe.objective, BD3LM) else 1  # of each sequence: noisy and clean
        return (recipe.steps or 1) * recipe.batch_size * size * copies

    @property
    def gpus(self) -> int:
        """GPUs that a job which runs a model asks for: none where the params say `cpu`, else one."""
        return 0 if self.params.execution.device == "cpu" else 1

    def refuse_unsafe(self, tasks: Iterable[str]) -> None:
        """Refuse tasks that run programs which a model writes, unless the params have a sandbox for them.

        Raises:
            SettingsError: names the tasks, and how to allow them.
        """
        unsafe = [name for name in dict.fromkeys(tasks) if self.runs_programs(name)]
        if unsafe and self.params.sandbox is None:
            raise SettingsError(
                f"params/{self.scale}.yaml: {', '.join(unsafe)}: would run programs that the models write; write "
                "`sandbox: {}` to have them run on the machine that scores, isolated, or take out the tasks"
            )

    def limits(self, cells: Iterable[Cell]) -> SandboxSettings | None:
        """Return the limits of the programs that the models write for some cells; None: no task of theirs runs any."""
        return self.params.sandbox if any(self.runs_programs(cell.task) for cell in cells) else None

    def runs_programs(self, task: str) -> bool:
        """Return whether a task runs programs that models write; lm-eval's own that do are refused when loaded."""
        file = own_tasks(self.layout.root).get(self.params.tasks[task].lm_eval)
        return file is not None and file.runs_programs

    def table_models(self, table: str) -> list[str]:
        """Names of the checkpoints in a table, each once."""
        return list(dict.fromkeys(row.model for row in self.entry("tables", table).rows))

    def table_bundles(self, table: str) -> dict[str, list[str]]:
        """Names of the bundles that hold a table's cells, by checkpoint."""
        found = {}
        for model in self.table_models(table):
            wanted = set(self.table_cells(table, model))
            found[model] = [name for name, cells in self.bundles(model).items() if not wanted.isdisjoint(cells)]
        return found

    def table_inputs(self, table: str) -> list[str]:
        """Files that a table reads: its models' scores, and the published figures where it is compared with them."""
        scores = [
            self.layout.manifest("scores", name) for names in self.table_bundles(table).values() for name in names
        ]
        figures = [str(self.layout.root / "data" / "published" / "published.csv")]
        return scores + (figures if self.entry("tables", table).published else [])

    def checkpoints_of_kind(self, kind: str) -> list[str]:
        """Names of the checkpoints of a kind (`train`, `convert`, `hub`)."""
        return [name for name, entry in self.params.checkpoints.items() if entry.kind == kind]

    def inputs(self, step: str, name: str) -> list[str]:
        """Files that a step's product ``name`` is made from."""
        if step == "data":
            return self.data_inputs(name)
        if step == "checkpoints":
            return self.checkpoint_inputs(name)
        if step in ("responses", "scores"):
            responses = [self.layout.manifest("responses", name)] if step == "scores" else []
            return [*responses, *self.evaluation_inputs(name.partition("/")[0], self.bundle(name))]
        return self.table_inputs(name)

    def outputs(self, step: str, name: str) -> list[str]:
        """Files that stand for a step's product ``name``."""
        if step == "tables":
            return [str(self.layout.tables / f"{name}{suffix}") for suffix in TABLE_SUFFIXES]
        return [self.layout.manifest(step, name)]

    def products(self, *tables: str) -> dict[str, list[str]]:
        """Names of all that tables (all of them, if none is named) need: by step, each after what it is made from."""
        asked = tables or tuple(self.params.tables)
        found: dict[str, list[str]] = {step: [] for step in ("data", "checkpoints", "responses", "scores")}
        for table in asked:
            for path in self.table_inputs(table):
                self._gather(Path(path), found)
        return {**found, "tables": list(asked)}

    def _gather(self, file: Path, found: dict[str, list[str]]) -> None:
        """Put the product that a file stands for, and before it those that it is made from, into ``found``."""
        if not file.is_relative_to(self.layout.base):
            return  # nothing that a step makes
        step, *names = file.relative_to(self.layout.base).parent.parts
        if (name := "/".join(names)) in found[step]:
            return
        for path in self.inputs(step, name):
            self._gather(Path(path), found)
        found[step].append(name)

    def digest(self, step: str, name: str) -> str:
        """Digest of every setting that a step's product ``name`` depends on: a change of it re-runs the step."""
        if step in ("responses", "scores"):
            cells = self.bundle(name)
            limits = self.limits(cells) if step == "scores" else None
            asked = self._cells_digest(cells)
            return digest([asked, dataclasses.asdict(limits)]) if limits else asked
        params = self.params
        entry = self.entry(step, name)
        parts: list[Any] = [dataclasses.asdict(entry)]
        if step == "data":
            parts.append(dataclasses.asdict(params.problems))
        if step == "checkpoints":
            parts += [params.seed, params.execution.threads]
            if isinstance(entry, TrainedCheckpoint):
                parts.append(dataclasses.asdict(params.recipes[entry.recipe]))
                parts.append(dataclasses.asdict(params.samplers[entry.sampler]) if entry.sampler else None)
            if isinstance(entry, FolderCheckpoint):
                parts.append(state_of_weights(self.layout.root / entry.path))
        if step == "tables":
            parts += [
                params.meaningless,
                params.title,
                [dataclasses.asdict(params.tasks[task]) for task in entry.tasks],
            ]
        return digest(parts)

    def _cells_digest(self, cells: Iterable[Cell]) -> str:
        """Digest of cells and of how they are run."""
        return digest([[dataclasses.asdict(cell) for cell in cells], self.running()])

    def running(self) -> dict[str, Any]:
        """Return how models are run, of which the company that cells have in a job is no part."""
        return dataclasses.asdict(dataclasses.replace(self.params.execution, bundle=None))


def load_plan(scale: str, root: str | Path = ".") -> Plan:
    """Read the params of ``scale`` under ``root`` and lay out its files."""
    return Plan(scale, load_params(scale, root), Layout(scale, Path(root)))
