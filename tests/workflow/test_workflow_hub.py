"""One row of the paper scale, end to end: data and weights from a hub with faults, sampled, scored, a table."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mirror import serving
from safetensors.torch import load_file, save_file

from dlm.files import read_manifest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
PARITY = Path(__file__).resolve().parents[1] / "parity" / "checkpoints"
MINE = """extends: paper
title: "GSM8K of LLaDA-8B-Instruct on 20 documents, with the weights of a stand-in"
limit: 20
execution: {batch_size: 4, dtype: float32, device: cpu, threads: 1}
checkpoints:
  llada-instruct: {repository: me/llada}
samplers:
  mdlm_512_defer: {canvas: {max_new_tokens: 8}, selector: {steps: 8}}
tables:
  row:
    title: "LLaDA-8B-Instruct on GSM8K"
    published: [llada_instruct, llada_instruct_opencompass]
    tasks: [gsm8k_cot_5]
    rows: [{model: llada-instruct, label: LLaDA-8B-Instruct, published: LLaDA-8B-Instruct}]
"""
FAULTS = ("--fail-rate", "0.3", "--fail-times", "2", "--seed", "1", "--latency", "20", "--cut-after", "100000")
"""HTTP 500s, slow answers, and files whose connections are cut; each file twice at most."""


@pytest.fixture
def hub(shared: Path, tmp_path: Path) -> Path:
    """A hub's folder: GSM8K, and a network in LLaDA's published format with room for five solved examples."""
    folder = tmp_path / "hub"
    (folder / "datasets" / "openai").mkdir(parents=True)
    (folder / "datasets" / "openai" / "gsm8k").symlink_to(shared / "data" / "hub" / "datasets" / "openai" / "gsm8k")
    model = shutil.copytree(PARITY / "llada", folder / "models" / "me" / "llada")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "max_sequence_length": 4096, "n_layers": 1}))
    tensors = load_file(model / "model.safetensors")
    save_file(
        {name: tensor for name, tensor in tensors.items() if ".blocks." not in name or ".blocks.0." in name},
        model / "model.safetensors",
        metadata={"format": "pt"},
    )
    return folder


def project(repository: Path, folder: Path) -> Path:
    compiled = shutil.ignore_patterns("__pycache__")  # where others write, and take away, at the same time
    for name in ("params", "workflow", "profiles", "data"):
        shutil.copytree(repository / name, folder / name, ignore=compiled)
    shutil.copy(repository / "Snakefile", folder / "Snakefile")
    (folder / "params" / "mine.yaml").write_text(MINE)
    return folder


def make(folder: Path, repository: Path, endpoint: str, *targets: str) -> None:
    environment = {
        **os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "home"), "NO_PROXY": "127.0.0.1",
        "HF_HUB_OFFLINE": "0", "PYTHONPATH": str(repository), "XDG_CACHE_HOME": str(folder / ".cache"),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", *targets, "--config", "scale=mine"],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_row_of_the_paper_scale_from_a_hub_with_faults(
    repository: Path, shared: Path, hub: Path, tmp_path: Path
) -> None:
    fetched = ("row_data", "row_checkpoints")
    faulty, sound = project(repository, tmp_path / "faulty"), project(repository, tmp_path / "sound")
    with serving(shared, hub, *FAULTS, "--cut-times", "2") as endpoint:
        make(faulty, repository, endpoint, *fetched)
    log = (tmp_path / "log").read_text()
    assert " 500 " in log and "cut" in log
    with serving(shared, hub) as endpoint:
        make(sound, repository, endpoint, *fetched)
    products = [("data", "gsm8k"), ("checkpoints", "llada-instruct")]
    manifests = [
        [read_manifest(folder / "results" / "mine" / step / name) for step, name in products]
        for folder in (faulty, sound)
    ]
    assert [each["digest"] for each in manifests[0]] == [each["digest"] for each in manifests[1]]

    # What is prepared needs no hub.
    make(faulty, repository, "http://127.0.0.1:9", "results/tables/row.csv")
    (row,) = csv.DictReader((faulty / "results" / "tables" / "row.csv").open())
    assert (row["scale"], row["model"], row["task"], row["setting"], row["n"]) == (
        "mine", "llada-instruct", "gsm8k_cot_5", "mdlm_512_defer", "20",
    )  # fmt: skip
    assert (row["published"], row["published_source"]) == ("0.747000", "dllm")
    assert row["verdict"].startswith(
        "settings differ: limit 20, published none; sampler.canvas.max_new_tokens 8, published 512; "
        "sampler.selector.steps 8, published 512; checkpoint.repository me/llada, published GSAI-ML/LLaDA-8B-Instruct"
    )
    told = json.loads((faulty / "results" / "mine" / "tables" / "row.lineage.json").read_text())
    sources = [each["made_from"]["source"] for each in manifests[0]]
    assert told["sources"] == {
        "data/gsm8k": {"repository": "openai/gsm8k", "commit": sources[0]["commit"]},
        "checkpoints/llada-instruct": {"repository": "me/llada", "commit": sources[1]["revision"]},
    }
    beside = {figure["value"] for figure in told["rows"][0]["published_beside"]}
    assert beside == {0.694, 0.688}
    (records,) = (faulty / "results" / "mine" / "responses" / "llada-instruct").glob("*/records.jsonl")
    answers = [json.loads(line) for line in records.read_text().splitlines()]
    answers = [line for line in answers if line.get("kind") == "generate"]
    assert len(answers) == 20 and all(answer["forward_passes"] == 8 for answer in answers)
    # Five solved examples as turns of a chat, then the question, in LLaDA's own template.
    assert {answer["prompt"].count("Q: ") for answer in answers} == {6}
    assert all(answer["prompt"].startswith("<|startoftext|><|start_header_id|>user") for answer in answers)
