"""Whose lock is released at a start (workflow/rules/locks.smk)."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from slurm_toy import Toy, eventually


def start_and_kill(toy: Toy) -> None:
    """A local run that is killed with all that it started, in the middle of a job."""
    running = toy.start("part1.txt", executor="none")
    eventually(lambda: toy.exists("runs.log"))
    os.killpg(running.process.pid, signal.SIGKILL)
    running.process.wait()
    assert locks(toy)
    toy.go()


def locks(toy: Toy) -> list[Path]:
    return list((toy.folder / ".snakemake" / "locks").glob("*"))


def claims(toy: Toy) -> list[Path]:
    return list((toy.folder / ".snakemake" / "owners").glob("*"))


def alter_claim(toy: Toy, changes: Mapping[str, object]) -> None:
    (claim,) = claims(toy)
    claim.write_text(json.dumps({**json.loads(claim.read_text()), **changes}))


def test_a_dead_owners_lock_is_released(local_toy: Toy) -> None:
    start_and_kill(local_toy)
    local_toy.run("part1.txt", executor="none").good()
    assert local_toy.read("part1.txt") == "1\n"
    assert locks(local_toy) == claims(local_toy) == []


def test_a_living_owners_lock_stays(local_toy: Toy) -> None:
    first = local_toy.start("part1.txt", executor="none")
    eventually(lambda: local_toy.exists("runs.log"))
    second = local_toy.run("part1.txt", executor="none")
    assert second.wait() == 1
    assert f"Snakemake runs here: process {first.process.pid} on " in second.text
    assert "Directory cannot be locked" in second.text
    assert locks(local_toy)
    local_toy.go()
    first.good()
    assert local_toy.read("runs.log") == "1\n"


def test_a_machine_that_was_started_anew_has_no_living_owners(local_toy: Toy) -> None:
    start_and_kill(local_toy)
    alter_claim(local_toy, {"boot": "an earlier one"})
    local_toy.run("part1.txt", executor="none").good()


def test_another_machines_owner_may_live(local_toy: Toy) -> None:
    start_and_kill(local_toy)
    alter_claim(local_toy, {"boot": "another", "host": "elsewhere"})
    refused = local_toy.run("part1.txt", executor="none")
    assert refused.wait() == 1
    assert "on elsewhere" in refused.text
    local_toy.run("part1.txt", "--unlock", executor="none").good()
    local_toy.run("part1.txt", executor="none").good()


def test_a_requeued_slurm_job_knows_that_its_earlier_start_is_gone(local_toy: Toy) -> None:
    """And that another run of the same start, on another node of the job, need not be."""
    local_toy.environment |= {"SLURM_JOB_ID": "17", "SLURM_CLUSTER_NAME": "c"}
    start_and_kill(local_toy)
    alter_claim(local_toy, {"boot": "another", "host": "elsewhere"})
    assert local_toy.run("part1.txt", executor="none").wait() == 1
    local_toy.environment["SLURM_RESTART_COUNT"] = "1"
    local_toy.run("part1.txt", executor="none").good()
    assert locks(local_toy) == claims(local_toy) == []
