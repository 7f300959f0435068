"""Sampling of a bundle in the current folder, taking its time until there is a file `go`: started as a program."""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "evaluation"))

from evaluation_examples import EXECUTION, WARM, cell, save_checkpoint, save_documents

from dlm.evaluation import sample_cells
from dlm.evaluation.records import RecordStore
from dlm.settings import EvenSelector, FullCanvas

LONG = dataclasses.replace(WARM, canvas=FullCanvas(max_new_tokens=16), selector=EvenSelector(steps=16))
CELLS = [cell("words", setting="long", sampler=LONG), cell("words", setting="short")]
"""Two, so that the second is what an interrupted bundle still misses."""
BATCH_S = 3.0


class SlowStore(RecordStore):
    def append(self, *arguments: Any) -> int:
        if not Path("go").exists():
            time.sleep(BATCH_S)
        return super().append(*arguments)


def prepare(folder: Path, documents: int) -> None:
    """A checkpoint of random weights and a test set."""
    save_checkpoint(folder / "checkpoint")
    rows = [{"id": f"w{n}", "question": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(documents)]
    save_documents(folder / "data" / "words", rows)


def sample(folder: Path) -> None:
    sample_cells(
        {folder / "responses" / "1": CELLS},
        checkpoint_dir=folder / "checkpoint",
        data_folder_of=lambda name: folder / "data" / name,
        execution=EXECUTION,
    )


def recorded(folder: Path) -> int:
    """How many answers are on the disk."""
    records = folder / "responses" / "1" / "records.jsonl"
    return records.read_bytes().count(b'"what"') if records.exists() else 0


if __name__ == "__main__":
    from dlm.evaluation import run

    run.RecordStore = SlowStore  # type: ignore[misc]
    sample(Path())
