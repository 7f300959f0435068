"""A stock task of lm-eval, end to end: the pipeline on prepared data, and `dlm lm-eval`, which fetches its own."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from evaluation_examples import EXECUTION, TASKS, cell, tiny_denoiser
from mirror import ROOT, prepared, serving

from dlm.evaluation import sample_cells, score_cells
from dlm.files import read_jsonl
from dlm.models import save_denoiser
from dlm.settings import EvenSelector, FullCanvas, Proposer, SamplerSettings

SAMPLER = SamplerSettings(
    canvas=FullCanvas(max_new_tokens=12, block_size=4),
    proposer=Proposer(temperature=1.0),
    selector=EvenSelector(steps=12),
)
ASKED = "preset=llada,max_new_tokens=12,block_size=4,temperature=1.0,seed=3,batch_size=4"


@pytest.fixture(scope="module")
def place(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GSM8K answered by the pipeline and by the command line, each from a hub on this machine."""
    root = tmp_path_factory.mktemp("stock")
    (root / "checkpoint").mkdir()
    save_denoiser(tiny_denoiser(max_positions=1024), root / "checkpoint", name="tiny", made_from={})
    with serving(shared, shared / "data" / "hub", folder=root) as endpoint:
        prepared(endpoint, root / "data", gsm8k={"repository": "openai/gsm8k"})
        command_line(endpoint, root)
    where: Any = {"checkpoint_dir": root / "checkpoint", "data_folder_of": lambda name: root / "data" / name}
    sample_cells({root / "responses": [gsm8k()]}, execution=EXECUTION, **where)
    score_cells(root / "responses", [gsm8k()], out_dir=root / "scores", scale="micro", **where)
    return root


def gsm8k() -> Any:
    settings = dataclasses.replace(
        TASKS["words"], lm_eval="gsm8k", dataset="gsm8k", limit=2, filter="flexible-extract", num_fewshot=0
    )
    return cell("words", task_settings=settings, dataset="gsm8k", sampler=SAMPLER, seed=3, chat=False)


def command_line(endpoint: str, root: Path) -> None:
    model = ("--model", "dlm", "--model_args", f"pretrained={root / 'checkpoint'},{ASKED}")
    task = ("--tasks", "gsm8k", "--num_fewshot", "0", "--limit", "2")
    command = [
        sys.executable,
        "-m",
        "dlm",
        "lm-eval",
        *model,
        *task,
        "--output_path",
        str(root / "out"),
        "--log_samples",
    ]
    hub = {"HF_ENDPOINT": endpoint, "HF_HOME": str(root / "home"), "HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1"}
    environment = {**os.environ, **hub, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


def test_records_and_scores_are_those_of_the_command_line(place: Path) -> None:
    (samples,) = (place / "out").rglob("samples_gsm8k_*.jsonl")
    theirs = [line for line in read_jsonl(samples) if line["filter"] == "flexible-extract"]
    ours = [line for line in read_jsonl(place / "responses" / "records.jsonl") if "what" in line]
    rows = list(read_jsonl(place / "scores" / "samples.jsonl"))
    assert len(theirs) == len(ours) == len(rows) == 2
    assert [line["arguments"]["gen_args_0"]["arg_0"] for line in theirs] == [row["prompt"] for row in rows]
    assert [line["filtered_resps"] for line in theirs] == [row["outcome"]["filtered"] for row in rows]
    cut = ours[0]["until"]
    assert "Question:" in cut, "lm-eval's own stop texts"
    answers = {line["prompt"]: line["response"] for line in ours}
    assert [line["resps"][0][0] for line in theirs] == [answers[row["prompt"]] for row in rows]
    (results,) = (place / "out").rglob("results_*.json")
    told = json.loads(results.read_text())["results"]["gsm8k"]["exact_match,flexible-extract"]
    (scored,) = json.loads((place / "scores" / "scores.json").read_text())["cells"]
    assert scored["value"] == told
