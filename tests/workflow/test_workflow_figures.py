"""A figure is planned from its sweep's tables, and they from all that the sweep needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def plan(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    project = tmp_path_factory.mktemp("figures")
    for name in ("params", "workflow", "profiles", "data", "Snakefile"):
        (project / name).symlink_to(repository / name)
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "-n",
        "results/figures/figure5/effects.svg",
        "--config",
        "scale=micro",
    ]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_a_figure_waits_for_its_sweep(plan: str) -> None:
    assert "figure figure5 effects at scale micro" in plan
    assert "sensitivity figure5" in plan
    assert "sample llada-instruct-sft/figure5-1" in plan
