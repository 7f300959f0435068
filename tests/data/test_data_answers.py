import time

import pytest

from dlm.data.answers import answer_text, countdown_correct, final_number, sudoku_cells

RIGHT = [
    "<answer>(3 + 7) * 2</answer>",
    "<answer>\n2*(7+3)\n</answer>",
    "<answer>(3 + 7) * 2 = 20</answer>",
    "<answer>20 = (3 + 7) * 2</answer>",
    r"<answer>\boxed{(3 + 7) \times 2}</answer>",
    r"<answer>$\left(3 + 7\right) \cdot 2$</answer>",
    r"<answer>\((3 + 7) * 2\)</answer>",
    "<answer>(3 + 7) × 2</answer>",
    "<answer>(3 + 7) · 2.</answer>",
    "<answer>**(3 + 7) * 2**</answer>",
    "<answer>`(3 + 7) * 2`</answer>",
    "<answer>(3\n+ 7) * 2</answer>",
    "<answer>1 + 1</answer> no: <answer>(3 + 7) * 2</answer>",
    "<answer>(3 + 7) * 2</answer> since 3 + 7 = 10",
    "<answer>(3 + 7) * 2",
    "<answer>(3 + 7) * 2<|eot_id|><|endoftext|>",
    "(3 + 7) * 2",
    "First 3 + 7 = 10.\nSo (3 + 7) * 2 = 20.\nThat is it.",
    "Thus, (3 + 7) * 2 = 20.",
    "1. (3 + 7) * 2",
    "</answer> (3 + 7) * 2",
    r"so the result is \boxed{(3 + 7) * 2}",
    "-3*-2 + 2*7",
]
WRONG = [
    "",
    "20",
    "<answer>20</answer>",
    "<answer></answer> (3 + 7) * 2",
    "<answer>3 + 7 + 2</answer>",
    "<answer>(3 + 7) * 2 + 0</answer>",
    "<answer>(3 + 7) + 10</answer>",
    "<answer>3 + 7 = 10, 10 * 2 = 20</answer>",
    "<answer>(3 + 7) * 2 * 1</answer>",
    "<answer>37 * 2</answer>",
    "<answer>(3 + 7) * 2</answer><answer>3 + 7</answer>",
    "<answer>(3.0 + 7) * 2</answer>",
    "<answer>03 + 7 * 2</answer>",
    "<answer>f(3 + 7) * 2</answer>",
    "<answer>(3 + 7) * 2x</answer>",
    "<answer>__import__('os').system('true') or (3+7)*2.0</answer>",
    "<answer>" + "(" * 5000 + "3 + 7" + ")" * 5000 + " * 2</answer>",
    "(3 + 7) * 2\n3 + 7 = 10",
]


@pytest.mark.parametrize("text", RIGHT[:-1])
def test_any_right_expression_counts(text):
    assert countdown_correct(text, [7, 2, 3], 20)


@pytest.mark.parametrize("text", WRONG)
def test_wrong_and_hostile_answers_do_not_count(text):
    assert not countdown_correct(text, [7, 2, 3], 20)


def test_numbers_are_a_multiset_used_exactly_once():
    assert countdown_correct("<answer>-3*-2 + 2*7</answer>", [2, 2, 3, 7], 20)
    assert not countdown_correct("<answer>-3*-2 + 2*7</answer>", [2, 3, 7], 20)
    assert countdown_correct("4 + 4", [4, 4], 8)
    assert not countdown_correct("4 + 4", [4], 8)
    assert not countdown_correct("4 + 4", [4, 4, 4], 8)


def test_values_are_exact():
    assert countdown_correct("8 / (3 - 8 / 3)", [8, 3, 8, 3], 24)
    assert countdown_correct("(1 / 3) * 3", [1, 3, 3], 1)
    assert not countdown_correct("99999999 / 99999998", [99999999, 99999998], 1)


@pytest.mark.parametrize(
    "text", ["2**3", "5**-3", "7//2", "3^2", "2 ** 3 ** 4", "5%3", "3.5 + 2", "sqrt4 + 5 - 2", "3 + 5!x"]
)
def test_no_reading_cuts_an_expression_down(text):
    """A power, a fraction or a function is never read as the harmless piece inside it."""
    for numbers, target in (([2, 3], 5), ([2, 3], 6), ([5, 3], 2), ([7, 2], 14), ([5, 2], 7), ([5, 2], 3)):
        assert not countdown_correct(text, numbers, target)


def test_the_answer_is_chosen_without_looking_at_the_truth():
    """Of two candidates only the last counts, even if the other one is right."""
    text = "3 + 4 = 7\n3 * 4 = 12"
    assert countdown_correct(text, [3, 4], 12)
    assert not countdown_correct(text, [3, 4], 7)


def test_answer_text():
    assert answer_text("no tag") is None
    assert answer_text("<answer>a</answer><answer>b</answer>") == "b"
    assert answer_text("<answer>a</answer> then <answer>b") == "a"
    assert answer_text("</answer><answer>b") == "b"
    assert answer_text("<answer><answer>x</answer></answer>") == "<answer>x</answer>"[8:]


PUZZLE = "3102200002100320"
SOLUTION = "3142243142131324"


def grid(cells):
    return "\n".join(cells[start : start + 4] for start in range(0, 16, 4))


@pytest.mark.parametrize(
    ("text", "right"),
    [
        (f"<answer>\n{grid(SOLUTION)}\n</answer>", 8),
        (f"<answer>{' '.join(SOLUTION)}</answer>", 8),
        (SOLUTION, 8),
        (f"Fill 3 1 0 2 first.\n{grid(SOLUTION)}\nDone.", 8),
        (f"{grid(PUZZLE)} becomes {grid(SOLUTION)}", 8),
        (f"<answer>{SOLUTION}9999</answer>", 8),
        (f"<answer>{PUZZLE}</answer>", 0),
        ("<answer></answer>" + SOLUTION, 0),
        ("", 0),
        ("no digits", 0),
        ("<answer>3142</answer>", 1),
        ("<answer>" + "1" * 16 + "</answer>", 2),
        ("<answer>\u0663" + SOLUTION + "</answer>", 8),
        (SOLUTION + "1", 8),
        ("1" * 17, 2),
    ],
)
def test_sudoku_counts_right_cells_among_the_empty_ones(text, right):
    assert sudoku_cells(text, PUZZLE, SOLUTION) == (right, 8)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("<answer>6</answer>", "6"),
        ("<reasoning>3 + 5 = 8</reasoning><answer>\n8\n</answer>", "8"),
        ("3 + 5 = 8, so Ann has 8 apples.", "8"),
        ("She has 1,200.", "1200"),
        ("12,000,345", "12000345"),
        ("3,7,2", "2"),
        ("1200,300", "300"),
        ("It is 6.00", "6"),
        ("2.50", "2.5"),
        (".5", "0.5"),
        ("06", "6"),
        ("-3", "-3"),
        ("8-2", "2"),
        ("= -0", "0"),
        (r"<answer>\boxed{42} apples, not 7</answer>", "42"),
        (r"\boxed{\frac{1}{2}} and \boxed{7", "7"),
        ("<answer></answer> 5", None),
        ("none", None),
        ("", None),
        ("７", None),
        ("5<|reserved_9|>", "5"),
    ],
)
def test_final_number(text, number):
    assert final_number(text) == number


@pytest.mark.parametrize(
    "piece",
    [
        "(",
        "-",
        "<answer>",
        "</answer>",
        r"\boxed{",
        "{",
        "1 ",
        "1,222",
        "1. ",
        "a=",
        "<|",
        "3 + \n",
        "= 1\n",
        ". ",
        "\n",
        "0",
    ],
)
def test_long_hostile_text_takes_linear_time(piece):
    text = piece * (50_000 // len(piece))
    start = time.process_time()
    countdown_correct(text, [1, 2], 3)
    sudoku_cells(text, PUZZLE, SOLUTION)
    final_number(text)
    assert time.process_time() - start < 2
