"""What is published, by name: enough to check a params file without the room that compares with it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

PUBLISHED = Path("data/published/published.csv")
"""Published figures, from the project's root."""

Names = tuple[tuple[str, ...], tuple[str, ...]]


def published_names(root: str | Path) -> Mapping[str, Names]:
    """Return the models and the benchmarks of each published table; nothing where the project has no figures.

    A damaged file is named by whoever reads its figures.
    """
    try:
        with (Path(root) / PUBLISHED).open(encoding="utf-8", newline="") as stream:
            rows = [(row["table"], row["model"], row["benchmark"]) for row in csv.DictReader(stream)]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError):
        return {}
    tables: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for table, model, benchmark in rows:
        models, benchmarks = tables.setdefault(table, ({}, {}))
        models[model] = benchmarks[benchmark] = None
    return {table: (tuple(models), tuple(benchmarks)) for table, (models, benchmarks) in tables.items()}
