"""What is asked of products by a person's own files: DVC's stages have to notice a change of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from dlm.errors import SettingsError
from dlm.params import load_plan
from dlm.params.stamps import plan_text

PARAMS = """\
extends: micro
title: A test set of one's own
data:
  capitals: {kind: documents, path: capitals.jsonl}
tasks:
  capitals:
    {title: Capitals, lm_eval: capitals, output: generate, metric: exact_match, dataset: capitals, sampler: answer48}
tables:
  mine:
    title: One task
    tasks: [capitals]
    rows: [{model: llada-base, label: LLaDA-like Base}]
"""
TASK = """\
task: capitals
custom_dataset: !function dlm.evaluation.documents.load
output_type: generate_until
test_split: test
doc_to_text: "{{country}}?"
doc_to_target: capital
generation_kwargs: {until: []}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
metadata: {version: 1.0}
"""


@pytest.fixture
def project(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("params", "data", "tasks"):
        shutil.copytree(repository / name, tmp_path / name)
    shutil.copy(repository / "dvc.yaml", tmp_path)
    (tmp_path / "params" / "mine.yaml").write_text(PARAMS)
    (tmp_path / "tasks" / "capitals.yaml").write_text(TASK)
    (tmp_path / "capitals.jsonl").write_text('{"country": "Peru", "capital": "Lima"}\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_that_dvc_does_not_look_at_is_refused_until_the_stage_names_it(project: Path) -> None:
    with pytest.raises(SettingsError, match=r"^capitals\.jsonl: DVC would not notice a change of it; move it to data/"):
        plan_text(load_plan("mine"), "mine")
    stages = project / "dvc.yaml"
    stages.write_text(stages.read_text().replace("      - tasks\n", "      - tasks\n      - capitals.jsonl\n"))
    given = json.loads(plan_text(load_plan("mine"), "mine"))
    assert list(given["data"]["capitals"]["given"]) == ["capitals.jsonl"]
    assert list(given["responses"]["llada-base/1"]["given"]) == ["tasks/capitals.yaml"]
    stages.unlink()
    assert json.loads(plan_text(load_plan("mine"), "mine")) == given, "without DVC nothing is refused"


def test_a_changed_task_file_changes_what_is_asked_of_answers_alone(project: Path) -> None:
    (project / "dvc.yaml").unlink()
    before = json.loads(plan_text(load_plan("mine"), "mine"))
    (project / "tasks" / "capitals.yaml").write_text(TASK.replace("{{country}}?", "Capital of {{country}}?"))
    after = json.loads(plan_text(load_plan("mine"), "mine"))
    assert [step for step in before if before[step] != after[step]] == ["responses", "scores"]
