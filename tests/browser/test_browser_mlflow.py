"""What a person sees who opens MLflow on this project: the list, a comparison of two sampler settings, a loss curve."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Drive = Callable[[list[dict[str, str]]], dict[str, Any]]
pytestmark = [pytest.mark.browser, pytest.mark.timeout(1800)]

PARAMS = """\
extends: micro
title: One model, two sampler settings
samplers:
  answer16_fast: {canvas: {kind: full, max_new_tokens: 16, block_size: 8}, selector: {kind: even, steps: 4}}
tasks:
  sudoku_fast:
    title: Sudoku
    lm_eval: dlm_sudoku
    output: generate
    metric: cell_accuracy
    dataset: sudoku
    sampler: answer16_fast
tables:
  table1:
    title: Two settings
    tasks: [sudoku, sudoku_fast]
    rows:
      - {model: llada-base, label: LLaDA-like Base, stage: before SFT}
"""
POINTS = 12 + 4
"""Of the training's losses on training rows and on held-out ones."""
STEPS = [
    *(f"prepare {name}" for name in ("corpus", "instruct", "reasoning", "tokenizer-llada", "sudoku")),
    "train llada-base",
    "sample llada-base --bundle 1",
    "score llada-base --bundle 1",
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A project in which the pipeline trained one model and sampled it with two settings."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(repository / "params", root / "params")
    shutil.copy(repository / "Snakefile", root)
    (root / "params" / "two.yaml").write_text(PARAMS)
    for step in STEPS:
        command = [sys.executable, "-m", "dlm", *step.split(), "--scale", "two"]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
    return root


@pytest.fixture(scope="module")
def links(project: Path) -> Iterator[dict[str, str]]:
    """The addresses that `dlm runs ui` prints, by experiment, while it runs."""
    command = [sys.executable, "-m", "dlm", "runs", "ui"]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        process = subprocess.Popen(command, cwd=project, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    said = ""
    while "Ctrl-C" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    try:
        yield dict(re.findall(r"runs ui: (dlm/\S+): (http\S+)", said))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=300)


def test_the_list_of_evaluations_reads_like_the_table(drive: Drive, links: dict[str, str], tmp_path: Path) -> None:
    report = drive(
        [
            {"open": links["dlm/two/evaluations"]},
            {"see": "sudoku · llada-base · answer48"},
            {"see": "sudoku_fast · llada-base · answer16_fast"},
            {"see": "One model, two sampler settings (scale two)"},
            {"see": "Sort: run_name"},
            {"find": '.ag-header :text-is("cost/forward_passes")'},
            {"find": ".ag-center-cols-container .ag-row[row-index='1'] .ag-cell :text-is('32')"},
            {"row": ".ag-header-cell"},
            {"row": ".ag-center-cols-container .ag-row[row-index='1'] .ag-cell"},
            {"shot": str(tmp_path / "evaluations.png")},
        ]
    )
    header, row = report["read"]
    shown = [name for name in header if "/" in name or "." in name]
    scores = ["score/value", "score/ci_low", "score/ci_high", "score/n"]
    assert shown == ["sampler.selector.steps", *scores, "cost/forward_passes"]
    steps, *_, documents, passes = row[: len(shown)]
    assert (steps, documents, passes) == ("4", "8", "32"), "eight answers in four steps each"
    assert report["elsewhere"] == [], "nothing is asked of another server"


def test_two_sampler_settings_are_compared(drive: Drive, links: dict[str, str], tmp_path: Path) -> None:
    report = drive(
        [
            {"open": links["dlm/two/evaluations"]},
            {"see": "sudoku · llada-base · answer48"},
            {"see": "Sort: run_name"},
            {"tick": "sudoku · llada-base · answer48"},
            {"tick": "sudoku_fast · llada-base · answer16_fast"},
            {"click": "Compare"},
            {"see": "Comparing 2 Runs from 1 Experiment"},
            {"see": "Parallel Coordinates Plot"},
            {"shot": str(tmp_path / "comparison.png")},
            {"click": "Show diff only"},
            {"gone": 'td:text-is("sampler.canvas.block_size"), th:text-is("sampler.canvas.block_size")'},
            {"read": "body"},
        ]
    )
    (page,) = report["read"]
    parameters = page.partition("Show diff only")[2].partition("Metrics")[0]
    assert re.search(r"sampler.selector.steps\s+(8\s+4|4\s+8)\b", parameters)
    assert re.search(r"sampler.canvas.block_size", parameters) is None, "what is equal is left out"
    assert "cost/tokens_per_forward_pass" in page


def test_a_training_shows_its_loss_curve(drive: Drive, links: dict[str, str], tmp_path: Path) -> None:
    report = drive(
        [
            {"open": links["dlm/two/trainings"]},
            *(
                {"find": f'.ag-header :text-is("{column}")'}
                for column in ("recipe", "start", "dataset", "loss/held_out")
            ),
            {"click": "llada-base"},
            {"click": "Model metrics"},
            {"see": "llada-base (loss/train)"},
            {"see": "llada-base (loss/held_out)"},
            {"find": f".scatterlayer .trace .points path >> nth={POINTS - 1}"},
            {"shot": str(tmp_path / "curve.png")},
            {"count": ".scatterlayer .trace .points path"},
        ]
    )
    assert report["count"][0] >= POINTS, "every recorded loss is a point"
