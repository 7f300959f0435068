"""Sweeps: read and refused with file and line, laid out as named cells, divided into jobs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from dlm.errors import SettingsError
from dlm.params import Plan, load_plan
from dlm.params.sweeps import Expanded
from dlm.params.sweeps.constraints import read_constraint

ROW = {"model": "llada-instruct-sft", "label": "LLaDA", "sampler": "own"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    folder = tmp_path_factory.mktemp("sweeps")
    for name in ("params", "data"):
        shutil.copytree(repository / name, folder / name)
    return folder


@pytest.fixture
def lay_out(root: Path) -> Any:
    """Lay out a sweep of the tiny scale that a test writes."""

    def lay_out(factors: dict[str, Any], scale: dict[str, Any] | None = None, **sweep: Any) -> Expanded:
        return planned(root, factors, scale, **sweep).sweep("mine")

    return lay_out


def planned(root: Path, factors: dict[str, Any], scale: dict[str, Any] | None = None, **sweep: Any) -> Plan:
    tiny = {"rows": [ROW], "tasks": ["countdown", "sudoku"], **(scale or {})}
    content = {"title": "mine", "factors": factors, "scales": {"tiny": tiny}, **sweep}
    path = root / "params" / "sweeps" / "mine.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return load_plan("tiny", root)


def names(found: Expanded, task: str = "sudoku") -> list[str]:
    return [line.setting for line in found.lines if line.task == task]


@pytest.mark.parametrize("scale", ["tiny", "micro", "paper"])
@pytest.mark.parametrize("sweep", ["figure5", "length", "fastdllm", "template"])
def test_every_shipped_sweep_is_laid_out_at_every_scale(repository: Path, scale: str, sweep: str) -> None:
    plan = load_plan(scale, repository)
    found = plan.sweep(sweep)
    assert not found.refused and len(found.lines) > len(found.file.scale.rows) * len(found.file.scale.all_tasks)
    for label, cells in found.bundles.items():
        assert plan.bundle(label) == cells and len({cell.checkpoint for cell in cells}) == 1
    assert sum(map(len, found.bundles.values())) == sum(len(line.cells) for line in found.lines)


def test_a_grid_has_every_combination_once_and_names_what_differs_from_the_baseline(lay_out: Any) -> None:
    found = lay_out({"temperature": [0.0, 1.0], "score": ["low_confidence", "random"]})
    assert names(found) == ["own", "own+score=random", "own+temperature=1.0", "own+temperature=1.0+score=random"]
    first = found.lines[0]
    assert first.baseline and first.in_design and first.levels == {"temperature": "0.0", "score": "low_confidence"}
    assert found.combinations == 4


def test_one_at_a_time_changes_one_factor(lay_out: Any) -> None:
    found = lay_out({"temperature": [0.5, 1.0], "score": ["random", "topk_margin"]}, design="one_at_a_time")
    assert names(found) == ["own", *(f"own+{each}" for each in
        ("temperature=0.5", "temperature=1.0", "score=random", "score=topk_margin"))]  # fmt: skip
    assert found.lines[0].levels == {"temperature": "baseline", "score": "baseline"}
    assert found.lines[0].baseline and all(line.in_design for line in found.lines)


@pytest.mark.parametrize("kind", ["latin_hypercube", "sobol"])
def test_points_fill_the_space_and_are_the_same_each_time(lay_out: Any, kind: str) -> None:
    factors = {"temperature": {"low": 0.0, "high": 1.0}, "steps": {"values": [12, 24, 48]}}
    design = {"kind": kind, "samples": 32}
    found = lay_out(factors, design=design)
    assert names(found) == names(lay_out(factors, design=design))
    temperatures = [line.cells[0].sampler.proposer.temperature for line in found.lines if line.in_design]
    quarters = [sum(low <= t < low + 0.25 for t in temperatures) for low in (0, 0.25, 0.5, 0.75)]
    assert min(quarters) >= 12  # 32 points on two tasks
    assert {line.cells[0].sampler.selector.steps for line in found.lines if line.in_design} == {12, 24, 48}


def test_a_setting_that_is_a_sampler_of_the_params_has_its_name(lay_out: Any) -> None:
    levels = {"none": {}, "sure": {"selector": {"kind": "threshold", "threshold": 0.9}}}
    found = lay_out({"rule": {"levels": levels}}, {"rows": [{**ROW, "sampler": "llada48"}]})
    assert names(found) == ["llada48", "llada48_parallel"]


def test_changes_reach_what_they_name(lay_out: Any) -> None:
    levels = {
        "guided": {"proposer.guidance.scale": 0.5},
        "wide": {"max_new_tokens": 64},
        "fast": {"tokens_per_step": 4},
        "worded": {"task.template": "Q: {prompt}", "chat": False, "response_prefix": ""},
        "shots": {"task.num_fewshot": 2},
        "seeded": {"seed": 5},
        "other": {"sampler": "answer48"},
        "blocks": {"canvas": {"kind": "growing", "max_new_tokens": 48, "block_size": 16}, "tokens_per_step": 2,
                   "selector": {"kind": "schedule", "steps": 1}},
    }  # fmt: skip
    found = {line.levels["what"]: line.cells[0] for line in lay_out({"what": {"levels": levels}}).lines}
    assert found["guided"].sampler.proposer.guidance.scale == 0.5
    wide = found["wide"].sampler
    assert (wide.canvas.max_new_tokens, wide.selector.steps) == (64, 64)  # a step a token stays one
    assert found["fast"].sampler.selector.steps == 12
    assert found["worded"].task_settings.template == "Q: {prompt}" and not found["worded"].chat
    assert found["shots"].task_settings.num_fewshot == 2 and found["seeded"].seed == 5
    assert found["other"].sampler.selector.steps == 24
    assert (found["blocks"].sampler.canvas.blocks, found["blocks"].sampler.selector.steps) == (3, 24)


def test_impossible_combinations_are_counted_by_their_reason(lay_out: Any) -> None:
    factors = {"steps": [12, 20, 48], "block_size": [16, 48], "temperature": [0.0, 1.0]}
    found = lay_out(factors, constraints=["block_size == 48 or temperature == 0"])
    assert found.combinations == 12 and sum(found.refused.values()) == 4
    reasons = dict(found.refused)
    assert reasons.pop("constraint 'block_size == 48 or temperature == 0'") == 3
    ((reason, count),) = reasons.items()
    assert count == 1 and "steps 20 is not a multiple of the 3 blocks" in reason
    assert found.told()[0].endswith("4 combinations cannot be:") and len(found.told()) == 3
    assert len([line for line in found.lines if line.in_design and line.task == "sudoku"]) == 8


@pytest.mark.parametrize(
    ("text", "values", "holds"),
    [
        ("a <= b", {"a": 1, "b": 2}, True),
        ("a % 2 == 1 and not b > 3", {"a": 3, "b": 4}, False),
        ("cache in ['none', 'dual'] or a * 2 < b - 1", {"cache": "prefix", "a": 1, "b": 3}, False),
        ("cache != 'none'", {"cache": "none"}, False),
        ("p is_missing == 1", None, None),
        ("proposer.top_p == None", {"proposer.top_p": None}, True),
        ("a == true", {"a": True}, True),
        ("a < b", {"a": 1}, True),  # not concerned
    ],
)
def test_constraints(text: str, values: dict[str, Any] | None, holds: bool | None) -> None:
    if values is None:
        with pytest.raises(SettingsError, match="no condition"):
            read_constraint(text)
    else:
        assert read_constraint(text).holds(values) is holds


@pytest.mark.parametrize("text", ["__import__('os')", "a.b()", "[x for x in a]", "lambda: 1", "a if b else c", "a[0]"])
def test_nothing_else_of_python_can_be_said(text: str) -> None:
    with pytest.raises(SettingsError, match=r"has no place in a constraint|is no name"):
        read_constraint(text)


@pytest.mark.parametrize(
    ("text", "constants"),
    [
        ("a == 'x' or not b != -1", [("a", "x"), ("b", -1)]),
        ("c.d in ['x', none] and 3 == a", [("c.d", "x"), ("c.d", None), ("a", 3)]),
        ("a < 3 <= b * 2 and a == b", []),
    ],
)
def test_constants_that_factors_are_asked_to_be(text: str, constants: list[Any]) -> None:
    assert sorted(read_constraint(text).constants(), key=str) == sorted(constants, key=str)


def test_levels_that_change_nothing_on_a_task_are_told(lay_out: Any) -> None:
    """Of `blocks`, 48 positions in one block, nothing is changed where the whole answer is one block anyway."""
    rows = [{**ROW, "samplers": {"countdown": "own", "sudoku": "llada48"}}]
    levels = {"whole": {"block_size": None}, "as_is": {}, "short": {"block_size": 24}}
    found = lay_out({"blocks": {"levels": levels}}, {"rows": rows}, design="one_at_a_time")
    ((alike, count),) = found.alike.items()
    assert str(alike) == "LLaDA on countdown: blocks=as_is asks what blocks=whole does" and count == 1
    assert found.told()[-1] == f"  1: {alike}"
    assert names(found, "countdown") == ["own", "own+blocks=short"]


def test_values_of_a_range_by_its_logarithm_have_significant_digits(lay_out: Any) -> None:
    factor = {"setting": "recipe.learning_rate", "low": 1e-6, "high": 1e-3, "log": True, "decimals": 2}
    found = lay_out({"rate": factor}, design={"kind": "latin_hypercube", "samples": 16})
    rates = [float(line.levels["rate"]) for line in found.lines if line.in_design and line.task == "sudoku"]
    assert len(set(rates)) == 16 and all(1e-6 <= rate <= 1e-3 and rate == float(f"{rate:.1e}") for rate in rates)


def test_baselines_beside_the_combinations_are_told(lay_out: Any) -> None:
    def first(*factors: Any, **sweep: Any) -> str:
        return str(lay_out(*factors, **sweep).told()[0])

    beside = {"temperature": [0.5, 1.0], "score": ["random", "topk_margin"]}
    assert first(beside) == "sweep mine: 5 settings of 4 combinations and the baseline, 1 sampling jobs"
    among = {"temperature": [0.0, 1.0], "score": ["low_confidence", "random"]}
    assert first(among) == "sweep mine: 4 settings of 4 combinations, 1 sampling jobs"
    rows = [ROW, {**ROW, "model": "llada-base-sft", "label": "other"}]
    assert " 10 settings of 8 combinations and 2 baselines, " in first(beside, {"rows": rows})
    found = lay_out(among, design="one_at_a_time")
    assert found.told()[0] == "sweep mine: 3 settings of 4 combinations and the baseline, 1 sampling jobs"
    assert found.told()[1:] == ["2 are the baseline again"]


def test_points_that_fall_on_others_are_counted(lay_out: Any) -> None:
    factors = {"temperature": {"low": 0.0, "high": 1.0, "decimals": 1}}
    found = lay_out(factors, {"tasks": ["sudoku"]}, design={"kind": "sobol", "samples": 16})
    assert found.combinations + found.together == 16 and found.together > 0
    assert f"{found.together} points of the design fell on the levels of others" in found.told()


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [
        ("order > 2", r"'order' has names as levels, > compares numbers$"),
        ("temperature < 1 or temperature <= order", r"'order' has names as levels, <= compares numbers$"),
        ("order % 2 == 1", r"'order' has names as levels, % reckons with numbers$"),
        ("-order == 1", r"'order' has names as levels, - reckons with numbers$"),
        ("1 / temperature < 2", r"'1 / temperature < 2' divides by 0 with temperature = 0\.0$"),
        ("block_size < 32", r"'block_size < 32' puts together .* with block_size = None; numbers go with numbers"),
    ],
)
def test_a_constraint_that_compares_unlike_things_is_the_mistake(lay_out: Any, constraint: str, expected: str) -> None:
    order = {"levels": {"confidence": {}, "random": {"score": "random"}}}
    factors = {"temperature": [0.0, 0.5], "order": order, "block_size": [None, 16]}
    with pytest.raises(SettingsError, match=rf"mine\.yaml:\d+: constraints\[1\]: {expected}"):
        lay_out(factors, constraints=["order != 'random' or temperature > 0", constraint])
    assert lay_out(factors, constraints=["block_size == none or block_size < 32"]).lines


MISTAKES = {
    "unknown setting": (
        {"factors": {"temprature": [0.0]}},
        r"mine\.yaml:4: factors\.temprature\[0\]: no combination with level '0\.0' can be: there is no setting "
        r"'temprature'.*did you mean 'temperature'\?",
    ),
    "unknown key": ({"desing": "grid"}, r"mine\.yaml:\d+: desing: unknown key; did you mean 'design'\?"),
    "wrong type": ({"factors": {"steps": ["many"]}}, r"factors\.steps\[0\].*expected a whole number, got 'many'"),
    "bad value": ({"factors": {"temperature": [-1.0]}}, r"temperature must be at least 0"),
    "level twice": ({"factors": {"steps": [12, 12]}}, r"mine\.yaml:3: factors\.steps: level '12' is there twice"),
    "no name": ({"factors": {"guidance": [{"scale": 1.0}]}}, r"has no name; write it under `levels`"),
    "a column": ({"factors": {"value": [1]}}, r"'value' is a column of the table already"),
    "two factors": (
        {"factors": {"steps": [12], "s": {"setting": "steps", "values": [24]}}},
        r"two factors set 'steps'",
    ),
    "range in a grid": (
        {"design": "grid", "factors": {"steps": [12], "temperature": {"low": 0, "high": 1}}},
        r"mine\.yaml:5: factors\.temperature: a range has no levels for design 'grid'",
    ),
    "setting of a recipe": (
        {"factors": {"recipe.learning_rat": [1.0]}},
        r"there is no setting 'recipe\.learning_rat'; did you mean 'recipe\.learning_rate'\?",
    ),
    "nothing varied": (
        {"factors": {"temperature": [0.0], "steps": [24, 48]}},
        r"mine\.yaml:\d+: factors\.temperature: its only level, '0\.0', is the baseline's; add another",
    ),
    "setting of another selector": (
        {"factors": {"threshold": [0.9, 0.8]}},
        r"factors\.threshold\[0\]: .* no setting 'threshold' where the canvas is 'full' and the selector 'even'; "
        r"selector 'threshold' .*has it: take a sampler with that as the baseline, or vary `sampler`$",
    ),
    "setting of a task": (
        {"factors": {"task.templat": ["{prompt}"]}},
        r"there is no setting 'task\.templat' to vary; did you mean 'task\.template'\?",
    ),
    "no levels": ({"factors": {"x": {"setting": "steps"}}}, r"give one of values, levels, or low and high"),
    "constraint": ({"constraints": ["step > 1"]}, r"constraints\[0\]: no factor is named 'step'"),
    "ranked": ({"ranked": "order"}, r"ranked: no factor is named 'order'"),
    "published": ({"published": "paper_figure6"}, r"published: no table of the published figures"),
    "no values": ({"factors": {"temperature": []}}, r"mine\.yaml:3: factors\.temperature: is an empty list"),
    "no factors": ({"factors": {}}, r"mine\.yaml:2: factors: names nothing to vary"),
    "level in a constraint": (
        {"factors": {"score": ["random", "topk_margin"]}, "constraints": ["score != 'randm' or score == 'random'"]},
        r"constraints\[0\]: .*'score' has no level 'randm', so this says nothing; did you mean 'random'\?",
    ),
    "levels alike": (
        {"factors": {"order": {"levels": {"a": {"score": "random"}, "b": {"score": "random"}, "c": {}}}}},
        r"mine\.yaml:\d+: factors\.order\.levels\.b: level 'b' asks what 'a' does, wherever it stands",
    ),
    "points together": (
        {"factors": {"temperature": [0.0, 1.0], "steps": [24, 48]}, "design": {"kind": "sobol", "samples": 16}},
        r"design: of 16 points only 4 fall on levels of their own; take fewer",
    ),
    "level in a constraint misspelt": (
        {
            "factors": {
                "temperature": [0.0, 0.5],
                "order": {"levels": {"confidence": {}, "random": {"scor": "random"}}},
            },
            "constraints": ["order != 'random' or temperature > 0"],
        },
        r"factors\.order\.levels\.random: no combination with level 'random' can be: there is no setting 'scor'"
        r".* did you mean 'score'\?; constraint 'order != 'random' or temperature > 0'$",
    ),
    "level that constraints alone hide": (
        {
            "factors": {"temperature": [0.0], "order": {"levels": {"a": {"block_size": 24}, "b": {"score": "randon"}}}},
            "constraints": ["order != 'b' or temperature > 0"],
        },
        r"factors\.order\.levels\.b: .* can be: .*unknown 'randon'; did you mean 'random'\?; constraint 'order",
    ),
    "recipe of a hub": ({"factors": {"recipe.lr": [1.0]}}, r"there is no setting 'recipe\.lr'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_end_in_one_line_with_file_and_key(root: Path, mistake: str) -> None:
    changes, expected = MISTAKES[mistake]
    with pytest.raises(SettingsError, match=expected) as caught:
        planned(root, **{"factors": {"temperature": [0.0, 1.0]}, **changes}).sweep("mine")
    assert "\n" not in str(caught.value) and "mine.yaml:" in str(caught.value)


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        ({"rows": [{**ROW, "model": "lada"}]}, r"scales\.tiny\.rows\[0\]\.model: no checkpoint is named 'lada'"),
        ({"rows": [{**ROW, "seeds": [0, 1]}]}, r"seeds: expected a whole number, how many seeds, got \[0, 1\]"),
        ({"rows": [ROW, ROW]}, r"rows has 'llada-instruct-sft' twice"),
        ({"tasks": ["sudok"]}, r"scales\.tiny\.tasks\[0\]: no task is named 'sudok'; did you mean 'sudoku'\?"),
        ({"tasks": {"Llada": ["sudoku"]}}, r"tasks by row"),
        ({"rows": [{**ROW, "sampler": "owm"}]}, r"no sampler is named 'owm'"),
        ({"tasks": ["code_lines"], "budget": {"forward_passes": 9}}, r"'code_lines' runs programs"),
    ],
)
def test_mistakes_of_a_scale(root: Path, scale: dict[str, Any], expected: str) -> None:
    with pytest.raises(SettingsError, match=expected):
        planned(root, {"temperature": [0.0]}, scale).sweep("mine")


def test_unknown_sweeps_and_scales_are_refused(root: Path, repository: Path) -> None:
    with pytest.raises(SettingsError, match=r"no sweep is named 'figure6': did you mean 'figure5'\?"):
        load_plan("tiny", repository).sweep("figure6")
    (root / "params" / "other.yaml").write_text("title: other\n")
    with pytest.raises(SettingsError, match=r"figure5\.yaml:\d+: scales: nothing of scale 'other'.*tiny, micro, paper"):
        load_plan("other", root).sweep("figure5")
    (root / "params" / "other.yaml").unlink()


def test_execution_factors_have_jobs_of_their_own_and_ask_the_same(root: Path) -> None:
    plan = planned(root, {"execution.batch_size": [32, 8], "execution.dtype": ["float32", "bfloat16"]})
    found = plan.sweep("mine")
    assert names(found)[0] == "own" and len(found.bundles) == 4
    ways = {plan.execution_of(name).batch_size: plan.execution_of(name).dtype for name in found.bundles}
    assert set(ways) == {8, 32} and plan.params.execution.batch_size == 32
    asked = {(cell.sampler, cell.seed, cell.task) for cells in found.bundles.values() for cell in cells}
    assert len(asked) == 2
    digests = {plan.digest("responses", name) for name in found.bundles}
    assert len(digests) == 4


def test_recipe_factors_derive_checkpoints_that_are_trained(root: Path) -> None:
    factors = {
        "recipe.learning_rate": [2.0e-3, 1.0e-3],
        "weight": {"setting": "recipe.objective.weight", "values": ["scheduler", "uniform"]},
    }
    plan = planned(root, factors, {"tasks": ["sudoku"]})
    derived = [name for name in plan.checkpoints_of_kind("train") if ".." in name]
    assert derived == [f"llada-instruct-sft..{each}" for each in (
        "learning_rate-0.002..objective.weight-uniform",
        "learning_rate-0.001..objective.weight-scheduler",
        "learning_rate-0.001..objective.weight-uniform")]  # fmt: skip
    recipe = plan.params.recipes[plan.params.checkpoints[derived[2]].recipe]  # type: ignore[union-attr]
    assert (recipe.learning_rate, recipe.objective.weight, recipe.steps) == (1e-3, "uniform", 550)  # type: ignore[union-attr]
    assert plan.products("sensitivity_mine")["checkpoints"][-1] in derived
    assert plan.sweep("mine").checkpoints == ["llada-instruct-sft", *derived]
    assert plan.checkpoint_inputs(derived[0]) == plan.checkpoint_inputs("llada-instruct-sft")
    assert {line.row.model for line in plan.sweep("mine").lines} == {"llada-instruct-sft"}


def test_a_budget_knows_which_cells_are_seeds_of_one_setting(lay_out: Any) -> None:
    """A factor `seed` has levels of its own, which compete; the seeds of a row are repetitions of each setting."""
    scale = {"rows": [{**ROW, "seeds": 2}], "tasks": ["sudoku"], "budget": {"forward_passes": 100}}
    passes, kept, repeats = lay_out({"temperature": [0.5]}, scale).budget_of("llada-instruct-sft/mine-1")
    assert passes == 100 and kept == {("sudoku", "own")}
    assert repeats == {("sudoku", "own@1"): "own", ("sudoku", "own+temperature=0.5@1"): "own+temperature=0.5"}
    one = {**scale, "rows": [ROW]}
    assert not lay_out({"seed": [1, 2]}, one).budget_of("llada-instruct-sft/mine-1")[2]


def test_a_broken_sweep_stops_nobody_else(root: Path) -> None:
    (root / "params" / "sweeps" / "broken.yaml").write_text("title: [recipe.\n")
    plan = load_plan("tiny", root)
    assert plan.sweep("figure5").lines and "sensitivity_figure5" in plan.sweep_tables()
    assert "sensitivity_broken" not in plan.sweep_tables()
    with pytest.raises(SettingsError, match=r"broken\.yaml:\d: broken YAML"):
        plan.sweep("broken")
    (root / "params" / "sweeps" / "broken.yaml").unlink()


def test_ten_thousand_cells_are_tens_of_jobs(lay_out: Any) -> None:
    factors = {"temperature": {"values": [round(n / 100, 2) for n in range(50)]}, "seed": list(range(50))}
    found = lay_out(factors, {"tasks": ["sudoku", "countdown", "word_problems"]})
    assert len(found.lines) == 7500 and len(found.bundles) == 30
    assert len(lay_out(factors, {"bundle": 1000}).bundles) == 5


def test_one_more_value_keeps_the_names_of_what_is_there(lay_out: Any) -> None:
    before = lay_out({"temperature": [0.0, 1.0], "score": ["low_confidence", "random"]})
    after = lay_out({"temperature": [0.0, 0.5, 1.0], "score": ["low_confidence", "random"], "seed": [0, 1]})
    assert set(names(before)) < set(names(after)) and len(names(after)) == 12
    kept = {line.setting: line.cells for line in after.lines if line.task == "sudoku"}
    assert all(kept[line.setting] == line.cells for line in before.lines if line.task == "sudoku")
