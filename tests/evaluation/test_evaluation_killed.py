"""A sampling process killed by SIGKILL in the middle of a task and of a line: what is asked again is counted."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from evaluation_examples import EXECUTION, cell, save_checkpoint, save_documents

from dlm.evaluation import sample_cells, score_cells
from dlm.evaluation.lm import DiffusionLM
from dlm.files import read_jsonl

DOCUMENTS = [{"id": f"w{n}", "question": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(10)]
CHILD = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from dlm.evaluation import records
from test_evaluation_killed import sample
real, left = records._write_at, [int(sys.argv[2])]
def write(file, at, data):
    left[0] -= b'"what"' in data
    if left[0] < 0:
        real(file, at, data[: 2 * len(data) // 3])
        os.kill(os.getpid(), signal.SIGKILL)
    real(file, at, data)
records._write_at = write
sample(Path(sys.argv[1]))
"""


def sample(root: Path) -> None:
    """Sample one task of ten documents, four answers a batch."""
    sample_cells(
        {root / "responses": [cell("words")]},
        checkpoint_dir=root / "checkpoint",
        data_folder_of=lambda name: root / "data" / name,
        execution=EXECUTION,
    )


def recorded(root: Path) -> list[dict]:
    return [{**line, "seconds": 0} for line in read_jsonl(root / "responses" / "records.jsonl") if "what" in line]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "checkpoint")
    save_documents(tmp_path / "data" / "words", DOCUMENTS)
    return tmp_path


def test_only_what_was_not_on_the_disk_is_asked_again(root, monkeypatch):
    batches = 2
    here = Path(__file__).parent
    command = [sys.executable, "-c", CHILD, str(root), str(batches), str(here), str(here.parent)]
    killed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    records = root / "responses" / "records.jsonl"
    *lines, half = records.read_bytes().split(b"\n")
    kept = sum(b'"what"' in line for line in lines)
    assert half and 0 < kept < len(DOCUMENTS)
    asked: list[int] = []
    real = DiffusionLM.generate
    monkeypatch.setattr(DiffusionLM, "generate", lambda lm, asks: [asked.append(len(asks)), real(lm, asks)][1])
    sample(root)
    whole = recorded(root)
    assert asked == [len(DOCUMENTS) - kept]
    assert len(whole) == len({line["what"] for line in whole}) == len(DOCUMENTS)
    records.unlink()
    sample(root)
    assert asked[1:] == [len(DOCUMENTS)]
    assert sorted(whole, key=lambda line: line["what"]) == sorted(recorded(root), key=lambda line: line["what"])
    where = {"checkpoint_dir": root / "checkpoint", "data_folder_of": lambda name: root / "data" / name}
    scores = score_cells(root / "responses", [cell("words")], out_dir=root / "scores", scale="micro", **where)
    assert scores["cells"][0]["n"] == len(DOCUMENTS)
