"""The kinds of generated problems, by name."""

from __future__ import annotations

from dlm.data.problems.base import Kind, Problem, Side, distinct_keys, generate, side
from dlm.data.problems.code_lines import CodeLineKind
from dlm.data.problems.countdown import CountdownKind
from dlm.data.problems.number_choice import NumberChoiceKind
from dlm.data.problems.sudoku import SudokuKind
from dlm.data.problems.word_problems import WordProblemKind
from dlm.errors import SettingsError, did_you_mean
from dlm.settings.data import PROBLEMS, ProblemSettings

__all__ = ["Kind", "Problem", "Side", "distinct_keys", "generate", "make_kind", "side"]


def make_kind(name: str, problems: ProblemSettings) -> Kind:
    """Return the kind called ``name`` at the difficulty that ``problems`` gives it.

    Raises:
        SettingsError: there is no such kind.
    """
    if name == "word_problems":
        return WordProblemKind(problems.word_problems)
    if name == "countdown":
        return CountdownKind(problems.countdown)
    if name == "sudoku":
        return SudokuKind(problems.sudoku)
    if name == "number_choice":
        return NumberChoiceKind(problems.number_choice)
    if name == "code_lines":
        return CodeLineKind(problems.code_lines)
    raise SettingsError(f"unknown kind of problem '{name}'; {did_you_mean(name, PROBLEMS)}")
