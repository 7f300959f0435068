"""`dlm pin`: what a branch stands for is written down, and is what is fetched from then on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mirror import ROOT, serving

from dlm.errors import SettingsError
from dlm.params import load_params

PARAMS = """
title: benchmarks of a hub
data:
  gsm8k: {kind: benchmark, repository: openai/gsm8k, revision: main}
  humaneval: {kind: benchmark, repository: openai/openai_humaneval, revision: main}
  chosen: {kind: benchmark, repository: openai/gsm8k, revision: 0123456789012345678901234567890123456789}
"""
GHOST = "  ghost: {kind: benchmark, repository: nobody/nothing, revision: main}\n"


def pin(endpoint: str, project: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(project / "home"), "HF_HUB_OFFLINE": "0",
        "PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    command = [sys.executable, "-m", "dlm", "pin", "--scale", "mine", *options]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=280)


def test_a_branch_is_pinned_once(shared: Path, tmp_path: Path) -> None:
    params = tmp_path / "params"
    params.mkdir()
    (params / "mine.yaml").write_text(PARAMS + GHOST)
    with serving(shared, shared / "data" / "hub", folder=tmp_path) as endpoint:
        first = pin(endpoint, tmp_path)
        (params / "mine.yaml").write_text(PARAMS)
        assert first.returncode != 0 and "nobody/nothing@main: the hub has no such repository" in first.stderr
        assert "2 revisions written to params/revisions.json, 1 not found out" in first.stderr
    commits = json.loads((params / "revisions.json").read_text())
    assert list(commits) == ["datasets/openai/gsm8k@main", "datasets/openai/openai_humaneval@main"]
    data = load_params("mine", tmp_path).data
    assert [data[name].revision for name in ("gsm8k", "humaneval")] == list(commits.values())
    assert data["chosen"].revision == "0123456789" * 4
    again = pin("http://127.0.0.1:9", tmp_path)  # nobody answers there, and nobody is asked
    assert again.returncode == 0 and "nothing is left to pin" in again.stderr


def test_what_is_no_commit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "params").mkdir()
    (tmp_path / "params" / "mine.yaml").write_text(PARAMS)
    (tmp_path / "params" / "revisions.json").write_text('{"datasets/openai/gsm8k@main": "main"}')
    with pytest.raises(SettingsError, match=r"revisions\.json: datasets/openai/gsm8k@main: 'main' is no commit"):
        load_params("mine", tmp_path)
