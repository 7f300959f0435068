"""Whether a job still runs, ended well or failed: from its result file and from what its cluster says of it."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from snakemake_executor_plugin_submitit.journal import Result

# What SLURM calls a job that has come to its end. All else (it waits, it runs, it is between two states) is alive, what
# a later SLURM may call it included: to wait for a job in vain is better than to start another beside it.
NOT_ON_ITS_OWN = {"BOOT_FAIL", "CANCELLED", "DEADLINE", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"}
ENDED = {"COMPLETED", "FAILED"} | NOT_ON_ITS_OWN
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
    exit_code: str = ""  # SLURM's `status:signal`
    reason: str = ""  # why it waits, where it does

    @property
    def alive(self) -> bool:
        return self.state not in ENDED


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
