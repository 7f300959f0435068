"""Tables: the golden rendering, order, bytes, and what is refused."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from analysis_examples import SETTINGS, TASKS, asked, cell, pair_scores, pair_table, right, scores

from dlm.analysis import Published, build_table, write_files
from dlm.analysis.command import write_table
from dlm.analysis.published import Figure
from dlm.analysis.render import ANSWER_COLUMNS, COLUMNS, csv_text, lineage, markdown, metrics
from dlm.analysis.tables import Asked
from dlm.errors import DataError, SettingsError
from dlm.files import write_json, write_text
from dlm.params import Layout, Params, Plan
from dlm.params.figures import PUBLISHED
from dlm.settings import (
    Difference,
    EvenSelector,
    FullCanvas,
    HubCheckpoint,
    LikelihoodSettings,
    SamplerSettings,
    Table,
    TableRow,
)

GOLDEN = Path(__file__).parent / "golden"
ROOT = Path(__file__).parents[2]
REFERRED_TO: dict[str, Any] = {
    "tasks": TASKS,
    "likelihoods": {"mc16": LikelihoodSettings(samples=16)},
    "samplers": {"blocks": SamplerSettings(canvas=FullCanvas(max_new_tokens=8), selector=EvenSelector(steps=8))},
    "checkpoints": {name: HubCheckpoint(repository="a/b", revision="main") for name in ("base", "base-sft")},
}
CODE = {"version": "0.1.0", "commit": "abc123"}


@pytest.fixture(scope="module")
def published() -> Published:
    return Published.load(ROOT / "data" / "published" / "published.csv")


def build(table: Table | None = None, found: dict[str, Any] | None = None, **options: Any):
    options.setdefault("asked", asked)
    bundles = {model: [scores] for model, scores in (found or pair_scores()).items()}
    return build_table("table1", table or pair_table(), TASKS, "tiny", bundles, **options)


def lines(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


@pytest.mark.parametrize("name", ["tiny", "published", "micro"])
def test_golden_rendering(name: str, published: Published):
    """To renew after an intended change: write what `markdown` and `csv_text` give into tests/analysis/golden."""
    if name == "micro":
        scored = {model: [scores] for model, scores in pair_scores("micro").items()}
        result = build_table("table1", pair_table(), TASKS, "micro", scored, asked, meaningless=True)
    else:
        table = pair_table(published=name == "published")
        result = build(table, published=published, about="Stand-ins, made by eye.")
    assert markdown(result) == (GOLDEN / f"{name}.md").read_text(encoding="utf-8")
    assert csv_text(result) == (GOLDEN / f"{name}.csv").read_text(encoding="utf-8")


def test_columns_and_numbers_by_eye():
    rows = lines(csv_text(build()))
    assert tuple(rows[0]) == COLUMNS + ANSWER_COLUMNS
    words = rows[3]
    assert (words["table"], words["scale"], words["model"], words["task"]) == ("table1", "tiny", "base-sft", "words")
    assert (words["value"], words["n"], words["metric"], words["setting"]) == (
        "0.640000",
        "100",
        "exact_match",
        "blocks",
    )
    assert words["published"] == words["published_source"] == words["delta"] == ""
    assert rows[4]["value"] == "0.375000"


def test_how_answers_look_stands_behind_the_columns():
    found = pair_scores()
    found["base"]["cells"][0] |= {"empty_share": 0.02, "truncated_share": 1.0, "mean_tokens": 12.5}
    first, *rest = csv_text(build(found=found)).splitlines()[1:]
    assert first.endswith(",not published,0.020000,1.000000,12.500000") and all(row.endswith(",,,") for row in rest)


def test_rows_in_the_tables_order_whatever_the_scores_order():
    found = pair_scores()
    found["base"]["cells"].reverse()
    result = build(found=dict(reversed(found.items())))
    order = [(row["model"], row["task"]) for row in lines(csv_text(result))]
    assert order == [(model, task) for model in ("base", "base-sft") for task in TASKS]
    assert csv_text(result) == csv_text(build())


def test_each_row_has_its_own_setting():
    found = pair_scores()
    found["base-sft"]["cells"].insert(0, cell("words", right(5, 100), setting="greedy"))
    own = {("base-sft", "words"): "greedy"}
    result = build(found=found, asked=lambda row, task: Asked(own.get((row.model, task), SETTINGS[task])))
    assert [row["setting"] for row in lines(csv_text(result))][2:5] == ["mc16", "greedy", "blocks"]
    assert "Word problems 100, `blocks` or `greedy`" in markdown(result)
    with pytest.raises(DataError, match="scores of 'base': no cell for task 'words' \\(setting 'greedy'"):
        build(found=found, asked=lambda row, task: Asked("greedy" if task == "words" else SETTINGS[task]))


def test_a_row_that_stands_alone_has_no_gain_and_one_before_may_have_several_after():
    table = pair_table()
    rows = (replace(table.rows[0], stage=None), table.rows[0], table.rows[1], table.rows[1])
    result = build(replace(table, rows=rows))
    assert [(gain.before, gain.after) for gain in result.gains] == [("base", "base-sft")] * 6
    body = [line for line in markdown(result).splitlines() if line.startswith("| ")][2:6]
    assert ["(+" in line or "(-" in line for line in body] == [False, False, True, True]
    assert "**" not in body[0] and body[3].count("**64.0**") == 1


def test_published_joins_only_where_the_table_says_so(published: Published):
    assert all(row["published"] == "" for row in lines(csv_text(build(published=published))))
    rows = lines(csv_text(build(pair_table(published=True), published=published)))
    assert [row["published"] for row in rows] == ["0.646700", "0.003400", "", "0.736200", "0.000000", ""]
    assert [row["verdict"].partition(";")[0] for row in rows] == [
        "differs",
        "agrees",
        "not published",
        "differs",
        "differs",
        "not published",
    ]
    assert (rows[3]["published_source"], rows[3]["delta"]) == ("dllm", "-0.096200")


def test_what_else_is_published_stands_beside():
    rows = [("t", "official", 0.6), ("t", "dllm", 0.62), ("old", "dllm", 0.7)]
    figures = [
        Figure(table=table, model="M", benchmark="GSM8K", metric="score", source=source, value=value, note=source * 2)
        for table, source, value in rows
    ]
    speed = replace(figures[1], metric="tokens_per_s", value=8.1)
    table = replace(pair_table(), published=("t", "old"))
    same = [replace(row, published="M", stage="baseline") for row in table.rows]
    theirs = replace(same[1], published_source="official", stage="variant")
    result = build(replace(table, rows=(same[0], theirs)), published=Published([*figures, speed]))
    ours, official = (row for row in lines(csv_text(result)) if row["task"] == "words")
    assert (ours["published"], ours["published_source"]) == ("0.620000", "dllm")
    assert (official["published"], official["published_source"]) == ("0.600000", "official")
    text = markdown(result)
    assert "<br><sub>also 60.0 (official), 70.0 (old)</sub>" in text
    assert "<br><sub>also 62.0 (dllm), 70.0 (dllm, old)</sub>" in text
    assert "beside the published numbers of `t`, `old`." in text and "## Changes by settings" in text
    told = lineage(result, code=CODE)["rows"][0]
    assert (told["published"]["value"], told["published"]["note"]) == (0.62, "dllmdllm")
    assert [(f["metric"], f["value"]) for f in told["published_beside"]] == [
        ("tokens_per_s", 8.1), ("score", 0.6), ("score", 0.7),
    ]  # fmt: skip


def test_settings_that_differ_are_named_by_row(published: Published):
    label = pair_table().rows[0].label
    differs = (Difference(setting="no tag", rows=(label,), tasks=("words",)),)
    result = build(replace(pair_table(published=True), differs=differs), published=published)
    verdicts = [row["verdict"] for row in lines(csv_text(result))]
    assert [verdict for verdict in verdicts if "no tag" in verdict] == [verdicts[0]]


def test_settings_that_differ_are_named(published: Published):
    differs = (
        Difference(setting="steps 64, published 256", tasks=("words",)),
        Difference(setting="no tag", models=("base-sft",)),
    )
    result = build(replace(pair_table(published=True), differs=differs), published=published)
    words, sudoku, _, tuned, *_ = lines(csv_text(result))
    assert words["verdict"] == "settings differ: steps 64, published 256"
    assert sudoku["verdict"] == "agrees; at floor"
    assert tuned["verdict"] == "settings differ: steps 64, published 256; no tag"
    assert "settings differ: steps 64, published 256; no tag" in markdown(result)
    rows = lineage(result, code=CODE)["rows"]
    assert rows[3]["published"]["settings_differ"] == ["steps 64, published 256", "no tag"]
    assert rows[1]["published"]["settings_differ"] == []


def test_cells_of_other_tables_and_chat_settings_are_left_out():
    found = pair_scores()
    found["base"]["cells"].append(cell("words", right(1, 2)) | {"task": "elsewhere"})
    found["base"]["cells"].append(cell("words", right(99, 100), chat=False))
    assert csv_text(build(found=found)) == csv_text(build())


def test_gains_are_paired_and_marked():
    result = build()
    words, sudoku, choice = (paired.gain for paired in result.gains)
    assert words.value == pytest.approx(0.54) and words.stderr == pytest.approx((0.54 * 0.46 / 99) ** 0.5)
    assert words.beyond_noise and sudoku.beyond_noise
    assert choice.value == pytest.approx(-0.02) and not choice.beyond_noise
    told = lineage(result, code=CODE)["gains"]
    assert [gain["beyond_noise"] for gain in told] == [True, True, False]
    assert told[2]["p_value"] == 0.5 and "-2.0 ± 1.4 |" in markdown(result), "two lost, none won: nothing is proved"


def test_two_finetunings_of_one_model_each_pair_with_it():
    table = pair_table()
    again = TableRow(model="base-lora", label="+ LoRA", stage="after SFT")
    found = pair_scores()
    found["base-lora"] = scores("base-lora", found["base-sft"]["cells"])
    result = build(replace(table, rows=(*table.rows, again)), found)
    assert [(gain.before, gain.after) for gain in result.gains[::3]] == [("base", "base-sft"), ("base", "base-lora")]


def test_accelerated_rows_pair_with_the_baseline_at_another_setting():
    rows = (
        TableRow(model="base", label="LLaDA-tiny", stage="baseline"),
        TableRow(model="base", label="+ cache", stage="accelerated", sampler="cached"),
        TableRow(model="base", label="+ parallel", stage="accelerated", sampler="parallel"),
    )
    settings = {None: "blocks64", "cached": "cached", "parallel": "parallel"}
    cells = [cell("words", right(count, 100), setting=setting) for count, setting in
             ((60, "blocks64"), (58, "cached"), (30, "parallel"))]  # fmt: skip
    table = Table(title="Acceleration", rows=rows, tasks=("words",))
    result = build(table, {"base": scores("base", cells)}, asked=lambda row, task: Asked(settings[row.sampler]))
    assert [paired.settings for paired in result.gains] == [("blocks64", "cached"), ("blocks64", "parallel")]
    text = markdown(result)
    assert "## Changes by acceleration, document by document" in text
    assert "the change from the baseline" in text
    assert "(-30.0)" in text


def test_rows_without_a_row_before_have_no_gain():
    table = pair_table()
    result = build(replace(table, rows=table.rows[1:]))
    assert result.gains == ()
    assert "Gains" not in markdown(result) and "(+" not in markdown(result)


def test_equal_values_are_not_bold():
    found = pair_scores()
    found["base-sft"]["cells"] = found["base"]["cells"]
    grid = markdown(build(found=found)).split("\n\n")[2]
    assert "**" not in grid and "(+0.0)" in grid


def test_one_document_leaves_the_error_empty():
    table = replace(pair_table(), tasks=("words",))
    found = {name: scores(name, [cell("words", [1])]) for name in ("base", "base-sft")}
    result = build(table, found)
    assert [row["stderr"] for row in lines(csv_text(result))] == ["", ""]
    assert "100.0 [20.7, 100.0]" in markdown(result)


def test_equal_labels_of_a_pair_are_told_apart():
    table = pair_table()
    for label, shown in (("LLaDA-tiny Base", "after SFT"), ("LLaDA-tiny Base + LoRA", "+ LoRA"), ("Other", "Other")):
        text = markdown(build(replace(table, rows=(table.rows[0], replace(table.rows[1], label=label)))))
        assert [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")][3] == shown


def test_bars_in_labels_do_not_break_the_grid():
    table = pair_table()
    row = replace(table.rows[0], label="a | b")
    assert "a \\| b" in markdown(build(replace(table, rows=(row, table.rows[1]))))


def test_published_models_beside_are_shown_and_not_computed(published: Published):
    table = replace(pair_table(published=True), beside=("LLaDA-8B-Instruct", "Dream-v0-Base-7B"))
    result = build(table, published=published)
    shown = [line for line in markdown(result).splitlines() if ", published " in line]
    assert [[part.strip() for part in line.split("|")[1:-1]] for line in shown] == [
        ["LLaDA-8B-Instruct, published", "79.9", "11.6", "–"],
        ["Dream-v0-Base-7B, published", "49.0", "1.1", "–"],
    ]
    assert csv_text(result) == csv_text(build(pair_table(published=True), published=published))


def test_written_files_are_the_same_bytes_and_name_no_place(tmp_path: Path):
    first = write_files(build(), tmp_path / "one", code=CODE)
    second = write_files(build(), tmp_path / "two", code=CODE)
    names = [f"table1{suffix}" for suffix in (".csv", ".md", ".speed.csv", ".metrics.json", ".lineage.json")]
    assert [path.name for path in first] == names
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes()
        assert str(tmp_path) not in one.read_text() and "\r" not in one.read_text()
    assert {path.name for path in (tmp_path / "one").iterdir()} == {path.name for path in first}


def test_metrics_are_the_figures_of_the_csv(published: Published):
    table = pair_table(published=True)
    plain = replace(table.rows[1], label="without its chat template", stage="variant")
    result = build(replace(table, rows=(*table.rows, plain)), published=published)
    found = metrics(result)
    assert set(found) == {"base", "base-sft"}
    assert found["base-sft"]["words"]["blocks"] == {"value": 0.64, "stderr": 0.048242}
    assert found["base-sft"]["words"]["blocks, without its chat template"]["value"] == 0.64, "no row is lost"
    rows = lines(csv_text(result))
    told = [numbers for tasks in found.values() for settings in tasks.values() for numbers in settings.values()]
    assert sorted(f"{each['value']:.6f}" for each in told) == sorted(row["value"] for row in rows)


def test_lineage_says_where_each_row_came_from(published: Published):
    scored = pair_scores()
    scored["base-sft"]["cells"][0]["bundle"] = "2"
    found = json.loads(json.dumps(lineage(build(pair_table(published=True), scored, published=published), code=CODE)))
    assert found["code"] == CODE
    row = found["rows"][3]
    assert (row["checkpoint"], row["what"], row["how"]) == ("sha-of-words", "w" * 8, "h" * 8)
    assert row["lm_eval"] == {"version": "0.4.13", "task_version": 1.0}
    assert (row["forward_passes"], row["seconds"]) == (640, 1.25)
    assert row["scores"] == "results/tiny/scores/base-sft/2/scores.json"
    assert row["published"]["n"] == 1319 and "971 of 1319" in row["published"]["note"]
    assert found["rows"][2]["published"] is None


DAMAGE = {
    "value": (lambda c: c.update(value=0.11), "task 'words': value is 0.11, its documents give 0.1;"),
    "n": (lambda c: c.update(n=99), "task 'words': n is 99 for 100 documents"),
    "numerator": (lambda c: c["numerators"].__setitem__(3, 7), "task 'words': document 3 has numerator 7"),
    "text": (lambda c: c["weights"].__setitem__(3, "1"), "task 'words': numerators or weights that are not numbers"),
    "missing key": (lambda c: c.pop("weights"), "task 'words': weights is missing"),
    "nan": (lambda c: c.update(value=float("nan")), "task 'words': value is nan"),
    "empty": (lambda c: c.update(numerators=[], weights=[], n=0), "task 'words': no documents"),
    "metric": (
        lambda c: c.update(metric="acc"),
        "task 'words': scored by acc \\(none\\), the task asks for exact_match",
    ),
    "absent": (lambda c: c.update(task="elsewhere"), "no cell for task 'words' \\(setting 'blocks', chat true\\)"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cell_is_named_with_model_and_task(damage: str):
    spoil, message = DAMAGE[damage]
    found = pair_scores()
    spoil(found["base"]["cells"][0])
    with pytest.raises(DataError, match=message) as caught:
        build(found=found)
    assert "scores of 'base'" in str(caught.value) and "\n" not in str(caught.value)


def test_scores_of_another_scale_model_or_format_are_refused():
    for key, value in (("scale", "paper"), ("model", "other"), ("format", "dlm-scores/0"), ("cells", None)):
        found = pair_scores()
        found["base"][key] = value
        with pytest.raises(
            DataError, match=r"scores of 'base': .*; delete the folder .* and run `dlm score base --scale tiny`"
        ):
            build(found=found)


def test_scores_that_are_no_object_are_refused():
    with pytest.raises(DataError, match=r"scores of 'base': not an object; delete the folder results/tiny/scores/base"):
        build(found=pair_scores() | {"base": []})


def test_cells_of_several_bundles_are_one_row():
    whole = pair_scores()
    bundles = {
        model: [{**found, "cells": found["cells"][:1]}, {**found, "cells": found["cells"][1:]}]
        for model, found in whole.items()
    }
    result = build_table("table1", pair_table(), TASKS, "tiny", bundles, asked)
    assert csv_text(result) == csv_text(build(found=whole))


def test_missing_scores_repeated_cells_and_absent_tasks():
    with pytest.raises(DataError, match="no scores of model 'base-sft'"):
        build(found={"base": pair_scores()["base"]})
    found = pair_scores()
    found["base"]["cells"].append(found["base"]["cells"][0])
    with pytest.raises(DataError, match="setting 'blocks' stands there twice"):
        build(found=found)
    for name in found:
        found[name]["cells"] = [one for one in pair_scores()[name]["cells"] if one["task"] != "choice"]
    with pytest.raises(DataError, match="scores of 'base': no cell for task 'choice' \\(setting 'mc16'"):
        build(found=found)


def test_pairs_scored_on_other_documents_are_refused():
    found = pair_scores()
    found["base"]["cells"][0] = cell("words", right(10, 99))
    with pytest.raises(DataError, match=r"scores of 'base' and 'base-sft', task 'words': .*differ in number"):
        build(found=found)
    found = pair_scores()
    found["base"]["cells"][0]["doc_ids"], found["base-sft"]["cells"][0]["doc_ids"] = [0, 1], [1, 0]
    with pytest.raises(DataError, match="not the same documents in the same order"):
        build(found=found)


def test_the_command_reads_a_plan_and_writes_the_files(tmp_path: Path):
    params = Params(title="tiny", tables={"table1": pair_table()}, **REFERRED_TO)
    plan = Plan("tiny", params, Layout("tiny", tmp_path))
    with pytest.raises(DataError, match=r"scores/base/1/scores\.json: no such file"):
        write_table("table1", plan)
    for model, found in pair_scores().items():
        write_json(plan.layout.manifest("scores", f"{model}/1"), found)
    path = write_table("table1", plan)
    assert path == tmp_path / "results" / "tiny" / "tables" / "table1.csv"
    assert path.read_text() == csv_text(build())
    assert set(json.loads(path.with_suffix(".lineage.json").read_text())["code"]) == {"version", "commit", "edited"}
    with pytest.raises(SettingsError, match="did you mean 'table1'"):
        write_table("tabel1", plan)


def test_the_command_joins_published_figures_of_the_working_copy(tmp_path: Path):
    params = Params(title="paper", tables={"table1": pair_table(published=True)}, **REFERRED_TO)
    plan = Plan("paper", params, Layout("paper", tmp_path))
    for model, found in pair_scores("paper").items():
        write_json(plan.layout.manifest("scores", f"{model}/1"), found)
    with pytest.raises(DataError, match=r"published\.csv: no such file"):
        write_table("table1", plan)
    write_text(tmp_path / PUBLISHED, (ROOT / PUBLISHED).read_text(encoding="utf-8"))
    first, *_ = lines(write_table("table1", plan).read_text())
    assert (first["published"], first["published_source"]) == ("0.646700", "dllm")


def test_a_table_is_made_without_torch_or_lm_eval(tmp_path: Path):
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from analysis_examples import TASKS, asked, pair_scores, pair_table\n"
        "from dlm.analysis import build_table, write_files\n"
        "scored = {model: [scores] for model, scores in pair_scores().items()}\n"
        "write_files(build_table('t', pair_table(), TASKS, 'tiny', scored, asked), sys.argv[2], code={})\n"
        "print(sorted({'torch', 'lm_eval', 'transformers', 'datasets'} & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", program, str(Path(__file__).parent), str(tmp_path)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
