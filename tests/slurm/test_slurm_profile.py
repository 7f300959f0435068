"""The profile `slurm`, as a fresh clone has it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
import yte
from micro_project import copy_of
from slurm_cluster import Cluster
from slurm_toy import eventually
from snakemake_executor_plugin_submitit.resources import TABLE


def test_the_profile_is_found_and_plans_the_table(repository: Path, tmp_path: Path) -> None:
    folder = copy_of(repository, tmp_path)
    command = [str(Path(sys.executable).parent / "snakemake"), "--profile", "slurm", "-n", "results/tables/table1.csv"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert "Using profiles slurm and workflow specific profile profiles/default" in done.stderr
    assert "publish table1 at scale tiny" in done.stdout + done.stderr


@pytest.mark.parametrize(("scale", "minutes"), [("tiny", 60), ("paper", 1440)])
def test_the_scale_says_for_how_long_a_training_asks(
    repository: Path, monkeypatch: pytest.MonkeyPatch, scale: str, minutes: int
) -> None:
    """Not the number of cores that a job may have, which `--cores` bounds."""
    monkeypatch.setattr(sys, "argv", ["snakemake", "--config", f"scale={scale}"])
    with open(repository / "slurm" / "config.yaml") as stream:
        asked = yte.process_yaml(stream, require_use_yte=True)["set-resources"]
    assert [asked[rule]["runtime"] for rule in ("train", "sample", "shard")] == [minutes] * 3


@pytest.mark.parametrize(("profile", "cores"), [("slurm", ""), ("", " --cores 3")])
def test_cores_are_given_where_no_profile_is_named(repository: Path, profile: str, cores: str) -> None:
    """`--cores` beside a profile for a cluster would bound the cores of the jobs there."""
    environment = {**os.environ, "SNAKEMAKE_PROFILE": profile}
    make = ["make", "-n", "-o", "env", "table1", "CORES=3"]
    printed = subprocess.run(make, cwd=repository, env=environment, capture_output=True, text=True, check=True).stdout
    assert re.search(r"snakemake +(.*?) *results/tables/table1.csv", printed)[1] == cores.strip()  # type: ignore[index]
    stages = yaml.safe_load((repository / "dvc.yaml").read_text())
    (word,) = [each["snakemake"] for each in stages["vars"] if "snakemake" in each]
    said = subprocess.run(["sh", "-c", f"echo {word}"], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["snakemake", *(["--cores", "all"] if cores else [])]


@pytest.mark.slurm
@pytest.mark.timeout(900)
def test_the_profile_submits_with_what_it_says(idle: Cluster, repository: Path, tmp_path: Path) -> None:
    folder, target = copy_of(repository, tmp_path), "results/micro/data/sudoku/manifest.json"
    command = [str(Path(sys.executable).parent / "snakemake"), "--profile", "slurm", target, "--config", "scale=micro"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=600, env=dict(idle.environment)
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / target).exists()
    name, *asked = idle.jobs("%j|%P|%m|%l|%C")[-1]
    assert name.startswith("prepare.sudoku-")
    assert asked == ["gpu", "4000M", "1:00:00", "1"]
    eventually(lambda: idle.jobs("%T")[-1] == ["COMPLETED"])  # which SLURM may see after the result is there


def test_the_profile_speaks_of_rules_and_resources_that_exist(repository: Path) -> None:
    profile = yaml.safe_load((repository / "slurm" / "config.yaml").read_text())
    text = "".join(path.read_text() for path in (repository / "workflow" / "rules").glob("*.smk"))
    known = {row.resource for row in TABLE}
    for rule, resources in profile["set-resources"].items():
        assert f"\nrule {rule}:\n" in text
        assert set(resources) <= known
    assert set(profile["default-resources"]) <= known
