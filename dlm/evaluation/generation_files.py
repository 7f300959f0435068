"""Files of recorded answers: JSON lines, compressed or not, a model's raw answer to a benchmark's question on each.

docs/evaluation.md describes the format to users.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from dlm.errors import DataError, did_you_mean

_PUZZLE = re.compile(r"(?<![0-9])[0-4]{16}(?![0-9])")
_SOLUTION = re.compile(r"[1-4]{16}")


@dataclass(frozen=True)
class Setting:
    """How answers were sampled, as far as their file says."""

    task: str
    gen_length: int
    """Answer positions, in tokens."""
    steps: int
    block_length: int
    """Tokens a block."""


@dataclass(frozen=True)
class Generation:
    """One line of a file."""

    setting: Setting
    question: str
    fields: Mapping[str, Any]
    """What the task compares with, as its test documents have it."""
    text: str
    """The raw answer."""


def read_generations(path: str | Path) -> Iterator[Generation]:
    """Yield the lines of a file; one whose name ends in `.gz` is compressed.

    Raises:
        DataError: the file is missing, empty or damaged, or a line is not of the format; names file and line.
    """
    path, number = Path(path), 0
    try:
        with _open(path) as stream:
            for line in stream:
                number += 1
                yield _generation(line)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error).removesuffix(".")
        raise DataError(f"{path}:{number + 1}: cannot be read ({reason}); give a whole file of answers") from error
    except ValueError as error:
        raise DataError(f"{path}:{number}: {error}; docs/evaluation.md describes the format") from error
    if number == 0:
        raise DataError(f"{path}:1: no answers in it; give a file with one on each line")


def _open(path: Path) -> BinaryIO:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _generation(line: bytes) -> Generation:
    try:
        row = json.loads(line.strip())
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8 text") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"not valid JSON ({error!s:.80})") from error
    if not isinstance(row, dict):
        raise ValueError(f"expected an object, found {type(row).__name__}")
    task, question = _value(row, "task", str), _value(row, "question", str)
    if task not in _GOLD:
        raise ValueError(f"unknown task '{task}'; {did_you_mean(task, _GOLD)}")
    setting = Setting(task, *(_count(row, key) for key in ("gen_length", "steps", "block_length")))
    if "gold" not in row:
        raise ValueError("no 'gold'")
    return Generation(setting, question, _GOLD[task](row["gold"], question), _value(row, "generation", str))


def _value(row: Mapping[str, Any], key: str, kind: type) -> Any:
    if key not in row:
        raise ValueError(f"no '{key}'")
    if type(row[key]) is not kind:
        wanted = {str: "a text", int: "a whole number"}[kind]
        raise ValueError(f"'{key}' must be {wanted}, found {row[key]!r:.60}")
    return row[key]


def _count(row: Mapping[str, Any], key: str) -> int:
    value: int = _value(row, key, int)
    if value < 1:
        raise ValueError(f"'{key}' must be at least 1, found {value}")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _gsm8k(gold: Any, question: str) -> dict[str, Any]:
    if gold is not None and not _is_number(gold):
        raise ValueError(f"'gold' must be a number or null, found {gold!r:.60}")
    return {"answer": "" if gold is None else str(gold)}


def _math500(gold: Any, question: str) -> dict[str, Any]:
    if not isinstance(gold, str):
        raise ValueError(f"'gold' must be a text, found {gold!r:.60}")
    return {"answer": gold}


def _countdown(gold: Any, question: str) -> dict[str, Any]:
    match gold:
        case [[*numbers], target] if numbers and all(type(number) is int for number in numbers) and _is_number(target):
            return {"answer": str(target), "numbers": numbers, "target": target}
    raise ValueError(f"'gold' must be [numbers, target], found {gold!r:.60}")


def _sudoku(gold: Any, question: str) -> dict[str, Any]:
    puzzle = _PUZZLE.search(question)
    if puzzle is None or "0" not in puzzle[0]:
        raise ValueError("'question' must hold a puzzle: 16 digits, 0 to 4, an empty cell among them")
    if not isinstance(gold, str) or not _SOLUTION.fullmatch(gold):
        raise ValueError(f"'gold' must be a text of 16 digits, 1 to 4, found {gold!r:.60}")
    return {"answer": gold, "puzzle": puzzle[0], "solution": gold}


_GOLD: Mapping[str, Callable[[Any, str], dict[str, Any]]] = {
    "gsm8k": _gsm8k,
    "math500": _math500,
    "countdown": _countdown,
    "sudoku": _sudoku,
}
