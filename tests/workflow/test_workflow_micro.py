"""The whole chain at the micro scale: made, made again, and beside another scale."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from micro_project import again, published, twin
from sharing import processor_seconds

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


MAKE = (sys.executable, "-m", "snakemake", "--cores", "2", "results/tables/table1.csv")


def make(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MAKE, *arguments], cwd=project, capture_output=True, text=True, timeout=1200)


# Another scale, of one model and one task.
OTHER = """
extends: micro
title: another
tables:
  table1:
    tasks: [countdown]
    rows: [{model: llada-base, label: LLaDA-like Base}]
"""


@pytest.fixture(scope="module")
def project(micro_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return twin(micro_run, tmp_path_factory.mktemp("micro") / "first")


def test_the_table_has_eight_models_and_four_tasks(project: Path) -> None:
    rows = list(csv.DictReader(published(project).decode().splitlines()))
    assert len(rows) == 32
    assert len({row["model"] for row in rows}) == 8 and len({row["task"] for row in rows}) == 4
    for row in rows:
        assert 0 <= float(row["ci_low"]) <= float(row["value"]) <= float(row["ci_high"]) <= 1
        assert row["scale"] == "micro" and "meaningless" in row["verdict"]


def test_every_cell_has_its_lineage(project: Path) -> None:
    lineage = json.loads((project / "results" / "tables" / "table1.lineage.json").read_text())
    assert len(lineage["rows"]) == 32
    for row in lineage["rows"]:
        assert row["checkpoint"]
        assert row["what"]


def test_made_again_there_is_nothing_to_do(project: Path) -> None:
    before = published(project)
    status, printed, seconds = processor_seconds([*MAKE, "--config", "scale=micro"], project, os.environ)
    assert status == 0 and "Nothing to be done" in printed
    assert seconds < 30
    assert published(project) == before


def test_a_copy_that_was_edited_is_published_over(project: Path) -> None:
    right = published(project)
    (project / "results" / "tables" / "table1.csv").write_bytes(right.replace(b"micro", b"tiny"))
    assert make(project, "--config", "scale=micro").returncode == 0
    assert published(project) == right


def test_another_scale_and_back(project: Path) -> None:
    right = published(project)
    (project / "params" / "other.yaml").write_text(OTHER)
    done = make(project, "--config", "scale=other")
    assert done.returncode == 0
    assert "results/tables/table1.csv: withdrawn, it is not that of scale other" in done.stderr
    assert b",other," in published(project) and b",micro," not in published(project)
    assert make(project, "--config", "scale=micro").returncode == 0
    assert published(project) == right


def test_nothing_is_left_but_results_and_caches(micro_run: Path, tmp_path: Path) -> None:
    sources = {path.name for path in again(micro_run, tmp_path / "sources").iterdir()}
    assert {path.name for path in micro_run.iterdir()} <= {*sources, "results", ".snakemake", ".cache"}
    assert not list((micro_run / "results").rglob("*.part"))
    assert not list((micro_run / "results" / "micro" / "checkpoints").glob(".*"))


def test_a_new_sampler_setting_retrains_nothing(project: Path) -> None:
    path = project / "params" / "micro.yaml"
    text = path.read_text()
    path.write_text(text.replace("selector: {steps: 8}", "selector: {steps: 4}"))
    done = make(project, "-n", "--config", "scale=micro")
    path.write_text(text)
    plan = done.stdout + done.stderr
    assert "sample llada-base/1\n" in plan and "score llada-base/1\n" in plan
    assert "train " not in plan and "prepare " not in plan


def test_a_truncated_checkpoint_is_named_by_the_job_that_meets_it(project: Path) -> None:
    weights = project / "results" / "micro" / "checkpoints" / "llada-base" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-10])
    done = subprocess.run(
        [sys.executable, "-m", "dlm", "train", "llada-base-sft", "--scale", "micro"],
        cwd=project, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    weights.write_bytes(whole)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert "results/micro/checkpoints/llada-base/model.safetensors" in done.stderr and "truncated" in done.stderr


def test_a_damaged_data_line_is_named_with_its_number(project: Path) -> None:
    path = project / "results" / "micro" / "data" / "reasoning" / "train.jsonl"
    whole = path.read_text()
    lines = whole.splitlines(keepends=True)
    path.write_text("".join([*lines[:6], lines[6][:20] + "\n", *lines[7:]]))
    done = subprocess.run(
        [sys.executable, "-m", "dlm", "train", "llada-base-sft", "--scale", "micro"],
        cwd=project, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert "results/micro/data/reasoning/train.jsonl:7:" in done.stderr
    error = done.stderr.removeprefix("error: ").rstrip()

    target = "results/micro/checkpoints/llada-base-sft/manifest.json"
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--force", target, "--config", "scale=micro"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=600)
    path.write_text(whole)
    end = done.stderr[done.stderr.index("Exiting because a job execution failed") :]
    assert f"results/micro/logs/train/llada-base-sft.log: error: {error}\n" in end, "said once more where it is seen"
