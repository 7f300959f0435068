"""The micro Table 1 on SLURM, by the command of a fresh clone, whatever happens to Snakemake in between."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest
from micro_project import TARGET, again, command, make_table
from slurm_cluster import Cluster
from slurm_toy import eventually

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(3000)]

STAGES = ("prepare", "train", "convert", "sample", "score")


def kill_within(stage: str, folder: Path, cluster: Cluster) -> str:
    """Start Snakemake, kill it alone while a job of the stage runs; return what it printed."""

    def runs() -> bool:
        assert process.poll() is None, printed.read_text()
        return any(state == "RUNNING" and name.startswith(f"{stage}.") for _, state, name in cluster.jobs())

    printed = folder / f"killed-{stage}"
    with open(printed, "wb") as stream:
        process = subprocess.Popen(
            command("--profile", "slurm"), cwd=folder, env=dict(cluster.environment), stdout=stream, stderr=stream
        )
    try:
        # from the second start on it has to be attached before it is killed again
        eventually(lambda: stage == STAGES[0] or "SLURM job" in printed.read_text(), 60)
        eventually(runs, 400, pause=1)
    finally:
        process.kill()
        process.wait()
    return printed.read_text()


def test_the_table_made_on_slurm_is_the_local_one(idle: Cluster, micro_run: Path, tmp_path: Path) -> None:
    """Killed once in each stage, started again by the same command: no job runs twice, the table is the same."""
    before = len(idle.jobs())
    folder = again(micro_run, tmp_path / "clone")
    printed = [kill_within(stage, folder, idle) for stage in STAGES]
    table = make_table(folder, idle.environment, "--profile", "slurm")
    assert table.read_bytes() == (micro_run / TARGET).read_bytes()
    assert all("Attached to SLURM job" in text for text in printed[1:])
    jobs = idle.jobs()[before:]
    assert {state for _, state, _ in jobs} == {"COMPLETED"}
    times = Counter(name.rpartition("-")[0] for _, _, name in jobs)
    assert set(times.values()) == {1}, times
    assert len(times) > 30  # every job but the publishing
