"""Sweep files, ``params/sweeps/<sweep>.yaml``: read and checked, every refusal with file, line, key and remedy."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlm.errors import SettingsError, did_you_mean
from dlm.params.builder import build
from dlm.params.figures import published_names
from dlm.params.reader import NAME, Document, PathKey, lineage_of_scale, read_plain
from dlm.params.schema import Params
from dlm.params.sweeps.constraints import Constraint, read_constraint
from dlm.params.sweeps.designs import levels_of
from dlm.params.task_files import own_tasks
from dlm.settings.sweep import Factor, Sweep, SweepScale

FOLDER = "sweeps"
"""Of `params/`; sweeps are no scales."""
_TAKEN = ("_effects", "_ranks")
"""How the names of files beside a sweep's table end."""
COLUMNS = (
    "sweep",
    "scale",
    "model",
    "checkpoint",
    "task",
    "metric",
    "setting",
    "baseline",
    "value",
    "stderr",
    "ci_low",
    "ci_high",
    "n",
    "seeds",
    "requests",
    "forward_passes",
    "tokens_per_pass",
    "mean_tokens",
    "empty_share",
    "truncated_share",
    "order_tau",
    "delta",
    "delta_low",
    "delta_high",
    "p_value",
    "p_corrected",
    "ratio",
    "ratio_low",
    "ratio_high",
    "published_ratio",
    "published_value",
    "published_metric",
    "published_source",
    "stopped",
    "verdict",
)
"""Columns of a sweep's table; those of its factors, by their names, follow."""


@dataclass(frozen=True)
class SweepFile:
    """A sweep as one scale runs it."""

    name: str
    sweep: Sweep
    scale: SweepScale
    factors: Mapping[str, Factor]
    """Those of the scale in place of the sweep's, in the order of the file."""
    constraints: tuple[Constraint, ...]
    document: Document
    key: str
    """Under which the scale stands in `scales`."""

    def asked(self) -> dict[str, Any]:
        """Return all that the file says of this scale, as plain values."""
        return dataclasses.asdict(dataclasses.replace(self.sweep, scales={self.key: self.scale}))

    def factors_of(self, label: str) -> dict[str, Factor]:
        """Return the factors that are varied for the row with a label."""
        return {name: factor for name, factor in self.factors.items() if not factor.rows or label in factor.rows}

    def place_of(self, factor: str) -> PathKey:
        """Return the key path of a factor."""
        return ("scales", self.key, "factors", factor) if factor in self.scale.factors else ("factors", factor)


def sweep_names(root: Path) -> list[str]:
    """Return the names of a project's sweeps, sorted."""
    folder = root / "params" / FOLDER
    return sorted(path.stem for path in folder.glob("*.yaml") if path.is_file() and NAME.fullmatch(path.stem))


def read_sweep(params: Params, root: Path, scale: str, name: str) -> SweepFile:
    """Read and check one sweep as ``scale`` runs it.

    Raises:
        SettingsError: there is no such sweep, or it cannot be; one line that names file, line, key and remedy.
    """
    known = sweep_names(root)
    if name not in known:
        raise SettingsError(
            f"no sweep is named '{name}': {did_you_mean(name, known)} (sweeps are params/sweeps/*.yaml)"
        )
    if name.endswith(_TAKEN):
        raise SettingsError(
            f"params/{FOLDER}/{name}.yaml: a sweep's name cannot end in {' or '.join(_TAKEN)}; rename it"
        )
    document = read_plain(root / "params" / FOLDER / f"{name}.yaml")
    sweep = build(document, Sweep)
    key = next((each for each in lineage_of_scale(root / "params", scale) if each in sweep.scales), None)
    if key is None:
        have = ", ".join(sweep.scales) or "none"
        raise document.error(("scales",), f"nothing of scale '{scale}', nor of what it extends; it has {have}")
    own = sweep.scales[key]
    factors = {
        **{each: _factor(document, ("factors", each), value) for each, value in sweep.factors.items()},
        **{each: _factor(document, ("scales", key, "factors", each), value) for each, value in own.factors.items()},
    }
    if not factors:
        raise document.error(("factors",), "names nothing to vary; write a factor, such as temperature: [0.0, 1.0]")
    checker = _Checker(document, key, params, root, sweep, own, factors)
    return SweepFile(name, sweep, own, factors, checker.run(), document, key)


def published_metric(table: str, text: str) -> tuple[str, str]:
    """Return the published table and the metric that a level names."""
    other, colon, metric = text.partition(": ")
    return (other, metric) if colon else (table, text)


def _factor(document: Document, place: PathKey, value: tuple[Any, ...] | Factor) -> Factor:
    if isinstance(value, Factor):
        return value
    if not value:
        raise document.error(place, "is an empty list; write at least one value, or take the factor out")
    return Factor(values=value)


@dataclass
class _Checker:
    """What names what, within the file and in the params."""

    document: Document
    key: str
    params: Params
    root: Path
    sweep: Sweep
    scale: SweepScale
    factors: Mapping[str, Factor]

    def run(self) -> tuple[Constraint, ...]:
        for name in self.factors:
            self.factor(name)
        labels = [row.label for row in self.scale.rows]
        for index, row in enumerate(self.scale.rows):
            place: PathKey = ("scales", self.key, "rows", index)
            self.known((*place, "model"), row.model, self.params.checkpoints, "checkpoint")
            for field, section in (("sampler", "samplers"), ("likelihood", "likelihoods")):
                if (named := getattr(row, field)) is not None:
                    self.known((*place, field), named, getattr(self.params, section), field)
                for task, named in getattr(row, section).items():
                    self.known((*place, section, task), task, self.scale.tasks_of(row.label), "task of this row")
                    self.known((*place, section, task), named, getattr(self.params, section), field)
        for row in self.scale.rows:
            inner = (row.label,) if isinstance(self.scale.tasks, dict) else ()
            for index, task in enumerate(self.scale.tasks_of(row.label)):
                place = ("scales", self.key, "tasks", *inner, index)
                self.known(place, task, self.params.tasks, "task")
                self.budget(place, task)
        for task in self.scale.benchmarks:
            self.known(("scales", self.key, "benchmarks", task), task, self.scale.all_tasks, "task of this sweep")
        for name, factor in self.factors.items():
            for label in factor.rows:
                self.known((*self.place(name), "rows"), label, labels, "row")
        self.ranking()
        self.published()
        return tuple(self.constraint(index, text) for index, text in enumerate(self.sweep.constraints))

    def place(self, factor: str) -> PathKey:
        return ("scales", self.key, "factors", factor) if factor in self.scale.factors else ("factors", factor)

    def known(self, path: PathKey, name: str, entries: Mapping[str, object] | Sequence[str], what: str) -> None:
        if name not in entries:
            raise self.document.error(path, f"no {what} is named '{name}'; {did_you_mean(name, entries)}")

    def factor(self, name: str) -> None:
        """Refuse a name that cannot be a column, levels that cannot be named, and ranges where there must be levels."""
        if name in COLUMNS or not all(NAME.fullmatch(part) for part in name.split(".")):
            problem = "is a column of the table already" if name in COLUMNS else "is not a name"
            raise self.document.error(
                self.place(name), f"'{name}' {problem}; give the factor another name, and `setting`"
            )
        try:
            levels = levels_of(name, self.factors[name])
        except SettingsError as error:
            raise self.document.error(self.place(name), str(error)) from error
        if self.factors[name].is_range and isinstance(self.sweep.design, str):
            problem = f"a range has no levels for design '{self.sweep.design}'"
            raise self.document.error(self.place(name), f"{problem}; list values, or choose latin_hypercube or sobol")
        for level in self.factors[name].published:
            names = [each.name for each in levels]
            self.known((*self.place(name), "published", level), level, names, "level")

    def budget(self, path: PathKey, task: str) -> None:
        """Refuse tasks that a sampling job cannot score by itself."""
        file = own_tasks(self.root).get(self.params.tasks[task].lm_eval)
        if self.scale.budget is not None and file is not None and file.runs_programs:
            problem = f"'{task}' runs programs, which the job that samples does not; take it out, or the budget"
            raise self.document.error(path, problem)

    def ranking(self) -> None:
        ranked, claimed = self.sweep.ranked, self.sweep.claimed
        if ranked is None:
            if claimed is not None:
                raise self.document.error(("claimed",), "names a level of the factor that `ranked` names; add that")
            return
        self.known(("ranked",), ranked, self.factors, "factor")
        if self.factors[ranked].is_range:
            raise self.document.error(("ranked",), f"'{ranked}' is a range, which has no levels to rank")
        if claimed is not None:
            levels = [level.name for level in levels_of(ranked, self.factors[ranked])]
            self.known(("claimed",), claimed, levels, f"level of '{ranked}'")

    def published(self) -> None:
        named = [(name, level) for name, factor in self.factors.items() for level in factor.published]
        if self.sweep.published is None:
            if named:
                path = (*self.place(named[0][0]), "published")
                raise self.document.error(
                    path, "names metrics of a table of figures; name it as the sweep's `published`"
                )
            return
        known = published_names(self.root)
        if not known:
            return
        self.known(("published",), self.sweep.published, known, "table of the published figures")
        for name, level in named:
            path = (*self.place(name), "published", level)
            table, metric = published_metric(self.sweep.published, self.factors[name].published[level])
            self.known(path, table, known, "table of the published figures")
            self.known(path, metric, known[table].metrics, f"metric of '{table}'")
        for task, benchmark in self.scale.benchmarks.items():
            path = ("scales", self.key, "benchmarks", task)
            self.known(
                path, benchmark, known[self.sweep.published].benchmarks, f"benchmark of '{self.sweep.published}'"
            )

    def constraint(self, index: int, text: str) -> Constraint:
        path: PathKey = ("constraints", index)
        try:
            found = read_constraint(text)
        except SettingsError as error:
            raise self.document.error(path, str(error)) from error
        for name in sorted(found.names):
            self.known(path, name, self.factors, "factor")
        for name, value in found.constants():
            levels = {level.name: level.value for level in levels_of(name, self.factors[name])}
            if not self.factors[name].is_range and value not in levels.values():
                problem = f"'{text}': '{name}' has no level {value!r}, so this says nothing"
                raise self.document.error(path, f"{problem}; {did_you_mean(str(value), levels)}")
        for name, sign, verb in found.reckonings():
            factor = self.factors[name]
            numbers = [level for level in levels_of(name, factor) if isinstance(level.value, int | float)]
            if not factor.is_range and not numbers:
                raise self.document.error(path, f"'{name}' has names as levels, {sign} {verb} numbers")
        return found
