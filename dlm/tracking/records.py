"""The records of a project: every training and evaluation under results/, read without loading a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dlm.errors import DataError, DlmError, did_you_mean
from dlm.files import MANIFEST
from dlm.tracking.evaluations import SCORES, Outdated, read_evaluations
from dlm.tracking.trainings import read_training
from dlm.tracking.view import Record


@dataclass
class Found:
    """What is on the disk."""

    records: list[Record] = field(default_factory=list)
    sources: set[str] = field(default_factory=set)
    """Paths of the files that were read: runs of theirs that ``records`` lacks have lost their record."""
    faults: list[str] = field(default_factory=list)
    """A line for each file that was left out."""


def scales_with_results(root: Path) -> list[str]:
    """Return the scales that have something to show, sorted."""
    base = root / "results"
    patterns = (f"*/checkpoints/*/{MANIFEST}", f"*/scores/*/*/{SCORES}")
    return sorted({path.relative_to(base).parts[0] for pattern in patterns for path in _paths(base, pattern)})


def read_records(root: Path, scales: Sequence[str] = ()) -> Found:
    """Read the finished trainings and evaluations of ``scales``, or of all that have any.

    Raises:
        DataError: no results of a scale that was asked for.
    """
    known = scales_with_results(root)
    for scale in scales:
        if scale not in known:
            raise DataError(f"no results of scale '{scale}' to show; {did_you_mean(scale, known)}")
    found = Found()
    for scale in scales or known:
        base = root / "results" / scale
        for path in _paths(base, f"checkpoints/*/{MANIFEST}"):
            _take(found, path, scale, root, read_training)
        for path in _paths(base, f"scores/*/*/{SCORES}"):
            _take(found, path, scale, root, read_evaluations)
    found.records = _latest(found.records)
    return found


def _latest(records: Sequence[Record]) -> list[Record]:
    """Return one record of each key: a bundle of an earlier division may hold a cell that was evaluated again since."""
    kept: dict[tuple[str, str], Record] = {}
    for record in records:
        key = record.experiment, record.key
        if key not in kept or record.ended >= kept[key].ended:
            kept[key] = record
    return list(kept.values())


def _paths(base: Path, pattern: str) -> list[Path]:
    """Return what fits the pattern, drafts in hidden folders aside."""
    return sorted(path for path in base.glob(pattern) if not path.parent.name.startswith("."))


def _take(found: Found, path: Path, scale: str, root: Path, read: Callable[[Path, str, Path], list[Record]]) -> None:
    """Add the records of one file; a file that cannot be used is named, and the others go on."""
    try:
        records = read(path, scale, root)
    except DlmError as error:
        found.faults.append(str(error))
        if isinstance(error, Outdated):
            found.sources.add(str(path.relative_to(root)))
    except (KeyError, TypeError, ValueError) as error:
        found.faults.append(f"{path.relative_to(root)}: not as this version writes it ({error!r})")
    else:
        found.records += records
        found.sources.add(str(path.relative_to(root)))
