"""The rules of d1's four benchmarks, one by one, and on the published answers of a real model."""

from __future__ import annotations

import time

import pytest
from datasets import Dataset

from dlm.evaluation import d1
from dlm.evaluation.math_strings import same_answer

END = "<|eot_id|><|endoftext|>"
GRID = "1234341221434321"


@pytest.mark.parametrize(
    ("text", "strict", "lenient"),
    [
        (r"\boxed{18}", "18", "18"),
        (r"\boxed{...} \boxed{} \boxed{x} \boxed{3} \boxed{4}", "3", "4"),
        (r"\boxed{1,200 dollars}", "1", "1200"),
        (r"\boxed{-2.50}", "-2.50", "-2.50"),
        (r"\boxed{about 7 or 8}", "7", "8"),
        ("\\boxed{\n5}<answer>6 and 7</answer>", "7", "7"),
        ("<answer>\n12\n</answer> 13", "12", "12"),
        ("<answer>12", "", "12"),
        ("no tag, 1,000 things", "", "1000"),
        ("nothing", "", ""),
    ],
)
def test_the_number_of_a_gsm8k_answer(text, strict, lenient):
    assert (d1.gsm8k_answer(text), d1.lenient_gsm8k_answer(text)) == (strict, lenient)


def test_gsm8k_compares_numbers_and_no_gold_is_never_right():
    assert d1.gsm8k({"answer": "18.0"}, ["18"]) == {"exact_match": 1.0}
    assert d1.gsm8k({"answer": "18"}, ["18.5"]) == {"exact_match": 0.0}
    assert d1.gsm8k({"answer": "0"}, [""]) == {"exact_match": 0.0}
    assert d1.gsm8k({"answer": ""}, ["-10"]) == d1.gsm8k({"answer": ""}, [""]) == {"exact_match": 0.0}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"\boxed{1} then \boxed{\frac{1}{2}} end", r"\frac{1}{2}"),
        (r"so \fbox{x^{2}}", "x^{2}"),
        (r"\boxed 5$ dollars", "5"),
        (r"\boxed{3 <answer> 4 </answer>", "4"),
        (r"\boxed{} <answer>5</answer>", "5"),
        (r"\boxed{3", ""),
        (r"\boxed3", ""),
        ("<answer>4</answer>", "<answer>4</answer>"),
    ],
)
def test_the_text_of_a_math_answer(text, found):
    assert d1.math500_answer(text) == found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"\frac12", r"\frac{1}{2}"),
        (r"\tfrac12", r"\dfrac1{2}"),
        ("1/2", "0.5"),
        (".5", "0.5"),
        ("x = 3", "3"),
        (r"\sqrt3", r"\sqrt{3}"),
        (r"\left( 3, 4 \right)", "(3,4)"),
        (r"90^\circ", "90^{\\circ}"),
        (r"\$10", "10"),
        (r"25\%", "25"),
        (r"12\text{ cm}", "12"),
        ("1\n0", "10"),
        (r"1\!000", "1000"),
        ("a\\\\b", "a\\b"),
        (r"\sqrt", r"\sqrt"),
    ],
)
def test_forms_of_one_math_answer(one, other):
    assert same_answer(one, other) and same_answer(other, one)
    assert d1.math500({"answer": one}, [other]) == {"exact_match": 1.0}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"\frac{2}{4}", r"\frac{1}{2}"),
        ("2/4", "1/2"),
        ("abc=3", "3"),
        (r"\text{ a }\text{ b }", r"\text{ a }"),
        (r"\sqrt", ""),
        (r"\frac", ""),
        ("01/2", "1/2"),
        ("0.50", "0.5"),
    ],
)
def test_math_answers_that_differ(one, other):
    assert not same_answer(one, other) and not same_answer(other, one)


def test_no_math_answer_is_not_an_empty_one():
    assert d1.math500({"answer": r"\text{ cm}"}, [""]) == {"exact_match": 0.0}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"\boxed{1} \boxed{(9 - 5) \times 2 = 8}", "(9 - 5) * 2"),
        (r"\boxed{9 \div 3 \cdot 1}", "9 / 3 * 1"),
        (r"\boxed{9 - 5 <answer>9 - 5 + 1</answer>", "9 - 5 + 1"),
        (r"first 2 + 3 = 5, so \boxed{", "2 + 3"),
        ("first 2 + 3 = 5, then 3 + 2 = 5", "2 + 3"),
        (r"2 + 3 = 5 \boxed{}", ""),
        ("x= 4, y= 3, 1 + 1 = 2", "1 + 1"),
    ],
)
def test_the_expression_of_a_countdown_answer(text, found):
    assert d1.countdown_answer(text) == found


@pytest.mark.parametrize(
    ("expression", "numbers", "target", "right"),
    [
        ("(9 - 5) * 2", [2, 5, 9], 8, 1.0),
        ("9 - 5", [2, 5, 9], 4, 0.0),
        ("2 * 2 + 4", [2, 4], 8, 0.0),
        ("1 / 3 * 3", [1, 3, 3], 1, 1.0),
        ("-2 + 5", [2, 5], 3, 1.0),
        ("2 ** 3", [2, 3], 8, 1.0),
        ("7 // 2", [2, 7], 3, 1.0),
        ("2.5", [2, 5], 2.5, 1.0),
        ("9 ** 9 ** 9", [9, 9, 9], 1, 0.0),
        ("(-8) ** (1 / 3)", [1, 3, 8], -2, 0.0),
        ("(-8)**.5//3", [8, 5, 3], 0, 0.0),
        ("5 / 0", [0, 5], 0, 0.0),
        ("5(3)", [3, 5], 15, 0.0),
        ("2 + x", [2], 2, 0.0),
        ("2 3", [2, 3], 23, 0.0),
        ("2 +", [2], 2, 0.0),
        ("02 + 3", [2, 3], 5, 0.0),
        ("", [], 0, 0.0),
    ],
)
def test_a_countdown_answer_uses_the_numbers_and_reaches_the_target(expression, numbers, target, right):
    assert d1.countdown({"numbers": numbers, "target": target}, [expression]) == {"exact_match": right}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"<answer>\nHere: ```\n{GRID}\n``` {'1' * 16}</answer>", GRID),
        (f"{'4' * 16}<answer>1234 3412\n2143 4321</answer>", GRID),
        (f"<answer>12{END}", "12"),
        (f"<answer></answer>\n{GRID}{END}", GRID),
        (f"{GRID}\n</answer>{END}", GRID),
        (f"so {GRID} it is <answer>", GRID),
        (f"{GRID}1", ""),
        ("none", ""),
    ],
)
def test_the_cells_of_a_sudoku_answer(text, found):
    assert d1.sudoku_answer(text) == found


@pytest.mark.parametrize(
    ("cells", "right"), [(GRID, 2), ("1", 1), ("", 0), (GRID + "99", 2), ("2" + GRID[1:], 1), ("x" * 16, 0)]
)
def test_a_sudoku_answer_is_padded_or_cut_and_counted_on_empty_cells(cells, right):
    doc = {"puzzle": "0034341221434321", "solution": GRID}
    assert d1.sudoku(doc, [cells]) == {"cell_accuracy": (right, 2)}


def test_documents_of_hub_data_sets():
    asked = Dataset.from_list([{"question": "How many?", "answer": "3 * 400 = 1,200\n#### 1,200"}])
    assert d1.gsm8k_documents(asked)[0] == {"question": "How many?", "answer": "1200"}
    problem = Dataset.from_list([{"problem": "What?", "answer": r"\pi"}])
    assert d1.math500_documents(problem)[0] == {"question": "What?", "answer": r"\pi"}


HOSTILE = [
    "",
    "\x00",
    "<answer>" * 3000,
    "</answer>" * 3000,
    "\\boxed{" * 3000,
    "\\boxed{}" * 3000,
    "\\boxed{" + "(" * 5000 + "}",
    "\\boxed{" + "-" * 199 + "}",
    "1" * 20000,
    "1+" * 20000,
    "1=" * 20000,
    "<answer>" + "```1" * 9000,
    "\\boxed{\\frac}",
    "\\boxed{\\sqrt}",
    "\\boxed{inf} \\boxed{nan} ²³ ٣",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_wrong_and_quick(text):
    began = time.process_time()
    assert d1.gsm8k({"answer": "-7"}, d1.gsm8k_answers([text], [])) == {"exact_match": 0.0}
    assert d1.gsm8k({"answer": "-7"}, d1.lenient_gsm8k_answers([text], [])) == {"exact_match": 0.0}
    assert d1.math500({"answer": "7"}, d1.math500_answers([text], [])) == {"exact_match": 0.0}
    assert d1.countdown({"numbers": [1, 1], "target": 9}, d1.countdown_answers([text], [])) == {"exact_match": 0.0}
    ((right, empty),) = d1.sudoku({"puzzle": "0" * 16, "solution": GRID}, d1.sudoku_answers([text], [])).values()
    assert 0 <= right <= empty == 16
    assert time.process_time() - began < 2
