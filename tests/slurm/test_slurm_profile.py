"""The profile `slurm`, as a fresh clone has it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from micro_project import copy_of
from slurm_cluster import Cluster
from snakemake_executor_plugin_submitit.resources import TABLE


def test_the_profile_is_found_and_plans_the_table(repository: Path, tmp_path: Path) -> None:
    folder = copy_of(repository, tmp_path)
    command = [str(Path(sys.executable).parent / "snakemake"), "--profile", "slurm", "-n", "results/tables/table1.csv"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "Using profiles slurm and workflow specific profile profiles/default" in done.stderr
    assert "publish table1 at scale tiny" in done.stdout + done.stderr


@pytest.mark.slurm
def test_the_profile_submits_with_what_it_says(idle: Cluster, repository: Path, tmp_path: Path) -> None:
    folder, target = copy_of(repository, tmp_path), "results/micro/data/sudoku/manifest.json"
    command = [str(Path(sys.executable).parent / "snakemake"), "--profile", "slurm", target, "--config", "scale=micro"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, env=dict(idle.environment)
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / target).exists()
    name, *asked = idle.jobs("%j|%T|%P|%m|%l|%C")[-1]
    assert name.startswith("prepare.sudoku-")
    assert asked == ["COMPLETED", "gpu", "4000M", "1:00:00", "1"]


def test_the_profile_speaks_of_rules_and_resources_that_exist(repository: Path) -> None:
    profile = yaml.safe_load((repository / "slurm" / "config.yaml").read_text())
    text = "".join(path.read_text() for path in (repository / "workflow" / "rules").glob("*.smk"))
    known = {row.resource for row in TABLE}
    for rule, resources in profile["set-resources"].items():
        assert f"\nrule {rule}:\n" in text
        assert set(resources) <= known
    assert set(profile["default-resources"]) <= known
