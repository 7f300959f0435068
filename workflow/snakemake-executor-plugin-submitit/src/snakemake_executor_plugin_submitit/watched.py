"""A job that is waited for: what its result file and its cluster have said of it so far."""

from __future__ import annotations

import time
from dataclasses import dataclass

from snakemake_executor_plugin_submitit.journal import Entry, Result
from snakemake_executor_plugin_submitit.places import Place
from snakemake_executor_plugin_submitit.verdicts import Sighting, Verdict, judge

# A job writes its result before its cluster has seen it end; the cluster gets this long to say how.
LAST_WORDS_S = 15.0


@dataclass
class Watched:
    """A job that this process waits for."""

    entry: Entry
    doubted_since: float | None = None  # since when its cluster has not called it alive
    failed_since: float | None = None  # since when it is known to have failed

    def verdict(self, result: Result | None, sighting: Sighting | None, answered: bool) -> Verdict:
        """The verdict on the job, which without an answer from its cluster is up to its result file."""
        now = time.monotonic()
        if answered and sighting is not None and sighting.alive:
            self.doubted_since = None
        elif answered and self.doubted_since is None:
            self.doubted_since = now
        if result is None and not answered:
            return Verdict.RUNNING
        return judge(result, sighting, now - (self.doubted_since or now))

    def obituary(self, place: Place, sighting: Sighting | None) -> str | None:
        """How the failed job ended; None as long as its cluster may yet come to know: a result is there first."""
        self.failed_since = self.failed_since or time.monotonic()
        words = place.obituary(self.entry, sighting)
        if words is None and time.monotonic() - self.failed_since >= LAST_WORDS_S:
            return f"failed; {place.title} has not seen its end"
        return words
