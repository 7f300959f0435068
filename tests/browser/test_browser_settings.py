"""Two hundred runs in MLflow: what a person sees who compares sampler settings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sharing import free_port

from dlm.tracking import sync
from dlm.tracking.ui import running
from dlm.tracking.views import link

Drive = Callable[[list[dict[str, str]]], dict[str, Any]]
pytestmark = [pytest.mark.browser, pytest.mark.timeout(1800)]
STEPS, BLOCKS, TEMPERATURES = (4, 8, 16, 32, 64), (8, 16, 32, 64), (0.0, 0.25, 0.5, 0.75, 1.0)
MODELS = ("llada-instruct-sft", "dream-instruct-sft")
DOCUMENTS = 40


def score(model: str, steps: int, block: int, temperature: float) -> int:
    """Right answers of 40: more with more steps, fewer with temperature and with larger blocks."""
    return round(DOCUMENTS * (0.9 - 1.6 / steps - 0.25 * temperature - 0.001 * block - 0.05 * MODELS.index(model)))


@pytest.fixture(scope="module")
def charts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the charts of 200 evaluations: two models, each sampled with a hundred settings."""
    from tracking_examples import SAMPLER, cell, small_project, write_scores

    root = small_project(tmp_path_factory.mktemp("settings"), "other")
    for model in MODELS:
        for number, (steps, block, temperature) in enumerate(
            (steps, block, temperature) for steps in STEPS for block in BLOCKS for temperature in TEMPERATURES
        ):
            right = score(model, steps, block, temperature)
            name = f"steps{steps}_block{block}_t{temperature:g}"
            asked = cell("sudoku", name, right=right, n=DOCUMENTS, forward_passes=steps * DOCUMENTS)
            sampler = SAMPLER | {
                "canvas": SAMPLER["canvas"] | {"max_new_tokens": 64, "block_size": block},
                "proposer": SAMPLER["proposer"] | {"temperature": temperature},
                "selector": SAMPLER["selector"] | {"steps": steps},
            }
            write_scores(root, "settings", model, [asked], bundle=str(number + 1), sampler=sampler)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        summary = sync(root, ["settings"])
        assert summary.new == 200
        with running(root, free_port()) as (address, _):
            yield link(address, summary.experiments["dlm/settings/evaluations"]) + "&compareRunsMode=CHART"


def test_scatter_and_parallel_coordinates_of_two_hundred_settings(drive: Drive, charts: str, tmp_path: Path) -> None:
    card = '[data-testid="experiment-view-compare-runs-card"]:has-text('
    scatter, parallel = f'{card}"cost/forward_passes vs. score/value")', f'{card}"Parallel Coordinates")'
    report = drive(
        [
            {"size": "1600x1400"},
            {"open": charts},
            {"see": "100 matching runs"},
            {"end": ".ag-body-viewport"},
            {"click": "Load more"},
            {"see": "200 matching runs"},
            {"see": "Score (higher: better) by passes (fewer: cheaper)"},
            {"find": f"{parallel} .dimension"},
            {"find": f"{scatter} .scatterlayer .points path >> nth=199"},
            {"shot": str(tmp_path / "charts.png")},
            {"read": scatter},
            {"read": parallel},
            {"count": f"{scatter} .scatterlayer .points path"},
        ]
    )
    by_passes, by_settings = report["read"]
    assert re.search(r"^cost/forward_passes\nscore/value$", by_passes, re.MULTILINE), "axes have names"
    axes = ["sampler.canvas.block_size", "sampler.proposer.temperature", "sampler.selector.steps"]
    told = [line for line in by_settings.splitlines() if re.search("[a-z]{3}", line)]
    assert told[-5:] == [*axes, "cost/forward_passes", "score/value"], (
        "whole names, from what is chosen to what comes of it"
    )
    assert report["count"] == [200], "every run is a point"
    assert {"60", "2,500", "0.8"} <= set(by_settings.split()), "axes have numbers"
