"""The results of a sweep, read from the files that `dlm sensitivity` wrote."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlm.errors import DataError
from dlm.files import read_json
from dlm.settings.metrics import MetricKind, metric_kind

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BASELINE = "baseline"
_LEVEL = 0.05
"""Corrected p-values below it are seen."""
_LAST = "verdict"
"""The last column of a sweep's table before those of its factors."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One setting of one model on one task."""

    model: str
    task: str
    setting: str
    is_baseline: bool
    kind: MetricKind
    value: float
    low: float
    high: float | None
    """Ends of the 95 % interval; None: no bound."""
    n: int
    numbers: Mapping[str, float]
    """Other numbers of the row that there are, by the names of their columns."""
    levels: Mapping[str, str]
    """Level of each factor; empty of one that does not concern the model."""
    verdict: str
    stopped: str = ""
    """Why a budget ended it before the last document; empty: it answered all."""


@dataclass(frozen=True, kw_only=True)
class SweepResults:
    """A sweep as its tables hold it."""

    name: str
    scale: str
    lines: tuple[Line, ...]
    effects: tuple[Mapping[str, str], ...]
    """Rows of `…_effects.csv`."""
    ranks: tuple[Mapping[str, str], ...]
    """Rows of `…_ranks.csv`."""
    lineage: Mapping[str, Any]
    folder: Path
    """Where the tables lie."""

    @property
    def factors(self) -> tuple[str, ...]:
        """Names of the factors, in the order of the sweep."""
        return tuple(self.lines[0].levels)

    @property
    def panels(self) -> dict[tuple[str, str], tuple[Line, ...]]:
        """The settings of each model on each task."""
        found: dict[tuple[str, str], list[Line]] = {}
        for line in self.lines:
            found.setdefault((line.model, line.task), []).append(line)
        return {key: tuple(lines) for key, lines in found.items()}

    @property
    def meaningless(self) -> bool:
        """Whether the scale is too small for its numbers to mean anything."""
        return any(line.verdict.startswith("meaningless") for line in self.lines)

    @property
    def one_at_a_time(self) -> bool:
        """Whether every setting differs from its baseline in one factor."""
        for lines in self.panels.values():
            baseline = next((line for line in lines if line.is_baseline), None)
            if baseline is None:
                return False
            for line in lines:
                differs = sum(line.levels[name] != baseline.levels[name] for name in self.factors)
                if not line.is_baseline and differs != 1:
                    return False
        return len(self.factors) > 1


def changed_of(line: Line, baseline: Line) -> str:
    """Name what a setting changes of the baseline, such as `guidance: scale_0.5`."""
    changed = [f"{name}: {level}" for name, level in line.levels.items() if level != baseline.levels[name]]
    return ", ".join(changed) or BASELINE


def whiskers(lines: Sequence[Line]) -> list[list[float]]:
    """Return how far the intervals reach below and above the scores, as axes have them; 0 where no bound.

    What has no bound is drawn by `unbounded`.
    """
    factors = [1.0 if line.kind.loss else 100.0 for line in lines]
    ends = [(line.low, line.value if line.high is None else line.high) for line in lines]
    below = [factor * (line.value - low) for line, factor, (low, _) in zip(lines, factors, ends, strict=True)]
    above = [factor * (high - line.value) for line, factor, (_, high) in zip(lines, factors, ends, strict=True)]
    return [below, above]


def read_sweep_results(folder: Path, name: str) -> SweepResults:
    """Read the tables of a sweep.

    Args:
        folder: of the scale's tables.
        name: of the sweep.

    Raises:
        DataError: they are not made, or damaged.
    """
    path = folder / f"sensitivity_{name}.csv"
    rows = _rows(path)
    if not rows:
        raise DataError(f"{path}: no settings; make the sweep again")
    try:
        lines = tuple(_line(row) for row in rows)
    except (KeyError, ValueError) as error:
        raise DataError(f"{path}: damaged ({error}); make it again with `dlm sensitivity {name}`") from error
    return SweepResults(
        name=name,
        scale=rows[0]["scale"],
        lines=lines,
        effects=_rows(folder / f"sensitivity_{name}_effects.csv"),
        ranks=_rows(folder / f"sensitivity_{name}_ranks.csv"),
        lineage=read_json(folder / f"sensitivity_{name}.lineage.json"),
        folder=folder,
    )


def unbounded(axes: Axes, x: float, line: Line) -> None:
    """Draw an interval without upper end at a place: an arrow from the score to the edge of the axes."""
    if line.high is None:
        score = line.value if line.kind.loss else 100 * line.value
        arrow_to_edge(axes, (x, score), (x, 1), ("data", "axes fraction"))


def arrow_to_edge(axes: Axes, begin: tuple[float, float], end: tuple[float, float], where: tuple[str, str]) -> None:
    """Draw an arrow from a place of the data to the edge, which ``end`` has as a fraction of the axes."""
    axes.annotate("", end, begin, xycoords=where, textcoords="data", arrowprops={"arrowstyle": "->", "linewidth": 1.3})


def is_seen(row: Mapping[str, str]) -> bool:
    """Return whether an effect is beyond chance, corrected for all effects of the sweep."""
    p_value = number(row, "p_corrected")
    return p_value is not None and p_value < _LEVEL


def number(row: Mapping[str, str], key: str) -> float | None:
    """Return a field as a number; None where it is empty."""
    return float(row[key]) if row.get(key) else None


def _rows(path: Path) -> tuple[dict[str, str], ...]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return tuple(csv.DictReader(stream))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; snakemake makes it, or `dlm sensitivity`") from error


def _line(row: Mapping[str, str]) -> Line:
    columns = list(row)
    factors = columns[columns.index(_LAST) + 1 :]
    return Line(
        model=row["model"],
        task=row["task"],
        setting=row["setting"],
        is_baseline=row["baseline"] == "true",
        kind=metric_kind(row["metric"]),
        value=float(row["value"]),
        low=float(row["ci_low"]),
        high=number(row, "ci_high"),
        n=int(row["n"]),
        numbers=dict(_numbers(row, columns)),
        levels={name: row[name] for name in factors},
        verdict=row[_LAST],
        stopped=row.get("stopped", ""),
    )


def _numbers(row: Mapping[str, str], columns: Sequence[str]) -> Iterator[tuple[str, float]]:
    for key in columns[columns.index("seeds") : columns.index(_LAST)]:
        try:
            yield key, float(row[key])
        except ValueError:
            continue  # empty, or words
