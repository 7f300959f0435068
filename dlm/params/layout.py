"""Where a scale's files lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dlm.files import MANIFEST

TABLE_SUFFIXES = (".csv", ".md", ".speed.csv", ".metrics.json", ".lineage.json")
SWEEP_SUFFIXES = (".lineage.json", ".md", "_ranks.csv", "_effects.csv", ".csv")
"""What a sweep's table consists of, in the order of writing: the CSV, which others wait for, last."""
SENSITIVITY = "sensitivity_"
"""How the name of a sweep's table begins, and no other's."""


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
        """Folder of one product of a step (`data`, `checkpoints`, `responses`, `shards`, `scores`)."""
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

    @property
    def figures(self) -> Path:
        """Folder of the figures, shared by all scales as the published tables are."""
        return self.root / "results" / "figures"
