from collections import Counter
from itertools import pairwise

import pytest

from dlm.data.chance import stream
from dlm.data.problems import distinct_keys, generate, side
from dlm.data.problems.number_choice import NumberChoiceKind
from dlm.errors import SettingsError
from dlm.settings.data import NumberChoice


def is_progression(numbers):
    return len({after - before for before, after in pairwise(numbers)}) == 1


@pytest.mark.parametrize(
    "settings", [NumberChoice(), NumberChoice(max_number=20, max_step=9), NumberChoice(max_step=1)]
)
def test_the_gold_choice_continues_the_progression(settings):
    kind, random = NumberChoiceKind(settings), stream("choice")
    for _ in range(300):
        problem = generate(kind, random)
        shown = [int(number) for number in problem.fields["sequence"].split()]
        choices, gold = problem.fields["choices"], problem.fields["gold"]
        assert is_progression([*shown, int(choices[gold])])
        assert choices[gold] == problem.answer
        assert len(set(choices)) == 4 and all(int(choice) >= 0 for choice in choices)
        assert problem.question.endswith(problem.fields["sequence"])
        assert problem.reasoning.endswith(f"= {problem.answer}")
        assert all(1 <= number <= settings.max_number for number in [*shown, int(problem.answer)])
        assert is_progression([int(number) for number in problem.statement.split()])
        assert all(1 <= int(number) <= settings.max_number for number in problem.statement.split())


def test_the_gold_place_and_value_give_nothing_away():
    kind, random = NumberChoiceKind(NumberChoice()), stream("places")
    problems = [generate(kind, random) for _ in range(2000)]
    places = Counter(problem.fields["gold"] for problem in problems)
    assert len(places) == 4 and min(places.values()) > 420
    ranks = Counter(sorted(map(int, p.fields["choices"])).index(int(p.answer)) for p in problems)
    assert max(ranks.values()) < 1100


def test_every_key_is_listed_once_and_too_many_are_refused():
    kind = NumberChoiceKind(NumberChoice())
    every = list(kind.keys())
    assert len(every) == len(set(every))
    few = sum(side(key) == "test" for key in every)
    assert len(distinct_keys(kind, few, "test", stream(0))) == few
    with pytest.raises(SettingsError, match=rf"only {few} exist.*max_step"):
        distinct_keys(kind, few + 1, "test", stream(0))


def test_requests_are_right():
    kind, random = NumberChoiceKind(NumberChoice()), stream("requests")
    for _ in range(100):
        request, reply = kind.request(kind.draw(random), random)
        if request.startswith("Count"):
            _, _, start, _, last, *_ = request.split()
            numbers = [int(number) for number in reply.split()]
            assert is_progression(numbers) and (numbers[0], numbers[-1]) == (int(start), int(last))
        else:
            a, b = (int(word) for word in request.removesuffix("?").split() if word.isdigit())
            assert int(reply) == (max(a, b) if "larger" in request else min(a, b))
