"""The plan: what each step reads, which cells a checkpoint has, and when a step must run again."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from dlm.analysis.published import Published
from dlm.errors import SettingsError
from dlm.params import Plan, load_plan
from dlm.settings import Difference, SandboxSettings, TableRow


@pytest.fixture(scope="module")
def plan(request: pytest.FixtureRequest) -> Plan:
    """The tiny scale with its first three tables: the others answer the same checkpoints otherwise."""
    whole = load_plan("tiny", Path(__file__).resolve().parents[2])
    return changed(whole, tables={name: whole.params.tables[name] for name in ("table1", "table2", "table3")})


def changed(plan: Plan, **fields: object) -> Plan:
    return dataclasses.replace(plan, params=dataclasses.replace(plan.params, **fields))


def test_a_training_reads_its_data_and_its_start(plan: Plan) -> None:
    inputs = [str(Path(path).relative_to(plan.layout.root)) for path in plan.checkpoint_inputs("dream-base")]
    assert inputs == [
        "results/tiny/data/corpus/manifest.json",
        "results/tiny/checkpoints/dream-opened/manifest.json",
    ]


def test_a_pretraining_reads_its_tokenizer(plan: Plan) -> None:
    assert any("tokenizer-llada" in path for path in plan.checkpoint_inputs("llada-base"))


PAPER = Path(__file__).resolve().parents[2]


def short(plan: Plan, name: str) -> list[str]:
    """What making a checkpoint reads, as step/name."""
    return ["/".join(Path(path).parts[-3:-1]) for path in plan.checkpoint_inputs(name)]


def test_a_training_may_join_several_data_sets_and_a_network_take_a_published_tokenizer() -> None:
    paper = load_plan("paper", PAPER)
    joined = ["data/tulu3", "data/smoltalk", "data/opc_stage1", "data/opc_stage2", "checkpoints/qwen3-0.6b-opened"]
    assert short(paper, "qwen3-0.6b-bd3lm") == joined
    assert short(paper, "qwen3-0.6b-opened") == ["checkpoints/qwen3-0.6b"]
    assert short(paper, "llada-scratch") == ["data/dclm", "checkpoints/llada-base"]
    entry = paper.params.checkpoints["qwen3-0.6b-bd3lm"]
    fewer = {**paper.params.checkpoints, "qwen3-0.6b-bd3lm": dataclasses.replace(entry, dataset=("tulu3",))}
    assert changed(paper, checkpoints=fewer).digest("checkpoints", "qwen3-0.6b-bd3lm") != paper.digest(
        "checkpoints", "qwen3-0.6b-bd3lm"
    )


def test_every_training_of_the_paper_can_be_asked_for_by_its_name() -> None:
    paper = load_plan("paper", PAPER)
    trained = {paper.params.checkpoints[name].recipe for name in paper.checkpoints_of_kind("train")}
    assert trained == set(paper.params.recipes)


@pytest.mark.parametrize(("table", "baselines"), [("table2", 4), ("table3", 2)])
def test_the_rows_of_the_papers_tables_are_published_and_baselines_answer_by_themselves(
    table: str, baselines: int
) -> None:
    paper = load_plan("paper", PAPER)
    entry = paper.params.tables[table]
    published = Published.load(PAPER / "data" / "published" / "published.csv")
    for row in entry.rows:
        for task in entry.tasks:
            benchmark = paper.params.tasks[task].benchmark
            tables = entry.published_tables(row)
            assert published.join(tables, str(row.published), str(benchmark)).figure, (row.published, benchmark)
    settings = {row.model: {paper.cell(row, task).setting for task in entry.tasks} for row in entry.rows}
    assert sum(found <= {"exact", "greedy256", "greedy3"} for found in settings.values()) == baselines
    if table == "table3":
        assert settings["qwen3-0.6b-bd3lm"] == {"bd3lm_256", "bd3lm_3"}


def test_table1_has_eight_models_and_four_tasks(plan: Plan) -> None:
    models = plan.table_models("table1")
    assert len(models) == 8
    assert all(len(plan.cells(model)) == 4 for model in models)


def test_the_response_prefix_is_for_tuned_models_only(plan: Plan) -> None:
    prefix = {cell.task: cell.response_prefix for cell in plan.cells("llada-base")}
    tuned = {cell.task: cell.response_prefix for cell in plan.cells("llada-base-sft")}
    assert set(prefix.values()) == {""}
    assert tuned["countdown"] == "<reasoning>\n"
    assert tuned["number_choice"] == ""


def test_a_cell_that_two_tables_ask_for_is_sampled_once(plan: Plan) -> None:
    table = plan.params.tables["table1"]
    twice = changed(plan, tables={"table1": table, "again": table})
    assert twice.cells("llada-base") == plan.cells("llada-base")


def test_chat_and_plain_prompts_are_different_cells(plan: Plan) -> None:
    table = plan.params.tables["table1"]
    plain = dataclasses.replace(table, rows=(TableRow(model="llada-base", label="x", stage="before SFT", chat=False),))
    both = changed(plan, tables={"table1": table, "plain": plain})
    assert len(both.cells("llada-base")) == 8


def bundled(plan: Plan, size: int | None) -> Plan:
    return changed(plan, execution=dataclasses.replace(plan.params.execution, bundle=size))


def test_all_cells_of_a_checkpoint_are_one_bundle_unless_the_params_say_less(plan: Plan) -> None:
    cells = plan.cells("llada-base")
    assert plan.bundles("llada-base") == {"llada-base/1": cells}
    assert bundled(plan, 9).bundles("llada-base") == {"llada-base/1": cells}
    assert bundled(plan, 3).bundles("llada-base") == {"llada-base/1": cells[:3], "llada-base/2": cells[3:]}
    assert plan.bundles("dream-parent") == {}


def relative_inputs(plan: Plan, step: str, name: str) -> list[str]:
    return [str(Path(path).relative_to(plan.layout.base)) for path in plan.inputs(step, name)]


def test_a_bundle_reads_its_own_test_sets_and_scoring_what_it_was_answered(plan: Plan) -> None:
    three = bundled(plan, 3)
    inputs = relative_inputs(three, "responses", "llada-base/2")
    assert inputs == ["checkpoints/llada-base/manifest.json", "data/number_choice/manifest.json"]
    assert relative_inputs(three, "scores", "llada-base/2") == ["responses/llada-base/2/manifest.json", *inputs]
    names = three.products("table1")["responses"]
    assert len(names) == 16 and names.index("llada-base/1") + 1 == names.index("llada-base/2")


def test_a_table_needs_no_cells_of_another(plan: Plan) -> None:
    first = plan.params.tables["table1"]
    same = TableRow(model="llada-base", label="LLaDA", stage="before SFT")
    rows = (same, dataclasses.replace(same, sampler="own"))
    second = dataclasses.replace(first, rows=rows, tasks=("word_problems", "sudoku"))
    both = changed(plan, tables={"table1": first, "other": second})
    bundles = both.bundles("llada-base")
    assert {name: len(cells) for name, cells in bundles.items()} == {"llada-base/1": 4, "llada-base/2": 2}
    assert {cell.setting for cell in bundles["llada-base/2"]} == {"own"}
    assert both.table_bundles("table1")["llada-base"] == ["llada-base/1"]
    # The second table has two cells in common with the first.
    assert both.table_bundles("other")["llada-base"] == ["llada-base/1", "llada-base/2"]
    assert both.products("table1")["scores"] == plan.products("table1")["scores"]


def test_the_tables_of_ones_own_file_need_no_others_cells(tmp_path: Path) -> None:
    shutil.copytree(PAPER / "params", tmp_path / "params")
    row = "{model: llada-instruct, label: LLaDA}"
    mine = f"extends: paper\ntitle: mine\ntables: {{row: {{title: a row, tasks: [gsm8k_cot_5], rows: [{row}]}}}}\n"
    (tmp_path / "params" / "mine.yaml").write_text(mine)
    plan = load_plan("mine", tmp_path)
    assert plan.products("row")["data"] == ["gsm8k"]
    assert [cell.task for cell in plan.bundle("llada-instruct/1")] == ["gsm8k_cot_5"]
    assert "llada-instruct/1" in plan.products("llada_instruct")["scores"]


def test_a_bundle_that_there_is_not_is_refused(plan: Plan) -> None:
    with pytest.raises(SettingsError, match=r"'llada-base' has no bundle '3': its tables' cells fill 2"):
        bundled(plan, 3).bundle("llada-base/3")


def test_the_size_of_bundles_re_runs_only_those_whose_cells_differ(plan: Plan) -> None:
    one, two, three = (bundled(plan, size) for size in (1, 2, 3))
    assert three.digest("responses", "llada-base/1") != two.digest("responses", "llada-base/1")
    assert three.digest("responses", "llada-base/2") == one.digest("responses", "llada-base/4")


def test_a_sampler_setting_changes_the_samples_but_no_training(plan: Plan) -> None:
    other = dataclasses.replace(plan.params.samplers["answer48"], score="random")
    after = changed(plan, samplers={**plan.params.samplers, "answer48": other})
    assert plan.digest("responses", "llada-base/1") != after.digest("responses", "llada-base/1")
    for name in plan.params.checkpoints:
        assert plan.digest("checkpoints", name) == after.digest("checkpoints", name)


def test_a_recipe_changes_only_the_checkpoints_that_use_it(plan: Plan) -> None:
    recipe = dataclasses.replace(plan.params.recipes["sft_reasoning"], learning_rate=1e-5)
    after = changed(plan, recipes={**plan.params.recipes, "sft_reasoning": recipe})
    differing = {
        name
        for name in plan.params.checkpoints
        if plan.digest("checkpoints", name) != after.digest("checkpoints", name)
    }
    users = {name for name, one in plan.params.checkpoints.items() if getattr(one, "recipe", None) == "sft_reasoning"}
    assert differing == users and "llada-base-sft" in users


def test_threads_change_every_training(plan: Plan) -> None:
    after = changed(plan, execution=dataclasses.replace(plan.params.execution, threads=2))
    assert plan.digest("checkpoints", "llada-base") != after.digest("checkpoints", "llada-base")


def test_a_difference_that_is_named_makes_the_table_again_and_nothing_else(plan: Plan) -> None:
    table = dataclasses.replace(plan.params.tables["table1"], published="paper_table1_s1k")
    named = dataclasses.replace(table, differs=(Difference(setting="steps 64, published 256"),))
    before, after = (changed(plan, tables={"table1": one}) for one in (table, named))
    assert before.digest("tables", "table1") != after.digest("tables", "table1")
    assert before.digest("responses", "llada-base/1") == after.digest("responses", "llada-base/1")


def test_the_papers_table_names_what_is_not_as_published() -> None:
    table = load_plan("paper", Path(__file__).resolve().parents[2]).params.tables["table1"]
    size, tag = "500 problems, published 257", "no reasoning tag, published with one"
    rows = {row.model: row for row in table.rows}
    assert table.differences(rows["llada-base"], "gsm8k") == ()
    assert table.differences(rows["llada-base"], "mbpp") == (size,)
    assert table.differences(rows["llada-base"], "humaneval") == ()
    assert table.differences(rows["dream-instruct-sft"], "mbpp") == (size, tag)


def test_what_models_write_is_run_only_where_the_params_say_so(plan: Plan) -> None:
    task = dataclasses.replace(plan.params.tasks["countdown"], lm_eval="dlm_code_lines")
    safe = {name: each for name, each in plan.params.tasks.items() if not plan.runs_programs(name)}
    plan = changed(plan, tasks=safe, sandbox=None)
    unsafe = changed(plan, tasks={**safe, "countdown": task})
    plan.refuse_unsafe(safe)
    unsafe.refuse_unsafe(["sudoku"])
    with pytest.raises(SettingsError, match=r"params/tiny\.yaml: countdown: would run programs"):
        unsafe.refuse_unsafe(unsafe.params.tasks)
    allowed = changed(unsafe, sandbox=SandboxSettings())
    allowed.refuse_unsafe(unsafe.params.tasks)
    # Scores depend on the limits, what is sampled does not.
    other = changed(unsafe, sandbox=SandboxSettings(seconds=20))
    assert allowed.digest("scores", "llada-base/1") != other.digest("scores", "llada-base/1")
    assert allowed.digest("responses", "llada-base/1") == other.digest("responses", "llada-base/1")
    plain = changed(plan, sandbox=SandboxSettings())
    assert plain.digest("scores", "llada-base/1") == plan.digest("scores", "llada-base/1")


def test_unknown_names_are_refused_with_the_nearest(plan: Plan) -> None:
    with pytest.raises(SettingsError, match="did you mean 'llada-base'"):
        plan.entry("checkpoints", "lada-base")


def test_seeds_are_cells_of_their_own_and_the_first_is_that_without(plan: Plan) -> None:
    table = plan.params.tables["table1"]
    row = dataclasses.replace(table.rows[0], seeds=3)
    tasks = {**plan.params.tasks, "sudoku": dataclasses.replace(plan.params.tasks["sudoku"], seeds=2)}
    both = changed(plan, tasks=tasks, tables={"table1": table, "again": dataclasses.replace(table, rows=(row,))})
    settings = [(cell.setting, cell.seed) for cell in both.row_cells(row, "countdown")]
    assert settings == [("answer48", 0), ("answer48@1", 1), ("answer48@2", 2)]
    assert len(both.row_cells(row, "sudoku")) == 3 and len(both.row_cells(table.rows[1], "sudoku")) == 2
    assert [len(cells) for cells in both.bundles(row.model).values()] == [5, 7]
    gpt2 = TableRow(model="gpt2", label="x", seeds=3)
    assert [cell.setting for cell in both.row_cells(gpt2, "countdown")] == ["greedy48"]
