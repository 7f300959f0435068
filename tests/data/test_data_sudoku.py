import pytest

from dlm.data.answers import sudoku_cells
from dlm.data.chance import stream
from dlm.data.problems import distinct_keys, generate, side
from dlm.data.problems.sudoku import SudokuKind, grids, make_problem, solutions
from dlm.errors import SettingsError
from dlm.settings.data import Sudoku


def groups(grid):
    rows = [grid[start : start + 4] for start in range(0, 16, 4)]
    columns = ["".join(row[column] for row in rows) for column in range(4)]
    boxes = [rows[r][c : c + 2] + rows[r + 1][c : c + 2] for r in (0, 2) for c in (0, 2)]
    return rows + columns + boxes


def test_there_are_288_grids_and_all_are_right():
    assert len(set(grids())) == 288
    assert all(sorted(group) == list("1234") for grid in grids() for group in groups(grid))


@pytest.mark.parametrize("empty", [1, 4, 8, 12])
def test_every_puzzle_has_exactly_one_solution(empty):
    kind, random = SudokuKind(Sudoku(empty_cells=empty)), stream("sudoku")
    for _ in range(60):
        problem = generate(kind, random)
        puzzle = problem.fields["puzzle"]
        assert puzzle.count("0") == empty
        assert solutions(puzzle) == [problem.fields["solution"]] == [problem.answer.replace("\n", "")]
        assert sudoku_cells(f"<answer>\n{problem.answer}\n</answer>", puzzle, problem.fields["solution"]) == (
            empty,
            empty,
        )


def test_drawing_refuses_exactly_the_puzzles_with_several_solutions():
    kind, random = SudokuKind(Sudoku(empty_cells=10)), stream("unique")
    drawn = [kind.draw(random) for _ in range(300)]
    assert 50 < sum(puzzle is None for puzzle in drawn) < 250
    assert all(len(solutions(puzzle)) == 1 for puzzle in drawn if puzzle)


def test_all_puzzles_are_listed_where_they_are_few():
    kind = SudokuKind(Sudoku(empty_cells=1))
    every = list(kind.keys())
    assert len(set(every)) == 288 * 16
    test = sum(side(key) == "test" for key in every)
    with pytest.raises(SettingsError, match=rf"only {test} exist.*empty_cells"):
        distinct_keys(kind, test + 1, "test", stream(0))


def test_the_texts_of_a_problem():
    problem = make_problem("3102200002100320", "3142243142131324")
    assert problem.question == "Fill this grid:\n3102\n2000\n0210\n0320"
    assert problem.answer == "3142\n2431\n4213\n1324"
    assert problem.reasoning == "Rows, columns and boxes hold 1 to 4 once."
    assert problem.statement == problem.answer
    tellings = [make_problem(problem.key, "3142243142131324", telling).statement for telling in (1, 2, 3)]
    assert tellings == [
        f"{problem.answer}\nColumns: 3241 1423 4312 2134",
        f"{problem.answer}\nBoxes: 3124 4231 4213 1324",
        "3102 has no 4.\n2000 has no 134.\n0210 has no 34.\n0320 has no 14.",
    ]


def test_requests_are_right():
    kind, random = SudokuKind(Sudoku()), stream("requests")
    seen = set()
    for _ in range(100):
        request, reply = kind.request(generate(kind, random).key, random)
        seen.add(request[:6])
        if request.startswith("Repeat"):
            assert request == f"Repeat:\n{reply}"
        else:
            row = request.removesuffix("?")[-4:]
            assert sorted(reply + row.replace("0", "")) == list("1234")
    assert len(seen) == 2
