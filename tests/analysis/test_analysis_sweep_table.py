"""A sweep's files from scores made by hand: every kind of line, beside what its numbers are by other means."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from dlm.analysis.sensitivity import write_sensitivity
from dlm.files import write_json
from dlm.params import Plan, load_plan

Scores = Mapping[tuple[str, str], Mapping[str, Any]]
"""By row's model and setting: fields of the cell."""
DOCUMENTS = 16
LLADA, DREAM = "llada-instruct-sft", "dream-instruct-sft"
FOUR, FREE = "own_held+parallel=four_tokens", "own"
DREAM_FOUR, COLD = "dream_warm+parallel=four_tokens", "dream_warm+temperature=0.0"
NULL = "no difference seen"
LOSSES = np.linspace(8, 12, DOCUMENTS)
"""Nats of texts of ten words: a rate of 1."""
MORE = LOSSES + 4 + np.tile([-2.0, 2.0], DOCUMENTS // 2)


def right(*documents: int, of: int = DOCUMENTS) -> dict[str, Any]:
    return {"numerators": [int(at in documents) for at in range(of)], "weights": [1] * of}


def loss(numerators: np.ndarray) -> dict[str, Any]:
    return {"metric": "word_perplexity", "numerators": numerators.tolist(), "weights": [10] * DOCUMENTS}


@pytest.fixture
def root(tmp_path: Path, repository: Path) -> Path:
    for name in ("params", "data"):
        shutil.copytree(repository / name, tmp_path / name)
    return tmp_path


def laid_out(root: Path, content: Mapping[str, Any]) -> Plan:
    (root / "params" / "sweeps" / "mine.yaml").write_text(yaml.safe_dump({"title": "mine", **content}, sort_keys=False))
    return load_plan("tiny", root)


def score(plan: Plan, given: Mapping[tuple[str, str, str], Mapping[str, Any]]) -> None:
    """Write the scores of a sweep's cells, given by model, task and setting."""
    for label, cells in plan.sweep("mine").bundles.items():
        model, _, bundle = label.partition("/")
        found = []
        for cell in cells:
            fields = {"metric": "exact_match", **given[model, cell.task, cell.setting]}
            rate = sum(fields["numerators"]) / sum(fields["weights"])
            fields["value"] = float(np.exp(rate)) if fields["metric"] == "word_perplexity" else rate
            fields |= {"n": len(fields["weights"]), "doc_ids": list(range(len(fields["weights"])))}
            fields |= {"requests": fields["n"], "forward_passes": 8 * fields["n"], "tokens_per_pass": 2.0}
            found.append({"task": cell.task, "setting": cell.setting, "filter": "none", "bundle": bundle, **fields})
        content = {"format": "dlm-scores/1", "model": model, "scale": "tiny", "cells": found}
        write_json(Path(plan.layout.manifest("scores", label)), content)


def rows_of(plan: Plan, suffix: str = "") -> list[dict[str, str]]:
    with (plan.layout.tables / f"sensitivity_mine{suffix}.csv").open() as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def made(root: Path) -> Plan:
    """Figure 5's sweep: right or wrong, a loss, a baseline of 0, seeds that differ, a setting that a budget ended."""
    content = yaml.safe_load((root / "params" / "sweeps" / "figure5.yaml").read_text())
    tiny = content["scales"]["tiny"]
    tiny["tasks"] = {"LLaDA": ["word_problems", "sudoku"], "Dream": ["word_problems"]}
    tiny["benchmarks"] = {"word_problems": "GSM8K"}
    tiny["rows"][1]["seeds"] = 2
    del content["factors"]["guidance"]
    plan = laid_out(root, content | {"scales": {"tiny": tiny}})
    most, ended = (
        right(*range(12)),
        {"stopped": {"reason": "behind dream_warm", "documents": 8, "of": 16, "p_value": 0.01}},
    )
    nothing, some = right(), {**right(0, 1, 2, 3, of=8), **ended}
    score(
        plan,
        {
            (LLADA, "word_problems", "own_held"): most,
            (LLADA, "word_problems", FOUR): right(0, 1),
            (LLADA, "word_problems", FREE): most,
            (LLADA, "sudoku", "own_held"): loss(LOSSES),
            (LLADA, "sudoku", FOUR): loss(MORE),
            (LLADA, "sudoku", FREE): loss(LOSSES),
            **{(DREAM, "word_problems", f"dream_warm{seed}"): nothing for seed in ("", "@1")},
            **{(DREAM, "word_problems", f"{DREAM_FOUR}{seed}"): nothing for seed in ("", "@1")},
            (DREAM, "word_problems", COLD): some,
            (DREAM, "word_problems", f"{COLD}@1"): {**right(0, 1, 2, of=8), **ended},
        },
    )
    write_sensitivity("mine", plan)
    return plan


def holm(p_values: list[float]) -> list[float]:
    """Holm (1979): the smallest of m times m, the next times m - 1, … and none below one before it."""
    order = np.argsort(p_values, kind="stable")
    found, least = [0.0] * len(p_values), 0.0
    for place, at in enumerate(order):
        least = max(least, min(1.0, p_values[at] * (len(p_values) - place)))
        found[at] = least
    return found


def test_the_table_has_every_number_of_its_scores(made: Plan) -> None:
    rows = sorted(rows_of(made), key=lambda row: (row["model"] != LLADA, row["task"] != "word_problems"))
    told = [
        "task",
        "setting",
        "baseline",
        "value",
        "n",
        "seeds",
        "delta",
        "ratio",
        "published_ratio",
        "stopped",
        "verdict",
    ]
    assert [[row[name] for name in told] for row in rows] == [
        ["word_problems", "own_held", "true", "0.750000", "16", "1", "", "", "", "", "baseline"],
        ["word_problems", FOUR, "false", "0.125000", "16", "1", "-0.625000", "0.166667", "0.840000", "", "lower"],
        ["word_problems", FREE, "false", "0.750000", "16", "1", "0.000000", "1.000000", "0.400000", "", NULL],
        ["sudoku", "own_held", "true", "2.718282", "16", "1", "", "", "", "", "baseline"],
        ["sudoku", FOUR, "false", "4.055200", "16", "1", "0.400000", "1.491825", "", "", "higher"],
        ["sudoku", FREE, "false", "2.718282", "16", "1", "0.000000", "1.000000", "", "", NULL],
        ["word_problems", "dream_warm", "true", "0.000000", "16", "2", "", "", "", "", "baseline"],
        ["word_problems", DREAM_FOUR, "false", "0.000000", "16", "2", "0.000000", "", "0.700600", "", NULL],
        ["word_problems", COLD, "false", "0.437500", "8", "2", "0.437500", "", "0.467100", "behind dream_warm",
         NULL],
    ]  # fmt: skip
    low, high = proportion_confint(12, 16, method="wilson")
    assert (float(rows[0]["ci_low"]), float(rows[0]["ci_high"])) == pytest.approx((low, high), abs=1e-6)
    graded = np.array([1, 1, 1, 0.5, 0, 0, 0, 0, 1, -1])  # the mean of two seeds, one document won and one lost
    p_values = [
        stats.binomtest(0, 10).pvalue,
        1.0,
        stats.ttest_rel(MORE, LOSSES).pvalue,
        1.0,
        1.0,
        stats.ttest_1samp(graded, 0).pvalue,
    ]
    tested = [row for row in rows if row["p_value"]]
    assert [float(row["p_value"]) for row in tested] == pytest.approx(p_values, abs=1e-6)
    assert [float(row["p_corrected"]) for row in tested] == pytest.approx(holm(p_values), abs=1e-6)
    assert [row["requests"] for row in rows] == ["16"] * 6 + ["32"] * 2 + ["16"], "both seeds'"
    assert rows[1]["parallel"] == "four_tokens" and rows[1]["temperature"] == ""


def test_effects_rest_on_what_the_budget_did_not_end(made: Plan) -> None:
    effects = {(row["model"], row["task"], row["kind"], row["factor"], row["level"]): row
               for row in rows_of(made, "_effects")}  # fmt: skip
    four = effects[LLADA, "word_problems", "level", "parallel", "four_tokens"]
    assert four["effect"] == "-0.312500" and float(four["p_value"]) == pytest.approx(2 * 0.5**10, abs=1e-6)
    # Tests: two factors of LLaDA on two tasks and one of Dream, each of two levels, which are one test.
    p_values = [2 * 0.5**10, 1.0, stats.ttest_rel(MORE, LOSSES).pvalue, 1.0, 1.0]
    assert float(four["p_corrected"]) == pytest.approx(holm(p_values)[0], abs=1e-6)
    assert effects[LLADA, "sudoku", "level", "parallel", "four_tokens"]["effect"] == "0.200000"
    assert (DREAM, "word_problems", "level", "temperature", "0.0") not in effects
    stopped = [row for row in rows_of(made, "_ranks") if row["kind"] == "stopped"]
    assert [(row["context"], row["value"], row["n"], row["reason"]) for row in stopped] == [
        ("word_problems", "0.437500", "8", "behind dream_warm")
    ]


def test_the_page_says_what_the_numbers_are(made: Plan) -> None:
    page = (made.layout.tables / "sensitivity_mine.md").read_text()
    assert f"| {FOUR} | 12.5 [3.5, 36.0] | 16.7 % [" in page
    assert "| 84.0 % | -62.5 | 0.0098 | 2.00 | lower |" in page
    assert "| baseline is 0 | 46.7 % | +43.8 |" in page and "no difference seen; stopped: behind dream_warm |" in page
    assert "in nats per word:" in page and "| parallel | four_tokens | +0.200 | [" in page
    assert "| parallel | four_tokens | -31." in page
    assert "Effects are over the 2 settings that no budget ended, 1 others left out." in page
    assert "All settings have the same score: no factor has a share of the variance." in page
    assert "No factor has a share of the variance: each setting changes one factor alone" in page
    assert "Stopped by the budget, and not ranked:" in page
    assert "Settings are not ranked over tasks: some have losses" in page
    for test in ("McNemar's exact test", "Student's paired test (graded", "Student's paired test (losses)"):
        assert test in page
    assert "one training with one seed" not in page


def test_a_method_that_a_constraint_keeps_from_a_context_is_named(root: Path) -> None:
    factors = {"score": ["low_confidence", "topk_margin", "random"], "temperature": [0.0, 0.5]}
    content = {
        "factors": factors,
        "constraints": ["score != 'random' or temperature == 0.5"],
        "ranked": "score",
        "claimed": "random",
        "scales": {"tiny": {"rows": [{"model": LLADA, "label": "LLaDA", "sampler": "own"}], "tasks": ["sudoku"]}},
    }
    plan = laid_out(root, content)
    settings = [line.setting for line in plan.sweep("mine").lines]
    score(plan, {(LLADA, "sudoku", name): right(*range(4 + at)) for at, name in enumerate(settings)})
    write_sensitivity("mine", plan)
    ranked = [row for row in rows_of(plan, "_ranks") if row["kind"] == "method"]
    assert {row["method"] for row in ranked} == {"low_confidence", "topk_margin"} and len(ranked) == 6
    page = (plan.layout.tables / "sensitivity_mine.md").read_text()
    assert "Not ranked, since not every context has them: random." in page
    assert "The method that is claimed to win, random, could not be ranked." in page
    assert "No instability of the ranking is seen" in page
    assert len(rows_of(plan)) == 5


def test_a_recipes_setting_is_said_to_be_one_training(root: Path) -> None:
    rows = [{"model": LLADA, "label": "LLaDA", "sampler": "own"}]
    factors = {"recipe.learning_rate": [0.001, 0.002]}
    plan = laid_out(root, {"factors": factors, "scales": {"tiny": {"rows": rows, "tasks": ["sudoku"]}}})
    cells = [(label.partition("/")[0], cell) for label, cells in plan.sweep("mine").bundles.items() for cell in cells]
    score(plan, {(model, "sudoku", cell.setting): right(1, 2, 3) for model, cell in cells})
    write_sensitivity("mine", plan)
    assert "one training with one seed" in (plan.layout.tables / "sensitivity_mine.md").read_text()
