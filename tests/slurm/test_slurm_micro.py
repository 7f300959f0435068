"""The micro Table 1 on SLURM, by the command of a fresh clone."""

from __future__ import annotations

from pathlib import Path

import pytest
from slurm_cluster import Cluster
from slurm_runs import copy_of, make_table

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(3000)]


def test_the_table_made_on_slurm_is_the_local_one(
    idle: Cluster, micro_run: Path, tmp_path: Path, repository: Path
) -> None:
    before = len(idle.jobs())
    table = make_table(copy_of(repository, tmp_path), idle.environment, "--profile", "slurm")
    assert table.read_bytes() == micro_run.read_bytes()
    states = [state for _, state, _ in idle.jobs()[before:]]
    assert set(states) == {"COMPLETED"}
    assert len(states) > 30  # every job but the publishing
