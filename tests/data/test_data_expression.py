import gc
import time
from fractions import Fraction

import pytest

from dlm.data.chance import between, choose, pick, stream
from dlm.data.expression import MAX_DEPTH, MAX_LENGTH, ExpressionError, evaluate


def random_expression(random, depth):
    """Return (text, value or None, integers): a random tree written with random blanks and spare parentheses."""
    if depth == 0 or pick(random, 4) == 0:
        number = between(random, 0, 30)
        return str(number), Fraction(number), [number]
    left, a, first = random_expression(random, depth - 1)
    right, b, second = random_expression(random, depth - 1)
    operator = choose(random, "+-*/")
    blank = " " * pick(random, 3)
    text = f"({left}){blank}{operator}{blank}({right})"
    if a is None or b is None or (operator == "/" and b == 0):
        return text, None, first + second
    value = {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else None}[operator]
    return text, value, first + second


def test_random_trees_have_the_value_of_the_tree():
    random = stream("trees")
    for _ in range(500):
        text, value, integers = random_expression(random, 3)
        if value is None:
            with pytest.raises(ExpressionError, match="zero"):
                evaluate(text)
        else:
            found = evaluate(text)
            assert (found.value, list(found.integers)) == (value, integers), text


def test_flat_expressions_agree_with_python():
    random = stream("flat")
    for _ in range(500):
        text = str(between(random, 1, 9))
        for _ in range(between(random, 1, 6)):
            text += f" {choose(random, '+-*')} {'-' * pick(random, 2)}{between(random, 1, 9)}"
        assert evaluate(text).value == eval(text), text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("2+3*4", 14),
        ("(2+3)*4", 20),
        ("8-3-2", 3),
        ("8/4/2", 1),
        ("8/(3-8/3)", 24),
        ("1/3", Fraction(1, 3)),
        ("-3+5", 2),
        ("2*-3", -6),
        ("--3", 3),
        ("\t( 2 )\t", 2),
        ("0", 0),
    ],
)
def test_known_values(text, value):
    assert evaluate(text).value == value


def test_steps_are_in_the_order_of_evaluation():
    assert evaluate("9 + 7 * 2").steps == ("7 * 2 = 14", "9 + 14 = 23")
    assert evaluate("(1 - 3) / 4").steps == ("1 - 3 = -2", "-2 / 4 = -1/2")
    assert evaluate("5").steps == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "()",
        "3 +",
        "* 3",
        "3 7",
        "(3",
        "3)",
        "3**2",
        "7//2",
        "3.5",
        "1e3",
        "0x10",
        "1_000",
        "07",
        "00",
        "3\n+4",
        "a",
        "__import__('os')",
        "3+x",
        "(3)(4)",
        "2(3)",
        "３+４",
        "٣",
        "²",
        "3 − 2",
        "3;4",
        "3=3",
        "1" * 13,
        "1/0",
        "1/(2-2)",
        "0/0",
    ],
)
def test_everything_else_is_refused(text):
    with pytest.raises(ExpressionError):
        evaluate(text)


def test_length_and_depth_are_bounded():
    assert evaluate("(" * MAX_DEPTH + "1" + ")" * MAX_DEPTH).value == 1
    with pytest.raises(ExpressionError, match="deeper"):
        evaluate("(" * (MAX_DEPTH + 1) + "1" + ")" * (MAX_DEPTH + 1))
    with pytest.raises(ExpressionError, match="deeper"):
        evaluate("-" * (MAX_DEPTH + 1) + "1")
    with pytest.raises(ExpressionError, match="longer"):
        evaluate("1" + "+1" * MAX_LENGTH)
    assert evaluate("+".join(["1"] * 100)).value == 100  # depth counts nesting, not length


def test_large_results_cost_nothing():
    gc.collect()  # not within: it takes longer than what is measured
    start = time.process_time()  # the clock's seconds are others' too on a machine that is busy
    evaluate("*".join(["999999999999"] * 15))
    assert time.process_time() - start < 0.1
