import pytest

from dlm.data.chance import stream
from dlm.data.problems import distinct_keys, generate, side
from dlm.data.problems.code_lines import SHOWN, TESTED, CodeLineKind
from dlm.errors import SettingsError
from dlm.settings.data import CodeLines


def test_a_problem_by_hand():
    problem = CodeLineKind(CodeLines()).build("1:2+3", stream())
    assert problem.question == "f(0) = 3, f(1) = 5, f(2) = 7. Write f(x)."
    assert problem.reasoning == "5 - 3 = 2, f(0) = 3"
    assert problem.answer == "2 * x + 3"
    assert problem.statement == "f(x) = 2 * x + 3: f(0) = 3, f(1) = 5, f(2) = 7"
    assert problem.fields == {"tests": [[0, 3], [1, 5], [2, 7], [3, 9], [5, 13]]}
    built = [CodeLineKind(CodeLines()).build(key, stream()).answer for key in ("1:1+0", "2:1+4", "2:3+0")]
    assert built == ["x", "x * x + 4", "3 * x * x"]


@pytest.mark.parametrize("settings", [CodeLines(), CodeLines(max_factor=2, max_offset=5)])
def test_the_answer_gives_the_values_and_no_other_key_does(settings):
    kind, random = CodeLineKind(settings), stream("lines")
    for _ in range(200):
        problem = generate(kind, random)
        values = [eval(problem.answer, {"x": x}) for x in TESTED]
        assert [list(pair) for pair in zip(TESTED, values, strict=True)] == problem.fields["tests"]
        assert all(f"f({x}) = {value}" in problem.question for x, value in zip(SHOWN, values, strict=False))
    every = list(kind.keys())
    shown = [kind.build(key, random).question for key in every]
    assert len(shown) == len(set(shown))


def test_there_are_enough_for_a_test_and_too_many_are_refused():
    kind = CodeLineKind(CodeLines())
    few = [side(key) for key in list(kind.keys())].count("test")
    assert few >= 200
    assert len(distinct_keys(kind, few, "test", stream(0))) == few
    with pytest.raises(SettingsError, match=rf"only {few} exist.*max_offset"):
        distinct_keys(kind, few + 1, "test", stream(0))


def test_requests_are_right():
    kind, random = CodeLineKind(CodeLines()), stream("requests")
    for _ in range(100):
        request, reply = kind.request(kind.draw(random), random)
        expression, _, x = request.removeprefix("What is ").removesuffix("?").partition(" for x = ")
        assert eval(expression, {"x": int(x)}) == int(reply)
