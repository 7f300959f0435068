"""What a table costs: passes as the sampler makes them, sizes as the networks have them, and how it is told."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from doubles import small_architecture, small_denoiser, word_tokenizer
from safetensors import safe_open
from transformers import AutoConfig

from dlm.cli import cli
from dlm.errors import SettingsError
from dlm.likelihood import Answer, estimate
from dlm.models import described_network, make_denoiser
from dlm.params import Plan, load_params, load_plan
from dlm.planning import find_gpu, likelihood_work, sampling_work, table_cost
from dlm.planning.networks import network_sizes, sizes
from dlm.sampling import Sampler
from dlm.settings import (
    ApproximateCache,
    FullCanvas,
    LikelihoodSettings,
    OriginSelector,
    SamplerSettings,
    TaskSize,
    preset,
)

ROOT = Path(__file__).resolve().parents[2]
PROMPT = [5, 6, 7, 8, 9]
PAPERS = load_params("paper", ROOT).tables


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("llada", {"max_new_tokens": 12, "block_size": 6, "steps": 6}),
        ("llada", {"max_new_tokens": 12, "block_size": 12, "steps": 12}),
        ("dream", {"max_new_tokens": 12, "steps": 7}),
        ("mdlm", {"max_new_tokens": 12, "steps": 5}),
        ("mdlm", {"max_new_tokens": 12, "steps": 40}),
        ("bd3lm", {"max_new_tokens": 12, "block_size": 4, "steps": 6, "stop": None}),
    ],
)
def test_passes_of_a_schedule_are_those_that_the_sampler_makes(name: str, changes: dict[str, Any]) -> None:
    settings = preset(name, **changes)
    (sample,) = Sampler(small_denoiser(), settings).sample([PROMPT])
    assert sampling_work(settings, TaskSize(documents=1, prompt_tokens=5)).passes == sample.forward_passes


def test_passes_of_chance_are_those_that_the_sampler_makes_on_average() -> None:
    settings = SamplerSettings(canvas=FullCanvas(max_new_tokens=16), selector=OriginSelector(steps=8))
    prompts = [[4 + index % 20, 4 + index // 20] for index in range(200)]
    samples = Sampler(small_denoiser(), settings).sample(prompts)
    made = sum(sample.forward_passes for sample in samples) / len(samples)
    assert sampling_work(settings, TaskSize(documents=1, prompt_tokens=2)).passes == pytest.approx(made, rel=0.05)


def test_selectors_that_go_by_confidence_take_what_is_assumed() -> None:
    settings = preset("fast-dllm-llada", max_new_tokens=64, block_size=32)
    size = TaskSize(documents=1, prompt_tokens=10)
    assert sampling_work(settings, size).passes == 64
    assert sampling_work(settings, size, tokens_per_pass=3).passes == 2 * 11


def test_a_stop_spares_the_blocks_after_the_end() -> None:
    settings = preset("bd3lm", max_new_tokens=32, block_size=8, steps=32)
    whole, short = (
        sampling_work(settings, TaskSize(documents=1, prompt_tokens=8, answer_tokens=tokens)) for tokens in (None, 10)
    )
    assert (whole.passes, short.passes) == (32, 16)
    assert short.columns < whole.columns


def test_columns_of_the_caches() -> None:
    size = TaskSize(documents=1, prompt_tokens=100)
    settings = preset("llada", max_new_tokens=64, block_size=32, steps=64)
    caches = (None, ApproximateCache(kind="approximate_prefix"), ApproximateCache(kind="approximate_dual"))
    none, prefix, dual = (
        sampling_work(replace(settings, canvas=replace(settings.canvas, cache=cache)), size).columns for cache in caches
    )
    assert none == 64 * 164
    assert prefix == 2 * 164 + 31 * 64 + 31 * 32
    assert dual == 2 * 164 + 31 * 32 + 31 * 32


def test_passes_of_choices_are_those_that_the_estimate_makes() -> None:
    settings = LikelihoodSettings(samples=8)
    answers = [Answer((5, 6, 7), tokens) for tokens in ((9, 10), (9, 11), (9, 12), (9, 13))]
    done = estimate(small_denoiser(), answers, settings, seed=0, batch_size=4)
    made = sum(each.forward_passes for batch in done for _, each in batch)
    size = TaskSize(documents=1, prompt_tokens=3, choices=4, choice_tokens=2, shared_tokens=1)
    assert likelihood_work(settings, size).passes == made == 6
    single = TaskSize(documents=1, prompt_tokens=3, choices=4)
    assert likelihood_work(settings, single).passes == 1


@pytest.mark.parametrize("model_type", ["llama", "qwen2", "qwen3", "gpt2", "modernbert"])
def test_parameters_are_those_of_the_network(model_type: str) -> None:
    architecture = small_architecture(model_type, hidden_size=128, intermediate_size=256)
    made = make_denoiser(architecture, word_tokenizer(), causal=model_type == "gpt2", shift=False, seed=0)
    actual = sum(weight.numel() for weight in made.model.model.layers.parameters()) if model_type != "gpt2" else sum(
        weight.numel() for weight in made.model.transformer.h.parameters()
    )  # fmt: skip
    assert sizes(architecture, 24).body == pytest.approx(actual, rel=0.02)


@pytest.mark.parametrize("name", [path.name for path in sorted((ROOT / "tests/parity/checkpoints").glob("*/"))])
def test_a_folder_in_any_format_tells_its_network(name: str) -> None:
    folder = ROOT / "tests/parity/checkpoints" / name
    found, stored = network_sizes(described_network(folder)), dict[str, int]()
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as opened:
            stored |= {each: math.prod(opened.get_slice(each).get_shape()) for each in opened.keys()}  # noqa: SIM118
    assert found.parameters == sum(stored.values())
    heads = [each for each in stored if each.endswith(("lm_head.weight", "model.transformer.ff_out.weight"))]
    assert (found.embeddings != 0) == bool(heads) and found.projection == found.hidden * found.vocab


@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize("model_type", ["gpt2", "roberta", "gemma"])
def test_tied_weights_count_once_whether_the_config_says_it_or_the_class(
    model_type: str, said: bool, tmp_path: Path
) -> None:
    AutoConfig.for_model(model_type).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config.pop("tie_word_embeddings", True)
    (tmp_path / "config.json").write_text(json.dumps({**config, **({"tie_word_embeddings": True} if said else {})}))
    found = network_sizes(described_network(tmp_path))
    assert found.embeddings == 0 and found.projection == config["vocab_size"] * found.hidden


@pytest.mark.parametrize(
    ("model_type", "why"),
    [
        ("mixtral", "'mixtral' has experts"),
        ("albert", "'albert' has no list of its 12 layers"),
        ("mamba", "'mamba' does not tell its sizes"),
    ],
)
def test_a_network_that_does_not_use_each_weight_once_is_not_reckoned(
    model_type: str, why: str, tmp_path: Path
) -> None:
    AutoConfig.for_model(model_type).save_pretrained(tmp_path)
    with pytest.raises(SettingsError, match=why):
        network_sizes(described_network(tmp_path))


def test_a_table_of_the_paper_is_reckoned_from_the_params_alone() -> None:
    plan = load_plan("paper", ROOT)
    h100 = table_cost(plan, "table1", find_gpu("H100"))
    assert not h100.unknown
    (gsm8k,) = (cost for cost in h100.costs if (cost.checkpoint, cost.task) == ("llada-instruct", "gsm8k"))
    assert (gsm8k.documents, gsm8k.passes) == (1319, 1319 * 128)  # 256 tokens in 128 steps
    assert 15 < gsm8k.memory < 20  # 8.0e9 parameters of two bytes are 14.9 GiB
    assert h100.jobs["tables"] == 1
    a100 = table_cost(plan, "table1", find_gpu("A100-80GB"))
    assert a100.hours == pytest.approx(h100.hours * 989 / 312, rel=0.05)  # nothing here waits for memory


@pytest.fixture(scope="module")
def paper() -> Plan:
    return load_plan("paper", ROOT)


@pytest.mark.parametrize("table", PAPERS)
def test_every_table_of_the_paper_scale_is_planned_and_reckoned(paper: Plan, table: str) -> None:
    cost = table_cost(paper, table, find_gpu("H100"))
    assert not cost.unknown and all(line.hours > 0 and line.memory > 0 for line in cost.costs)
    models = {line.checkpoint for line in cost.costs if line.step == "sample"}
    assert models == set(paper.table_models(table))
    assert {name.partition("/")[0] for name in paper.products(table)["responses"]} == models


def test_a_table_of_the_paper_scale_is_told() -> None:
    asked = ["plan", "llada_base", "--scale", "paper", "--gpu", "A100-80GB"]
    with contextlib.chdir(ROOT):
        text = CliRunner().invoke(cli, asked, catch_exceptions=False).stdout
    assert "llada_base at scale paper, on one A100-80GB" in text and "llada_mc32_cfg0.5" in text
    assert "not reckoned" not in text and "\nin all: " in text


def test_what_is_not_reckoned_is_not_in_the_sum(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "params", tmp_path / "params")
    (tmp_path / "Snakefile").touch()
    (tmp_path / "data").symlink_to(ROOT / "data")
    (tmp_path / "mine").mkdir()
    (tmp_path / "params" / "mine.yaml").write_text(
        "extends: paper\ncheckpoints:\n  mine: {kind: folder, path: mine}\ntables:\n  mine:\n    title: mine\n"
        "    tasks: [gsm8k]\n    rows: [{model: mine, label: mine}]\n"
    )
    with contextlib.chdir(tmp_path):
        text = CliRunner().invoke(cli, ["plan", "mine", "--scale", "mine"], catch_exceptions=False).stdout
    assert "in all, but for what is not reckoned: 0 forward passes" in text
    assert "not reckoned: the size of checkpoint 'mine' is not known (" in text
    assert "no config.json in it" in text and "write it under planning.networks" in text
    shutil.copy(ROOT / "tests/parity/checkpoints/llada/config.json", tmp_path / "mine")
    with contextlib.chdir(tmp_path):
        text = CliRunner().invoke(cli, ["plan", "mine", "--scale", "mine"], catch_exceptions=False).stdout
    assert "not reckoned" not in text and "in all: 168,832 forward passes" in text


def test_a_budget_is_the_most_that_a_sweep_takes(tmp_path: Path) -> None:
    """24 settings of 24 or 12 passes on 128 documents; the first 16 of them are answered whatever the budget says."""
    for name in ("params", "data"):
        shutil.copytree(ROOT / name, tmp_path / name)
    path = tmp_path / "params" / "sweeps" / "template.yaml"
    text = path.read_text()
    sums = []
    for budget in ("", "    budget: {forward_passes: 20000}\n", "    budget: {forward_passes: 100}\n"):
        path.write_text(text.replace("    bundle: 24\n", budget))
        cost = table_cost(load_plan("tiny", tmp_path), "sensitivity_template", find_gpu("H100"))
        asked = [line for line in cost.costs if line.step == "sample"]
        assert {line.at_most for line in asked} == {bool(budget)}
        sums.append({task: sum(line.passes for line in asked if line.task == task) for task in ("countdown", "sudoku")})
    whole, half, first = sums
    assert whole["sudoku"] == 128 * (20 * 24 + 4 * 12)
    assert half == {"countdown": pytest.approx(10000), "sudoku": pytest.approx(10000)}
    assert first["sudoku"] == pytest.approx(whole["sudoku"] / 8)


def test_an_unknown_size_is_named() -> None:
    with pytest.raises(SettingsError, match="no GPU is named 'H10'; did you mean 'H100'"):
        find_gpu("H10")


def test_the_verb(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*arguments: str) -> str:
        return CliRunner().invoke(cli, ["plan", *arguments], catch_exceptions=False).stdout

    monkeypatch.chdir(ROOT)
    text = run("table1", "--scale", "tiny")
    assert "jobs, if nothing is there yet: 36 (9 data, 10 checkpoints" in text
    lines = run("table1", "--csv").splitlines()
    assert lines[0].startswith("table,step,checkpoint,task,setting,documents,forward_passes")
    assert "table1,sample,llada-base,sudoku,answer48,128,3072," in "\n".join(lines)
    with pytest.raises(SettingsError, match="scale 'tiny' has no table named 'table9'"):
        run("table9")
