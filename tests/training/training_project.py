"""A project in a folder of its own: the repository's params, a scale for the test, and data written by hand."""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from doubles import word_tokenizer

from dlm.files import write_jsonl, write_manifest

NAME = "small"
"""Name of the scale, of its recipe, data and checkpoint."""

RECIPE: dict[str, Any] = {
    "objective": {"kind": "mdlm"}, "loss_on": "response", "max_length": 24, "steps": 6, "batch_size": 8,
    "learning_rate": 5e-3, "evaluations": 2, "evaluation_rows": 13,
}  # fmt: skip


def chats(number: int) -> list[dict[str, Any]]:
    """Chats with answers of 1 to 9 tokens, all beginning with the template's a: uneven counts of trained tokens."""
    return [
        {
            "id": n,
            "messages": [
                {"role": "user", "content": " ".join("abcdefgh"[(n + i) % 8] for i in range(1 + n % 5))},
                {
                    "role": "assistant",
                    "content": " ".join(["a", *("abcdefgh"[(n * 3 + i) % 8] for i in range(n * 7 % 9))]),
                },
            ],
        }
        for n in range(number)
    ]


def make_project(
    folder: Path,
    repository: Path,
    rows: list[dict[str, Any]] | None = None,
    *,
    network: str = "llama",
    causal: bool = False,
    **recipe: Any,
) -> Path:
    """Write a project that can train one checkpoint: a network of that model type, its attention causal or not."""
    shutil.copytree(repository / "params", folder / "params")
    shutil.copy(repository / "Snakefile", folder / "Snakefile")
    sizes = {"model_type": network, "hidden_size": 32, "layers": 2, "heads": 4, "intermediate_size": 48}
    start = {"architecture": {**sizes, "max_positions": 32}, "tokenizer": "tokenizer-llada", "causal": causal}
    scale = {
        "extends": "micro",
        "recipes": {NAME: {**RECIPE, **recipe}},
        "checkpoints": {NAME: {"kind": "train", "start": start, "recipe": NAME, "dataset": "instruct"}},
    }
    (folder / "params" / f"{NAME}.yaml").write_text(yaml.safe_dump(scale))
    write_data(folder, chats(40) if rows is None else rows)
    return folder


def write_data(folder: Path, rows: list[dict[str, Any]], held_out: list[dict[str, Any]] | None = None) -> None:
    data = folder / "results" / NAME / "data"
    write_jsonl(data / "instruct" / "train.jsonl", rows)
    write_jsonl(data / "instruct" / "held_out.jsonl", chats(13) if held_out is None else held_out)
    write_manifest(data / "instruct", kind="dataset", name="instruct", made_from={})
    word_tokenizer().save_pretrained(str(data / "tokenizer-llada"))
    write_manifest(data / "tokenizer-llada", kind="tokenizer", name="tokenizer-llada", made_from={})


def command(processes: int, launcher: str = "torchrun", config: str = "") -> list[str]:
    """Return the command that trains in so many processes, as docs/training.md says."""
    train = ["-m", "dlm", "train", NAME, "--scale", NAME]
    if processes == 1:
        return [sys.executable, *train]
    launch = [sys.executable, "-m", "dlm", "launch"]
    if launcher == "torchrun":
        port = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
        return [*launch, "torchrun", "--nproc-per-node", str(processes), *port, *train]
    port = ["--main_process_port", "0"]
    return [*launch, "accelerate", "launch", "--config_file", config, *port, "--num_processes", str(processes), *train]


def start(project: Path, arguments: list[str], **environment: str) -> subprocess.Popen[str]:
    """Start a command in the project, in a process group of its own."""
    return subprocess.Popen(
        arguments, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={**os.environ, **environment},
    )  # fmt: skip


def run(project: Path, arguments: list[str], *, status: int = 0, timeout: float = 600, **environment: str) -> str:
    """Run a command in the project and return what it printed."""
    process = start(project, arguments, **environment)
    told, _ = process.communicate(timeout=timeout)
    assert process.returncode == status, told[-4000:]
    return told


def checkpoint(project: Path) -> Path:
    return project / "results" / NAME / "checkpoints" / NAME


def states(checkpoint: Path) -> list[Path]:
    """Return the marks of the whole states that a training of ``checkpoint`` has saved; it may be at work on them."""
    work = checkpoint.with_name(f".{checkpoint.name}.work")
    # Unlike Path.glob, this stands folders that vanish while it looks.
    return [Path(mark) for mark in glob.glob(f"{work}/checkpoint-*/whole.json")]  # noqa: PTH207


def curves(project: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (checkpoint(project) / "curves.jsonl").read_text().splitlines()]
