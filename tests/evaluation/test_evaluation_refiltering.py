"""A changed filter: the records are scored again, and nothing is sampled again."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from evaluation_examples import EXECUTION, TASKS, cell, tiny_denoiser
from test_evaluation_programs import save_benchmark

from dlm.evaluation import sample_cells, score_cells
from dlm.evaluation.lm import DiffusionLM
from dlm.files import read_jsonl
from dlm.models import save_denoiser


def test_a_changed_filter_samples_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "checkpoint").mkdir()
    save_denoiser(tiny_denoiser(max_positions=512), tmp_path / "checkpoint", name="tiny", made_from={})
    rows = [{"question": f"{number} + 1?", "answer": f"So #### {number + 1}"} for number in range(3)]
    save_benchmark(tmp_path / "data" / "gsm8k", "main", train=rows, test=rows)
    asked: list[int] = []
    real = DiffusionLM.generate
    monkeypatch.setattr(DiffusionLM, "generate", lambda lm, asks: [asked.append(len(asks)), real(lm, asks)][1])
    where: Any = {"checkpoint_dir": tmp_path / "checkpoint", "data_folder_of": lambda name: tmp_path / "data" / name}
    folder, found = tmp_path / "responses", {}
    for name in ("d1", "lenient"):
        settings = dataclasses.replace(TASKS["words"], lm_eval="dlm_d1_gsm8k", dataset="gsm8k", filter=name)
        one = cell("words", task_settings=settings, dataset="gsm8k")
        sample_cells({folder: [one]}, execution=EXECUTION, **where)
        (scored,) = score_cells(folder, [one], out_dir=tmp_path / name, scale="micro", **where)["cells"]
        found[scored["filter"]] = [row["what"] for row in read_jsonl(tmp_path / name / "samples.jsonl")]
    assert asked == [3]
    assert list(found) == ["d1", "lenient"] and found["d1"] == found["lenient"]
