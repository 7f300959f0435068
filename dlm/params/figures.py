"""What is published, by name: enough to check a params file without the room that compares with it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

PUBLISHED = Path("data/published/published.csv")
"""Published figures, from the project's root."""
_KEYS = ("model", "benchmark", "metric", "source")


class Names(NamedTuple):
    """What one published table speaks of."""

    models: tuple[str, ...]
    benchmarks: tuple[str, ...]
    metrics: tuple[str, ...]
    sources: tuple[str, ...]


def published_names(root: str | Path) -> Mapping[str, Names]:
    """Return the names in each published table; nothing where the project has no figures.

    A damaged file is named by whoever reads its figures.
    """
    try:
        with (Path(root) / PUBLISHED).open(encoding="utf-8", newline="") as stream:
            rows = [(row["table"], *(row[key] for key in _KEYS)) for row in csv.DictReader(stream)]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError):
        return {}
    tables: dict[str, tuple[dict[str, None], ...]] = {}
    for table, *names in rows:
        for known, name in zip(tables.setdefault(table, tuple({} for _ in _KEYS)), names, strict=True):
            known[name] = None
    return {table: Names(*map(tuple, known)) for table, known in tables.items()}
