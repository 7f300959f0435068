"""Whether a job still runs, ended well or failed: from its result file and from what its cluster says of it."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from snakemake_executor_plugin_submitit.journal import Result

# What SLURM calls a job that has not come to its end: one that waits or runs, and one between two states.
WAITS_OR_RUNS = {"PENDING", "RUNNING", "SUSPENDED", "STOPPED", "SPECIAL_EXIT", "REQUEUE_HOLD"}
IN_BETWEEN = {"CONFIGURING", "COMPLETING", "REQUEUED", "REQUEUE_FED", "RESIZING", "SIGNALING", "STAGE_OUT"}
ALIVE = WAITS_OR_RUNS | IN_BETWEEN
# Ends after which something may still come: a result file on a slow file system, a requeued job.
HESITANT = frozenset({"COMPLETED", "NODE_FAIL", "PREEMPTED"})
HESITATION_S = 30.0
# A job the cluster does not know: it has been forgotten some time after its end, or never got there.
VANISHED_S = 3.0


class Sighting(NamedTuple):
    """A job as its cluster shows it."""

    job_id: str
    state: str
    node: str = ""

    @property
    def alive(self) -> bool:
        return self.state in ALIVE


class Verdict(Enum):
    RUNNING = "running"
    GOOD = "good"
    FAILED = "failed"


def judge(result: Result | None, sighting: Sighting | None, doubt_s: float) -> Verdict:
    """The verdict on a job about which its cluster has answered; `doubt_s`: how long it has not looked alive."""
    if result is not None:
        return Verdict.GOOD if result.good else Verdict.FAILED
    if sighting is None:
        return Verdict.FAILED if doubt_s >= VANISHED_S else Verdict.RUNNING
    if sighting.alive:
        return Verdict.RUNNING
    patience = HESITATION_S if sighting.state in HESITANT else 0.0
    return Verdict.FAILED if doubt_s >= patience else Verdict.RUNNING
