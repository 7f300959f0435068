"""What a sweep is, laid out: its lines and cells, its jobs, and what is told of combinations that cannot be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dlm.params.cells import Cell
from dlm.params.sweeps.reading import SweepFile
from dlm.settings import TableRow

MOST_JOBS, LEAST_CELLS = 40, 250
"""A sweep's sampling jobs at most, and the cells of one at least, where its file says nothing."""
_MOST_ALIKE = 20
BASELINE = "baseline"
"""What a factor's column holds in the baseline, where none of its levels is the baseline's."""


@dataclass(frozen=True)
class Answered:
    """One setting of a sweep on one task: a line of its table."""

    row: TableRow
    task: str
    levels: Mapping[str, str]
    """The level of each factor, by its name; a factor that is not varied for the row is left out."""
    cells: tuple[Cell, ...]
    """A cell a seed."""
    baseline: bool
    in_design: bool
    """False of a baseline that is no combination of the design."""

    @property
    def setting(self) -> str:
        """Its name, without a seed."""
        return self.cells[0].setting


@dataclass(frozen=True)
class Alike:
    """Levels that change nothing of what is asked: a combination with them is a setting that is there already."""

    label: str
    """Of the row."""
    task: str
    levels: tuple[tuple[str, str], ...]
    """Factor and level, of those in which the combination and that setting differ."""
    instead: tuple[str, ...]
    """The setting's level of each; `BASELINE`: what the baseline has, which is no level."""

    def __str__(self) -> str:
        """Tell it in a line."""
        return f"{self.label} on {self.task}: {self.names} asks what {self.instead_names} does"

    @property
    def names(self) -> str:
        """The levels with their factors."""
        return ", ".join(f"{name}={level}" for name, level in self.levels)

    @property
    def instead_names(self) -> str:
        """The setting's levels with their factors."""
        return ", ".join(f"{name}={level}" for (name, _), level in zip(self.levels, self.instead, strict=True))


@dataclass
class Expanded:
    """All settings of a sweep at a scale."""

    file: SweepFile
    lines: list[Answered] = field(default_factory=list)
    combinations: int = 0
    """Of levels, over all rows."""
    refused: Counter[str] = field(default_factory=Counter)
    """Combinations that cannot be, by the reason."""
    alike: Counter[Alike] = field(default_factory=Counter)
    """Combinations, counted once a task, that are another's setting, by the levels that change nothing there."""
    together: int = 0
    """Points of a design, over all rows, that fell on the levels of others."""

    again: int = 0
    """Combinations of one factor at a time, over all rows, whose level is the baseline's."""

    def cells(self, checkpoint: str) -> list[Cell]:
        """Return the cells of one checkpoint."""
        return self._by_checkpoint.get(checkpoint, [])

    @property
    def checkpoints(self) -> list[str]:
        """Names of the checkpoints that are evaluated, each once."""
        return list(self._by_checkpoint)

    def __post_init__(self) -> None:
        self._by_checkpoint: dict[str, list[Cell]] = {}
        self._bundles: dict[str, tuple[Cell, ...]] = {}

    def finish(self) -> None:
        """Divide the cells into jobs, once all lines are there."""
        for line in self.lines:
            for cell in line.cells:
                self._by_checkpoint.setdefault(cell.checkpoint, []).append(cell)
        whole = sum(map(len, self._by_checkpoint.values()))
        size = self.file.scale.bundle or max(LEAST_CELLS, -(-whole // MOST_JOBS))
        for checkpoint, cells in self._by_checkpoint.items():
            for number, bundle in enumerate(self._divided(cells, size), start=1):
                self._bundles[f"{checkpoint}/{self.file.name}-{number}"] = bundle

    def _divided(self, cells: Iterable[Cell], size: int) -> list[tuple[Cell, ...]]:
        """Divide a checkpoint's cells: a job runs its model in one way, and with a budget all settings of a task."""
        groups: dict[Any, list[Cell]] = {}
        for cell in cells:
            groups.setdefault(cell.execution, []).append(cell)
        if self.file.scale.budget is not None:
            return [tuple(group) for group in groups.values()]
        return [tuple(group[at : at + size]) for group in groups.values() for at in range(0, len(group), size)]

    @property
    def bundles(self) -> Mapping[str, tuple[Cell, ...]]:
        """Cells of each job, by `<checkpoint>/<sweep>-<number>`."""
        return self._bundles

    def budget_of(self, bundle: str) -> tuple[int, frozenset[tuple[str, str]], dict[tuple[str, str], str]]:
        """Return the forward passes that a bundle may spend on each task, the (task, setting) of its baselines, and by
        (task, setting) of a further seed the setting that it repeats.

        The budget is divided evenly among models, ways of running them and tasks.
        """
        budget = self.file.scale.budget
        assert budget is not None
        parts = sum(len({cell.task for cell in cells}) for cells in self._bundles.values())
        model = bundle.partition("/")[0]
        mine = [line for line in self.lines if line.cells[0].checkpoint == model]
        kept = frozenset((line.task, line.setting) for line in mine if line.baseline)
        repeats = {(line.task, cell.setting): line.setting for line in mine for cell in line.cells[1:]}
        return budget.forward_passes // parts, kept, repeats

    def _added(self) -> str:
        """Tell the baselines that are answered beside the combinations."""
        alone = self.file.sweep.design == "one_at_a_time"
        rows = {line.row.model for line in self.lines if line.baseline and (alone or not line.in_design)}
        return f" and {len(rows)} baselines" if len(rows) > 1 else " and the baseline" if rows else ""

    def told(self) -> list[str]:
        """Return, a line each, how many settings there are, which combinations cannot be, and which are others'."""
        settings = len({(line.row.model, line.setting) for line in self.lines})
        jobs = len(self._bundles)
        made = f"{settings} settings of {self.combinations} combinations{self._added()}"
        first = f"sweep {self.file.name}: {made}, {jobs} sampling jobs"
        found = [first]
        if self.refused:
            found = [f"{first}; {sum(self.refused.values())} combinations cannot be:"]
            found += [f"  {count}: {reason}" for reason, count in self.refused.most_common()]
        if self.again:
            found.append(f"{self.again} {'is' if self.again == 1 else 'are'} the baseline again")
        if self.together:
            found.append(f"{self.together} points of the design fell on the levels of others")
        if self.alike:
            found.append("levels that change nothing there, with the number of their combinations:")
            found += [f"  {count}: {alike}" for alike, count in self.alike.most_common(_MOST_ALIKE)]
            found += [f"  and {more} more"] if (more := len(self.alike) - _MOST_ALIKE) > 0 else []
        return found
