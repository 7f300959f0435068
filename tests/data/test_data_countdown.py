from fractions import Fraction
from functools import cache
from itertools import combinations_with_replacement

import pytest

from dlm.data.answers import countdown_correct
from dlm.data.chance import stream
from dlm.data.expression import evaluate
from dlm.data.problems import distinct_keys, generate, side
from dlm.data.problems.countdown import CountdownKind, make_problem, read_key
from dlm.data.problems.search import reachable, simplest
from dlm.errors import DataError, SettingsError
from dlm.settings.data import Countdown


@cache
def every_value(numbers, operators):
    """Return all values of all expressions over ``numbers``, by brute force over pairs."""
    if len(numbers) == 1:
        return frozenset(map(Fraction, numbers))
    values = set()
    for i in range(len(numbers)):
        for j in range(len(numbers)):
            if i == j:
                continue
            rest = tuple(number for place, number in enumerate(numbers) if place not in (i, j))
            a, b = Fraction(numbers[i]), Fraction(numbers[j])
            results = {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else None}
            for operator in operators:
                if results[operator] is not None:
                    values |= every_value((*rest, results[operator]), operators)
    return frozenset(values)


@pytest.mark.parametrize("operators", ["+-*/", "+-", "-", "/", "*-"])
def test_the_search_finds_exactly_what_can_be_reached(operators):
    for numbers in combinations_with_replacement((1, 2, 3, 6, 8), 3):
        values = every_value(numbers, operators)
        for target in range(-3, 30):
            found = simplest(numbers, target, operators)
            assert (found is not None) == (target in values), (numbers, target)
            if found is not None:
                worked = evaluate(found)
                assert worked.value == target and sorted(worked.integers) == list(numbers)
                assert set(found) <= set("0123456789() " + operators)


def test_four_numbers_are_searched_to_the_end():
    for numbers in ((1, 3, 4, 6), (3, 3, 8, 8), (1, 5, 5, 5), (2, 2, 2, 9)):
        values = every_value(numbers, "+-*/")
        reached = {target for target in range(1, 60) if simplest(numbers, target)}
        assert reached == {int(value) for value in values if value.denominator == 1 and 1 <= value < 60}


@pytest.mark.parametrize(
    ("numbers", "target", "expression"),
    [
        ((3, 7, 2), 12, "7 + 3 + 2"),
        ((3, 7, 2), 20, "(7 + 3) * 2"),
        ((3, 7, 2), 8, "7 + 3 - 2"),
        ((3, 8, 3, 8), 24, "8 / (3 - 8 / 3)"),
        ((1, 2, 3, 4), 10, "4 + 3 + 2 + 1"),
        ((2, 2), 4, "2 + 2"),
        ((4, 2), 2, "4 - 2"),
        ((5,), 5, "5"),
        ((3, 5, 2), 0, "5 - 3 - 2"),
    ],
)
def test_the_simplest_expression_is_taught(numbers, target, expression):
    assert simplest(numbers, target) == expression
    assert simplest(tuple(reversed(numbers)), target) == expression


def test_reachable_lists_integers_only():
    assert reachable((2, 3), "+-*/") == [-1, 1, 5, 6]


@pytest.mark.parametrize(
    "settings",
    [
        Countdown(),
        Countdown(numbers=4, max_number=20),
        Countdown(numbers=2, max_number=99, operators="+-"),
        Countdown(operators="/"),
        Countdown(numbers=3, max_number=99, max_target=5, operators="*-"),
    ],
)
def test_generated_answers_are_right(settings):
    kind, random = CountdownKind(settings), stream("countdown")
    for _ in range(60):
        problem = generate(kind, random)
        numbers, target = problem.fields["numbers"], problem.fields["target"]
        assert countdown_correct(f"<answer>\n{problem.answer}\n</answer>", numbers, target)
        assert countdown_correct(problem.statement, numbers, target)
        assert len(numbers) == settings.numbers and max(numbers) <= settings.max_number
        assert 1 <= target <= settings.max_target
        assert set(problem.answer) & set("+-*/") <= set(settings.operators)
        assert problem.reasoning.splitlines()[-1].endswith(f"= {target}")
        for line in problem.reasoning.splitlines():
            left, _, right = line.partition(" = ")
            assert evaluate(left).value == int(right)
        assert read_key(problem.key) == (sorted(numbers), target)


def test_a_key_has_one_answer_whatever_the_order():
    kind = CountdownKind(Countdown())
    problems = [kind.build("2,3,7=20", stream(number)) for number in range(20)]
    assert {problem.answer for problem in problems} == {"(7 + 3) * 2"}
    assert len({problem.question for problem in problems}) == 6


def test_questions_read_as_asked():
    assert make_problem([3, 7, 2], 20).question == "Numbers: 3 7 2. Target: 20. Use each number once."


def test_requests_are_right_and_not_the_task():
    kind, random = CountdownKind(Countdown()), stream("requests")
    for _ in range(100):
        request, reply = kind.request(kind.draw(random) or "2,3,7=20", random)
        assert evaluate(request.removeprefix("What is ").removesuffix("?")).value == int(reply)
        assert "Target" not in request


def test_an_unreachable_target_is_named():
    with pytest.raises(DataError, match=r"99 cannot be reached with 1, 1"):
        make_problem([1, 1], 99)


def test_too_small_a_space_says_how_many_there_are():
    kind = CountdownKind(Countdown(numbers=2, max_number=4, operators="+"))
    every = list(kind.keys())
    test = [key for key in every if side(key) == "test"]
    assert len(every) == len(set(every)) == 10
    with pytest.raises(SettingsError, match=rf"only {len(test)} exist.*max_number"):
        distinct_keys(kind, 50, "test", stream(0))
    assert sorted(distinct_keys(kind, len(test), "test", stream(0))) == sorted(test)


def test_a_space_too_large_to_list_is_refused_as_well():
    kind = CountdownKind(Countdown(numbers=4, max_number=99, max_target=1, operators="/"))
    with pytest.raises(SettingsError, match="can be found"):
        distinct_keys(kind, 50_000, "train", stream(0))
