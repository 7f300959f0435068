"""The CSV of what a table's cells took."""

from __future__ import annotations

import csv

from analysis_examples import TASKS, asked, pair_scores, pair_table

from dlm.analysis import build_table
from dlm.analysis.speed import COLUMNS, speed_csv


def test_what_cells_took_stands_a_line_each_and_nothing_where_nothing_is_known() -> None:
    found = pair_scores()
    on_gpu = {"device": "cuda", "device_name": "NVIDIA H100", "dtype": "bfloat16", "batch_size": 8, "threads": 4}
    on_cpu = {**on_gpu, "device": "cpu", "device_name": "x86_64"}
    found["base"]["executions"] = {"a" * 8: on_gpu, "b" * 8: on_cpu}
    found["base"]["cells"][0] |= {
        "how": ["a" * 8, "b" * 8], "requests": 100, "mean_tokens": 6.5, "tokens_per_pass": 1.015625, "seconds": 2.0,
    }  # fmt: skip
    bundles = {model: [scores] for model, scores in found.items()}
    text = speed_csv(build_table("table1", pair_table(), TASKS, "tiny", bundles, asked))
    rows = list(csv.DictReader(text.splitlines()))
    assert tuple(rows[0]) == COLUMNS and len(rows) == 6
    assert rows[0] == {
        "table": "table1", "scale": "tiny", "model": "base", "task": "words", "setting": "blocks", "documents": "100",
        "requests": "100", "forward_passes": "640", "seconds": "2.000", "tokens": "650", "tokens_per_pass": "1.016",
        "tokens_per_second": "325.000", "device": "cuda | cpu", "device_name": "NVIDIA H100 | x86_64",
        "dtype": "bfloat16", "batch_size": "8", "threads": "4",
    }  # fmt: skip
    assert (rows[5]["seconds"], rows[5]["tokens"], rows[5]["tokens_per_second"], rows[5]["device"]) == (
        "1.250",
        "",
        "",
        "",
    )
