"""A row is compared with a published figure where it asks what the paper scale says that the figure rests on."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from analysis_examples import right

from dlm.analysis import Published
from dlm.analysis.command import write_table
from dlm.analysis.declared import UNDECLARED, Declaration
from dlm.files import write_json
from dlm.params import Layout, Plan, load_params, load_plan
from dlm.params.asking import changes
from dlm.params.figures import PUBLISHED

ROOT = Path(__file__).parents[2]
ROW = "{model: llada-instruct, label: Mine, published: LLaDA-8B-Instruct}"
TABLE = "tables: {{row: {{title: t, published: llada_instruct, tasks: [{tasks}], rows: [{row}]}}}}\n"


@pytest.fixture(scope="module")
def published() -> Published:
    return Published.load(ROOT / PUBLISHED)


@pytest.fixture(scope="module")
def paper() -> Plan:
    return load_plan("paper", ROOT)


@pytest.fixture(scope="module")
def declaration(paper: Plan, published: Published) -> Declaration:
    return Declaration.of(paper, published)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "params", tmp_path / "params")
    (tmp_path / "data").symlink_to(ROOT / "data")
    return tmp_path


def mine(project: Path, changed: str = "", tasks: str = "gsm8k_cot_5", row: str = ROW) -> Plan:
    """A scale that extends the paper's, with a table of one row."""
    (project / "params" / "mine.yaml").write_text(f"extends: paper\n{changed}\n{TABLE.format(tasks=tasks, row=row)}")
    return Plan("mine", load_params("mine", project), Layout("mine", project))


def departures(declaration: Declaration, published: Published, plan: Plan, table: str = "row") -> list[tuple[str, ...]]:
    """Of each cell of a table that is compared with a figure."""
    entry, found = plan.params.tables[table], []
    for row in entry.rows:
        for task in entry.tasks:
            figure = published.join_row(entry, row, plan.params.tasks[task]).figure
            if figure is not None:
                found.append(declaration.departures(plan, table, row, task, figure))
    return found


def test_the_paper_scale_departs_only_where_its_tables_say_so(
    paper: Plan, published: Published, declaration: Declaration
) -> None:
    compared = 0
    for name, table in paper.params.tables.items():
        expected = [
            table.differences(row, task)
            for row in table.rows
            for task in table.tasks
            if published.join_row(table, row, paper.params.tasks[task]).figure
        ]
        assert departures(declaration, published, paper, name) == expected, name
        compared += len(expected)
    assert compared > 200


def test_a_row_that_asks_the_same_departs_in_nothing(
    project: Path, published: Published, declaration: Declaration
) -> None:
    """Nor does one whose weights are pinned to a commit, or that is run otherwise."""
    pinned = "checkpoints: {llada-instruct: {revision: %s}}" % ("0a" * 20)
    assert departures(declaration, published, mine(project, f"{pinned}\nexecution: {{dtype: float32}}")) == [()]


CHANGED = r"""
limit: 20
tasks:
  gsm8k_cot_5: {num_fewshot: 0, filter: strict-match, response_prefix: "a;\n"}
samplers: {mdlm_512_defer: {canvas: {max_new_tokens: 8}, selector: {steps: 8}}}
checkpoints: {llada-instruct: {repository: me/llada, revision: v2}}
data: {gsm8k: {repository: me/gsm8k}}
"""
NAMED = r"""
filter strict-match, published flexible-extract
num_fewshot 0, published 5
limit 20, published none
chat false, published true
response_prefix "a,\n", published ""
sampler.canvas.max_new_tokens 8, published 512
sampler.selector.steps 8, published 512
dataset.repository me/gsm8k, published openai/gsm8k
checkpoint.repository me/llada, published GSAI-ML/LLaDA-8B-Instruct
checkpoint.revision v2, published main
"""


def test_every_setting_that_was_changed_is_named(project: Path, published: Published, declaration: Declaration) -> None:
    plan = mine(project, CHANGED, row=ROW.replace("label", "chat: false, label"))
    assert departures(declaration, published, plan) == [tuple(NAMED.strip().splitlines())]


def test_what_a_checkpoint_is_made_of_is_named(project: Path, published: Published, declaration: Declaration) -> None:
    changed = """
recipes: {s1k_sft: {learning_rate: 1.0e-3, micro_batch_size: 1}}
checkpoints: {opened: {kind: convert, start: llada-base}}
"""
    plan = mine(project, changed, row=ROW.replace("llada-instruct", "opened"))
    assert departures(declaration, published, plan) == [("checkpoint.kind convert, published hub",)]
    tuned = [found for found in departures(declaration, published, plan, "table1") if "recipe" in " ".join(found)]
    assert len(tuned) == 24  # four models, six tasks
    assert all("checkpoint.recipe.learning_rate 0.001, published " in found[-1] for found in tuned)
    assert not any("micro_batch_size" in each for found in tuned for each in found)


def test_what_the_paper_scale_names_is_inherited(project: Path, published: Published, declaration: Declaration) -> None:
    plan = mine(project, tasks="mmlu_pro")
    assert departures(declaration, published, plan) == [("mmlu_pro 3.1, published 2.1 of a fork",)]


def test_a_figure_that_no_row_of_the_paper_scale_has_is_not_declared(
    project: Path, published: Published, declaration: Declaration
) -> None:
    row = ROW.replace("label", "published_source: official, label")
    assert departures(declaration, published, mine(project, row=row)) == [(UNDECLARED,)]
    (project / "params" / "paper.yaml").rename(project / "params" / "other.yaml")
    (project / "params" / "mine.yaml").write_text("extends: other\n" + TABLE.format(tasks="gsm8k_cot_5", row=ROW))
    plan = load_plan("mine", project)
    assert departures(Declaration.of(plan, published), published, plan) == [(UNDECLARED,)]


def test_things_of_other_kinds_are_named_by_their_kind_alone() -> None:
    ours = {"stop": {"kind": "end_of_text"}, "selector": {"kind": "threshold", "threshold": 0.9}, "seed": None}
    theirs = {"stop": None, "selector": {"kind": "even", "steps": 8}, "seed": None}
    assert [str(each) for each in changes(ours, theirs)] == [
        "stop end_of_text, published none",
        "selector.kind threshold, published even",
    ]


def test_the_verdict_names_what_is_not_as_published(project: Path) -> None:
    """A sampler of the paper scale cut to 8 tokens keeps its name, and is no reproduction of 74.7."""
    plan = mine(project, "samplers: {mdlm_512_defer: {canvas: {max_new_tokens: 8}, selector: {steps: 8}}}")
    task = plan.params.tasks["gsm8k_cot_5"]
    cell = {
        "task": "gsm8k_cot_5", "setting": "mdlm_512_defer", "metric": task.metric, "filter": task.filter,
        "value": 0.75, "n": 20, "numerators": right(15, 20), "weights": [1] * 20, "lm_eval": {},
    }  # fmt: skip
    scores = {"format": "dlm-scores/1", "model": "llada-instruct", "scale": "mine", "cells": [cell]}
    write_json(plan.layout.manifest("scores", "llada-instruct/1"), scores)
    path = write_table("row", plan)
    (row,) = csv.DictReader(path.read_text().splitlines())
    changed = "sampler.canvas.max_new_tokens 8, published 512; sampler.selector.steps 8, published 512"
    assert (row["published"], row["verdict"]) == ("0.747000", f"settings differ: {changed}")
    assert f"published 74.7: settings differ: {changed}" in path.with_suffix(".md").read_text()
    assert str(project / "params" / "paper" / "llada.yaml") in plan.table_inputs("row")
