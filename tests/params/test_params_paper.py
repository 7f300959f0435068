"""The paper scale: what is published has its place, and every setting is that of its source."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from dlm.analysis.published import Figure, Joined, Published
from dlm.params import Plan, load_plan
from dlm.settings import SamplerSettings, TableRow

ROOT = Path(__file__).resolve().parents[2]
STUDIES = dict(re.findall(r"^\| `(\w+)` \| `sensitivity_(\w+)`", (ROOT / "docs" / "paper.md").read_text(), re.M))
"""Published tables that docs/paper.md says come out as a sweep's, and the sweep."""
NOT_MADE = {("d1_best_length", "d1-LLaDA (s1K SFT then diffu-GRPO)"), ("coder", "open-dcoder-0.5B")}
"""Models of a published table that docs/paper.md says are not made."""


@pytest.fixture(scope="module")
def paper() -> Plan:
    return load_plan("paper", ROOT)


@pytest.fixture(scope="module")
def published() -> Published:
    return Published.load(ROOT / "data" / "published" / "published.csv")


def told(section: str) -> set[str]:
    """The published tables in the first column of a section of docs/paper.md."""
    text = (ROOT / "docs" / "paper.md").read_text().split(f"## {section}")[1].split("\n## ")[0]
    return {name for line in re.findall(r"^\| (`.*?) \|", text, re.M) for name in re.findall(r"`(\w+)`", line)}


def joined(paper: Plan, published: Published) -> Iterator[tuple[str, TableRow, str, Joined]]:
    """All that stands beside the cells of the paper scale: table, row, task, figures."""
    for name, table in paper.params.tables.items():
        for row in table.rows:
            for task in table.tasks:
                found = published.join_row(table, row, paper.params.tasks[task])
                if found.figure or found.beside:
                    yield name, row, task, found


def test_every_published_table_comes_out_or_has_a_reason_why_not(published: Published) -> None:
    there = {figure.table for figure in published.figures}
    made, not_made = told("Which table where"), told("What comes out nowhere, and why")
    assert made | not_made == there and not made & not_made


def test_every_published_figure_stands_beside_a_cell(paper: Plan, published: Published) -> None:
    beside: set[Figure] = set()
    for *_, found in joined(paper, published):
        beside |= {*found.beside, *([found.figure] if found.figure else [])}
    tables = told("Which table where") - set(STUDIES)
    wanted = {f for f in published.figures if f.table in tables}
    assert {(f.table, f.model) for f in wanted - beside} == NOT_MADE
    assert {f.table for f in beside} == tables


@pytest.mark.parametrize("name", STUDIES)
def test_every_published_figure_of_a_study_is_that_of_a_level(published: Published, name: str) -> None:
    sweep = yaml.safe_load((ROOT / "params" / "sweeps" / f"{STUDIES[name]}.yaml").read_text())
    assert sweep["published"] == name
    named = {metric for factor in sweep["factors"].values() for metric in factor.get("published", {}).values()}
    figures = {(f.model, f.metric) for f in published.figures if f.table == name}
    assert {metric for _, metric in figures} == named
    assert {model for model, _ in figures} == {row["published"] for row in sweep["scales"]["paper"]["rows"]}


def test_the_authors_and_dllm_are_compared_with_their_own_figures(paper: Plan, published: Published) -> None:
    found = {
        (table, row.published_source, task): joins.figure.value
        for table, row, task, joins in joined(paper, published)
        if joins.figure and row.stage != "accelerated"
    }
    assert found["llada_base", "dllm", "gsm8k_5"] == 0.707
    assert found["llada_base", "official", "gsm8k_5"] == 0.703
    assert found["dream_base", "official", "race"] == 0.447
    assert found["llada_instruct", "dllm", "humaneval_llada"] == 0.47
    assert found["dream_instruct", "dllm", "arc_c"] == 0.614 and ("dream_instruct", "official", "arc_c") not in found


def cells(paper: Plan, table: str, label: str) -> dict[str, str]:
    """The setting of each task of a row."""
    entry = paper.params.tables[table]
    (row,) = (row for row in entry.rows if row.label == label)
    return {task: paper.cell(row, task).setting for task in entry.tasks}


def test_likelihoods_are_chosen_by_task_and_row(paper: Plan) -> None:
    ours = cells(paper, "llada_base", "LLaDA-8B-Base")
    guided = cells(paper, "llada_base", "LLaDA-8B-Base + guidance of the scripts")
    theirs = cells(paper, "llada_base", "LLaDA-8B-Base by its authors' settings")
    assert [each["mmlu"] for each in (ours, guided, theirs)] == ["llada_mc1"] * 3
    assert [each["cmmlu"] for each in (ours, guided, theirs)] == ["llada_mc32", "llada_mc32", "llada_mc1"]
    assert [each["truthfulqa"] for each in (ours, guided, theirs)] == ["llada_mc32", "llada_mc32_cfg2", "llada_mc128"]
    assert [each["gsm8k_5"] for each in (ours, guided, theirs)] == ["mdlm_256", "mdlm_256", "mdlm_1024"]
    dream = cells(paper, "dream_base", "Dream-7B-Base")
    assert (dream["mmlu"], dream["gpqa"], dream["race"]) == ("dream_mc16", "dream_mc32", "dream_mc128")
    assert cells(paper, "dream_instruct", "Dream-7B-Instruct")["gpqa"] == "dream_mc32_chat"
    (bert,) = {cells(paper, "table2", "ModernBERT-base-chat")[task] for task in ("mmlu", "hellaswag", "winogrande")}
    assert bert == "bert_mc32" and cells(paper, "table2", "gpt2")["mmlu"] == "exact"


def test_a_likelihood_reaches_the_cell_and_what_is_asked_anew(paper: Plan) -> None:
    table = paper.params.tables["llada_base"]
    guided, authors = (paper.cell(row, "truthfulqa").likelihood for row in table.rows[1:])
    assert (guided.samples, guided.guidance_scale, guided.masks.batch_size) == (32, 2.0, 32)
    assert (authors.samples, authors.guidance_scale, authors.masks.batch_size) == (128, 0.0, 8)
    dream = paper.cell(paper.params.tables["dream_base"].rows[0], "mmlu").likelihood
    assert (dream.masks.kind, dream.begin_token) == ("dream", True)


@pytest.mark.parametrize(
    ("label", "task", "steps", "deferred", "banned"),
    [
        ("Baseline (256)", "gsm8k_5", 256, 2, 0),
        ("Baseline (512)", "math_4", 512, 0, 0),
        ("+ prefix cache (512)", "gsm8k_5", 512, 0, 0),
        ("+ prefix cache (512)", "mbpp_llada", 512, 0, 2),
        ("+ parallel (256)", "humaneval_llada", None, 0, 2),
    ],
)
def test_fast_dllms_end_tokens_are_those_of_its_scripts(
    paper: Plan, label: str, task: str, steps: int | None, deferred: int, banned: int
) -> None:
    (row,) = (row for row in paper.params.tables["fastdllm_llada"].rows if row.label == label)
    sampler = paper.cell(row, task).sampler
    assert isinstance(sampler, SamplerSettings) and sampler.canvas.block_size == 32
    assert getattr(sampler.selector, "steps", None) == steps
    assert (len(sampler.defer_tokens), len(sampler.proposer.suppress_tokens)) == (deferred, banned)


def test_every_named_setting_is_of_use(paper: Plan) -> None:
    params = paper.params
    used = {cell.setting for name in params.checkpoints for cell in paper.cells(name)}
    own = {entry.sampler for entry in params.checkpoints.values() if getattr(entry, "sampler", None)}
    assert {*params.samplers, *params.likelihoods} - used - own == UNUSED
    assert {task for table in params.tables.values() for task in table.tasks} == set(params.tasks)


UNUSED: set[str] = {"mdlm_1280"}
"""The length of IFEval's answers with LLaDA's sampler, which rows of other models replace."""
