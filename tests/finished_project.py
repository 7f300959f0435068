"""A project's results as the pipeline leaves them, hand-made: one table, two settings of one model, their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from dlm.analysis import build_table, write_files
from dlm.analysis.tables import Asked
from dlm.files import write_json, write_jsonl, write_manifest
from dlm.params.layout import Layout
from dlm.settings import Table, TableRow, Task

CODE = {"version": "0.1.0", "commit": "c" * 40, "edited": False}
EXECUTION = {"dtype": "float32", "device": "cpu", "batch_size": 32}
TASK = Task(title="Word problems", lm_eval="dlm_words", output="generate", metric="exact_match", sampler="slow")
TRAINED = {"steps": 5, "objective": {"kind": "mdlm"}, "lora": None}


def make_project(root: Path, outcomes: Mapping[str, Sequence[float]], grades: float = 1) -> Layout:
    """Lay out the scale `tiny` of a project whose one model answered task `words` at some settings.

    Args:
        root: the project.
        outcomes: by setting, what each document counted of its weight.
        grades: the weight of a document.
    """
    layout = Layout("tiny", root)
    (root / "params").mkdir(parents=True)
    (root / "Snakefile").touch()
    corpus = _product(
        layout.folder("data", "corpus"),
        "dataset",
        {"settings": {"kind": "mixture", "style": "text", "rows": {"sums": 9}}},
    )
    words = _product(layout.folder("data", "words"), "dataset", {"settings": {"kind": "problems", "seed": 11}})
    base = _trained(layout, "base", "scratch", {"corpus": corpus})
    tuned = _trained(layout, "tuned", "base", {"corpus": corpus, "base": base})
    folder = layout.folder("responses", "tuned/1")
    asked = [_asked(setting, number) for number, setting in enumerate(outcomes)]
    spelling = _tokenizer()
    records = [
        _record(setting, number, spelling, grades * part)
        for setting, counted in outcomes.items()
        for number, part in enumerate(counted)
    ]
    write_jsonl(_made(folder) / "records.jsonl", records)
    made_from = {"settings": asked, "parents": {"tuned": tuned, "words": words}, "code": CODE, "ended": 1_800_000_000.0}
    digest = write_manifest(folder, kind="responses", name="tuned", made_from=made_from)["digest"]
    cells = [_cell(setting, [grades * part for part in counted], grades) for setting, counted in outcomes.items()]
    cells = [each | {"bundle": "1", "checkpoint": tuned} for each in cells]
    found = {
        "format": "dlm-scores/1", "model": "tuned", "scale": "tiny", "cells": cells, "code": CODE,
        "responses": {"1": digest}, "executions": {"h" * 8: EXECUTION},
    }  # fmt: skip
    folder = _made(layout.folder("scores", "tuned/1"))
    write_json(folder / "scores.json", found)
    write_jsonl(folder / "samples.jsonl", [_sample(each, number) for each in cells for number in range(each["n"])])
    rows = tuple(TableRow(model="tuned", label=setting, sampler=setting) for setting in outcomes)
    table = Table(title="Two settings", rows=rows, tasks=("words",))
    made = build_table(
        "two", table, {"words": TASK}, "tiny", {"tuned": [found]}, lambda row, task: Asked(str(row.sampler))
    )
    write_files(made, layout.tables, code=CODE)
    return layout


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _product(folder: Path, kind: str, made_from: Mapping[str, Any]) -> str:
    (_made(folder) / "rows.jsonl").write_text(f"{folder.name}\n")
    if kind == "checkpoint":
        _tokenizer().save(str(folder / "tokenizer.json"))
    made = {"parents": {}, "code": CODE, **made_from}
    return str(write_manifest(folder, kind=kind, name=folder.name, made_from=made)["digest"])


def _trained(layout: Layout, name: str, start: str, parents: Mapping[str, str]) -> str:
    made_from = {"settings": TRAINED, "recipe": "short", "start": start, "dataset": "corpus", "parents": dict(parents)}
    return _product(layout.folder("checkpoints", name), "checkpoint", made_from | {"seed": 0})


def _asked(setting: str, steps: int) -> dict[str, Any]:
    return {
        "checkpoint": "tuned", "task": "words", "setting": setting, "chat": True, "response_prefix": "", "seed": 0,
        "sampler": {"selector": {"kind": "even", "steps": 8 + steps}}, "likelihood": None, "dataset": "words",
    }  # fmt: skip


def _record(setting: str, number: int, spelling: Tokenizer, counted: float) -> dict[str, Any]:
    """An answer decoded from right to left, a token a pass."""
    ids = spelling.encode(_response(setting, number, counted)).ids
    return {
        "what": f"{setting}-{number}", "kind": "generate", "doc_id": f"w{number}", "task": "words", "setting": setting,
        "prompt": f"How many is {number}?", "response": _response(setting, number, counted), "tokens": len(ids),
        "token_ids": ids, "steps": [*range(len(ids) - 1, -1, -1)], "confidences": [0.5] * len(ids),
        "forward_passes": len(ids), "seconds": 0.5,
    }  # fmt: skip


def _response(setting: str, number: int, counted: float) -> str:
    return f"{setting} says <{counted:g}> of {number}"


def _tokenizer() -> Tokenizer:
    """A token a byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _cell(setting: str, counted: Sequence[float], grades: float) -> dict[str, Any]:
    weights = [grades] * len(counted)
    return {
        "task": "words", "setting": setting, "chat": True, "response_prefix": "", "metric": "exact_match",
        "filter": "none", "value": sum(counted) / sum(weights), "n": len(counted), "numerators": list(counted),
        "weights": weights, "doc_ids": [f"w{number}" for number in range(len(counted))], "what": setting,
        "how": ["h" * 8], "forward_passes": 640, "seconds": 1.25,
        "lm_eval": {"version": "0.4.13", "task": "dlm_words", "task_version": 1.0, "stderr": None, "config": "d" * 8},
    }  # fmt: skip


def _sample(found: Mapping[str, Any], number: int) -> dict[str, Any]:
    setting, counted = found["setting"], found["numerators"][number]
    return {
        "task": "words", "setting": setting, "chat": True, "doc_id": number, "prompt": f"How many is {number}?",
        "response": _response(setting, number, counted), "target": str(number),
        "outcome": {"metric": "exact_match", "numerator": counted, "weight": found["weights"][number]},
        "what": [f"{setting}-{number}"],
    }  # fmt: skip
