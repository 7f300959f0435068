"""The micro Table 1 on SLURM, by the command of a fresh clone."""

from __future__ import annotations

from pathlib import Path

import pytest
from slurm_cluster import Cluster
from slurm_runs import TARGET, again, make_table

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(3000)]


def test_the_table_made_on_slurm_is_the_local_one(idle: Cluster, micro_run: Path, tmp_path: Path) -> None:
    before = len(idle.jobs())
    table = make_table(again(micro_run, tmp_path / "clone"), idle.environment, "--profile", "slurm")
    assert table.read_bytes() == (micro_run / TARGET).read_bytes()
    states = [state for _, state, _ in idle.jobs()[before:]]
    assert set(states) == {"COMPLETED"}
    assert len(states) > 30  # every job but the publishing
