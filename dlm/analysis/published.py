"""Published figures: read from a CSV, looked up by table, model and benchmark.

The file and its columns are described in `data/published/README.md`.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TextIO

from dlm.errors import DataError
from dlm.params.figures import PUBLISHED
from dlm.settings import Table, TableRow, Task
from dlm.settings.evaluation import listed
from dlm.settings.metrics import metric_kind

COLUMNS = ("table", "model", "benchmark", "metric", "source", "value", "note")
PREFER = ("dllm", "official", "derived", "third-party")
"""Which source to take where several publish one figure, best first: the paper's own, for the paper's tables."""

_SHARE = re.compile(r"accuracy|score|pass@")
_ITEMS = re.compile(r"consistent with \d+ of (\d+) items")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One published number."""

    table: str
    model: str
    benchmark: str
    metric: str
    source: str
    value: float
    """As a share (0 to 1) where `is_share`, else in the metric's own unit."""
    note: str

    @property
    def is_share(self) -> bool:
        """Whether the metric is a percentage of right answers (not a speed, a ratio or a loss)."""
        return bool(_SHARE.match(self.metric))

    @property
    def n(self) -> int | None:
        """Number of items behind the figure, as far as its note tells; None: unknown."""
        found = _ITEMS.search(self.note)
        return int(found[1]) if found else None


class Joined(NamedTuple):
    """What is published of one model and benchmark."""

    figure: Figure | None = None
    """What is compared with; None: nothing."""
    beside: tuple[Figure, ...] = ()
    """What other sources, tables and metrics say."""


class Published:
    """All figures of one file, and the order in which sources are preferred."""

    def __init__(self, figures: Iterable[Figure], *, prefer: Sequence[str] = PREFER) -> None:
        self.figures = tuple(figures)
        self.prefer = tuple(prefer)

    @classmethod
    def load(cls, path: str | Path = PUBLISHED, *, prefer: Sequence[str] = PREFER) -> Published:
        """Read a file of published figures.

        Raises:
            DataError: the file is missing, or a row is damaged or repeats another; names the path and line.
        """
        return cls(_read(Path(path)), prefer=prefer)

    def find(
        self,
        table: str,
        model: str,
        benchmark: str,
        *,
        metric: str | None = None,
        source: str | None = None,
        share: bool = True,
    ) -> Figure | None:
        """Return the share, or other number, that a source publishes, or the most preferred one; None: nobody does.

        Sources that are not in ``prefer`` come last, by name.

        Raises:
            DataError: that source publishes several metrics and ``metric`` does not say which.
        """
        wanted = (table, model, benchmark)
        found = [f for f in self.figures if (f.table, f.model, f.benchmark) == wanted and f.is_share is share]
        found = [f for f in found if metric in (None, f.metric) and source in (None, f.source)]
        if not found:
            return None
        best = min(found, key=self.rank)
        same = [f.metric for f in found if f.source == best.source]
        if len(same) > 1:
            raise DataError(f"published figures: {'/'.join(wanted)} has several metrics ({', '.join(same)}); name one")
        return best

    def join(
        self,
        tables: Sequence[str],
        model: str,
        benchmark: str,
        *,
        metrics: Sequence[str] = (),
        source: str | None = None,
        share: bool = True,
    ) -> Joined:
        """Return all that some tables publish of one model and benchmark.

        Args:
            tables: the first is that of the figure to compare with.
            model, benchmark: as published.
            metrics: those that are taken, the first being that of the figure to compare with; none named: all.
            source: whose figure to compare with; None: the most preferred one's.
            share: whether a share is compared with, or another number.

        Raises:
            DataError: as of `find`.
        """
        first = metrics[0] if metrics else None
        figure = self.find(tables[0], model, benchmark, metric=first, source=source, share=share)
        beside = [
            other
            for other in self.figures
            if other.table in tables
            and (other.model, other.benchmark) == (model, benchmark)
            and (not metrics or other.metric in metrics)
            and other is not figure
        ]
        beside.sort(key=lambda other: (tables.index(other.table), self.rank(other)))
        return Joined(figure, tuple(beside))

    def join_row(self, table: Table, row: TableRow, task: Task) -> Joined:
        """Return all that is published of what a table's row answers for one task; nothing where it names none.

        Raises:
            DataError: as of `find`.
        """
        if not (table.published and row.published and task.benchmark):
            return Joined()
        loss = metric_kind(task.metric).loss
        return self.join(
            table.published_tables(row),
            row.published,
            task.benchmark,
            metrics=listed(row.published_metric) or ((task.metric,) if loss else ()),
            source=row.published_source,
            share=not loss,
        )

    def lookup(self, table: str, model: str, benchmark: str, *, metric: str | None = None) -> float | None:
        """Return the value of ``find`` alone, as a share (0 to 1)."""
        figure = self.find(table, model, benchmark, metric=metric)
        return None if figure is None else figure.value

    def rank(self, figure: Figure) -> tuple[int, str]:
        known = figure.source in self.prefer
        return (self.prefer.index(figure.source) if known else len(self.prefer), figure.source)


def _read(path: Path) -> list[Figure]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return _parse(stream, path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; run from the root of the working copy, or name the file") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start}); restore it with git") from error


def _parse(stream: TextIO, path: Path) -> list[Figure]:
    reader = csv.reader(stream, strict=True)
    seen: dict[tuple[str, ...], int] = {}
    figures = []
    try:
        if tuple(next(reader, [])) != COLUMNS:
            raise DataError(f"{path}:1: expected the columns {','.join(COLUMNS)}")
        for row in reader:
            figure = _figure(row, f"{path}:{reader.line_num}")
            first = seen.setdefault(tuple(row[:5]), reader.line_num)
            if first != reader.line_num:
                raise DataError(f"{path}:{reader.line_num}: the figure of line {first} again; keep one of them")
            figures.append(figure)
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: damaged row ({error}); restore it with git") from error
    return figures


def _figure(row: Sequence[str], where: str) -> Figure:
    """Check one row and return its figure, percentages as shares."""
    if len(row) != len(COLUMNS):
        raise DataError(f"{where}: {len(row)} fields, expected {len(COLUMNS)} ({', '.join(COLUMNS)})")
    fields = dict(zip(COLUMNS, row, strict=True))
    if empty := [name for name in COLUMNS[:5] if not fields[name].strip()]:
        raise DataError(f"{where}: {empty[0]} is empty")
    try:
        value = float(fields.pop("value"))
    except ValueError:
        value = math.nan
    figure = Figure(value=value, **fields)
    if not math.isfinite(value) or (figure.is_share and not 0 <= value <= 100):
        expected = "a percentage from 0 to 100" if figure.is_share else "a number"
        raise DataError(f"{where}: value is '{row[5]}', expected {expected}")
    return Figure(value=round(value / 100, 10), **fields) if figure.is_share else figure
