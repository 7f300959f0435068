"""The plan: which files each step reads and writes, and which cells a checkpoint is evaluated on.

The workflow asks here; it computes no path of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlm.errors import SettingsError, did_you_mean
from dlm.params.cells import Cell, row_cells
from dlm.params.checking import load_params
from dlm.params.digests import product_digest
from dlm.params.figures import PUBLISHED
from dlm.params.folders import described_by
from dlm.params.layout import SENSITIVITY, SWEEP_SUFFIXES, TABLE_SUFFIXES, Layout
from dlm.params.reader import own_files
from dlm.params.schema import Params
from dlm.params.sweeps import Expanded, expand, read_sweep, sweep_names, with_trainings
from dlm.params.task_files import files_beside, own_tasks
from dlm.settings import (
    ExecutionSettings,
    FolderCheckpoint,
    SandboxSettings,
    Scratch,
    TableRow,
    TokenizerData,
    TrainedCheckpoint,
)
from dlm.settings.data import local_files

DECLARING = "paper"
"""The scale whose params say with which settings published figures were made."""


@dataclass(frozen=True)
class Plan:
    """Params and layout of one scale."""

    scale: str
    params: Params
    layout: Layout
    _sweeps: dict[str, Expanded] = field(default_factory=dict, init=False, repr=False, compare=False)
    _bundles: dict[str, dict[str, tuple[Cell, ...]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def entry(self, section: str, name: str) -> Any:
        """Return an entry of the params by section and name, or refuse the name with the closest known one."""
        entries = getattr(self.params, section)
        if name not in entries:
            raise SettingsError(
                f"scale '{self.scale}' has no {section.rstrip('s')} named '{name}': {did_you_mean(name, entries)}"
            )
        return entries[name]

    def sweep_of(self, table: str) -> Expanded | None:
        """Return the sweep that a table is of; None: it is a table of the params.

        Raises:
            SettingsError: there is no such sweep, or it cannot be.
        """
        return self.sweep(table.removeprefix(SENSITIVITY)) if table.startswith(SENSITIVITY) else None

    def sweep(self, name: str) -> Expanded:
        """Return a sweep of the project at this scale, all its settings laid out.

        Raises:
            SettingsError: there is no such sweep, or it cannot be.
        """
        if name not in self._sweeps:
            self._sweeps[name] = expand(self.params, read_sweep(self.params, self.layout.root, self.scale, name))
        return self._sweeps[name]

    def sweep_tables(self) -> list[str]:
        """Return the names of the tables of those sweeps that this scale has."""
        found = []
        for name in sweep_names(self.layout.root):
            with contextlib.suppress(SettingsError):  # refused when it is asked for
                self.sweep(name)
                found.append(f"{SENSITIVITY}{name}")
        return found

    def cells(self, checkpoint: str) -> tuple[Cell, ...]:
        """Return the distinct cells on which any table evaluates ``checkpoint``, in the order of the tables."""
        return tuple(dict.fromkeys(cell for name in self.params.tables for cell in self.table_cells(name, checkpoint)))

    def bundles(self, checkpoint: str) -> dict[str, tuple[Cell, ...]]:
        """Split the cells of ``checkpoint`` into what a job samples, named `<checkpoint>/<number>`.

        A table's own come together, those that a table before it asks for left out: a table needs no other's. A
        sweep's have bundles of their own (`dlm.params.sweeps.Expanded.bundles`).
        """
        if checkpoint not in self._bundles:
            self._bundles[checkpoint] = self._divided(checkpoint)
        return self._bundles[checkpoint]

    def _divided(self, checkpoint: str) -> dict[str, tuple[Cell, ...]]:
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
        if sweep := self.sweep_of(table):
            return tuple(sweep.cells(checkpoint))
        settings = self.entry("tables", table)
        rows = [row for row in settings.rows if row.model == checkpoint]
        return tuple(
            dict.fromkeys(cell for row in rows for name in settings.tasks for cell in self.row_cells(row, name))
        )

    def asked_cells(self, table: str) -> list[Cell]:
        """Return the cells of a table, in the order of its rows and tasks."""
        if sweep := self.sweep_of(table):
            return [cell for line in sweep.lines for cell in line.cells]
        entry = self.entry("tables", table)
        return [cell for row in entry.rows for task in entry.tasks for cell in self.row_cells(row, task)]

    def bundle(self, name: str) -> tuple[Cell, ...]:
        """Return the cells of one bundle, of which ``name`` may be a shard, or refuse its number with those known."""
        name = _bundle_of(name)
        checkpoint, _, label = name.partition("/")
        sweep, of_sweep, number = label.rpartition("-")
        bundles = self.sweep(sweep).bundles if of_sweep else self.bundles(checkpoint)
        if name not in bundles:
            mine = sum(each.startswith(f"{checkpoint}/") for each in bundles)
            asking = f"those of sweep '{sweep}'" if of_sweep else "its tables' cells"
            raise SettingsError(f"checkpoint '{checkpoint}' has no bundle '{number}': {asking} fill {mine}")
        return bundles[name]

    def execution_of(self, bundle: str) -> ExecutionSettings:
        """Return how a bundle's model is run: as the params say, or as a factor of its sweep does."""
        return self.bundle(bundle)[0].execution or self.params.execution

    def row_cells(self, row: TableRow, name: str) -> tuple[Cell, ...]:
        """Return how a row of a table answers a task, once with each seed (`dlm.params.cells.row_cells`)."""
        return row_cells(self.params, row, name)

    def cell(self, row: TableRow, name: str) -> Cell:
        """Return how a row of a table answers a task with the params' own seed."""
        return row_cells(self.params, row, name)[0]

    def sweep_of_bundle(self, bundle: str) -> Expanded | None:
        """Return the sweep whose cells a bundle holds; None: they are those of tables."""
        bundle = _bundle_of(bundle)
        sweep, of_sweep, _ = bundle.partition("/")[2].rpartition("-")
        return self.sweep(sweep) if of_sweep else None

    def data_inputs(self, name: str) -> list[str]:
        """Files that preparing ``name`` reads: the corpora of a tokenizer, files on this machine."""
        data = self.entry("data", name)
        corpora = data.corpora if isinstance(data, TokenizerData) else ()
        return [*local_files(data).values(), *(self.layout.manifest("data", corpus) for corpus in corpora)]

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

    def gpus_of(self, bundle: str) -> int:
        """GPUs that a job which samples a bundle asks for, as of `gpus`."""
        return 0 if self.execution_of(bundle).device == "cpu" else 1

    @property
    def gpus(self) -> int:
        """GPUs that a job which trains a model asks for: none where the params say `cpu`, else one."""
        return 0 if self.params.execution.device == "cpu" else 1

    def is_divisible(self, bundle: str) -> bool:
        """Return whether a bundle's documents can be dealt out: not where what is answered depends on the answers."""
        sweep = self.sweep_of_bundle(bundle)
        return sweep is None or not sweep.file.scale.budget

    def recorded(self, name: str) -> list[Path]:
        """Folders that may hold records of a bundle's checkpoint: its bundles', and those of this bundle's shards."""
        bundles = self.layout.folder("responses", name.partition("/")[0])
        shards = self.layout.folder("shards", _bundle_of(name))
        return [folder for place in (bundles, shards) if place.is_dir() for folder in sorted(place.iterdir())]

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

    def table_tasks(self, table: str) -> tuple[str, ...]:
        """Names of the tasks of a table."""
        if sweep := self.sweep_of(table):
            return sweep.file.scale.all_tasks
        tasks: tuple[str, ...] = self.entry("tables", table).tasks
        return tasks

    def table_models(self, table: str) -> list[str]:
        """Names of the checkpoints in a table, each once."""
        if sweep := self.sweep_of(table):
            return sweep.checkpoints
        return list(dict.fromkeys(row.model for row in self.entry("tables", table).rows))

    def table_bundles(self, table: str) -> dict[str, list[str]]:
        """Names of the bundles that hold a table's cells, by checkpoint."""
        found: dict[str, list[str]] = {}
        if sweep := self.sweep_of(table):
            for name in sweep.bundles:
                found.setdefault(name.partition("/")[0], []).append(name)
            return found
        for model in self.table_models(table):
            wanted = set(self.table_cells(table, model))
            found[model] = [name for name, cells in self.bundles(model).items() if not wanted.isdisjoint(cells)]
        return found

    def table_inputs(self, table: str) -> list[str]:
        """Files that a table reads: its models' scores; where it is compared, published figures and their settings."""
        scores = [
            self.layout.manifest("scores", name) for names in self.table_bundles(table).values() for name in names
        ]
        figures = [str(self.layout.root / PUBLISHED)]
        if sweep := self.sweep_of(table):
            return scores + (figures if sweep.file.sweep.published else [])
        figures += map(str, own_files(self.layout.root / "params", DECLARING))
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
        if step in ("responses", "shards", "scores"):
            responses = [self.layout.manifest("responses", name)] if step == "scores" else []
            return [*responses, *self.evaluation_inputs(name.partition("/")[0], self.bundle(name))]
        return self.table_inputs(name)

    def outputs(self, step: str, name: str) -> list[str]:
        """Files that stand for a step's product ``name``."""
        if step == "tables":
            suffixes = SWEEP_SUFFIXES if name.startswith(SENSITIVITY) else TABLE_SUFFIXES
            return [str(self.layout.tables / f"{name}{suffix}") for suffix in suffixes]
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
        return product_digest(self, step, name)


def _bundle_of(name: str) -> str:
    """Return the bundle of a product that is one, or a shard of one: ``<checkpoint>/<number>[/<shard>]``."""
    return "/".join(name.split("/")[:2])


def load_plan(scale: str, root: str | Path = ".") -> Plan:
    """Read the params of ``scale`` under ``root``, with what its sweeps train, and lay out its files."""
    params = with_trainings(load_params(scale, root), Path(root), scale)
    return Plan(scale, params, Layout(scale, Path(root)))
