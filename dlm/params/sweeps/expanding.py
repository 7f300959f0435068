"""From a sweep's file to its settings: combinations made, named, and counted where they cannot be."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

from dlm.errors import SettingsError
from dlm.params.cells import Cell, row_cells, seeded
from dlm.params.schema import Params, root_architecture
from dlm.params.sweeps.changing import changed_cell
from dlm.params.sweeps.designs import Assignment, Level, assignments, levels_of
from dlm.params.sweeps.expanded import BASELINE, Alike, Answered, Expanded
from dlm.params.sweeps.reading import SweepFile
from dlm.params.sweeps.training import derived_name, recipe_part
from dlm.settings import SamplerSettings, TableRow

_MOST_REASONS = 5
"""That are told of one level."""


def expand(params: Params, file: SweepFile) -> Expanded:
    """Return all settings of a sweep.

    Raises:
        SettingsError: with file and line: a level that no combination can have, or that always asks what another level
            of its factor does; a factor whose only level is the baseline's; a constraint that cannot be worked out; no
            combination can be; or half of a design's points fell on the levels of others.
    """
    found = Expanded(file)
    rows = [_Row(params, file, row, found) for row in file.scale.rows]
    for each in rows:
        each.run()
    _refuse_idle(file, rows)
    _refuse_alike(file, found, set().union(*(each.telling for each in rows)))
    possible = any(levels for each in rows for levels in each.used.values())
    if not possible and found.refused:
        reason, _ = found.refused.most_common(1)[0]
        raise file.document.error(("factors",), f"none of {found.combinations} combinations can be: {reason}")
    found.finish()
    return found


def _refuse_idle(file: SweepFile, rows: list[_Row]) -> None:
    """Refuse a factor with one level, the baseline's: nothing is varied."""
    for name, factor in file.factors.items():
        if factor.is_range or len(levels := levels_of(name, factor)) > 1:
            continue
        if not any(row.moves(name) for row in rows):
            problem = f"its only level, '{levels[0].name}', is the baseline's; add another, or take the factor out"
            raise file.document.error(file.place_of(name), problem)


def _refuse_alike(file: SweepFile, found: Expanded, telling: set[tuple[str, str]]) -> None:
    """Refuse a level that never asks what the other levels of its factor do not: most likely a mistake."""
    for alike in found.alike:
        (name, level), *more = alike.levels
        if not more and (name, level) not in telling and not file.factors[name].is_range:
            problem = f"level '{level}' asks what '{alike.instead[0]}' does, wherever it stands; take one of them out"
            raise file.document.error(_place_of(file, name, level), problem)


def _place_of(file: SweepFile, name: str, level: str) -> tuple[str | int, ...]:
    """Return the key path of a level."""
    factor, place = file.factors[name], file.place_of(name)
    if factor.levels:
        return (*place, "levels", level)
    number = [each.name for each in levels_of(name, factor)].index(level)
    entry = (file.scale.factors if name in file.scale.factors else file.sweep.factors)[name]
    return (*place, number) if isinstance(entry, tuple) else (*place, "values", number)


class _Row:
    """The settings of one model."""

    def __init__(self, params: Params, file: SweepFile, row: TableRow, found: Expanded) -> None:
        self.params, self.file, self.row, self.found = params, file, row, found
        self.factors = file.factors_of(row.label)
        self.named = {sampler: name for name, sampler in reversed(params.samplers.items())}
        self.used: dict[str, set[str]] = {name: set() for name in self.factors}
        self.failed: dict[tuple[str, str], list[Assignment]] = {}
        """By factor and level: its combinations that cannot be."""
        self.telling: set[tuple[str, str]] = set()
        """Factor and level, of those that some setting of their own has."""
        self.tasks: list[_Task] = []
        root = root_architecture(params, row.model)
        self.positions = root.architecture.max_positions if root else None

    def run(self) -> None:
        combinations = list(assignments(self.file.sweep, self.factors))
        self.found.combinations += len(combinations)
        self._count_points(len(combinations))
        self.tasks = [_Task(self, task) for task in self.file.scale.tasks_of(self.row.label)]
        for task in self.tasks:
            task.add({}, {}, baseline=True)
        for chosen in combinations:
            self._add(chosen)
        self._refuse_unused()

    def moves(self, name: str) -> bool:
        """Return whether a factor has a level that is not the baseline's on some task."""
        return name in self.factors and any(task.still[name] is None for task in self.tasks)

    def _count_points(self, left: int) -> None:
        """Count the points of a design that fell on the levels of others; refuse where half of them did."""
        design = self.file.sweep.design
        if isinstance(design, str) or not self.factors:
            return
        if 2 * left < design.samples:
            problem = f"of {design.samples} points only {left} fall on levels of their own"
            raise self.file.document.error(("design",), f"{problem}; take fewer, or more levels (decimals of a range)")
        self.found.together += design.samples - left

    def _add(self, chosen: Assignment) -> None:
        reasons = []
        for task in self.tasks:
            broken = self._broken(task.whole(chosen))
            try:
                if broken is not None:
                    raise broken
                task.add(chosen, _changes(chosen))
            except SettingsError as error:
                reasons.append(str(error))
        if reasons:  # a combination counts once
            self.found.refused[reasons[0]] += 1
        if self.file.sweep.design == "one_at_a_time":
            self.found.again += all(task.whole({}) == task.whole(chosen) for task in self.tasks)
        for name, level in chosen.items():
            if len(reasons) < len(self.tasks):
                self.used[name].add(level.name)
            else:
                self.failed.setdefault((name, level.name), []).append(chosen)

    def _broken(self, whole: Assignment) -> SettingsError | None:
        """Return which constraint a combination breaks.

        Raises:
            SettingsError: with file and line: a constraint cannot be worked out, which is no combination's fault.
        """
        values = {name: level.value for name, level in whole.items()}
        for index, constraint in enumerate(self.file.constraints):
            try:
                if not constraint.holds(values):
                    return SettingsError(f"constraint '{constraint.text}'")
            except SettingsError as error:
                raise self.file.document.error(("constraints", index), str(error)) from error
        return None

    def _refuse_unused(self) -> None:
        """Refuse a level that no combination can have: most likely a mistake."""
        for (name, level), failed in self.failed.items():
            if level not in self.used[name] and not self.factors[name].is_range:
                reasons = self._reasons(failed)
                if (more := len(reasons) - _MOST_REASONS) > 0:
                    reasons[_MOST_REASONS:] = [f"and {more} more reasons"]
                told = "; ".join(reasons)
                raise self.file.document.error(
                    _place_of(self.file, name, level), f"no combination with level '{level}' can be: {told}"
                )

    def _reasons(self, failed: list[Assignment]) -> list[str]:
        """Return why combinations cannot be, each reason once: a misspelt level comes before what constraints say."""
        refused, broken = dict[str, None](), dict[str, None]()
        for chosen, task in itertools.product(failed, self.tasks):
            try:
                task.changed(_changes(chosen))
            except SettingsError as error:
                refused[str(error)] = None
            if (constraint := self._broken(task.whole(chosen))) is not None:
                broken[str(constraint)] = None
        return [*refused, *broken]


def _changes(chosen: Assignment) -> dict[str, Any]:
    """Return what a combination of levels changes."""
    found: dict[str, Any] = {}
    for level in chosen.values():
        if twice := found.keys() & dict(level.changes).keys():
            raise SettingsError(f"two factors set '{min(twice)}'")
        found.update(level.changes)
    return found


class _Task:
    """The settings of one model on one task."""

    def __init__(self, row: _Row, task: str) -> None:
        self.row, self.task = row, task
        limit = row.file.scale.limit
        bases = row_cells(row.params, row.row, task)
        if limit is not None:
            bases = tuple(_limited(cell, limit) for cell in bases)
        self.bases = bases
        self.seen: dict[Cell, int] = {}
        self.names: set[str] = set()
        self.still = {name: self._still(name, factor) for name, factor in row.factors.items()}

    def _still(self, name: str, factor: Any) -> Level | None:
        """Return the level of a factor that is the baseline's; None: none of its levels is."""
        if factor.is_range:
            return None
        for level in levels_of(name, factor):
            try:
                if self.changed(dict(level.changes))[0] == self.bases[0]:
                    return level
            except SettingsError:
                continue
        return None

    def whole(self, chosen: Assignment) -> Assignment:
        """Return a combination with the baseline's levels of the factors that it lacks."""
        return {**{name: level for name, level in self.still.items() if level}, **chosen}

    def add(self, chosen: Assignment, changes: Mapping[str, Any], *, baseline: bool = False) -> None:
        """Add a combination to the sweep's lines, unless it is one that is there.

        Raises:
            SettingsError: it cannot be; says why.
        """
        whole = self.whole(chosen)
        cells = self.changed(changes)
        key = dataclasses.replace(cells[0], setting="")
        if key in self.seen:
            if not baseline:
                self._again(self.seen[key], whole)
            return
        name = self._name(cells[0], chosen)
        first, *more = (dataclasses.replace(cell, setting=name) for cell in cells)
        line = Answered(
            row=self.row.row,
            task=self.task,
            levels=self._levels(whole),
            cells=(first, *(seeded(cell, cell.seed) for cell in more)),
            baseline=baseline,
            # One factor at a time is changed from the baseline, which is the point that all of them share.
            in_design=not baseline or self.row.file.sweep.design == "one_at_a_time",
        )
        self.names.add(name)
        self.row.telling.update(line.levels.items())
        self.seen[key] = len(self.row.found.lines)
        self.row.found.lines.append(line)

    def _again(self, index: int, whole: Assignment) -> None:
        """Note of a combination that it is a setting which is there: the baseline, or one of other levels."""
        line = self.row.found.lines[index]
        moved = [pair for pair in self._levels(whole).items() if pair not in line.levels.items()]
        if moved:
            instead = tuple(line.levels[name] for name, _ in moved)
            self.row.found.alike[Alike(self.row.row.label, self.task, tuple(moved), instead)] += 1
        if not line.in_design:
            self.row.found.lines[index] = dataclasses.replace(line, levels=self._levels(whole), in_design=True)

    def _levels(self, whole: Assignment) -> dict[str, str]:
        return {factor: whole[factor].name if factor in whole else BASELINE for factor in self.row.factors}

    def changed(self, changes: Mapping[str, Any]) -> tuple[Cell, ...]:
        """Return the cells with changes, a seed each."""
        if "seed" in changes and len(self.bases) > 1:
            raise SettingsError(f"seed: task '{self.task}' or its row has several seeds already; give it one")
        recipe, rest = recipe_part(changes)
        cells = [changed_cell(self.row.params, cell, rest) for cell in self.bases]
        if recipe:
            derived = derived_name(self.row.params, self.row.row.model, recipe)
            cells = [dataclasses.replace(cell, checkpoint=derived) for cell in cells]
        self._check_length(cells[0])
        return tuple(cells)

    def _check_length(self, cell: Cell) -> None:
        if not isinstance(cell.sampler, SamplerSettings) or self.row.positions is None:
            return
        if (length := cell.sampler.canvas.max_new_tokens) >= self.row.positions:
            raise SettingsError(
                f"max_new_tokens {length} leaves no room for a prompt of {self.row.positions} positions"
            )

    def _name(self, cell: Cell, chosen: Assignment) -> str:
        """Return the name of a setting: that of a sampler of the params where it is one, else what tells it apart."""
        base = self.bases[0]
        if cell == base:
            return base.setting
        if isinstance(cell.sampler, SamplerSettings) and cell == dataclasses.replace(base, sampler=cell.sampler):
            named = self.row.named.get(cell.sampler)
            if named is not None and named not in self.names:
                return named
        moved = {name: level for name, level in chosen.items() if level != self.still[name]}
        for levels in (moved, chosen):
            name = "+".join([base.setting, *(f"{factor}={level.name}" for factor, level in levels.items())])
            if name not in self.names:
                return name
        raise SettingsError(f"two settings would be named '{name}'; name the levels otherwise")


def _limited(cell: Cell, limit: int) -> Cell:
    task = cell.task_settings
    least = limit if task.limit is None else min(limit, task.limit)
    return dataclasses.replace(cell, task_settings=dataclasses.replace(task, limit=least))
