"""kill -9 in the midst of each stage, then the same plain command: the work goes on, and the table is the same."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from micro_project import again, cells, keep_rows, published, twin
from workflow_kills import Project, is_locked, stopped, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

STAGES = ("prepare", "train", "sample", "score")
RECIPES = ("pretrain_mdlm", "sft_reasoning")
MODELS = ("llada-base", "llada-base-sft")
CORES = 3
MAKE = ["make", "-o", "env", "table1", "SCALE=micro", f"CORES={CORES}"]


def save_often(root: Path) -> None:
    """Let trainings save their state at every step: it changes no weight, so the table stays comparable."""
    path = root / "params" / "micro.yaml"
    text = path.read_text()
    for recipe in RECIPES:
        assert f"  {recipe}: {{" in text
        text = text.replace(f"  {recipe}: {{", f"  {recipe}: {{checkpoint_seconds: 0.0, ")
    path.write_text(text)


def kill_all_within(stage: str, project: Project) -> str:
    """Kill the whole process group within the work of a stage; return the product that was interrupted.

    The work of so small a scale takes seconds, so it may just have been finished when the signal came: then the next
    product of the stage is tried.
    """
    for _ in range(4):
        process = project.start()
        try:
            name: str = wait_for(lambda: project.begun(stage), process, project.root / "printed")
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        wait_for(lambda name=name: not is_locked(project.lock(stage, name)), None, project.root / "printed")
        if not project.is_done(stage, name):
            return name
    raise AssertionError(f"{stage}: finished before it could be killed, four times")


def test_killed_in_each_stage_the_same_command_goes_on(micro_run: Path, tmp_path: Path) -> None:
    """In another clone, with another number of jobs side by side: data, weights and table are the same bytes."""
    whole, project = Project(micro_run), Project(again(micro_run, tmp_path / "killed"), CORES)
    save_often(project.root)
    keep_rows(project.root, MODELS)
    interrupted, kept = {}, {}
    bundles = [
        f"{path.parent.name}/{path.name}"
        for model in MODELS
        for path in (whole.results / "responses" / model).iterdir()
    ]
    project.whole = {name: len(whole.answers(name)) for name in bundles}
    for stage in STAGES:
        name = interrupted[stage] = kill_all_within(stage, project)
        assert not (project.root / "results" / "tables" / "table1.csv").exists()
        if stage == "sample":
            kept = {name: project.answers(name)}
            assert 0 < len(kept[name]) < len(whole.answers(name)), "some, not all"

    printed = project.finish(MAKE, {"VIRTUAL_ENV": sys.prefix})

    assert "results/tables/table1.md" in printed
    assert cells(project.root, MODELS) == cells(micro_run, MODELS) and len(cells(project.root, MODELS)) == 8
    assert {*project.digests("checkpoints")} == {*MODELS}
    for step in ("data", "checkpoints"):
        assert project.digests(step).items() <= whole.digests(step).items()
    assert f"train {interrupted['train']}: continues at " in project.log("train", interrupted["train"])
    for name, lines in kept.items():
        assert set(lines) <= set(project.answers(name)), "what was recorded is still there"
    for name in bundles:
        asked = [json.loads(line)["prompt"] for line in project.answers(name)]
        assert asked == [json.loads(line)["prompt"] for line in whole.answers(name)], "each asked once, in one order"
    assert project.leftovers() == []
    assert "Nothing to be done" in project.finish()


def kill_snakemake_alone(stage: str, name: str, project: Project) -> int:
    """Kill Snakemake while its job makes a product; return the job's process, which lives on."""
    process = project.start()
    try:
        wait_for(lambda: project.maker(stage, name), process, project.root / "printed")
        wait_for(lambda: stage != "sample" or project.begun(stage) == name, process, project.root / "printed")
    finally:
        process.kill()
        process.wait()
    job = project.maker(stage, name)
    assert job is not None, "the job went on without its Snakemake"
    return job


@pytest.mark.parametrize("stage", ["train", "sample"])
def test_a_job_that_outlived_its_snakemake_is_waited_for(stage: str, micro_run: Path, tmp_path: Path) -> None:
    whole, project = Project(micro_run), Project(twin(micro_run, tmp_path / "orphaned"))
    model = "dream-base-sft"
    name = model if stage == "train" else f"{model}/1"
    steps = ("checkpoints", "responses", "scores") if stage == "train" else ("responses", "scores")
    for step in steps:
        shutil.rmtree(project.results / step / model)
    # Snakemake asks for nothing behind a table that is there.
    for tables in (project.results / "tables", project.root / "results" / "tables"):
        shutil.rmtree(tables)

    job = kill_snakemake_alone(stage, name, project)
    with stopped(job):
        assert not project.is_finished(stage, name)
        second = project.start()
        told = f"being made by process {job} on "
        wait_for(lambda: told in project.log(stage, name), second, project.root / "printed")
        assert not project.is_finished(stage, name) and project.maker(stage, name) == job
    assert second.wait(1500) == 0, (project.root / "printed").read_text()

    assert published(project.root) == published(micro_run)
    assert project.digests("checkpoints") == whole.digests("checkpoints")
    log = project.log(stage, name)
    if stage == "train":
        assert "made meanwhile, from the same data, settings and code" in log
    else:
        assert "4 cells recorded\n" in log and " requests, " not in log, "the second found all of it recorded"
    assert len(project.answers(f"{model}/1")) == len(whole.answers(f"{model}/1")), "nothing was asked twice"
    assert project.leftovers() == []
