"""What is said of jobs that wait in vain: once, with what mends it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from snakemake_executor_plugin_submitit.hindrances import Hindrances, advice
from snakemake_executor_plugin_submitit.journal import Entry
from snakemake_executor_plugin_submitit.verdicts import Sighting

ENTRY = Entry("train.a-1", "slurm", ("a.txt",), "digest", "", 0.0, "17")


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("PartitionTimeLimit", "less runtime"),
        ("QOSMaxWallDurationPerJobLimit", "less runtime"),
        ("JobHeldUser", "`scontrol release {job_id}`"),
        ("job_requeued_in_held_state", "`scontrol release {job_id}`"),
        ("launch failed requeued held", "`scontrol release {job_id}`"),
        ("JobHoldMaxRequeue", "`scontrol release {job_id}`"),
        ("JobHeldAdmin", "an administrator"),
        ("DependencyNeverSatisfied", "`scancel {job_id}`"),
        ("QOSMaxGRESPerJob", "gpu"),
        ("AssocGrpCPUMinutesLimit", "slurm_account"),
        ("InvalidQOS", "slurm_qos"),
        ("PartitionNodeLimit", "nodes"),
        ("ReqNodeNotAvail, Reserved for maintenance", "less runtime"),
    ],
)
def test_a_job_that_may_wait_for_ever_is_spoken_of(reason: str, words: str) -> None:
    assert words in (advice(Sighting("17", "PENDING", reason=reason)) or "")


@pytest.mark.parametrize(
    "reason",
    [
        *("None", "Priority", "Resources", "BeginTime", "Dependency", "JobArrayTaskLimit", "Licenses", "Reservation"),
        *("QOSMaxJobsPerUserLimit", "AssocGrpCpuLimit", "AssocGrpNodeLimit", "AssocGrpCPURunMinutesLimit"),
    ],
)
def test_a_job_that_waits_for_its_turn_is_not(reason: str) -> None:
    assert advice(Sighting("17", "PENDING", reason=reason)) is None


def test_a_job_that_runs_waits_for_nothing() -> None:
    assert advice(Sighting("17", "RUNNING", reason="JobHeldUser")) is None
    assert advice(Sighting("17", "REQUEUE_HOLD")) is not None


def test_it_is_said_once_and_of_an_array_in_one_line() -> None:
    hindrances = Hindrances()
    seen = {ENTRY.key: Sighting("17", "PENDING", reason="PartitionTimeLimit")}
    assert hindrances.news("SLURM", [ENTRY], seen) == [
        "SLURM job 17 (train.a-1) waits, PENDING: PartitionTimeLimit; it asks for more time than it may have: "
        "less runtime, or another slurm_partition. Still waiting."
    ]
    assert hindrances.news("SLURM", [ENTRY], seen) == []
    held = {ENTRY.key: Sighting("17", "PENDING", reason="JobHeldUser")}
    assert len(hindrances.news("SLURM", [ENTRY], held)) == 1
    tasks = [replace(ENTRY, name="part-2", task=task) for task in range(3)]
    seen = {task.key: Sighting(f"18_{task.task}", "PENDING", reason="JobHeldUser") for task in tasks}
    assert hindrances.news("SLURM", tasks, seen) == [
        "SLURM array 18 (part-2): 3 wait, PENDING: JobHeldUser; `scontrol release 18` lets it go on. Still waiting."
    ]
