import re

import pytest

from dlm.data.answers import final_number
from dlm.data.chance import stream
from dlm.data.mixtures import solution
from dlm.data.problems import distinct_keys, generate, side
from dlm.data.problems.word_problems import LARGEST, NAMES, WordProblemKind
from dlm.errors import SettingsError
from dlm.settings.data import WordProblems

MORE = r"(?:finds|gets|buys) {0} more|puts in {0} more|has {0} more"
FEWER = r"(?:loses|sells|gives away) {0}|takes out {0}|has {0} fewer"


def retold(question):
    """Work a story out again from its words alone."""
    first, *events = question.split(". ")
    value = int(re.search("[0-9]+", first)[0])
    for event in events[:-1]:
        number = re.search("[0-9]+", event)[0]
        if re.search(MORE.replace("{0}", number), event):
            value += int(number)
        else:
            assert re.search(FEWER.replace("{0}", number), event), event
            value -= int(number)
    return value


@pytest.mark.parametrize("operations", [1, 2, 3])
@pytest.mark.parametrize("max_number", [2, 20, 99])
def test_answers_are_right(operations, max_number):
    kind, random = WordProblemKind(WordProblems(max_number=max_number, operations=operations)), stream("words")
    for _ in range(100):
        problem = generate(kind, random)
        results = [int(line.split(" = ")[1]) for line in problem.reasoning.splitlines()]
        assert 1 <= len(results) <= operations
        assert all(0 <= result <= LARGEST for result in results)
        assert all(1 <= int(number) <= max_number for number in re.findall("[0-9]+", problem.key))
        assert retold(problem.question) == results[-1] == int(problem.answer)
        assert final_number(solution(problem)) == problem.answer
        assert final_number(problem.statement) == problem.answer
        assert "?" not in problem.statement


def test_a_key_is_the_calculation_not_the_words():
    kind = WordProblemKind(WordProblems())
    problems = [kind.build("3+5-2", stream(number)) for number in range(200)]
    assert {problem.answer for problem in problems} == {"6"}
    assert {problem.reasoning for problem in problems} == {"3 + 5 = 8\n8 - 2 = 6"}
    assert len({problem.question for problem in problems}) > 150
    assert {problem.key for problem in problems} == {"3+5-2"}


def test_one_thing_is_singular():
    kind = WordProblemKind(WordProblems())
    texts = [kind.build("2-1", stream(number)).statement for number in range(50)]
    assert not any(re.search(r"\b1 [a-z]+s\b(?! than)", text) for text in texts)


def test_people_compared_are_different():
    kind = WordProblemKind(WordProblems(operations=3))
    for number in range(200):
        question = kind.build("5+1+2-3", stream(number)).question
        if " than " in question:
            assert len({name for name in NAMES if name in question}) == 4


def test_listed_keys_are_those_that_are_drawn():
    kind = WordProblemKind(WordProblems(max_number=4, operations=2))
    every = list(kind.keys())
    random = stream("listed")
    assert len(every) == len(set(every))
    assert {kind.draw(random) for _ in range(5000)} == set(every)


def test_too_small_a_space_says_how_many_there_are():
    kind = WordProblemKind(WordProblems(max_number=3, operations=1))
    few = [side(key) for key in list(kind.keys())].count("test")
    with pytest.raises(SettingsError, match=rf"^word_problems: 99 different .* only {few} exist.*operations"):
        distinct_keys(kind, 99, "test", stream(0))


def test_requests_are_right():
    kind, random = WordProblemKind(WordProblems()), stream("requests")
    for _ in range(50):
        request, reply = kind.request(kind.draw(random), random)
        left, sign, right = re.search(r"([0-9]+) ([+-]) ([0-9]+)", request).groups()
        assert int(reply) == (int(left) + int(right) if sign == "+" else int(left) - int(right))
