"""lm-eval's own command line with our model: the pipeline's numbers, its own flags untouched, mistakes in one line."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import lm_eval.tasks
import pytest
from evaluation_examples import DOCUMENTS, EXECUTION, WARM, cell, save_checkpoint, save_documents

from dlm.errors import RemoteError, SettingsError
from dlm.evaluation import sample_cells, score_cells
from dlm.evaluation.command import run_command_line

PREFIX = "<reasoning>\n"
CELLS = [cell("words", sampler=WARM, response_prefix=PREFIX, seed=3), cell("choice", seed=3)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, and what the pipeline makes of it."""
    root = tmp_path_factory.mktemp("harness")
    save_checkpoint(root / "checkpoint")
    for name in ("words", "choice"):
        save_documents(root / "data" / name, DOCUMENTS[name])
    where: Any = {"checkpoint_dir": root / "checkpoint", "data_folder_of": lambda name: root / "data" / name}
    folder = root / "responses" / "1"
    sample_cells({folder: CELLS}, execution=EXECUTION, **where)
    score_cells(folder, CELLS, out_dir=root / "scores", scale="micro", **where)
    return root


@pytest.fixture
def few_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """lm-eval's own tasks, whose index takes seconds, are left out."""
    monkeypatch.setattr(lm_eval.tasks, "TaskManager", partial(lm_eval.tasks.TaskManager, include_defaults=False))


def harness(place: Path, data: str, model_args: str, *more: str) -> dict[str, Any]:
    """What lm-eval's command line writes, its results and its samples."""
    out = place / "out" / data
    model = ("--model", "dlm", "--model_args", f"pretrained={place / 'checkpoint'},{model_args}")
    data_args = ("--metadata", f"folder={place / 'data' / data}", "--output_path", str(out), "--log_samples")
    run_command_line([*model, *data_args, "--apply_chat_template", *more])
    (results,) = out.rglob("results_*.json")
    (samples,) = out.rglob("samples_*.jsonl")
    return {**json.loads(results.read_text()), "samples": [json.loads(line) for line in samples.open()]}


def pipeline(place: Path, index: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    one = CELLS[index]
    rows = [json.loads(line) for line in (place / "scores" / "samples.jsonl").open()]
    scores = json.loads((place / "scores" / "scores.json").read_text())
    return scores["cells"][index], [row for row in rows if row["task"] == one.task]


def test_sampled_answers_and_their_score_are_the_pipelines(place, few_tasks, capsys):
    arguments = f"preset=llada,max_new_tokens=8,temperature=1.0,seed=3,response_prefix={PREFIX}"
    found = harness(place, "words", arguments, "--tasks", "dlm_word_problems", "--batch_size", "4")
    expected, rows = pipeline(place, 0)
    assert found["results"]["dlm_word_problems"]["exact_match,none"] == expected["value"]
    assert [sample["resps"][0][0] for sample in found["samples"]] == [row["response"] for row in rows]
    assert found["config"]["device"] == "auto" and found["chat_template"]
    assert "dlm_word_problems" in capsys.readouterr().out


def test_likelihoods_and_their_score_are_the_pipelines(place, few_tasks):
    found = harness(place, "choice", "samples=3,seed=3,batch_size=4", "-t", "dlm_number_choice", "--limit", "2")
    expected, rows = pipeline(place, 1)
    assert found["results"]["dlm_number_choice"]["acc,none"] == expected["value"]
    likelihoods = [[value for ((value, _),) in sample["resps"]] for sample in found["samples"]]
    assert [list(map(float, values)) for values in likelihoods] == [row["loglikelihoods"] for row in rows]


def test_tasks_of_ones_own_stand_beside_the_projects(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text("task: mine\ndataset_path: x\noutput_type: generate_until\n")
    run_command_line(["validate", "--tasks", "dlm_sudoku,mine,gsm8k", "--include_path", str(tmp_path)])
    assert "All tasks found" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--model", "dlm", "--model_args", "pretraind=x", "--tasks", "dlm_sudoku"],
            "unknown 'pretraind'; did you mean",
        ),
        (
            ["--model", "dlm", "--model_args", "pretrained=x", "--tasks", "dlm_sudok"],
            "^lm-eval: Tasks not found: dlm_sudok$",
        ),
        (
            [
                "--model",
                "dlm",
                "--model_args",
                "pretrained=x",
                "--tasks",
                "dlm_sudoku",
                "--gen_kwargs",
                "temperature=1",
            ],
            "--gen_kwargs temperature: for",
        ),
        (["--model", "hf", "--tasks", "dlm_sudoku", "--log_samples"], "^lm-eval: Specify --output_path if"),
        (["--config", "none.yaml"], "^lm-eval: Config file not found"),
    ],
)
def test_mistakes_are_one_line(arguments, message):
    with pytest.raises(SettingsError, match=message) as caught:
        run_command_line(arguments)
    assert "\n" not in str(caught.value)


def test_a_hub_that_is_not_reached_is_one_line(monkeypatch):
    def unreached(self, parsed):
        raise ConnectionError("Couldn't reach 'openai/gsm8k'\non the Hub")

    monkeypatch.setattr("dlm.evaluation.command.HarnessCLI.execute", unreached)
    with pytest.raises(RemoteError, match=r"^lm-eval: Couldn't reach 'openai/gsm8k' on the Hub; stock tasks ask"):
        run_command_line(["--model", "dummy", "--tasks", "gsm8k"])


def test_the_verb_hands_everything_on(monkeypatch):
    from click.testing import CliRunner

    from dlm.cli import cli
    from dlm.evaluation import command

    seen: list[Any] = []
    monkeypatch.setattr(command, "run_command_line", seen.append)
    typed = ("--help", "--model", "dlm", "-t", "a", "--model_args", "pretrained=x,steps=4", "run")
    assert CliRunner().invoke(cli, ["lm-eval", *typed], catch_exceptions=False).exit_code == 0
    assert seen == [typed]
