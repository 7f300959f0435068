"""What the project's own tasks count, on honest and on hostile text."""

from __future__ import annotations

import time

import pytest
from evaluation_examples import DOCUMENTS

from dlm.evaluation.metrics import countdown, ratio_of_sums, sudoku, word_problem

WORDS, COUNTDOWN, PUZZLE = DOCUMENTS["words"][0], DOCUMENTS["countdown"][0], DOCUMENTS["sudoku"][1]
HOSTILE = [
    "",
    " \n\t ",
    "\x00\x00",
    "<answer>",
    "</answer><answer>",
    "<answer></answer>" * 2000,
    "((((" * 5000,
    "1+" * 20000,
    "9**9**9**9",
    "__import__('os').system('true')",
    "1/0",
    "-" * 50000,
    "²³½ ٣٤ 七",
    "\ud7ff\uffff🙂",
    "\\boxed{" * 3000,
    "0" * 10000,
    "1," * 20000,
    "{{ 6*6 }}{% for x in y %}",
]


@pytest.mark.parametrize(
    ("text", "right"),
    [("She has 3 + 4 = 7 pens.", 1.0), ("<answer>\n7\n</answer> 9", 1.0), ("7.0", 1.0), ("7 8", 0.0), ("seven", 0.0)],
)
def test_a_word_problem_is_right_by_its_number(text, right):
    assert word_problem(WORDS, [text]) == {"exact_match": right}


@pytest.mark.parametrize(
    ("text", "right"), [("1+2+3", 1.0), ("3*2*1", 1.0), ("6", 0.0), ("3+3", 0.0), ("1+2+3+0", 0.0), ("1-2+3", 0.0)]
)
def test_any_right_expression_counts(text, right):
    assert countdown(COUNTDOWN, [text]) == {"exact_match": right}


@pytest.mark.parametrize(
    ("text", "right"), [("1234\n3412\n2143\n4321", 3), ("<answer>1234341221434321</answer>", 3), ("1", 1), ("none", 0)]
)
def test_a_sudoku_counts_its_empty_cells_only(text, right):
    assert sudoku(PUZZLE, [text]) == {"cell_accuracy": (right, 3)}


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_wrong_and_quick(text):
    began = time.process_time()
    assert word_problem({"answer": "7"}, [text]) == {"exact_match": 0.0}
    assert countdown(COUNTDOWN, [text]) == {"exact_match": 0.0}
    right, empty = sudoku(PUZZLE, [text])["cell_accuracy"]
    assert (0 <= right <= empty) and empty == 3
    assert time.process_time() - began < 2


def test_cells_are_summed_before_they_are_divided():
    assert ratio_of_sums([(1, 1), (0, 3)]) == 0.25
