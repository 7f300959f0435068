"""Perplexity of held-out text: recorded, replayed and scored as lm-eval does it, by the pipeline and by lm-eval."""

from __future__ import annotations

import dataclasses
import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import lm_eval.tasks
import pytest
from evaluation_examples import EXECUTION, ExampleCell, save_checkpoint
from lm_eval.api.metrics import bits_per_byte, weighted_perplexity

from dlm.analysis.cells import read_cells
from dlm.errors import DataError, SettingsError
from dlm.evaluation import sample_cells, score_cells
from dlm.evaluation.command import run_command_line
from dlm.files import read_json, read_jsonl, write_jsonl, write_manifest
from dlm.settings import LikelihoodSettings, Task

LONG = " ".join(f"word{number}" for number in range(40))
TEXTS = ["Ann has 3 pens.", "1 + 2 = 3\n3 - 1 = 2", LONG]
METRICS = ("word_perplexity", "byte_perplexity", "bits_per_byte")


def cell(metric: str, **changes: Any) -> Any:
    task = Task(title="T", lm_eval="dlm_held_out_text", output="likelihood", metric=metric, dataset="corpus")
    likelihood = LikelihoodSettings(samples=4)
    values = {"task": metric, "task_settings": task, "setting": "mc4", "sampler": None, "likelihood": likelihood}
    return ExampleCell(**{**values, "dataset": "corpus", "seed": 3, **changes})


CELLS = [cell(metric) for metric in METRICS]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of 128 positions, its records of texts, one of them longer than that, and their scores."""
    root = tmp_path_factory.mktemp("rolling")
    save_checkpoint(root / "checkpoint")
    (root / "data" / "corpus").mkdir(parents=True)
    write_jsonl(root / "data" / "corpus" / "train.jsonl", [{"id": "t", "text": "not asked"}])
    rows = [{"id": f"h{number}", "text": text} for number, text in enumerate(TEXTS)]
    write_jsonl(root / "data" / "corpus" / "held_out.jsonl", rows)
    write_manifest(root / "data" / "corpus", kind="dataset", name="corpus", made_from={})
    folder = root / "responses" / "1"
    where: Any = {"checkpoint_dir": root / "checkpoint", "data_folder_of": lambda name: root / "data" / name}
    sample_cells({folder: CELLS}, execution=EXECUTION, **where)
    score_cells(folder, CELLS, out_dir=root / "scores", scale="micro", **where)
    return root


def records(place: Path) -> list[dict[str, Any]]:
    return [line for line in read_jsonl(place / "responses" / "1" / "records.jsonl") if "what" in line]


def test_the_metrics_are_lm_evals_of_the_records(place):
    found = {cell["metric"]: cell for cell in read_json(place / "scores" / "scores.json")["cells"]}
    nats = {record["doc_id"]: record["loglikelihood"] for record in records(place)}
    assert sorted(nats) == ["h0", "h1", "h2"]
    by_word = [(nats[f"h{number}"], len(text.split())) for number, text in enumerate(TEXTS)]
    by_byte = [(nats[f"h{number}"], len(text.encode())) for number, text in enumerate(TEXTS)]
    assert found["word_perplexity"]["value"] == weighted_perplexity(by_word)
    assert found["byte_perplexity"]["value"] == weighted_perplexity(by_byte)
    assert found["bits_per_byte"]["value"] == bits_per_byte(by_byte)
    assert found["word_perplexity"]["weights"] == [length for _, length in by_word]
    assert found["word_perplexity"]["doc_ids"] == ["h0", "h1", "h2"]


def test_metrics_share_the_records_and_carry_their_errors(place):
    assert len(records(place)) == 3
    errors = {record["doc_id"]: record["mc_stderr"] for record in records(place)}
    cells = read_cells("tiny", "micro", read_json(place / "scores" / "scores.json"))
    for one in cells:
        unit = math.log(2) if one.metric == "bits_per_byte" else 1.0
        assert one.extra["mc_stderrs"] == pytest.approx([errors[f"h{number}"] / unit for number in range(3)])
        estimate = one.estimate
        assert estimate.monte_carlo > 0 and estimate.low < one.value < estimate.high


def test_a_longer_text_is_scored_in_windows(place):
    (long,) = [record for record in records(place) if record["doc_id"] == "h2"]
    assert len(LONG) > 127 and long["forward_passes"] > 4
    assert long["continuation"] == LONG and long["prompt"] == ""


def test_lm_evals_own_command_line_gives_the_same(place, monkeypatch, tmp_path):
    monkeypatch.setattr(lm_eval.tasks, "TaskManager", partial(lm_eval.tasks.TaskManager, include_defaults=False))
    model = f"pretrained={place / 'checkpoint'},samples=4,seed=3,batch_size=4"
    data = ("--metadata", f"folder={place / 'data' / 'corpus'}", "--output_path", str(tmp_path))
    run_command_line(["--model", "dlm", "--model_args", model, "--tasks", "dlm_held_out_text", *data])
    (results,) = tmp_path.rglob("results_*.json")
    told = json.loads(results.read_text())["results"]["dlm_held_out_text"]
    expected = {cell["metric"]: cell["value"] for cell in read_json(place / "scores" / "scores.json")["cells"]}
    assert {metric: told[f"{metric},none"] for metric in METRICS} == expected


def test_what_holds_no_text_is_refused(place, tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    write_jsonl(folder / "held_out.jsonl", [{"id": "h", "messages": []}])
    write_manifest(folder, kind="dataset", name="corpus", made_from={})
    where: Any = {"checkpoint_dir": place / "checkpoint", "data_folder_of": lambda name: tmp_path / name}
    with pytest.raises(DataError, match="corpus: chats; name a training set of plain text"):
        sample_cells({tmp_path / "responses" / "1": CELLS[:1]}, execution=EXECUTION, **where)
    wrong = cell("acc")
    with pytest.raises(SettingsError, match="has no metric 'acc'"):
        where["data_folder_of"] = lambda name: place / "data" / name
        sample_cells({tmp_path / "responses" / "2": [wrong]}, execution=EXECUTION, **where)


def test_seeds_are_settings_of_their_own(place, tmp_path):
    where: Any = {"checkpoint_dir": place / "checkpoint", "data_folder_of": lambda name: place / "data" / name}
    seeds = [CELLS[0], dataclasses.replace(CELLS[0], setting="mc4@4", seed=4)]
    folder = tmp_path / "responses" / "1"
    sample_cells({folder: seeds}, execution=EXECUTION, **where)
    one, other = score_cells(folder, seeds, out_dir=tmp_path / "scores", scale="micro", **where)["cells"]
    assert (one["setting"], other["setting"]) == ("mc4", "mc4@4") and one["value"] != other["value"]
    lines = [line for line in read_jsonl(folder / "records.jsonl") if "what" in line]
    assert [line["setting"] for line in lines].count("mc4@4") == 3
