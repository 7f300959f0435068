"""The paper's benchmarks: whose data their tasks read, and prompts and scores on the data that is here, with no hub."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from canned import CannedLM, evaluate
from evaluation_examples import TASKS, cell
from lm_eval.tasks import TaskManager
from lm_eval.tasks._index import Kind
from lm_eval.tasks._yaml_loader import load_yaml
from mirror import prepared, serving
from namespaces import isolation_or_skip
from test_evaluation_programs import GOLDEN as HUMANEVAL_PROMPTS
from test_evaluation_programs import asked_here, save_benchmark, save_configurations

from dlm.data import FILES
from dlm.errors import SetupError
from dlm.evaluation.documents import hellaswag_questions
from dlm.evaluation.programs import programs_allowed
from dlm.evaluation.stock import literal, minerva_shots
from dlm.files import digest
from dlm.params import load_params
from dlm.params.task_files import FOLDER
from dlm.settings import Benchmark, SandboxSettings

ROOT = Path(__file__).resolve().parents[2]
PAPER = load_params("paper", ROOT)


@pytest.fixture(scope="module")
def manager() -> TaskManager:
    """lm-eval's index of its own tasks and of ours."""
    return TaskManager(include_path=FOLDER)


def repositories(manager: TaskManager, name: str) -> Iterator[str]:
    """Where a task, or each of a group, takes its data from, as its file says."""
    entry = manager.task_index[name]
    content = load_yaml(entry.yaml_path, resolve_func=False) if entry.yaml_path else dict(entry.cfg or {})
    if isinstance(content.get("task"), list):
        for member in content["task"]:
            found = member if isinstance(member, str) else member.get("task") or member.get("group")
            if found in manager.task_index:
                yield from repositories(manager, found)
            else:  # a member that the group itself describes
                yield content["dataset_path"]
    elif entry.kind is Kind.TAG:
        for member in entry.tags:
            yield from repositories(manager, member)
    elif "dataset_path" in content:
        yield content["dataset_path"]


@pytest.mark.parametrize("name", PAPER.tasks)
def test_every_task_of_the_paper_reads_prepared_data_of_the_repository_that_it_names(manager, name):
    task = PAPER.tasks[name]
    assert task.lm_eval in manager.task_index and task.dataset
    data = PAPER.data[task.dataset]
    if isinstance(data, Benchmark):
        assert set(repositories(manager, task.lm_eval)) <= {data.repository}


@pytest.mark.parametrize("name", PAPER.tasks)
def test_a_task_that_takes_no_shots_is_asked_for_none(manager, name):
    entry = manager.task_index[PAPER.tasks[name].lm_eval]
    content = load_yaml(entry.yaml_path, resolve_func=False)
    assert not (content.get("num_fewshot") == 0 and PAPER.tasks[name].num_fewshot)


def test_all_benchmarks_of_the_paper_are_there():
    named = {task.benchmark for task in PAPER.tasks.values()}
    wanted = """GSM8K MATH MATH500 BBH MMLU MMLU-Pro HellaSwag ARC-E ARC-C WinoGrande PIQA TruthfulQA GPQA HumanEval
        MBPP CMMLU C-Eval LAMBADA RACE IFEval Countdown Sudoku"""
    assert set(wanted.split()) <= named


@pytest.fixture(scope="module")
def data(shared, tmp_path_factory) -> Path:
    """GSM8K and HumanEval, prepared from a hub that is gone when a test runs."""
    folder = tmp_path_factory.mktemp("real")
    hub = shared / "data" / "hub"
    with serving(shared, hub, "--fail-rate", "0.2", "--fail-times", "2", "--seed", "1", folder=folder) as endpoint:
        found = prepared(
            endpoint,
            folder / "data",
            gsm8k={"repository": "openai/gsm8k"},
            humaneval={"repository": "openai/openai_humaneval"},
        )
    assert all(isinstance(one, dict) for one in found.values()), found
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    return folder / "data"


def task(name: str, dataset: str, **changes: Any) -> Any:
    """A cell of any task, outside of a chat."""
    values = {"lm_eval": name, "dataset": dataset, "limit": None, **changes}
    return cell("words", chat=False, task_settings=dataclasses.replace(TASKS["words"], **values), dataset=dataset)


def rows(data: Path, benchmark: str, pattern: str) -> list[dict[str, Any]]:
    """The rows of a split, as its file has them."""
    import pandas

    (path,) = (data / benchmark / FILES).glob(pattern)
    return pandas.read_parquet(path).to_dict("records")


GSM8K = {"gsm8k": "Question: {question}\nAnswer:", "gsm8k_cot": "Q: {question}\nA:"}


@pytest.mark.parametrize("name", GSM8K)
def test_prompts_of_gsm8k(data, name):
    one = task(name, "gsm8k", filter="flexible-extract", num_fewshot=0)
    documents = rows(data, "gsm8k", "main/test-*")
    assert [prompt for prompt, _ in asked_here(data, one)] == [GSM8K[name].format(**row) for row in documents]


@pytest.mark.parametrize(
    ("name", "shots", "golden"),
    [("gsm8k", 5, "67ac46e4af1a"), ("gsm8k_cot", 5, "042458150cfa"), ("gsm8k_cot", 8, "4f0050ca7903")],
)
def test_prompts_of_gsm8k_with_shots(data, name, shots, golden):
    one = task(name, "gsm8k", filter="flexible-extract", num_fewshot=shots, limit=20)
    prompts = [prompt for prompt, _ in asked_here(data, one)]
    first = GSM8K[name].partition("{")[0]
    assert all(len(re.findall(f"^{first}", prompt, re.MULTILINE)) == shots + 1 for prompt in prompts)
    assert digest(prompts)[:12] == golden


@pytest.mark.parametrize("name", HUMANEVAL_PROMPTS)
def test_prompts_of_humaneval(data, name):
    one = task(name, "humaneval", metric="pass_at_1", filter="run")
    expected = [HUMANEVAL_PROMPTS[name].format(prompt=row["prompt"]) for row in rows(data, "humaneval", "*/test-*")]
    assert [prompt for prompt, _ in asked_here(data, one)] == expected
    assert len(expected) == 164


def test_the_reference_solutions_of_humaneval_pass(data):
    limits = SandboxSettings()
    isolation_or_skip(limits)
    known = {row["prompt"]: row["canonical_solution"] for row in rows(data, "humaneval", "*/test-*")}
    with programs_allowed(limits):
        outcome = evaluate(
            data, task("dlm_humaneval", "humaneval", metric="pass_at_1", filter="run"), CannedLM(known.get)
        )[2]
    assert outcome.value == 1.0 and len(outcome.documents) == 164


def test_gsm8k_is_scored_by_its_last_number(data):
    known = {GSM8K["gsm8k"].format(**row): row["answer"] for row in rows(data, "gsm8k", "main/test-*")}
    one = task("gsm8k", "gsm8k", filter="flexible-extract", num_fewshot=0, limit=50)
    assert evaluate(data, one, CannedLM(known.get))[2].value == 1.0
    assert evaluate(data, one, CannedLM(lambda _: "-1"))[2].value == 0.0


HELLASWAG = {
    "ind": 1,
    "activity_label": "Cooking",
    "ctx_a": "[header] How to boil water [title] Take a pot.",
    "ctx_b": "she",
    "ctx": "",
    "endings": ["fills  it.", "[step] leaves.", "sings.", "sleeps."],
    "label": "1",
}
SUBJECTS = [str(one["task"]) for one in load_yaml(FOLDER / "dlm_mmlu_generative.yaml")["task"]]
MMLU = {"question": " What is 2 + 2? ", "subject": "sums", "choices": ["3", "4", "5", "6"], "answer": 1}


@pytest.fixture(scope="module")
def choices(tmp_path_factory) -> Path:
    """Benchmarks of letters, with rows of our own."""
    folder = tmp_path_factory.mktemp("letters")
    save_benchmark(folder / "hellaswag", "default", train=[HELLASWAG], validation=[HELLASWAG], test=[HELLASWAG])
    save_benchmark(folder / "mmlu", "all", test=[MMLU], dev=[MMLU], validation=[MMLU])
    subjects = {name: [{**MMLU, "subject": name, "question": f"{name}?"}] for name in SUBJECTS}
    sizes = {SUBJECTS[-1]: 3}
    splits = {name: {"test": rows * sizes.get(name, 1), "dev": rows * 5} for name, rows in subjects.items()}
    save_configurations(folder / "mmlu_subjects", splits)
    problem = {"problem": "How much is 1 + 1?", "level": "1", "type": "Algebra", "solution": "It is $\\boxed{2}$."}
    save_benchmark(folder / "math", "algebra", train=[problem], test=[problem])
    return folder


def test_hellaswag_asks_for_a_letter(choices):
    one = task("dlm_hellaswag_gen", "hellaswag", filter="letter")
    assert asked_here(choices, one)[0][0] == (
        "Cooking: How to boil water. Take a pot. She\nQuestion: Which ending makes the most sense?\n"
        "A. fills it.\nB.  leaves.\nC. sings.\nD. sleeps.\nYou may choose from 'A', 'B', 'C', 'D'.\nAnswer:"
    )
    for answer, value in ((" B", 1.0), ("b)", 1.0), ("(B)", 1.0), ("A", 0.0), ("", 0.0)):
        assert evaluate(choices, one, CannedLM(lambda _, answer=answer: answer))[2].value == value


def test_the_letter_forms_context_is_the_likelihood_forms():
    """As lm-eval's own task cleans it."""
    from datasets import Dataset
    from lm_eval.tasks.hellaswag.utils import process_docs

    documents = Dataset.from_list([HELLASWAG])
    stock, ours = process_docs(documents)[0], hellaswag_questions(documents)[0]
    assert (ours["context"], ours["endings"]) == (stock["query"], stock["choices"])


def test_mmlu_asks_for_a_letter_with_shots_of_the_subject(choices):
    """The last subject has three questions, the others one."""
    question = "{0}?\nA. 3\nB. 4\nC. 5\nD. 6\nAnswer:"
    said = dict(zip([SUBJECTS[-1], *SUBJECTS], (" B", "B. 4", "B", "b", "4 B"), strict=False))
    lm = CannedLM(lambda prompt: said.get(prompt.partition("?")[0], "A"))
    one = task("dlm_mmlu_generative", "mmlu_subjects", filter="letter", num_fewshot=4)
    outcome = evaluate(choices, one, lm)[2]
    prompts = {(f"{question} B\n\n" * 4 + question).format(name) for name in SUBJECTS}
    assert {request.prompt for request in lm.asked} == prompts
    assert outcome.value == pytest.approx((3 + 1 + 1) / (3 + 56))


def test_mmlu_of_llada_names_the_subject(choices):
    one = task("dlm_mmlu_generative_subject", "mmlu", filter="letter")
    asked = "A question about sums. Answer with A, B, C or D.\n\nWhat is 2 + 2?\nA. 3\nB. 4\nC. 5\nD. 6\nAnswer:"
    assert asked_here(choices, one)[0][0] == asked
    for answer, value in ((" B", 1.0), ("b.", 1.0), ("B \nA", 1.0), ("B. 4", 0.0), ("A", 0.0), ("", 0.0)):
        assert evaluate(choices, one, CannedLM(lambda _, answer=answer: answer))[2].value == value


def test_math_is_read_by_what_it_equals(choices):
    one = task("dlm_minerva_math", "math", metric="math_verify", num_fewshot=4)
    prompt = asked_here(choices, one)[0][0]
    assert prompt.count("Problem:\n") == prompt.count("\n\nSolution:") == 5
    assert prompt.endswith("Problem:\nHow much is 1 + 1?\n\nSolution:")
    for answer, value in (("so $\\boxed{4/2}$", 1.0), ("The final answer is $2$.", 1.0), ("$3$", 0.0), ("", 0.0)):
        assert evaluate(choices, one, CannedLM(lambda _, answer=answer: answer))[2].value == value


def test_minervas_examples_are_those_of_lm_eval():
    shots = minerva_shots()
    assert len(shots) == 4 and all(set(shot) == {"problem", "solution", "few_shot"} for shot in shots)
    with pytest.raises(SetupError, match="no 'nothing' whose value is written out"):
        literal("minerva_math/utils.py", "nothing")
    with pytest.raises(SetupError, match="no 'doc_to_text' whose value is written out"):
        literal("minerva_math/utils.py", "doc_to_text")
