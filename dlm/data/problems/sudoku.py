"""4x4 Sudoku: rows, columns and 2x2 boxes hold 1 to 4 once each; 0 is an empty cell.

A key is the puzzle: 16 digits, row by row. There are 288 full grids, so they are simply all kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import combinations, permutations
from math import comb
from random import Random

from dlm.data.chance import choose, pick, shuffled
from dlm.data.problems.base import Problem
from dlm.settings.data import Sudoku

NAME = "sudoku"
CELLS = 16
DIGITS = "1234"
LISTABLE = 600_000
"""Most candidates of puzzles that are worth listing."""


class SudokuKind:
    """Sudoku at the difficulty of ``settings``; every puzzle has exactly one solution."""

    name = NAME
    enlarge = "problems.sudoku.empty_cells (6 to 10 give the most puzzles)"

    def __init__(self, settings: Sudoku) -> None:
        self.settings = settings

    def draw(self, random: Random) -> str | None:
        """Empty random cells of a random grid; None if the result has several solutions."""
        number = pick(random, len(grids()))
        return _puzzle(number, shuffled(random, range(CELLS))[: self.settings.empty_cells])

    def keys(self) -> Iterator[str] | None:
        """Yield every puzzle; None if there are too many candidates."""
        if len(grids()) * comb(CELLS, self.settings.empty_cells) > LISTABLE:
            return None
        candidates = (
            _puzzle(number, empty)
            for number in range(len(grids()))
            for empty in combinations(range(CELLS), self.settings.empty_cells)
        )
        return filter(None, candidates)

    def build(self, key: str, random: Random) -> Problem:
        """Return the problem of the puzzle ``key``."""
        (solution,) = solutions(key)
        return make_problem(key, solution, pick(random, 4))

    def covers(self, key: str) -> Iterator[str]:
        """Yield ``key``: no other problem is contained in it."""
        yield key

    def request(self, key: str, random: Random) -> tuple[str, str]:
        """Ask to repeat two rows of the puzzle, or for the digits that a row lacks."""
        rows = _rows(key)
        if pick(random, 2):
            first = pick(random, 3)
            copied = "\n".join(rows[first : first + 2])
            return f"Repeat:\n{copied}", copied
        row = choose(random, [row for row in rows if "0" in row])
        return f"Which digits from 1 to 4 are not in {row}?", _missing(row)


RULE = "Rows, columns and boxes hold 1 to 4 once."
"""The reasoning of every puzzle: of one length, so that a cell of the answer is always as far from its clue."""


def make_problem(puzzle: str, solution: str, telling: int = 0) -> Problem:
    """Return the problem of ``puzzle`` with the answer ``solution`` (16 digits each); ``telling`` (0 to 3) chooses the
    form of the statement.
    """
    rows = "\n".join(_rows(solution))
    return Problem(
        kind=NAME,
        key=puzzle,
        question="Fill this grid:\n" + "\n".join(_rows(puzzle)),
        reasoning=RULE,
        answer=rows,
        statement=_statement(puzzle, solution, rows, telling),
        fields={"puzzle": puzzle, "solution": solution},
    )


@cache
def grids() -> tuple[str, ...]:
    """Return all 288 full grids as 16 digits each, in rising order."""
    grids = [""]
    for _ in range(4):
        grids = [grid + "".join(row) for grid in grids for row in permutations(DIGITS)]
        grids = [grid for grid in grids if _consistent(grid)]
    return tuple(grids)


def solutions(puzzle: str) -> list[str]:
    """Return every full grid that agrees with ``puzzle`` (16 digits, 0 for an empty cell)."""
    return [grid for grid in grids() if all(clue in ("0", digit) for clue, digit in zip(puzzle, grid, strict=True))]


def _consistent(grid: str) -> bool:
    """Say whether no column or box of the rows so far holds a digit twice."""
    rows = _rows(grid)
    columns = ["".join(column) for column in zip(*rows, strict=True)]
    return all(len(set(group)) == len(group) for group in columns + _boxes(rows))


def _rows(grid: str) -> list[str]:
    return [grid[start : start + 4] for start in range(0, len(grid), 4)]


def _boxes(rows: list[str]) -> list[str]:
    pairs = zip(rows[::2], rows[1::2], strict=False)
    return [top[left : left + 2] + bottom[left : left + 2] for top, bottom in pairs for left in (0, 2)]


def _missing(row: str) -> str:
    return "".join(digit for digit in DIGITS if digit not in row)


@cache
def _differences(number: int) -> tuple[int, ...]:
    """Return the smallest sets of cells (as bits) whose emptying lets another grid than grid ``number`` agree."""
    grid = grids()[number]
    masks = {sum(1 << cell for cell in range(CELLS) if grid[cell] != other[cell]) for other in grids() if other != grid}
    smallest: list[int] = []
    for mask in sorted(masks, key=lambda mask: (mask.bit_count(), mask)):
        if all(kept & ~mask for kept in smallest):
            smallest.append(mask)
    return tuple(smallest)


def _puzzle(number: int, empty: list[int] | tuple[int, ...]) -> str | None:
    """Return grid ``number`` with the cells ``empty`` emptied, or None if another grid agrees with what is left."""
    hidden = sum(1 << cell for cell in empty)
    if any(mask & ~hidden == 0 for mask in _differences(number)):
        return None
    return "".join("0" if hidden >> cell & 1 else digit for cell, digit in enumerate(grids()[number]))


def _statement(puzzle: str, solution: str, rows: str, telling: int) -> str:
    columns = ["".join(column) for column in zip(*_rows(solution), strict=True)]
    if telling == 1:
        return f"{rows}\nColumns: {' '.join(columns)}"
    if telling == 2:
        return f"{rows}\nBoxes: {' '.join(_boxes(_rows(solution)))}"
    if telling == 3:
        return "\n".join(f"{row} has no {_missing(row)}." for row in _rows(puzzle) if "0" in row)
    return rows
