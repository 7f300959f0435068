"""What the project's own tasks count: lm-eval's ``process_results`` functions and aggregations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dlm.data.answers import countdown_correct, final_number, sudoku_cells

_PATIENCE = 60
"""Seconds for one expression; most take milliseconds, and the library's own limit is 5."""


def word_problem(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """1 if the number that the text answers is the document's, else 0."""
    found = final_number(results[0])
    return {"exact_match": float(found is not None and found == final_number(str(doc["answer"])))}


def countdown(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """1 if the text answers an expression of exactly the given numbers that equals the target, else 0."""
    return {"exact_match": float(countdown_correct(results[0], doc["numbers"], doc["target"]))}


def sudoku(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Rightly filled cells and empty cells of one puzzle."""
    return {"cell_accuracy": sudoku_cells(results[0], doc["puzzle"], doc["solution"])}


def math_verify(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """1 if the last expression of the text is, by the library math-verify, that of the solution, else 0.

    The second metric of lm-eval's `minerva_math`; its first wants another parser than the environment can have. The
    library gives up on what takes it long, and that counts as wrong; that late, the machine's load decides nothing.
    """
    from math_verify import parse, verify

    gold, found = (parse(text, parsing_timeout=_PATIENCE) for text in (doc["solution"], results[0]))
    return {"math_verify": float(verify(gold=gold, target=found, timeout_seconds=_PATIENCE))}


def ratio_of_sums(pairs: Sequence[tuple[float, float]]) -> float:
    """Aggregate (numerator, weight) pairs: the sum of the one over the sum of the other."""
    return sum(numerator for numerator, _ in pairs) / sum(weight for _, weight in pairs)
