"""The task files and lm-eval around them: exact prompts, values as ratios of their parts, refusals that teach."""

from __future__ import annotations

import dataclasses
import math
import os
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from canned import CannedLM, asked, evaluate
from evaluation_examples import DOCUMENTS, TASKS, cell, save_documents

from dlm.data.mixtures import problem_documents
from dlm.errors import DataError, SettingsError, SetupError
from dlm.evaluation import harness
from dlm.evaluation.harness import config_digest, load_tasks
from dlm.evaluation.outcomes import read_outcome
from dlm.files import write_jsonl
from dlm.params.task_files import FOLDER, own_tasks
from dlm.settings import GeneratedProblems, LikelihoodSettings, ProblemSettings


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name, rows in DOCUMENTS.items():
        save_documents(folder / name, rows)
    return folder


def with_settings(name: str, **changes: Any) -> Any:
    return cell(name, chat=False, task_settings=dataclasses.replace(TASKS[name], **changes))


GOLDEN = {
    "words": "Ann has 3 pens and gets 4. How many?",
    "countdown": "Use 1, 2, 3 to make 6.",
    "sudoku": "Fill this grid:\n1234\n3412\n2143\n4320",
    "choice": "2 4 6",
}


@pytest.mark.parametrize("name", GOLDEN)
def test_the_prompt_is_the_question_alone(data, name):
    prompt, continuation = asked(data, cell(name, chat=False))[0]
    assert prompt == GOLDEN[name]
    assert continuation == (" 7" if name == "choice" else None)


@pytest.mark.parametrize("name", GOLDEN)
def test_in_a_chat_the_question_is_the_users_turn(data, name):
    prompt, continuation = asked(data, cell(name))[0]
    assert prompt == f"<|im_start|>user\n{GOLDEN[name]}<|im_end|>\n<|im_start|>assistant\n"
    assert continuation == ("7" if name == "choice" else None)


def test_shots_are_other_documents_with_their_answers(data):
    prompt, _ = asked(data, with_settings("words", num_fewshot=1))[0]
    others = [f"{doc['question']}\n{doc['answer']}\n\n{GOLDEN['words']}" for doc in DOCUMENTS["words"][1:]]
    assert prompt in others
    assert asked(data, with_settings("words", num_fewshot=1)) == asked(data, with_settings("words", num_fewshot=1))


def test_shots_in_a_chat_are_turns(data):
    one = cell("choice", task_settings=dataclasses.replace(TASKS["choice"], num_fewshot=1))
    shot = "<|im_start|>user\n9 8 7<|im_end|>\n<|im_start|>assistant\n6<|im_end|>\n"
    assert asked(data, one)[0][0] == f"{shot}<|im_start|>user\n2 4 6<|im_end|>\n<|im_start|>assistant\n"


def test_the_limit_takes_the_first_documents(data):
    assert len(asked(data, with_settings("words", limit=2))) == 2
    assert len(asked(data, with_settings("choice", limit=1))) == 4
    assert len(asked(data, with_settings("words", limit=99))) == 3


@pytest.mark.parametrize("name", ["words", "countdown", "sudoku"])
def test_no_stop_text_is_inherited(data, name):
    lm = CannedLM()
    evaluate(data, cell(name), lm)
    assert {request.until for request in lm.asked} == {()}


@pytest.mark.parametrize(
    ("name", "lm", "value", "numerators", "weights"),
    [
        ("words", CannedLM(lambda prompt: "it is 7"), 2 / 3, [1, 1, 0], [1, 1, 1]),
        ("countdown", CannedLM(lambda prompt: "3+2+1"), 1 / 2, [1, 0], [1, 1]),
        ("sudoku", CannedLM(lambda prompt: "1200341221434321"), 3 / 4, [1, 2], [1, 3]),
        ("choice", CannedLM(likes="6"), 1 / 2, [0, 1], [1, 1]),
    ],
)
def test_a_value_is_lm_evals_own_and_the_ratio_of_its_parts(data, name, lm, value, numerators, weights):
    one = cell(name)
    _, results, outcome = evaluate(data, one, lm)
    assert results["results"][TASKS[name].lm_eval][f"{TASKS[name].metric},none"] == outcome.value
    assert outcome.value == pytest.approx(value, abs=1e-12)
    assert [document.numerator for document in outcome.documents] == numerators
    assert [document.weight for document in outcome.documents] == weights
    assert math.fsum(numerators) / math.fsum(weights) == pytest.approx(outcome.value, abs=1e-12)
    assert [document.doc_id for document in outcome.documents] == [row["id"] for row in DOCUMENTS[name]]


def test_lm_evals_standard_error_is_kept_where_it_has_one(data):
    words = evaluate(data, cell("words"), CannedLM(lambda prompt: "7"))[2]
    assert words.stderr == pytest.approx(math.sqrt(2 / 9 * 3 / 2 / 3))
    assert evaluate(data, cell("sudoku"), CannedLM())[2].stderr is None


def test_lm_evals_own_tasks_are_not_indexed_for_the_projects(data, monkeypatch):
    def refuse() -> None:
        raise AssertionError("the index of stock tasks was built")

    real = harness._manager
    monkeypatch.setattr(harness, "_manager", lambda local: real(True) if local else refuse())
    assert sorted(load_tasks([cell(name) for name in TASKS], lambda name: data / name)) == sorted(TASKS)
    with pytest.raises(AssertionError, match="index of stock tasks"):
        load_tasks([with_settings("words", lm_eval="gsm8k")], lambda name: data / name)


def test_every_task_file_has_a_version_and_loads_alone(data):
    for name in TASKS:
        (task,) = load_tasks([cell(name)], lambda name: data / name)[name]["tasks"].values()
        assert task.VERSION == 1.0
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(own_tasks())


def test_the_config_digest_knows_the_tasks_content_and_no_path(data, tmp_path):
    save_documents(tmp_path / "elsewhere" / "words", DOCUMENTS["words"])
    here, there = (
        load_tasks([cell("words")], lambda name, base=base: base / name)["words"]
        for base in (data, tmp_path / "elsewhere")
    )
    before = config_digest(here)
    assert before == config_digest(there)
    (task,) = here["tasks"].values()
    task.set_config("target_delimiter", " ")
    assert config_digest(here) != before


def test_the_outcomes_content_is_that_of_the_documents(data, tmp_path):
    changed = [{**row, "answer": "8"} for row in DOCUMENTS["words"]]
    save_documents(tmp_path / "words", changed)
    same, other = evaluate(data, cell("words"), CannedLM())[2], evaluate(tmp_path, cell("words"), CannedLM())[2]
    assert same.content == evaluate(data, cell("words"), CannedLM(lambda prompt: "1"))[2].content
    assert same.content != other.content


def test_random_numbers_of_others_are_left_as_they_were(data):
    random.seed(3)
    np.random.seed(3)
    expected = (random.random(), np.random.random())
    random.seed(3)
    np.random.seed(3)
    evaluate(data, cell("words"), CannedLM())
    assert (random.random(), np.random.random()) == expected


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("words", {"lm_eval": "dlm_word_problem"}, "no task 'dlm_word_problem'; did you mean 'dlm_word_problems'"),
        ("words", {"metric": "exact_matsch"}, "has no metric 'exact_matsch'; did you mean 'exact_match'"),
        ("words", {"filter": "strict"}, "has no filter 'strict'; known: none"),
    ],
)
def test_settings_that_lm_eval_does_not_have_are_refused_before_a_model_is_asked(data, name, changes, message):
    with pytest.raises(SettingsError, match=message):
        load_tasks([with_settings(name, **changes)], lambda name: data / name)


def test_the_params_know_the_task_files_as_lm_eval_does(data):
    tasks = load_tasks([cell(name) for name in TASKS], lambda name: data / name)
    for name, settings in TASKS.items():
        loaded, file = tasks[name]["tasks"][settings.lm_eval], own_tasks()[settings.lm_eval]
        assert set(file.metrics) == set(loaded.aggregation())
        assert list(file.filters) == [filters.name for filters in loaded._filters]
        assert (file.output == "generate") == (loaded.OUTPUT_TYPE == "generate_until") == bool(settings.sampler)


PROGRAMS = """
import os
def guard():
    if os.environ.get("HF_ALLOW_CODE_EVAL") != "1":
        raise ValueError("a WARNING of many lines:\\nset HF_ALLOW_CODE_EVAL=1")
guard()
def load(**_):
    from datasets import Dataset
    return {"test": Dataset.from_list([{"question": "q", "answer": "a"}])}
def pass_at_k(references, predictions):
    guard()
    return {"pass@1": float(predictions[0] == "right")}
"""
PROGRAMS_TASK = """
task: programs
custom_dataset: !function utils.load
output_type: generate_until
test_split: test
doc_to_text: question
doc_to_target: answer
unsafe_code: true
metric_list: [{metric: !function utils.pass_at_k, aggregation: mean, higher_is_better: true}]
"""


@pytest.fixture
def stock(tmp_path, monkeypatch):
    """A stock task as HumanEval is: it looks whether programs may run when it is imported, and when it scores."""
    monkeypatch.delenv("HF_ALLOW_CODE_EVAL", raising=False)
    (tmp_path / "utils.py").write_text(PROGRAMS)
    (tmp_path / "programs.yaml").write_text(PROGRAMS_TASK)
    manager = harness.TaskManager(include_defaults=False, include_path=tmp_path)
    monkeypatch.setattr(harness, "_manager", lambda local: manager)
    return tmp_path


def programs(**changes: Any) -> Any:
    one = with_settings("words", **{"lm_eval": "programs", "metric": "pass@1"} | changes)
    return dataclasses.replace(one, dataset=None)


def test_programs_are_never_run_in_this_process(stock, monkeypatch):
    expected = (
        r"^task 'words': lm-eval's 'programs' runs what models write in its own process; take one of the project's "
        r"tasks, which use the sandbox: known: dlm_code_lines, dlm_humaneval, "
    )
    with pytest.raises(SettingsError, match=expected):
        load_tasks([programs()], lambda name: stock)
    # Not even where the environment allows them, or the task's own code does not look.
    monkeypatch.setenv("HF_ALLOW_CODE_EVAL", "1")
    with pytest.raises(SettingsError, match=expected):
        load_tasks([programs()], lambda name: stock)
    assert os.environ["HF_ALLOW_CODE_EVAL"] == "1"
    (stock / "utils.py").write_text(PROGRAMS.replace("guard()\n", "\n"))
    with pytest.raises(SettingsError, match=expected):
        load_tasks([programs()], lambda name: stock)


def test_a_metric_that_a_function_does_not_give_is_refused_by_name(stock):
    (stock / "utils.py").write_text(PROGRAMS.replace("guard()\n", "\n"))
    (stock / "programs.yaml").write_text(PROGRAMS_TASK.replace("unsafe_code: true\n", ""))
    with pytest.raises(SettingsError, match=r"lm-eval gives no 'pass@2,none' .* did you mean 'pass@1,none'"):
        evaluate(stock, programs(metric="pass@2"), CannedLM())


def test_a_stock_task_that_cannot_be_loaded_is_one_line(stock):
    (stock / "utils.py").write_text("import a_package_that_nobody_has\n")
    with pytest.raises(SetupError, match=r"^task 'words': lm-eval cannot load its 'programs' here \(ModuleNotFo.*\)$"):
        load_tasks([programs()], lambda name: stock)


def test_a_task_without_its_test_set_is_refused(data, tmp_path):
    with pytest.raises(SettingsError, match="needs a prepared test set"):
        load_tasks([cell("words", dataset=None)], lambda name: data / name)
    with pytest.raises(DataError, match=r"manifest.json: no such file"):
        load_tasks([cell("words")], lambda name: tmp_path / name)
    save_documents(tmp_path / "words", [])
    with pytest.raises(DataError, match=r"words: no test documents in it; run `dlm prepare words`"):
        load_tasks([cell("words")], lambda name: tmp_path / name)


def test_an_altered_test_set_is_refused(tmp_path):
    save_documents(tmp_path / "words", DOCUMENTS["words"])
    write_jsonl(tmp_path / "words" / "test.jsonl", DOCUMENTS["words"][:2])
    with pytest.raises(DataError, match="truncated"):
        load_tasks([cell("words")], lambda name: tmp_path / name)


class StockLike:
    """A loaded group of two stock tasks of different sizes, as far as results are read from it."""

    def results(self, value: float) -> dict[str, Any]:
        outcomes = {"a": [1.0, 0.0, 1.0], "b": [1.0]}
        samples = {
            name: [
                {
                    "filter": "none",
                    "doc_id": i,
                    "doc": {},
                    "target": "t",
                    "filtered_resps": [],
                    "acc": x,
                    "doc_hash": "h",
                }
                for i, x in enumerate(found)
            ]
            for name, found in outcomes.items()
        }
        return {"results": {"group": {"acc,none": value, "acc_stderr,none": "N/A"}}, "samples": samples}


@pytest.mark.parametrize(("value", "weights"), [(0.75, [1, 1, 1, 1]), ((2 / 3 + 1) / 2, [1 / 3, 1 / 3, 1 / 3, 1])])
def test_a_groups_value_is_pooled_or_the_mean_of_its_members(value, weights):
    one = with_settings("words", lm_eval="group", metric="acc")
    outcome = read_outcome(StockLike().results(value), {"tasks": {"a": None, "b": None}}, one)  # type: ignore[dict-item]
    assert [document.weight for document in outcome.documents] == weights
    assert outcome.value == value


def test_a_metric_that_is_no_share_is_refused():
    one = with_settings("words", lm_eval="group", metric="acc")
    with pytest.raises(SettingsError, match="is not a share"):
        read_outcome(StockLike().results(0.5), {"tasks": {"a": None, "b": None}}, one)  # type: ignore[dict-item]


KINDS = {"words": "word_problems", "countdown": "countdown", "sudoku": "sudoku", "choice": "number_choice"}


@pytest.mark.parametrize("name", KINDS)
def test_the_generators_own_answers_are_right(name, tmp_path):
    settings = GeneratedProblems(problem=KINDS[name], rows=12)
    rows = problem_documents(settings, ProblemSettings())
    save_documents(tmp_path / name, rows)
    known = {row["question"]: f"<answer>\n{row['answer']}\n</answer>" for row in rows}
    lm = CannedLM(lambda prompt: next(answer for question, answer in known.items() if question in prompt))
    lm.loglikelihood = lambda requests: [  # type: ignore[method-assign]
        (0.0 if request.args[1] == request.doc["answer"] else -9.0, False) for request in requests
    ]
    assert evaluate(tmp_path, cell(name), lm)[2].value == 1.0


@pytest.mark.parametrize(
    ("output", "shots", "changes", "message"),
    [
        ("generate_until", 0, {"num_fewshot": 2}, "lm-eval's 'stock' takes no shots; set num_fewshot: 0"),
        ("loglikelihood", None, {"metric": "acc"}, "greedy decoder .* set greedy of 'short' to one_step"),
    ],
)
def test_what_lm_eval_would_ignore_or_answer_wrongly_is_refused(output, shots, changes, message):
    metrics = dict.fromkeys(("acc", "exact_match"))
    task = SimpleNamespace(OUTPUT_TYPE=output, get_config={"num_fewshot": shots}.get, aggregation=lambda: metrics)
    asked = dataclasses.replace(with_settings("words", **changes), likelihood=LikelihoodSettings())
    with pytest.raises(SettingsError, match=message):
        harness._check({"tasks": {"stock": task}}, asked)  # type: ignore[dict-item]
    if output == "loglikelihood":
        decoded = dataclasses.replace(asked, likelihood=LikelihoodSettings(greedy="decode"))
        harness._check({"tasks": {"stock": task}}, decoded)  # type: ignore[dict-item]
