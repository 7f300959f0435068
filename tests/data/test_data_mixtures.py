import json
import subprocess
import sys
from pathlib import Path

import pytest

from dlm.data.answers import answer_text
from dlm.data.chance import stream
from dlm.data.mixtures import contents, document, mixture_rows, problem_documents, question, solution
from dlm.data.problems import make_kind, side
from dlm.errors import SettingsError
from dlm.files import digest
from dlm.settings.data import (
    PROBLEMS,
    GeneratedMixture,
    GeneratedProblems,
    NumberChoice,
    ProblemSettings,
    Sudoku,
    WordProblems,
)

DEFAULT = ProblemSettings()
STYLES = ("text", "instruct", "reasoning")
SMALL = {"word_problems": 40, "countdown": 30, "sudoku": 20, "number_choice": 10}
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def keys_seen():
    """Record the keys that are built or asked about while rows of the default difficulty are made."""
    patch = pytest.MonkeyPatch()
    seen = {}

    def recording(name, problems):
        kind = make_kind(name, problems)
        build, request = kind.build, kind.request
        kind.build = lambda key, random: (seen.setdefault(name, []).append(key), build(key, random))[1]
        kind.request = lambda key, random: (seen.setdefault(name, []).append(key), request(key, random))[1]
        return kind

    patch.setattr("dlm.data.mixtures.make_kind", recording)
    yield seen
    patch.undo()


@pytest.mark.parametrize("style", STYLES)
def test_rows_have_the_form_of_their_style(style):
    split = mixture_rows(GeneratedMixture(style=style, rows=SMALL, held_out=10), DEFAULT)
    assert len(split.train) == 100 and len(split.held_out) == 10
    assert len({row["id"] for row in split.train + split.held_out}) == 110
    for row in split.train + split.held_out:
        if style == "text":
            assert row.keys() == {"id", "text"} and row["text"]
        else:
            assert row.keys() == {"id", "messages"}
            assert [message["role"] for message in row["messages"]] == ["user", "assistant"]
            assert ("<answer>" in contents(row)[1]) == (style == "reasoning")


def test_kinds_are_mixed_in_the_numbers_asked_for():
    split = mixture_rows(GeneratedMixture(style="text", rows=SMALL, held_out=10), DEFAULT)
    counts = {name: sum(row["id"].startswith(name) for row in split.train) for name in PROBLEMS}
    held = {name: sum(row["id"].startswith(name) for row in split.held_out) for name in PROBLEMS}
    assert counts == {**dict.fromkeys(PROBLEMS, 0), **SMALL}
    assert held == {**dict.fromkeys(PROBLEMS, 0), "word_problems": 4, "countdown": 3, "sudoku": 2, "number_choice": 1}
    assert [row["id"] for row in split.train] != sorted(row["id"] for row in split.train)


def test_the_order_of_kinds_in_the_settings_does_not_matter():
    turned = dict(reversed(SMALL.items()))
    first = mixture_rows(GeneratedMixture(style="text", rows=SMALL), DEFAULT)
    assert mixture_rows(GeneratedMixture(style="text", rows=turned), DEFAULT) == first


@pytest.mark.parametrize("style", STYLES)
def test_training_held_out_and_test_problems_are_disjoint(style, keys_seen):
    """At the default difficulty, with training rows enough to meet nearly every key."""
    keys_seen.clear()
    settings = GeneratedMixture(style=style, rows=dict.fromkeys(PROBLEMS, 600), held_out=32 * len(PROBLEMS))
    split = mixture_rows(settings, DEFAULT)
    for name in PROBLEMS:
        held, later = keys_seen[name][:32], keys_seen[name][32:]
        assert len(set(held)) == 32
        assert not set(held) & set(later)
        assert {side(key) for key in keys_seen[name]} == {"train"}
    prompts = {contents(row)[0] for row in split.held_out}
    assert not prompts & {contents(row)[0] for row in split.train}


@pytest.mark.parametrize("name", PROBLEMS)
def test_documents_are_different_test_side_problems(name):
    documents = problem_documents(GeneratedProblems(problem=name, rows=200), DEFAULT)
    assert len({row["key"] for row in documents}) == len({row["id"] for row in documents}) == 200
    assert {side(row["key"]) for row in documents} == {"test"}
    assert list(documents[0])[:4] == ["id", "question", "answer", "key"]
    assert json.loads(json.dumps(documents)) == documents


def test_more_documents_begin_with_the_same_ones():
    few = problem_documents(GeneratedProblems(problem="number_choice", rows=10), DEFAULT)
    assert problem_documents(GeneratedProblems(problem="number_choice", rows=20), DEFAULT)[:10] == few
    assert problem_documents(GeneratedProblems(problem="number_choice", rows=10, seed=1), DEFAULT) != few


def test_a_task_asks_exactly_as_the_reasoning_rows_do():
    problem = make_kind("countdown", DEFAULT).build("2,3,7=20", stream(0))
    assert document(problem, "x")["question"] == question(problem) == problem.question
    assert solution(problem) == ("<reasoning>\n7 + 3 = 10\n10 * 2 = 20\n</reasoning>\n<answer>\n(7 + 3) * 2\n</answer>")
    assert answer_text(solution(problem)).strip() == problem.answer


def test_about_fifteen_in_a_hundred_keys_are_tested():
    share = sum(side(str(number)) == "test" for number in range(10_000)) / 10_000
    assert abs(share - 0.15) < 0.01
    assert [side(key) for key in ("3+5-2", "2,3,7=20", "3+3x4")] == ["train", "train", "train"]


def test_held_out_rows_may_not_use_every_problem_up():
    problems = ProblemSettings(number_choice=NumberChoice(max_number=20, max_step=1))
    kind = make_kind("number_choice", problems)
    every = [side(key) for key in list(kind.keys())].count("train")
    with pytest.raises(SettingsError, match="no training rows are left"):
        mixture_rows(GeneratedMixture(style="reasoning", rows={"number_choice": 1}, held_out=every), problems)
    with pytest.raises(SettingsError, match=f"only {every} exist"):
        mixture_rows(GeneratedMixture(style="reasoning", rows={"number_choice": 1}, held_out=every + 1), problems)


@pytest.mark.parametrize(
    ("name", "problems"),
    [("word_problems", ProblemSettings(word_problems=WordProblems(max_number=5, operations=1))), ("sudoku", DEFAULT)],
)
def test_asking_for_too_many_documents_is_one_line(name, problems):
    if name == "sudoku":
        problems = ProblemSettings(sudoku=Sudoku(empty_cells=1))
    with pytest.raises(SettingsError, match=rf"^{name}: 5000 different test-side problems") as caught:
        problem_documents(GeneratedProblems(problem=name, rows=5000), problems)
    assert "\n" not in str(caught.value)


SCRIPT = """
from dlm.data.mixtures import mixture_rows, problem_documents
from dlm.files import digest
from dlm.settings.data import PROBLEMS, GeneratedMixture, GeneratedProblems, ProblemSettings
rows = dict.fromkeys(PROBLEMS, 40)
styles = ("text", "instruct", "reasoning")
splits = [mixture_rows(GeneratedMixture(style=style, rows=rows), ProblemSettings()) for style in styles]
documents = [problem_documents(GeneratedProblems(problem=name, rows=20), ProblemSettings()) for name in PROBLEMS]
print(digest([[split.train, split.held_out] for split in splits] + documents))
"""


def test_another_process_makes_the_same_rows():
    def made(seed):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "PATH": ""}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    first = made("1")
    assert len(first.strip()) == len(digest(""))
    assert made("2") == first


@pytest.mark.parametrize("style", STYLES)
def test_no_training_text_holds_a_test_progression_with_its_answer(style):
    documents = problem_documents(GeneratedProblems(problem="number_choice", rows=128, seed=14), DEFAULT)
    rows = mixture_rows(GeneratedMixture(style=style, rows={"number_choice": 3000}, seed=1), DEFAULT).train
    texts = [f" {' '.join(text.split())} ".replace(".", " ") for row in rows for text in contents(row)]
    for item in documents:
        given_away = f" {item['sequence']} {item['answer']} "
        assert not any(given_away in text for text in texts)
