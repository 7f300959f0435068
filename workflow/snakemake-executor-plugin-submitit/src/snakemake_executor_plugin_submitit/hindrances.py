"""Jobs that wait for more than their turn: held ones, and those that ask for what they are not going to get."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from snakemake_executor_plugin_submitit.journal import Entry
from snakemake_executor_plugin_submitit.verdicts import Sighting

# States of a job that has not begun.
WAITING = {"PENDING", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
# SLURM's reasons for which waiting alone may be in vain, and what mends them; the first that matches. Reasons that pass
# by themselves (Priority, Resources, limits on how much of a user or group may run at a time) are in none.
REASONS = tuple(
    (re.compile(pattern, re.IGNORECASE), advice)
    for pattern, advice in (
        ("JobHeldAdmin", "an administrator holds it and has to release it"),
        ("held|hold|SPECIAL_EXIT", "`scontrol release {job_id}` lets it go on"),
        ("DependencyNeverSatisfied", "what it depends on will not come: `scancel {job_id}`, and change slurm_extra"),
        ("TimeLimit|MaxWall", "it asks for more time than it may have: less runtime, or another slurm_partition"),
        ("PartitionNodeLimit|BadConstraints|NodeConfig", "no nodes are so: nodes, gpu, mem_mb, slurm_constraint"),
        ("Per(Job|Node)|QOSMin", "one job may not ask for that: gpu, nodes, cores, mem_mb, slurm_qos"),
        ("(?<!Run)Minutes|Billing", "the time that was granted is used up: another slurm_account or slurm_qos"),
        ("NotAllowed|InvalidAccount|InvalidQOS", "it may not run so: slurm_partition, slurm_account, slurm_qos"),
        ("Partition(Down|Inactive)", "its partition starts no jobs now: another slurm_partition"),
        ("ReqNodeNotAvail|DOWN, DRAINED", "its nodes are down or reserved: less runtime may fit in before"),
    )
)


class Hindrances:
    """What keeps jobs from starting, each said once."""

    def __init__(self) -> None:
        self.said: set[tuple[str, str]] = set()

    def news(self, title: str, entries: Iterable[Entry], seen: Mapping[str, Sighting]) -> list[str]:
        """A line for each job that is newly found to wait in vain; one for all such tasks of an array."""
        together: dict[tuple[str, str], list[Sighting]] = {}
        for entry in entries:
            sighting = seen.get(entry.key)
            if sighting is not None and advice(sighting) and (entry.key, sighting.reason) not in self.said:
                self.said.add((entry.key, sighting.reason))
                together.setdefault((entry.name, sighting.reason), []).append(sighting)
        return [line(title, name, sightings) for (name, _), sightings in together.items()]


def advice(sighting: Sighting) -> str | None:
    """What lets a waiting job start; None: that it waits is nothing unusual."""
    if sighting.state not in WAITING:
        return None
    words = f"{sighting.state} {sighting.reason}"
    return next((text for pattern, text in REASONS if pattern.search(words)), None)


def line(title: str, name: str, sightings: list[Sighting]) -> str:
    """What is said of a job, or of tasks of one array, which wait for the same reason."""
    first = sightings[0]
    job_id = first.job_id if len(sightings) == 1 else first.job_id.partition("_")[0]
    which = f"job {job_id} ({name}) waits" if len(sightings) == 1 else f"array {job_id} ({name}): {len(sightings)} wait"
    mend = (advice(first) or "").format(job_id=job_id)
    return f"{title} {which}, {first.state}: {first.reason or 'no reason given'}; {mend}. Still waiting."
