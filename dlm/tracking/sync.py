"""Make a store show what the records say: no more, no less, and nothing twice."""

from __future__ import annotations

import dataclasses
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dlm.errors import DlmError
from dlm.progress import Progress, say
from dlm.tracking.experiments import tags_of_experiment
from dlm.tracking.place import artifact_root, one_at_a_time, origin, shown, tracking_uri
from dlm.tracking.records import Found, read_records
from dlm.tracking.view import ASKED, FINGERPRINT, KEY, ORIGIN, SOURCE, SUPERSEDED_BY, Record, Run

if TYPE_CHECKING:
    from dlm.tracking.store import Seen, Store

_MANY = 100  # runs: from here on a person wants to see progress


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
    removed: int = 0
    """Runs put into the bin: their record changed or is gone, or another run shows the same."""
    seconds: float = 0.0
    experiments: dict[str, str] = field(default_factory=dict)
    """Ids of the experiments, by name."""

    def __str__(self) -> str:
        done = [f"{count} {word}" for word in ("new", "completed", "removed") if (count := getattr(self, word))]
        return f"{self.shown} runs in {self.where}: {', '.join(done) or 'nothing changed'} ({self.seconds:.1f} s)"


def sync(root: Path, scales: Sequence[str] = ()) -> Summary:
    """Show every training and evaluation under ``root`` in MLflow.

    A record that is shown already is left alone; one that changed gets a new run, and the old one goes to MLflow's bin;
    a run that was begun and not finished, by a killed sync or by a training that logged live, is finished. Files that
    cannot be read are named and left out.

    Args:
        root: of the project.
        scales: whose records; all that have any where none is named.

    Raises:
        RemoteError: the store cannot be reached or refuses; what was done stays, and the next sync goes on from there.
        DataError: no results of a scale that was asked for.
    """
    began, root = time.monotonic(), root.resolve()
    uri = tracking_uri(root)
    summary = Summary(where=shown(uri))
    with one_at_a_time(root):
        found = read_records(root, scales)
        if found.records:
            from dlm.tracking.store import Store

            _Sync(Store(uri, artifacts=artifact_root(root)), origin(root), found, summary, root).run()
    for fault in found.faults:
        say(f"runs sync: left out: {fault}")
    summary.seconds = time.monotonic() - began
    return summary


class _Sync:
    def __init__(self, store: Store, origin: str, found: Found, summary: Summary, root: Path) -> None:
        self.store, self.origin, self.found, self.summary, self.root = store, origin, found, summary, root

    def run(self) -> None:
        """Go through the experiments."""
        by_experiment: dict[str, list[Record]] = defaultdict(list)
        for record in self.found.records:
            by_experiment[record.experiment].append(record)
        for name, records in by_experiment.items():
            experiment = self.store.experiment(name, tags_of_experiment(name, self.root))
            self.summary.experiments[name] = experiment
            self._experiment(experiment, name, records, list(self.store.runs(experiment)))

    def _experiment(self, experiment: str, name: str, records: list[Record], seen: list[Seen]) -> None:
        showing = {run.tags[FINGERPRINT]: run for run in reversed(seen) if FINGERPRINT in run.tags}
        mine = [run for run in seen if run.tags.get(ORIGIN) == self.origin]
        kept: dict[str, str] = {}
        todo = [record for record in records if record.fingerprint not in showing]
        for record in records:
            if run := showing.get(record.fingerprint):
                kept[record.key] = run.id
                if run.status != "FINISHED":
                    self.store.end(run.id, "FINISHED", self._written(record.source))
                    self.summary.completed += 1
        with Progress(f"runs sync {name}", len(todo), "runs") if len(todo) > _MANY else nullcontext() as progress:
            for record in todo:
                if made := self._show(experiment, record, [run for run in mine if _begun_for(record, run)]):
                    kept[record.key] = made
                if progress:
                    progress.advance()
        self.summary.shown += len(kept)
        self._clear(mine, kept, {record.key for record in records} - kept.keys())

    def _show(self, experiment: str, record: Record, begun: list[Seen]) -> str | None:
        """Bring a record into the store; return the run, or None where the record turns out damaged."""
        try:
            run = record.show()
        except (DlmError, OSError, KeyError, TypeError, ValueError) as error:
            self.found.faults.append(f"{record.source}: {error}")
            return None
        for candidate in begun:
            if self._complete(candidate, record, run):
                self.summary.completed += 1
                return candidate.id
        made = self.store.create(experiment, run.name, run.began, {ORIGIN: self.origin, **record.marks})
        self._fill(made, record, run)
        self.summary.new += 1
        return made

    def _complete(self, begun: Seen, record: Record, run: Run) -> bool:
        """Add what an unfinished run lacks; False where it holds values that the record does not."""
        wanted = {(point.key, point.step): point.value for point in run.points}
        has = self.store.history(begun.id, list(dict.fromkeys(point.key for point in run.points)))
        if any(wanted.get(place) != value for place, value in has.items()):
            return False
        missing = tuple(point for point in run.points if (point.key, point.step) not in has)
        self._fill(begun.id, record, dataclasses.replace(run, points=missing))
        return True

    def _fill(self, made: str, record: Record, run: Run) -> None:
        self.store.log(made, run.points, run.params, {**run.tags, FINGERPRINT: record.fingerprint})
        self.store.end(made, "FINISHED", run.ended)

    def _clear(self, mine: Iterable[Seen], kept: dict[str, str], damaged: set[str]) -> None:
        """Put this clone's runs away whose record changed or is gone; a training that goes on stays."""
        for run in mine:
            key, source = run.tags.get(KEY, ""), run.tags.get(SOURCE, "")
            if run.id == kept.get(key) or source not in self.found.sources or key in damaged:
                continue
            if run.status == "RUNNING" and FINGERPRINT not in run.tags and run.began > self._written(source):
                continue
            self.store.delete(run.id, (SUPERSEDED_BY, kept.get(key, "nothing")))
            self.summary.removed += 1

    def _written(self, source: str) -> int:
        """Return when a record's file was written, in milliseconds since 1970."""
        return round((self.root / source).stat().st_mtime * 1000)


def _begun_for(record: Record, run: Seen) -> bool:
    """Whether an unfinished run is one that the record finishes."""
    same = run.tags.get(KEY) == record.key and run.tags.get(ASKED) == record.asked
    return same and FINGERPRINT not in run.tags
