"""What MLflow shows of a record: names that a person reads, and the marks by which a sync knows its runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

VIEW = 1
"""Number of this way of showing; another number makes every run anew at the next sync."""

FINGERPRINT = "dlm.fingerprint"
"""Tag: digest of the record that a run shows in full; a run without it is unfinished."""
KEY = "dlm.key"
"""Tag: which record of its source a run shows."""
ASKED = "dlm.asked"
"""Tag: digest of what the record was to be made from; an unfinished run is finished by a record of the same."""
ORIGIN = "dlm.origin"
"""Tag: the clone whose records a run shows."""
SOURCE = "dlm.source"
"""Tag: path of the record, from the clone's root."""
MARKS = (FINGERPRINT, KEY, ASKED, ORIGIN, SOURCE)
"""The tags by which a sync tells what a store shows."""
SUPERSEDED_BY = "dlm.superseded_by"
"""Tag of a deleted run: the run that took its place, or `nothing` where the record is gone."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One value of a metric."""

    key: str
    value: float
    step: int = 0
    time: int
    """Milliseconds since 1970."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run as MLflow shows it."""

    name: str
    began: int
    """Milliseconds since 1970."""
    ended: int
    """Milliseconds since 1970."""
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    points: tuple[Point, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Record:
    """One training or evaluation that is on the disk."""

    experiment: str
    source: str
    """Path of the file that holds it, from the clone's root."""
    key: str
    """Its name within the experiment."""
    asked: str
    """Digest of what it was to be made from."""
    fingerprint: str
    """Digest of everything that is shown of it."""
    ended: int = 0
    """When its work ended, in milliseconds since 1970: of two records of the same key the later is shown."""
    show: Callable[[], Run]
    """Work out the run; called for records that are not shown yet."""

    @property
    def marks(self) -> dict[str, str]:
        """Tags of an unfinished run of this record."""
        return {KEY: self.key, ASKED: self.asked, SOURCE: self.source}


def experiment_of(scale: str, kind: str) -> str:
    """Return the name of the experiment that holds the ``trainings`` or ``evaluations`` of a scale."""
    return f"dlm/{scale}/{kind}"
