"""Tasks whose answers are programs: what is asked, what is taken for the program, and that it runs in the sandbox."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from canned import CannedLM, evaluate
from evaluation_examples import EXECUTION, TASKS, cell, save_checkpoint, save_documents
from namespaces import isolation_or_skip

from dlm.data import FILES
from dlm.data.mixtures import problem_documents
from dlm.errors import SettingsError
from dlm.evaluation import sample_cells, score_cells
from dlm.evaluation.code import between_marks, first_block, reachable, until_fence
from dlm.evaluation.harness import load_tasks, run
from dlm.evaluation.outcomes import read_outcome
from dlm.evaluation.programs import programs_allowed
from dlm.files import write_manifest
from dlm.settings import GeneratedProblems, ProblemSettings, SandboxSettings

LIMITS = SandboxSettings(seconds=10, memory=256)
HUMANEVAL = [
    {
        "task_id": f"Own/{number}",
        "prompt": f'def {name}(a):\n    """Return a {words}."""\n',
        "canonical_solution": f"    return a {operation}\n",
        "test": f"def check(candidate):\n    assert candidate(3) == 3 {operation}\n",
        "entry_point": name,
    }
    for number, (name, words, operation) in enumerate([("more", "plus one", "+ 1"), ("twice", "doubled", "* 2")])
]
MBPP = [
    {
        "task_id": number,
        "text": f"Write a function f{number} that adds {number}.",
        "code": f"def f{number}(a):\r\n  return a + {number}",
        "test_list": [f"assert f{number}({a}) == {a + number}" for a in (1, 2, 3)],
        "test_setup_code": "",
        "challenge_test_list": [],
    }
    for number in range(1, 13)
]


def save_benchmark(folder: Path, configuration: str, **splits: list[dict[str, Any]]) -> None:
    """Save a prepared benchmark of one configuration."""
    save_configurations(folder, {configuration: splits})


def save_configurations(folder: Path, configurations: dict[str, dict[str, list[dict[str, Any]]]]) -> None:
    """Save a prepared benchmark: rows by configuration and split."""
    import pandas

    readme = "---\nconfigs:\n"
    for name, splits in configurations.items():
        (folder / FILES / name).mkdir(parents=True)
        card = "".join(f"  - {{split: {split}, path: {name}/{split}.parquet}}\n" for split in splits)
        readme += f"- config_name: {name}\n  data_files:\n{card}"
        for split, rows in splits.items():
            pandas.DataFrame(rows).to_parquet(folder / FILES / name / f"{split}.parquet")
    (folder / FILES / "README.md").write_text(f"{readme}---\n")
    write_manifest(folder, kind="benchmark", name=folder.name, made_from={})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Benchmarks of the published ones' form, with problems of our own."""
    folder = tmp_path_factory.mktemp("benchmarks")
    save_benchmark(folder / "humaneval", "openai_humaneval", test=HUMANEVAL)
    save_benchmark(folder / "mbpp", "full", train=MBPP[:1], validation=MBPP[:1], prompt=MBPP[:10], test=MBPP[10:])
    lines = [{"id": "l0", "question": "1 -> 3, 2 -> 4", "answer": "x + 2", "tests": [[1, 3], [2, 4]]}]
    save_documents(folder / "lines", lines)
    return folder


@pytest.fixture
def sandbox():
    """Programs may run; skipped, with the reason, where the kernel refuses namespaces."""
    isolation_or_skip(LIMITS)
    with programs_allowed(LIMITS):
        yield


def task(name: str, dataset: str, **changes: Any) -> Any:
    """A cell of one of the code tasks."""
    values = {"lm_eval": name, "metric": "pass_at_1", "filter": "run", "dataset": dataset, **changes}
    settings = dataclasses.replace(TASKS["words"], **values)
    return cell("words", chat=False, task_settings=settings, dataset=dataset)


def outcomes(data: Path, one: Any, say: Any) -> tuple[float, list[Any]]:
    """Score of a model that says something, and how each program ended."""
    outcome = evaluate(data, one, CannedLM(say))[2]
    return outcome.value, [document.filtered[0][0] for document in outcome.documents]


INSTRUCTION = "Write a solution to the following problem and make sure that it passes the tests:\n"
GOLDEN = {
    "dlm_humaneval": "{prompt}",
    "dlm_humaneval_instruct": (
        INSTRUCTION + "```python\n{prompt}\n```\nHere is the completed function:\n```python\n{prompt}\n"
    ),
    "dlm_humaneval_instruct_fence": INSTRUCTION
    + "```python\n{prompt}\n```\nHere is the completed function:\n```python\n",
    "dlm_humaneval_instruct_dream": (
        INSTRUCTION + "```python\n{prompt}\n```\nHere is the completed function:\n```python\n{prompt}\n"
    ),
    "dlm_humaneval_instruct_llada": "Complete the following python code:\n{prompt}",
}


@pytest.mark.parametrize("name", GOLDEN)
def test_prompts_of_humaneval(data, name):
    prompts = [prompt for prompt, _ in asked_here(data, task(name, "humaneval"))]
    assert prompts == [GOLDEN[name].format(prompt=row["prompt"]) for row in HUMANEVAL]


def asked_here(data: Path, one: Any) -> list[tuple[str, str | None]]:
    """What a model is asked, with programs allowed or not."""
    lm = CannedLM()
    run(lm, load_tasks([one], lambda name: data / name)[one.task], one, predict_only=True)
    return [(request.prompt, request.continuation) for request in lm.asked]


@pytest.mark.parametrize(
    ("name", "blank", "between"),
    [
        ("dlm_mbpp", " ", "\n[DONE]\n\n"),
        ("dlm_mbpp_instruct", "\n", "\n```\n\n"),
        ("dlm_mbpp_instruct_llada", " ", "'\n[DONE]\n\n"),
    ],
)
def test_shots_of_mbpp_are_its_papers(data, name, blank, between):
    prompt, _ = asked_here(data, task(name, "mbpp", num_fewshot=3))[0]
    assert prompt.startswith(f"You are an expert Python programmer, and here is your task:{blank}Write a function f2")
    shots = prompt.split(between)
    assert len(shots) == 4
    assert [f"adds {number}." in shot for number, shot in zip((2, 3, 4, 11), shots, strict=True)] == [True] * 4
    assert "def f11" not in prompt


def test_dreams_mbpp_has_no_shots(data):
    prompt, _ = asked_here(data, task("dlm_mbpp_instruct_dream", "mbpp"))[0]
    assert prompt.count("Write a function") == 1 and prompt.endswith("Here is the completed function:\n```python\n")


def solution(prompt: str) -> str:
    """The body of the function that a prompt asks for."""
    return next(row["canonical_solution"] for row in HUMANEVAL if row["entry_point"] in prompt)


def whole(prompt: str) -> str:
    """The whole function that a prompt asks for."""
    return next(row["prompt"] + row["canonical_solution"] for row in HUMANEVAL if row["entry_point"] in prompt)


@pytest.mark.parametrize(
    ("name", "say"),
    [
        ("dlm_humaneval", solution),
        ("dlm_humaneval_instruct", lambda prompt: solution(prompt) + "```\nThat is all."),
        ("dlm_humaneval_instruct", solution),
        ("dlm_humaneval_instruct_fence", lambda prompt: whole(prompt) + "```"),
        ("dlm_humaneval_instruct_dream", lambda prompt: solution(prompt) + "```\nThat is all."),
        ("dlm_humaneval_instruct_llada", lambda prompt: f"Sure:\n```python\n{whole(prompt)}```\nDone."),
        ("dlm_humaneval_instruct_llada", lambda prompt: f"```python\n{whole(prompt)}"),
        ("dlm_humaneval_instruct_llada", whole),
    ],
)
def test_right_answers_of_humaneval_pass(data, sandbox, name, say):
    assert outcomes(data, task(name, "humaneval"), say) == (1.0, ["passed", "passed"])


def test_wrong_answers_fail_and_say_how(data, sandbox):
    def say(prompt: str) -> str:
        return "    return a - 5\n" if "more" in prompt else "    while True: pass\n"

    assert outcomes(data, task("dlm_humaneval", "humaneval"), say) == (0.0, ["failed: AssertionError", "timed out"])
    half = lambda prompt: solution(prompt) if "more" in prompt else "exit()"  # noqa: E731
    assert outcomes(data, task("dlm_humaneval", "humaneval"), half) == (0.5, ["passed", "failed: SystemExit"])


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("dlm_mbpp", "{code}\n"),
        ("dlm_mbpp_instruct", "{code}\n```"),
        ("dlm_mbpp_instruct_dream", "{code}\n"),
        ("dlm_mbpp_instruct_llada", "'{code}'\n"),
        ("dlm_mbpp_instruct_llada", "[BEGIN]\n'{code}'\n"),
        ("dlm_mbpp_instruct_llada", "```python\n{code}\n```"),
    ],
)
def test_right_answers_of_mbpp_pass(data, sandbox, name, form):
    codes = {f"f{row['task_id']}": row["code"] for row in MBPP[10:]}
    say = lambda prompt: form.format(code=next(code for name, code in codes.items() if f"{name} that" in prompt))  # noqa: E731
    assert outcomes(data, task(name, "mbpp"), say) == (1.0, ["passed", "passed"])


def test_a_fence_that_is_not_closed_holds_no_program(data, sandbox):
    assert outcomes(data, task("dlm_mbpp_instruct", "mbpp"), lambda _: MBPP[10]["code"])[0] == 0.0


@pytest.mark.parametrize(
    ("answer", "ends"),
    [
        ("x + 2", "passed"),
        ("2 + x", "passed"),
        (" x+2\n", "passed"),
        ("f(x) = x + 2", "passed"),
        ("<reasoning>\nx + 1\n</reasoning>\n<answer>\nx + 2\n</answer>", "passed"),
        ("x + 3", "failed: AssertionError"),
        ("x +", "failed: SyntaxError"),
        ("", "failed: AssertionError"),
    ],
)
def test_an_expression_is_right_where_it_gives_the_examples(data, sandbox, answer, ends):
    assert outcomes(data, task("dlm_code_lines", "lines"), lambda _: answer) == (float(ends == "passed"), [ends])


def test_the_generators_own_lines_pass(tmp_path, sandbox):
    rows = problem_documents(GeneratedProblems(problem="code_lines", rows=12), ProblemSettings())
    save_documents(tmp_path / "lines", rows)
    known = {row["question"]: f"<answer>\n{row['answer']}\n</answer>" for row in rows}
    assert outcomes(tmp_path, task("dlm_code_lines", "lines"), known.get)[0] == 1.0
    turned = dict(zip(known, reversed(known.values()), strict=True))
    assert outcomes(tmp_path, task("dlm_code_lines", "lines"), turned.get)[0] == 0.0


def test_nothing_is_run_while_sampling_or_without_a_sandbox(data, monkeypatch):
    ran: list[str] = []
    monkeypatch.setattr("dlm.evaluation.programs.run_programs", lambda programs, *_: ran.extend(programs))
    one = task("dlm_humaneval", "humaneval")
    assert len(asked_here(data, one)) == 2
    with pytest.raises(SettingsError, match=r"^the task runs programs that models write; write `sandbox: \{\}` in the"):
        evaluate(data, one, CannedLM())
    assert ran == []


def test_scores_are_made_of_records_and_say_the_limits(data, sandbox, tmp_path):
    save_checkpoint(tmp_path / "tiny")
    one, folder = task("dlm_code_lines", "lines"), tmp_path / "responses" / "1"
    places = {"checkpoint_dir": tmp_path / "tiny", "data_folder_of": lambda name: data / name}
    sample_cells({folder: [one]}, execution=EXECUTION, **places)
    made = {"out_dir": tmp_path / "scores", "scale": "test", **places}
    first = score_cells(folder, [one], sandbox=LIMITS, **made)
    assert first["sandbox"] == dataclasses.asdict(LIMITS)
    assert first["cells"][0]["n"] == 1 and first["cells"][0]["numerators"] in ([0.0], [1.0])
    lines = [json.loads(line) for line in (tmp_path / "scores" / "samples.jsonl").read_text().splitlines()]
    assert lines[0]["outcome"]["filtered"][0][0].startswith(("failed: ", "passed"))
    assert score_cells(folder, [one], sandbox=LIMITS, **made) == first
    with pytest.raises(SettingsError, match=r"write `sandbox: \{\}` in the params"):
        score_cells(folder, [one], **made)


def test_data_of_another_kind_is_refused(data):
    with pytest.raises(
        SettingsError, match="of kind 'dataset'; lm-eval's 'dlm_humaneval' reads data of kind 'benchmark'"
    ):
        load_tasks([task("dlm_humaneval", "lines")], lambda name: data / name)


@pytest.mark.parametrize(
    ("answer", "found"),
    [("a\n```\nb", "a\n"), ("a", "a"), ("```", "")],
)
def test_until_fence(answer, found):
    assert until_fence(answer) == found


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("words\n```python\na = 1\n```\n```\nb\n```", "a = 1\n"),
        ("```\na = 1", "a = 1"),
        ("no fence", "no fence"),
        ("```python```", "```python```"),
    ],
)
def test_first_block(answer, found):
    assert first_block(answer) == found


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("[BEGIN]\n 'a' \n[DONE]", "a"),
        ("BEGIN 'a'\n[DONE] more", "a"),
        ("[BEGIN]\na = 'b'\n[DONE]", "a = 'b'"),
        ("so:\n```python\na = 1\n```", "a = 1"),
        ("'a = 1'", "a = 1"),
        ('"""\na = 1\n"""', "a = 1"),
        ("a\\_b = 1[DONE]rest", "a_b = 1"),
        ("a = 1", "a = 1"),
    ],
)
def test_between_marks(answer, found):
    assert between_marks(answer) == found


def test_what_the_asked_function_reaches_is_kept():
    program = (
        "import math\n\nLIMIT = 3\nOTHER = 4\n\ndef f(a):\n    return g(a) + LIMIT\n"
        "\ndef g(a):\n    return math.pi * a\n\ndef unused():\n    return 1\n\nprint(f(1))\nNot Python any more, f"
    )
    kept = reachable(program, "f")
    assert [word in kept for word in ("import math", "LIMIT = 3", "def f", "def g")] == [True] * 4
    assert [word in kept for word in ("OTHER", "unused", "print", "Not Python")] == [False] * 4
    assert reachable("def h(): pass", "f") == "def h(): pass"
    assert reachable("?!", "f") == "?!"


def test_results_name_no_place_of_this_machine(data, sandbox):
    one = task("dlm_humaneval", "humaneval")
    tasks = load_tasks([one], lambda name: data / name)[one.task]
    outcome = read_outcome(run(CannedLM(solution), tasks, one), tasks, one)
    assert outcome.value == 1.0
    from dlm.evaluation.harness import config_digest

    moved = data.parent / "moved"
    if not moved.exists():
        import shutil

        shutil.copytree(data, moved)
    again = load_tasks([one], lambda name: moved / name)[one.task]
    assert config_digest(again) == config_digest(tasks)
