"""Small projects with records of trainings and evaluations, in the formats of the pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dlm.files import read_json, write_json, write_jsonl, write_manifest

BEGAN = 1_700_000_000.0
RECIPE = {
    "objective": {"kind": "mdlm", "schedule": "linear"},
    "steps": 4,
    "epochs": None,
    "learning_rate": 0.003,
    "lora": None,
}
SAMPLER = {
    "canvas": {"kind": "full", "max_new_tokens": 16, "block_size": 8},
    "proposer": {"temperature": 0.0, "suppress_tokens": []},
    "selector": {"kind": "even", "steps": 8},
}
HOW = "h" * 64
CURVE = [
    {"step": 1, "loss": 5.5, "grad_norm": 2.5, "learning_rate": 0.0, "epoch": 0.1},
    {"step": 2, "loss": 4.25, "grad_norm": 2.0, "learning_rate": 0.003, "epoch": 0.2},
    {"step": 2, "eval_loss": 4.5, "epoch": 0.2},
    {"step": 3, "loss": 3.125, "grad_norm": 1.5, "learning_rate": 0.002, "epoch": 0.3},
    {"step": 4, "loss": 3.0, "grad_norm": 1.25, "learning_rate": 0.001, "epoch": 0.4},
    {"step": 4, "eval_loss": 3.75, "epoch": 0.4},
]


def made_from(**changes: Any) -> dict[str, Any]:
    """What `dlm train` writes into a manifest, times aside."""
    plain = {
        "parents": {"tokenizer": "t" * 64, "corpus": "c" * 64},
        "settings": RECIPE,
        "code": {"version": "0.1.0", "commit": "a" * 40, "edited": False},
        "recipe": "pretrain",
        "start": "scratch",
        "dataset": "corpus",
        "seed": 7,
        "threads": 1,
    }
    return plain | changes


def write_training(
    root: Path, scale: str, name: str, curve: Sequence[Mapping[str, float]] = CURVE, **changes: Any
) -> Path:
    """Write a trained checkpoint; its curve has a record a second."""
    folder = root / "results" / scale / "checkpoints" / name
    write_jsonl(folder / "curves.jsonl", curve)
    (folder / "model.safetensors").write_bytes(b"weights of " + name.encode())
    times = [BEGAN + second for second in range(1, len(curve) + 1)]
    clock = {"began": BEGAN, "times": times, "ended": times[-1] + 1}
    write_manifest(folder, kind="checkpoint", name=name, made_from=made_from(**changes) | {"steps": 4, "clock": clock})
    return folder


def cell(task: str = "sudoku", setting: str = "answer16", right: int = 3, n: int = 8, **changes: Any) -> dict[str, Any]:
    """One cell of a scores file."""
    plain = {
        "task": task,
        "setting": setting,
        "chat": True,
        "response_prefix": "",
        "metric": "exact_match",
        "filter": "none",
        "value": right / n,
        "n": n,
        "doc_ids": [f"{task}-{number}" for number in range(n)],
        "numerators": [1.0] * right + [0.0] * (n - right),
        "weights": [1] * n,
        "lm_eval": {"version": "0.4.13", "task": f"dlm_{task}", "task_version": 1.0, "stderr": 0.1, "config": "x"},
        "checkpoint": "k" * 64,
        "what": "w" * 64,
        "how": [HOW],
        "bundle": "1",
        "requests": n,
        "forward_passes": 8 * n,
        "seconds": 2.5,
        "empty_share": 0.125,
        "truncated_share": 0.25,
        "mean_tokens": 12.0,
        "tokens_per_pass": 1.5,
    }
    return plain | changes


def weights(root: Path, scale: str, model: str) -> str:
    """The digest of a checkpoint; some digest where there is none."""
    manifest = root / "results" / scale / "checkpoints" / model / "manifest.json"
    return str(read_json(manifest)["digest"]) if manifest.is_file() else "k" * 64


def write_scores(
    root: Path,
    scale: str,
    model: str,
    cells: Sequence[Mapping[str, Any]],
    steps: int = 8,
    *,
    bundle: str = "1",
    ended: float = BEGAN + 100,
    sampler: Mapping[str, Any] | None = None,
) -> Path:
    """Write responses with their manifest, and the scores made of them; ``sampler``: by another than `SAMPLER`."""
    checkpoint = weights(root, scale, model)
    cells = [{**each, "checkpoint": checkpoint, "bundle": bundle} for each in cells]
    responses = root / "results" / scale / "responses" / model / bundle
    write_jsonl(responses / "records.jsonl", [{"kind": "generate", "cells": len(cells)}])
    sampler = sampler or SAMPLER | {"selector": {"kind": "even", "steps": steps}}
    settings = [
        {key: each[key] for key in ("task", "setting", "chat", "response_prefix")}
        | {"sampler": sampler, "likelihood": None, "seed": 7, "task_settings": {"num_fewshot": 0, "limit": None}}
        for each in cells
    ]
    manifest = write_manifest(
        responses,
        kind="responses",
        name=model,
        made_from={"parents": {model: checkpoint}, "settings": settings, "ended": ended},
    )
    path = root / "results" / scale / "scores" / model / bundle / "scores.json"
    scores = {
        "format": "dlm-scores/1",
        "model": model,
        "scale": scale,
        "checkpoint": checkpoint,
        "responses": {bundle: manifest["digest"]},
        "code": {"version": "0.1.0", "commit": "b" * 40, "edited": True},
        "executions": {HOW: {"device": "cpu", "batch_size": 16, "versions": {"torch": "2.13.0"}}},
        "cells": cells,
    }
    write_json(path, scores)
    return path


def change_scores(path: Path, change: Mapping[str, Any], index: int = 0) -> None:
    """Change fields of one cell of a scores file."""
    scores = read_json(path)
    scores["cells"][index] |= change
    write_json(path, scores)


def small_project(root: Path, scale: str) -> Path:
    """Write two trainings and three evaluations."""
    (root / "params").mkdir(parents=True, exist_ok=True)
    (root / "Snakefile").touch()
    write_training(root, scale, "base")
    write_training(root, scale, "base-sft", start="base", recipe="sft")
    write_scores(root, scale, "base", [cell("sudoku"), cell("countdown", right=0)])
    write_scores(root, scale, "base-sft", [cell("sudoku", "answer16_fast", right=5)], steps=4)
    return root


class Shown:
    """What a store shows of a scale."""

    def __init__(self, uri: str, scale: str) -> None:
        from mlflow import MlflowClient

        self.client, self.scale = MlflowClient(uri), scale

    def runs(self, kind: str, deleted: bool = False) -> dict[str, Any]:
        """Runs by name; two of the same name fail the test."""
        from mlflow.entities import ViewType

        experiment = self.client.get_experiment_by_name(f"dlm/{self.scale}/{kind}")
        if experiment is None:
            return {}
        view = ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY
        found = list(self.client.search_runs([experiment.experiment_id], run_view_type=view))
        by_name = {run.info.run_name: run for run in found}
        assert len(by_name) == len(found), "a run is shown twice"
        return by_name

    def curve(self, run: Any, key: str) -> list[tuple[int, float, int]]:
        """(step, value, milliseconds) of a metric, in the order of steps."""
        history = self.client.get_metric_history(run.info.run_id, key)
        return sorted((metric.step, metric.value, metric.timestamp) for metric in history)

    def everything(self) -> dict[str, Any]:
        """All that a person could see: names, status, params, tags, curves."""
        return {
            f"{kind}/{name}": (
                run.info.status,
                run.info.start_time,
                run.info.end_time,
                run.data.params,
                run.data.tags,
                {key: self.curve(run, key) for key in run.data.metrics},
            )
            for kind in ("trainings", "evaluations")
            for name, run in self.runs(kind).items()
        }
