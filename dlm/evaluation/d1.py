"""GSM8K, MATH500, Countdown and Sudoku as d1 scores them (arXiv 2504.12216; eval/ of dllm-reasoning/d1).

A filter chooses one answer from the raw text without looking at the truth; ``process_results`` compares it. An answer
that is not there is an empty text. Text comes from models, so every function here takes any string, in time linear in
its length.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from dlm.data.expression import MAX_LENGTH
from dlm.evaluation.math_strings import same_answer

if TYPE_CHECKING:
    from datasets import Dataset

Document = Mapping[str, Any]

_NUMBER = re.compile(r"-?\d+\.?\d*")
_BOX = r"\boxed{"
_OPEN, _CLOSE = "<answer>", "</answer>"
_END = re.compile(r"</answer>|<\|eot_id\|>|<\|endoftext\|>|<\|im_end\|>")
_SIXTEEN = re.compile(r"(?<!\d)\d{16}(?!\d)")
_BEFORE_CLOSE = re.compile(r"(?<=\d{16})\s*</answer>")
_CELLS = 16
_SIGNS = ((r"\div", "/"), (r"\times", "*"), (r"\cdot", "*"))
_ARITHMETIC = "0123456789+-*/() "
_EXPRESSION = re.compile(r"[0-9+\-*/().\s]+")
_NEAR = 1e-5
_OPERATIONS: Mapping[type, Callable[[float, float], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
}


# What the task files of data sets on a hub make of them.


def gsm8k_documents(dataset: Dataset) -> Dataset:
    """Return the documents of openai/gsm8k: the answer is the number behind its last `####`, as text."""
    return dataset.map(lambda row: {"answer": row["answer"].rpartition("####")[2].strip().replace(",", "")})


def math500_documents(dataset: Dataset) -> Dataset:
    """Return the documents of HuggingFaceH4/MATH-500: its problem is the question."""
    return dataset.rename_column("problem", "question")


# Filters of the task files: lm-eval gives them every response of a task.


def gsm8k_answers(responses: Iterable[str], docs: Sequence[Document]) -> list[str]:
    """Apply `gsm8k_answer` to every response."""
    return [gsm8k_answer(response) for response in responses]


def lenient_gsm8k_answers(responses: Iterable[str], docs: Sequence[Document]) -> list[str]:
    """Apply `lenient_gsm8k_answer` to every response."""
    return [lenient_gsm8k_answer(response) for response in responses]


def math500_answers(responses: Iterable[str], docs: Sequence[Document]) -> list[str]:
    """Apply `math500_answer` to every response."""
    return [math500_answer(response) for response in responses]


def countdown_answers(responses: Iterable[str], docs: Sequence[Document]) -> list[str]:
    """Apply `countdown_answer` to every response."""
    return [countdown_answer(response) for response in responses]


def sudoku_answers(responses: Iterable[str], docs: Sequence[Document]) -> list[str]:
    """Apply `sudoku_answer` to every response."""
    return [sudoku_answer(response) for response in responses]


# What they are compared with.


def gsm8k(doc: Document, results: Sequence[str]) -> dict[str, float]:
    """1 if the number is the document's ``answer``, else 0; a document without one is never answered right."""
    right = results[0] != "" and doc["answer"] != "" and float(results[0]) == float(doc["answer"])
    return {"exact_match": float(right)}


def math500(doc: Document, results: Sequence[str]) -> dict[str, float]:
    """1 if the text is the document's ``answer``, both normalised as MATH does; no symbolic equality."""
    return {"exact_match": float(results[0] != "" and same_answer(results[0], doc["answer"]))}


def countdown(doc: Document, results: Sequence[str]) -> dict[str, float]:
    """1 if the expression has exactly the document's ``numbers`` and is worth its ``target``, else 0."""
    written = [int(digits) for digits in re.findall(r"[0-9]+", results[0][:MAX_LENGTH])]
    value = _value(results[0]) if sorted(written) == sorted(doc["numbers"]) else None
    return {"exact_match": float(value is not None and abs(value - doc["target"]) < _NEAR)}


def sudoku(doc: Document, results: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Rightly filled cells and empty cells of the document's ``puzzle``, by its ``solution``."""
    empty = [cell for cell, clue in enumerate(doc["puzzle"]) if clue == "0"]
    digits = results[0][:_CELLS].ljust(_CELLS, "0")
    return {"cell_accuracy": (sum(digits[cell] == doc["solution"][cell] for cell in empty), len(empty))}


# Which part of a text is the answer.


def gsm8k_answer(text: str) -> str:
    r"""Return the number of the first `\boxed{…}` that holds one, else the last number of the answer tag."""
    for content in _boxes_on_a_line(text):
        if found := _number(content, first=True):
            return found
    return _number(_tagged(text) or "", first=False)


def lenient_gsm8k_answer(text: str) -> str:
    """Return the last number of the last box, else of the answer tag, else of the text; `1,200` reads as 1200."""
    boxes, tagged = list(_boxes_on_a_line(text)), _tagged(text)
    scope = boxes[-1] if boxes else text if tagged is None else tagged
    numbers = _NUMBER.findall(scope.replace(",", ""))
    return str(numbers[-1]) if numbers else ""


def math500_answer(text: str) -> str:
    """Return the content of the last box; the answer tag's where it never closes or is empty; the text without one."""
    box = _last_box(text)
    return text if box is None else _content(box) or _tagged(text) or ""


def countdown_answer(text: str) -> str:
    """Return the expression in the last box; in the answer tag, else the text, where it never closes; in the text
    without a box."""
    box = _last_box(text)
    content = None if box is None else _content(box)
    scope = content if content is not None else (box and _tagged(text)) or text
    for written, sign in _SIGNS:
        scope = scope.replace(written, sign)
    return _left_side(scope).strip()


def sudoku_answer(text: str) -> str:
    """Return the cells without blanks: digits fenced after the answer tag, what the tag holds, what follows its end,
    sixteen digits before its end, any sixteen digits; the first of these that there is.
    """
    for find in (_fenced, _in_tag, _after_tag, _before_end, _anywhere):
        if found := "".join(find(text).split()):
            return found
    return ""


def _number(text: str, *, first: bool) -> str:
    """Return ``text`` if it is a number as a whole, else the first or the last number in it."""
    try:
        float(text)
    except ValueError:
        numbers = _NUMBER.findall(text)
        return str(numbers[0 if first else -1]) if numbers else ""
    return text.strip()


def _tagged(text: str) -> str | None:
    """Return what the first answer tag holds, or None where none is closed."""
    inside, close, _ = text.partition(_OPEN)[2].partition(_CLOSE)
    return inside.strip() if close else None


def _boxes_on_a_line(text: str) -> Iterator[str]:
    r"""Yield what stands between each `\boxed{` and the first `}` behind it on its line."""
    for line in text.split("\n"):
        _, _, rest = line.partition(_BOX)
        while (end := rest.find("}")) >= 0:
            yield rest[:end]
            _, _, rest = rest[end:].partition(_BOX)


def _last_box(text: str) -> str | None:
    r"""Return what stands behind the last `\boxed`, else the last `\fbox`, or None without one."""
    for name in (r"\boxed", r"\fbox"):
        if (at := text.rfind(name)) >= 0:
            return text[at + len(name) :]
    return None


def _content(box: str) -> str | None:
    """Return what the first braces hold, None if they never close; after a blank, what stands before a `$`."""
    if box.startswith(" "):
        return box[1:].partition("$")[0]
    depth = 0
    for place, character in enumerate(box):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return box[1:place] if place else None
    return None


def _left_side(text: str) -> str:
    """Return the expression of the first `expression = number`, else the whole text."""
    for left, right in pairwise(text.split("=")):
        expression = left[len(left.rstrip(_ARITHMETIC)) :]
        if expression and right[:1] and right[0] in "0123456789. ":
            return expression
    return text


def _fenced(text: str) -> str:
    parts = text.partition(_OPEN)[2].split("```")
    return next((part for part in parts[1:-1] if re.fullmatch(r"[\d\s]+", part)), "")


def _in_tag(text: str) -> str:
    inside = text.partition(_OPEN)[2]
    end = _END.search(inside)
    return inside[: end.start()] if end else ""


def _after_tag(text: str) -> str:
    return _END.split(text.partition(_CLOSE)[2].lstrip())[0]


def _before_end(text: str) -> str:
    found = _BEFORE_CLOSE.search(text)
    return text[found.start() - _CELLS : found.start()] if found else ""


def _anywhere(text: str) -> str:
    found = _SIXTEEN.search(text)
    return found[0] if found else ""


def _value(expression: str) -> float | None:
    """Return what an expression of digits, `+-*/()`, points and blanks is worth in Python's arithmetic, or None."""
    if len(expression) > MAX_LENGTH or not _EXPRESSION.fullmatch(expression):
        return None
    try:
        value = _worth(ast.parse(expression, mode="eval").body)
    except (SyntaxError, ValueError, TypeError, ArithmeticError, RecursionError, MemoryError):
        return None
    return value if isinstance(value, float) and math.isfinite(value) else None


def _worth(node: ast.expr) -> Any:
    """Evaluate in floating point, in which no power takes long.

    A root of a negative number is complex, and what comes of it stays so; of some operations that is a TypeError.
    """
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.UnaryOp(op=ast.UAdd() | ast.USub() as sign, operand=operand):
            return -_worth(operand) if isinstance(sign, ast.USub) else _worth(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATIONS:
            return _OPERATIONS[type(op)](_worth(left), _worth(right))
        case _:
            raise ValueError(f"no arithmetic: {type(node).__name__}")
