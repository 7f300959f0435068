"""A model, a task and a setting of one's own: rows of a params file, refused in one line where they cannot be."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from dlm.errors import SettingsError
from dlm.params import load_plan
from dlm.params.task_files import files_beside, own_tasks

TASK = """\
task: capitals
custom_dataset: !function dlm.evaluation.documents.load
output_type: generate_until
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""
SCALE = """\
extends: micro
data:
  capitals: {kind: documents, path: capitals.jsonl}
  chats: {kind: rows, path: chats.jsonl, held_out_path: later.jsonl}
checkpoints:
  mine: {kind: folder, path: my-model}
tasks:
  capitals: {title: C, lm_eval: capitals, output: generate, metric: exact_match, dataset: capitals, sampler: answer48}
tables:
  mine: {title: Mine, tasks: [capitals], rows: [{model: mine, label: Mine}]}
"""


@pytest.fixture
def project(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(repository / "params", tmp_path / "params")
    for name, text in {
        "params/own.yaml": SCALE,
        "tasks/capitals.yaml": TASK,
        "tasks/helper.py": "ONE = 1\n",
        "capitals.jsonl": '{"country": "Peru"}\n',
        "chats.jsonl": "",
        "later.jsonl": "",
        "my-model/config.json": "{}",
        "my-model/model.safetensors": "weights",
        "my-model/notes.md": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_plan_knows_what_they_are_made_of(project: Path) -> None:
    plan = load_plan("own")
    assert plan.products("mine") == {
        "data": ["capitals"], "checkpoints": ["mine"], "responses": ["mine/1"], "scores": ["mine/1"],
        "tables": ["mine"],
    }  # fmt: skip
    assert plan.checkpoint_inputs("mine") == ["my-model/config.json"]
    assert plan.data_inputs("capitals") == ["capitals.jsonl"]
    assert plan.data_inputs("chats") == ["chats.jsonl", "later.jsonl"]
    own = ["tasks/capitals.yaml", "tasks/helper.py"]
    assert plan.inputs("responses", "mine/1")[-2:] == own and plan.inputs("scores", "mine/1")[-2:] == own
    assert not [path for path in plan.inputs("responses", "llada-base/1") if path.startswith("tasks")]


def test_weights_that_were_written_again_are_converted_again(project: Path) -> None:
    before, weights = load_plan("own").digest("checkpoints", "mine"), project / "my-model" / "model.safetensors"
    assert load_plan("own").digest("checkpoints", "mine") == before
    state = weights.stat()
    os.utime(weights, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert load_plan("own").digest("checkpoints", "mine") != before


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("params/own.yaml", "path: my-model", "path: my-modl", "checkpoints.mine.path: no such folder: my-modl"),
        (
            "params/own.yaml", "path: my-model", "path: my-model, autoregressive: true, conventions: {shift: true}",
            "checkpoints.mine.conventions: conventions do not apply to a checkpoint that stays autoregressive",
        ),
        ("params/own.yaml", "capitals.jsonl", "capitols.jsonl", "data.capitals.path: no such file: capitols.jsonl"),
        ("params/own.yaml", "later.jsonl", "none.csv", "data.chats.held_out_path: no such file: none.csv; correct it"),
        ("params/own.yaml", "lm_eval: capitals", "lm_eval: dlm_capitals", "no task of the project's own is named"),
        ("params/own.yaml", "metric: exact_match", "metric: acc", "no metric of 'capitals' is named 'acc'"),
        ("params/own.yaml", " dataset: capitals,", "", "missing key 'dataset'; 'capitals' reads a prepared test set"),
        ("tasks/capitals.yaml", "task: capitals", "task: dlm_x", "tasks/capitals.yaml: task: the name 'dlm_x' begins"),
        ("tasks/capitals.yaml", "metric_list", "metrics", "capitals.yaml: needs task, output_type and metric_list"),
        ("tasks/capitals.yaml", "[{", "[[{", "tasks/capitals.yaml: broken YAML"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(project: Path, file: str, old: str, new: str, message: str) -> None:
    text = (project / file).read_text()
    assert old in text
    (project / file).write_text(text.replace(old, new, 1))
    with pytest.raises(SettingsError) as caught:
        load_plan("own")
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_two_task_files_of_one_name_are_refused(project: Path) -> None:
    shutil.copy(project / "tasks" / "capitals.yaml", project / "tasks" / "other.yaml")
    with pytest.raises(SettingsError, match=r"the name 'capitals' is that of tasks/capitals\.yaml; choose"):
        load_plan("own")


def test_tasks_may_include_others_and_be_grouped(project: Path) -> None:
    body = TASK.partition("\n")[2]
    for name, text in {
        "_base_yaml": body,
        "_same.yaml": body,
        "rivers.yaml": "task: rivers\ninclude: _base_yaml\n",
        "lakes.yaml": "include: _same.yaml\ntask: lakes\n",
        "waters.yaml": "group: waters\ntask: [rivers, lakes]\n",
    }.items():
        (project / "tasks" / name).write_text(text)
    tasks = own_tasks(project)
    assert {"rivers", "lakes", "waters", "capitals"} <= set(tasks)
    assert {name: tasks[name].metrics for name in ("rivers", "lakes", "waters")} == dict.fromkeys(
        ("rivers", "lakes", "waters"), ("exact_match",)
    )
    assert project / "tasks" / "_base_yaml" in files_beside(tasks["rivers"])
    (project / "tasks" / "rivers.yaml").write_text("task: rivers\ninclude: gone.yaml\n")
    with pytest.raises(SettingsError, match=r"gone\.yaml: cannot be read .* correct the `include`"):
        own_tasks(project)
