"""DVC, for real: made, made again, changed, pushed and pulled, in git clones; Snakemake agrees each time."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from dvc_project import commit, run
from micro_project import TARGET, copy_of, published, twin

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

# The micro chain with one family, before and after finetuning, on one task: each step runs, none twice for the same.
SCALE = """
extends: micro
title: Two models, one task
tables:
  table1:
    tasks: [countdown]
    rows:
      - {model: llada-base, label: LLaDA-like Base, stage: before SFT}
      - {model: llada-base-sft, label: LLaDA-like Base, stage: after SFT}
"""
FEWER_STEPS = "samplers: {answer48: {selector: {steps: 4}}}\n"
MORE_TRAINING = "recipes: {sft_reasoning: {steps: 9}}\n"
EVALUATED_AGAIN = {
    "sample llada-base/1", "sample llada-base-sft/1", "score llada-base/1", "score llada-base-sft/1", "table table1",
    "publish table1 at scale small",
}  # fmt: skip


def jobs(project: Path, scale: str = "small") -> set[str]:
    """The jobs that Snakemake would run for the table, by their messages."""
    plan = run(project, "snakemake", "-n", TARGET, "--config", f"scale={scale}")
    return set(re.findall(r"^Job \d+: (.+)$", plan, re.MULTILINE))


def skipped(printed: str) -> set[str]:
    return set(re.findall(r"Stage '(\w+)' didn't change, skipping", printed))


def manifests(project: Path, step: str) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in (project / "results/small" / step).rglob("manifest.json")}


def settings(project: Path, text: str) -> None:
    (project / "params" / "small.yaml").write_text(SCALE + text)


@pytest.fixture(scope="module")
def made(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which `dvc repro` has made the table."""
    folder = tmp_path_factory.mktemp("dvc")
    (folder / "home").mkdir()
    project = copy_of(repository, folder / "first")
    settings(project, "")
    stages = project / "dvc.yaml"
    stages.write_text(stages.read_text().replace("scale: tiny", "scale: small"))
    run(project, "git", "init", "-q")
    commit(project)
    run(project, "dvc", "repro")
    return project


@pytest.fixture(scope="module")
def pushed(made: Path) -> Path:
    """The same, pushed to a folder, with what git has to carry committed."""
    project = twin(made, made.with_name("pushed"))
    run(project, "dvc", "remote", "add", "--default", "store", str(made.with_name("store")))
    commit(project)
    run(project, "dvc", "push")
    return project


@pytest.fixture
def clone(pushed: Path, tmp_path: Path) -> Path:
    """Another clone, with nothing but what git carries."""
    (tmp_path / "home").mkdir()
    run(tmp_path, "git", "clone", "-q", str(pushed), "clone")
    return tmp_path / "clone"


def test_a_fresh_clone_makes_the_table(made: Path) -> None:
    assert published(made).count(b"\n") == 3
    assert run(made, "git", "status", "--porcelain") == "?? dvc.lock\n"
    assert not list((made.parent / "home").iterdir()), "something was written outside the clone"
    assert not (made / ".dvc" / "tmp" / "analytics").exists()


def test_what_is_unfinished_is_not_stored(made: Path) -> None:
    listed = [json.loads(path.read_text()) for path in (made / ".dvc/cache").rglob("*.dir")]
    names = {entry["relpath"] for folder in listed for entry in folder}
    assert "llada-base/model.safetensors" in names and "llada-base/.made.json" in names
    assert not [name for name in names if ".work" in name or name.endswith((".part", ".log"))]


def test_again_there_is_nothing_to_do(made: Path) -> None:
    printed = run(made, "dvc", "repro")
    assert skipped(printed) == {"plan", "data", "checkpoints", "curves", "responses", "tables"}
    assert jobs(made) == set()


def test_a_sampler_setting_retrains_nothing(made: Path, tmp_path: Path) -> None:
    project = twin(made, tmp_path / "clone")
    commit(project)
    before = manifests(project, "checkpoints")
    settings(project, FEWER_STEPS)
    assert "samplers" in run(project, "dvc", "status")
    changed = run(project, "dvc", "params", "diff")
    assert "params/small.yaml" in changed and "samplers.answer48.selector.steps" in changed
    assert "recipes" not in changed, "what stayed is not listed"
    assert jobs(project) == EVALUATED_AGAIN
    assert skipped(run(project, "dvc", "repro")) == {"data", "checkpoints", "curves"}
    assert manifests(project, "checkpoints") == before
    assert jobs(project) == set()
    metrics = run(project, "dvc", "metrics", "show")
    assert "llada-base-sft.countdown.answer48.value" in metrics and "llada-base.countdown.answer48.stderr" in metrics
    for path in (project / "results/small/responses").rglob("manifest.json"):
        [cell] = json.loads(path.read_text())["made_from"]["settings"]
        assert cell["sampler"]["selector"]["steps"] == 4
    # Products of an earlier commit in the place of those that Snakemake made here.
    commit(project)
    run(project, "git", "checkout", "-q", "HEAD~", "--", "dvc.lock")
    run(project, "dvc", "checkout", "--force")
    assert jobs(project) == EVALUATED_AGAIN
    settings(project, "")
    assert jobs(project) == set()


def test_another_clone_gets_the_table_and_makes_nothing(made: Path, clone: Path) -> None:
    run(clone, "dvc", "pull")
    assert published(clone) == published(made)
    assert jobs(clone) == set()
    assert skipped(run(clone, "dvc", "repro")) == {"plan", "data", "checkpoints", "curves", "responses", "tables"}
    assert run(clone, "git", "status", "--porcelain") == ""
    assert not (clone / "results/small/logs").exists(), "a job ran"
    assert {"train llada-base", "publish table1 at scale micro"} < jobs(clone, "micro"), "another scale's is no table"


def test_pulled_products_that_do_not_fit_are_made_again(clone: Path) -> None:
    run(clone, "dvc", "pull")
    settings(clone, MORE_TRAINING)
    tuned = {"train llada-base-sft", "sample llada-base-sft/1", "score llada-base-sft/1"}
    assert jobs(clone) == tuned | {"table table1", "publish table1 at scale small"}
    settings(clone, FEWER_STEPS)
    assert jobs(clone) == EVALUATED_AGAIN
    settings(clone, "")
    (clone / "results/small/checkpoints/llada-base/.made.json").unlink()
    assert "train llada-base" in jobs(clone)


def test_a_change_of_code_makes_its_products_again_unless_they_are_accepted(clone: Path) -> None:
    run(clone, "dvc", "pull")
    for name, text in (("analysis/tables.py", '"""Words."""\n'), ("training/trainer.py", "NEUTRAL = True\n")):
        with open(clone / "dlm" / name, "a") as stream:
            stream.write(text)
    assert {job for job in jobs(clone) if "train" in job} == {"train llada-base", "train llada-base-sft"}
    assert "accept: 2 products" in run(clone, "dlm", "accept", "--scale", "small")
    assert jobs(clone) == set()
    printed = run(clone, "dvc", "repro")
    assert skipped(printed) == {"data"} and not re.search(r"^Job ", printed, re.MULTILINE)
    assert run(clone, "dvc", "status").strip() == "Data and pipelines are up to date."


def test_with_the_checkpoints_alone_nothing_is_trained(clone: Path) -> None:
    run(clone, "dvc", "pull", "checkpoints")
    assert jobs(clone) == EVALUATED_AGAIN | {"prepare countdown"}
