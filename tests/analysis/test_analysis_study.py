"""A sweep's table from scores as the pipeline leaves them: what its lines say of seeds and of what is published."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from dlm.analysis.sensitivity import write_sensitivity
from dlm.files import read_json, write_json
from dlm.inspection import find_row, find_rows
from dlm.params import Plan, load_plan

ROW = {"model": "llada-instruct-sft", "label": "LLaDA", "sampler": "own"}


@pytest.fixture
def root(tmp_path: Path, repository: Path) -> Path:
    for name in ("params", "data"):
        shutil.copytree(repository / name, tmp_path / name)
    return tmp_path


def laid_out(root: Path, factors: dict[str, Any], scale: dict[str, Any], **sweep: Any) -> Plan:
    content = {"title": "mine", "factors": factors, "scales": {"tiny": {"rows": [ROW], **scale}}, **sweep}
    (root / "params" / "sweeps" / "mine.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return load_plan("tiny", root)


def score(plan: Plan, right: dict[str, int], documents: int = 20) -> None:
    """Write scores of the sweep's bundles: of each setting so many documents right, 10 passes a document."""
    for label, cells in plan.sweep("mine").bundles.items():
        found = [
            {
                "task": cell.task, "setting": cell.setting, "metric": cell.task_settings.metric, "filter": "none",
                "value": right[cell.setting] / documents, "n": documents, "weights": [1] * documents,
                "numerators": [1] * right[cell.setting] + [0] * (documents - right[cell.setting]),
                "doc_ids": list(range(documents)), "lm_eval": {"version": "0.4.13", "task_version": 1.0},
                "checkpoint": "sha", "what": f"w-{cell.setting}", "how": ["h"], "bundle": label.partition("/")[2],
                "requests": documents, "forward_passes": 10 * documents, "seconds": 0.5,
            }
            for cell in cells
        ]  # fmt: skip
        content = {"format": "dlm-scores/1", "model": label.partition("/")[0], "scale": "tiny", "cells": found}
        write_json(Path(plan.layout.manifest("scores", label)), content | {"executions": {"h": {"device": "cpu"}}})


def table(plan: Plan) -> list[dict[str, str]]:
    with write_sensitivity("mine", plan).open() as stream:
        return list(csv.DictReader(stream))


def test_a_setting_with_seeds_is_their_mean_at_the_cost_of_all_and_each_can_be_found(root: Path) -> None:
    rows = [{**ROW, "seeds": 2}]
    plan = laid_out(root, {"temperature": [0.5]}, {"rows": rows, "tasks": ["sudoku"]})
    warm = "own+temperature=0.5"
    score(plan, {"own": 10, "own@1": 14, warm: 4, f"{warm}@1": 4})
    first, second = table(plan)
    assert (first["value"], first["seeds"], first["requests"], first["forward_passes"]) == (
        "0.600000",
        "2",
        "40",
        "400",
    )
    assert second["ratio"] == "0.333333"
    parts = ["/".join(row.parts[2:]) for row in find_rows(plan.layout, "sensitivity_mine")]
    assert parts == ["own", "own@1", warm, f"{warm}@1"]
    further = find_row(plan.layout, "sensitivity_mine:llada-instruct-sft/sudoku/own@1")
    assert sum(further.cell.numerators) == 14
    (lineage, _) = read_json(plan.layout.tables / "sensitivity_mine.lineage.json")["rows"]
    assert [seed["value"] for seed in lineage["seeds"]] == [0.5, 0.7] and lineage["seconds"] == 1.0


def test_what_is_published_of_a_level_that_changes_nothing_is_shown_all_the_same(root: Path) -> None:
    """As in Figure 5: nothing is held back of LLaDA on MMLU-Pro, so that `free` is the baseline; 100 % is published."""
    rows = [{**ROW, "samplers": {"countdown": "own", "sudoku": "own_held"}, "published": "LLaDA-8B-Instruct"}]
    free = {"published": {"free": "percent_of_baseline end tokens not suppressed at the start"}}
    factor = {"levels": {"held_back": {}, "free": {"defer_tokens": []}}, **free}
    benchmarks = {"countdown": "MMLU-Pro", "sudoku": "GSM8K"}
    scale = {"rows": rows, "tasks": ["countdown", "sudoku"], "benchmarks": benchmarks}
    more = {"design": "one_at_a_time", "published": "paper_figure5_sensitivity"}
    plan = laid_out(root, {"end_tokens": factor}, scale, **more)
    score(plan, {"own": 10, "own_held": 12})
    assert [(line["task"], line["setting"], line["published_ratio"]) for line in table(plan)] == [
        ("countdown", "own", ""),
        ("sudoku", "own_held", ""),
        ("sudoku", "own", "0.400000"),
    ]
    text = (plan.layout.tables / "sensitivity_mine.md").read_text()
    assert text.count("Levels that change nothing here") == 1
    assert "`end_tokens=free` asks what `end_tokens=held_back` does (100 %; published: 100" in text
    (unmoved,) = read_json(plan.layout.tables / "sensitivity_mine.lineage.json")["unmoved"]
    assert (unmoved["task"], unmoved["published"]["value"]) == ("countdown", 100)
