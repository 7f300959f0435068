"""Make a store show what the records say: no more, no less, and nothing twice."""

from __future__ import annotations

import dataclasses
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dlm.errors import DlmError
from dlm.locks import is_held
from dlm.progress import Progress, say
from dlm.tracking.experiments import tags_of_experiment
from dlm.tracking.place import artifact_root, one_at_a_time, origin, shown, tracking_uri
from dlm.tracking.records import Found, read_records
from dlm.tracking.view import ASKED, FINGERPRINT, KEY, ORIGIN, SOURCE, SUPERSEDED_BY, Record, Run

if TYPE_CHECKING:
    from dlm.tracking.store import Seen, Store

_MANY = 100  # runs: from here on a person wants to see progress
_TOGETHER = 200  # runs that a database takes in one transaction; one in which a person's UI may have to wait

_Asked = tuple[str, str]
"""Key of a record, and the digest of what it was to be made from."""


@dataclass
class Summary:
    """What a sync did."""

    where: str
    """The store's address."""
    shown: int = 0
    """Runs that show a record now."""
    new: int = 0
    completed: int = 0
    """Of those, runs that a killed sync or a live training had begun."""
    killed: int = 0
    """Runs of trainings that ended without a word: they are marked so."""
    removed: int = 0
    """Runs put into the bin: their record changed or is gone, or another run shows the same."""
    seconds: float = 0.0
    experiments: dict[str, str] = field(default_factory=dict)
    """Ids of the experiments, by name."""

    def __str__(self) -> str:
        words = ("new", "completed", "killed", "removed")
        done = [f"{count} {word}" for word in words if (count := getattr(self, word))]
        return f"{self.shown} runs in {self.where}: {', '.join(done) or 'nothing changed'} ({self.seconds:.1f} s)"


def sync(root: Path, scales: Sequence[str] = ()) -> Summary:
    """Show every training and evaluation under ``root`` in MLflow.

    A record that is shown already is left alone; one that changed gets a new run, and the old one goes to MLflow's bin;
    a run that was begun and not finished, by a killed sync or by a training that logged live, is finished, or marked as
    killed where nobody works on it any more. Files that cannot be read are named and left out.

    Args:
        root: of the project.
        scales: whose records; all that have any where none is named.

    Raises:
        RemoteError: the store cannot be reached or refuses; what was done stays, and the next sync goes on from there.
        DataError: no results of a scale that was asked for.
        SetupError: MLFLOW_TRACKING_URI names neither a server nor a database.
    """
    began, root = time.monotonic(), root.resolve()
    uri = tracking_uri(root)
    summary = Summary(where=shown(uri))
    with one_at_a_time(root):
        found = read_records(root, scales)
        if found.records:
            from dlm.tracking.store import Store

            _Sync(Store(uri, artifacts=artifact_root(root)), found, summary, root).run()
    for fault in found.faults:
        say(f"runs sync: left out: {fault}")
    summary.seconds = time.monotonic() - began
    return summary


class _Sync:
    def __init__(self, store: Store, found: Found, summary: Summary, root: Path) -> None:
        self.store, self.found, self.summary, self.root = store, found, summary, root
        self.origin = origin(root)

    def run(self) -> None:
        """Go through the experiments."""
        by_experiment: dict[str, list[Record]] = defaultdict(list)
        for record in self.found.records:
            by_experiment[record.experiment].append(record)
        for name, records in by_experiment.items():
            experiment = self.store.experiment(name, tags_of_experiment(name, self.root))
            self.summary.experiments[name] = experiment
            self._experiment(experiment, name, records, list(self.store.runs(experiment)))
        if self.summary.new:
            self.store.settle()

    def _experiment(self, experiment: str, name: str, records: list[Record], seen: list[Seen]) -> None:
        showing = {run.tags[FINGERPRINT]: run for run in reversed(seen) if FINGERPRINT in run.tags}
        # All runs of the clone's own store are its own: a copied clone has a copy of the store, and another name.
        mine = [run for run in seen if artifact_root(self.root) or run.tags.get(ORIGIN) == self.origin]
        begun = _unfinished(mine)
        kept: dict[str, str] = {}
        todo = [record for record in records if record.fingerprint not in showing]
        for record in records:
            if run := showing.get(record.fingerprint):
                kept[record.key] = run.id
                if run.status != "FINISHED":
                    self.store.end(run.id, "FINISHED", self._written(record.source) or _now())
                    self.summary.completed += 1
        with Progress(f"runs sync {name}", len(todo), "runs") if len(todo) > _MANY else nullcontext() as progress:
            for start in range(0, len(todo), _TOGETHER):
                some = todo[start : start + _TOGETHER]
                kept |= self._show(experiment, some, begun)
                if progress:
                    progress.advance(len(some))
        self.summary.shown += len(kept)
        self._clear(mine, kept, {record.key for record in records} - kept.keys())

    def _show(self, experiment: str, records: list[Record], begun: Mapping[_Asked, list[Seen]]) -> dict[str, str]:
        """Bring records into the store; return their runs by key, those aside that turn out damaged."""
        kept: dict[str, str] = {}
        new: dict[str, Run] = {}
        for record in records:
            if not (run := self._worked_out(record)):
                continue
            for candidate in begun.get((record.key, record.asked), ()):
                if self._complete(candidate, record, run):
                    kept[record.key] = candidate.id
                    self.summary.completed += 1
                    break
            else:
                tags = {**run.tags, ORIGIN: self.origin, **record.marks, FINGERPRINT: record.fingerprint}
                new[record.key] = dataclasses.replace(run, tags=tags)
        made = self.store.add(experiment, list(new.values())) if new else []
        self.summary.new += len(made)
        return kept | dict(zip(new, made, strict=True))

    def _worked_out(self, record: Record) -> Run | None:
        """Return the run that shows a record, or None where the record turns out damaged, which is then told."""
        try:
            return record.show()
        except (DlmError, OSError, KeyError, TypeError, ValueError) as error:
            self.found.faults.append(f"{record.source}: {error}")
            return None

    def _complete(self, begun: Seen, record: Record, run: Run) -> bool:
        """Add what an unfinished run lacks; False where it holds values or params that the record does not."""
        if not self.store.params(begun.id).items() <= run.params.items():
            return False
        wanted = {(point.key, point.step): point.value for point in run.points}
        has = self.store.history(begun.id, list(dict.fromkeys(point.key for point in run.points)))
        if not has.items() <= wanted.items():
            return False
        missing = tuple(point for point in run.points if (point.key, point.step) not in has)
        self.store.log(begun.id, missing, run.params, {**run.tags, FINGERPRINT: record.fingerprint})
        self.store.end(begun.id, "FINISHED", run.ended)
        return True

    def _clear(self, mine: Iterable[Seen], kept: dict[str, str], damaged: set[str]) -> None:
        """Put this clone's runs away whose record changed or is gone; a training that goes on stays."""
        for run in mine:
            key, source = run.tags.get(KEY, ""), run.tags.get(SOURCE, "")
            if run.id == kept.get(key) or key in damaged:
                continue
            if FINGERPRINT not in run.tags and run.began > self._written(source):
                if run.status == "RUNNING" and source and not self._goes_on(source):
                    self.store.end(run.id, "KILLED", _now())
                    self.summary.killed += 1
                continue
            if source not in self.found.sources:
                continue
            self.store.delete(run.id, (SUPERSEDED_BY, kept.get(key, "nothing")))
            self.summary.removed += 1

    def _written(self, source: str) -> int:
        """Return when a record's file was written, in milliseconds since 1970; 0 where it is not there (any more)."""
        try:
            return round((self.root / source).stat().st_mtime * 1000)
        except OSError:
            return 0

    def _goes_on(self, source: str) -> bool:
        """Whether somebody makes the product that the file ``source`` is of."""
        from dlm.params.layout import Layout

        _, scale, step, *name, _ = Path(source).parts
        return is_held(Layout(scale, self.root).lock(step, "/".join(name)))


def _now() -> int:
    return round(1000 * time.time())


def _unfinished(runs: Iterable[Seen]) -> dict[_Asked, list[Seen]]:
    """Return the runs that a record of the same key, made of the same, would finish."""
    found: dict[_Asked, list[Seen]] = defaultdict(list)
    for run in runs:
        if FINGERPRINT not in run.tags and KEY in run.tags and ASKED in run.tags:
            found[run.tags[KEY], run.tags[ASKED]].append(run)
    return found
