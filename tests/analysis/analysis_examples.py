"""Hand-made scores whose tables can be checked by eye."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dlm.analysis.tables import Asked
from dlm.settings import Table, TableRow, Task

ANSWER = {"output": "generate", "metric": "exact_match", "sampler": "blocks"}
TASKS = {
    "words": Task(title="Word problems", lm_eval="dlm_words", benchmark="GSM8K", **ANSWER),
    "sudoku": Task(title="Sudoku", lm_eval="dlm_sudoku", benchmark="Sudoku", **ANSWER),
    "choice": Task(
        title="Choice", lm_eval="dlm_choice", output="likelihood", likelihood="mc16", metric="acc", chance=0.25
    ),
}
SETTINGS = {"words": "blocks", "sudoku": "blocks", "choice": "mc16"}


def cell(
    task: str, numerators: Sequence[float], weights: Sequence[float] | None = None, **fields: Any
) -> dict[str, Any]:
    """Return a cell as `scores.json` has it; weights are 1 unless given."""
    weights = [1] * len(numerators) if weights is None else list(weights)
    return {
        "task": task,
        "setting": SETTINGS[task],
        "metric": TASKS[task].metric,
        "filter": "none",
        "value": sum(numerators) / sum(weights),
        "n": len(weights),
        "numerators": list(numerators),
        "weights": weights,
        "lm_eval": {"version": "0.4.13", "task_version": 1.0},
        "checkpoint": f"sha-of-{task}",
        "what": "w" * 8,
        "how": "h" * 8,
        "forward_passes": 640,
        "seconds": 1.25,
    } | fields


def right(count: int, of: int) -> list[float]:
    """Return ``count`` right answers, then wrong ones, ``of`` in all."""
    return [1.0] * count + [0.0] * (of - count)


def scores(model: str, cells: Sequence[dict[str, Any]], scale: str = "tiny") -> dict[str, Any]:
    """Return a loaded `scores.json`."""
    return {"format": "dlm-scores/1", "model": model, "scale": scale, "cells": list(cells)}


def pair_table(published: bool = False) -> Table:
    """Return a table of one pair of models and three tasks."""
    rows = (
        TableRow(model="base", label="LLaDA-tiny Base", stage="before SFT", published="LLaDA-8B-Base"),
        TableRow(
            model="base-sft",
            label="+ MDLM SFT on reasoning",
            stage="after SFT",
            published="LLaDA-8B-Base + MDLM SFT on s1K",
        ),
    )
    name = "paper_table1_s1k" if published else None
    return Table(title="Finetuning on reasoning data", rows=rows, tasks=tuple(TASKS), published=name)


def pair_scores(scale: str = "tiny") -> dict[str, dict[str, Any]]:
    """Return scores of the pair: 10 → 64 of 100 words, 0 → 150 of 400 cells, 30 → 28 of 100 choices."""
    grids = [4] * 100
    before = [cell("words", right(10, 100)), cell("sudoku", [0] * 100, grids), cell("choice", right(30, 100))]
    after = [cell("words", right(64, 100)), cell("sudoku", [1, 2] * 50, grids), cell("choice", right(28, 100))]
    return {"base": scores("base", before, scale), "base-sft": scores("base-sft", after, scale)}


def asked(row: TableRow, task: str) -> Asked:
    """Return the setting that a task's cells have unless they say otherwise."""
    return Asked(SETTINGS[task])
