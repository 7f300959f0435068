"""Test sets in files: published ones, as documents of the same form as generated ones, and a person's own."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

from dlm.data.fetch import fetch_github
from dlm.data.mixtures import Row, document
from dlm.data.problems import Problem, countdown, sudoku
from dlm.data.rowfiles import Numbered, file_rows, origin, stream_rows
from dlm.errors import DataError, RemoteError, SettingsError
from dlm.files import jsonl_line
from dlm.settings.data import FixedTestSet, OwnDocuments

MOST_NUMBERS = 6
"""Most numbers of a Countdown problem."""

_LIST_OF_INTEGERS = re.compile(r"\s*\[?\s*[0-9]+(?:[\s,]+[0-9]+)*\s*\]?\s*")
_INTEGER = re.compile(r"\s*[0-9]+\s*")


def fixed_documents(settings: FixedTestSet, base: str | None = None) -> tuple[list[Row], dict[str, Any]]:
    """Return the documents of a published test set and where they are from (URL if fetched, bytes, sha256).

    ``base`` is the server to fetch from instead of GitHub's (else the environment variable DLM_GITHUB_RAW).

    Raises:
        DataError: the copy on this machine is missing or damaged; the row is named.
        RemoteError: the file cannot be fetched, or what came is not such a test set.
        SettingsError: it has fewer rows than asked for, or its format is unknown.
    """
    if settings.path is not None:
        return _documents(settings, file_rows(settings.path), settings.path), origin(settings.path)
    url, content = fetch_github(settings.repository, settings.revision, settings.file, base)
    try:
        documents = _documents(settings, stream_rows(io.BytesIO(content), url), url)
    except DataError as error:
        raise RemoteError(str(error)) from error
    return documents, {"url": url, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def own_documents(settings: OwnDocuments) -> tuple[list[Row], dict[str, Any]]:
    """Return the rows of a person's test set, each with an `id`, its number from 0 where it has none, and their origin.

    Raises:
        DataError: the file is missing or damaged, holds no rows, or two have the same id; the row is named.
        SettingsError: it has fewer rows than asked for, or its format is unknown.
    """
    where = settings.path
    rows = list(islice(file_rows(where), settings.rows))
    _check_count(len(rows), settings.rows, where)
    documents: dict[Any, Row] = {}
    for number, row in rows:
        name = row.get("id", number - 1)
        if not isinstance(name, str | int) or name in documents:
            problem = "stands there twice" if isinstance(name, str | int) else "is neither a text nor a whole number"
            raise DataError(f"{where}: row {number}: id {name!r:.60} {problem}")
        documents[name] = {"id": name, **row}
        try:
            jsonl_line(documents[name])
        except (TypeError, ValueError) as error:  # a date, say, or half a character
            raise DataError(f"{where}: row {number}: cannot be written as JSON ({error})") from error
    return list(documents.values()), origin(where)


def _check_count(found: int, asked: int | None, where: str) -> None:
    if not found:
        raise DataError(f"{where}: holds no rows")
    if asked is not None and found < asked:
        raise SettingsError(f"{where}: rows asks for {asked} but the file holds {found}")


def _documents(settings: FixedTestSet, rows: Numbered, where: str) -> list[Row]:
    make = _countdown if settings.problem == "countdown" else _sudoku
    documents = []
    for number, row in islice(rows, settings.rows):
        try:
            documents.append(document(make(row), f"{settings.problem}-{number - 1}"))
        except DataError as error:
            raise DataError(f"{where}: row {number}: {error}") from error
    _check_count(len(documents), settings.rows, where)
    return documents


def _countdown(row: Mapping[str, Any]) -> Problem:
    numbers = _integers(_column(row, "numbers", "input"))
    (target,) = _integers(_column(row, "target", "output"), single=True)
    if not 2 <= len(numbers) <= MOST_NUMBERS:
        raise DataError(f"expected 2 to {MOST_NUMBERS} numbers, found {len(numbers)}")
    return countdown.make_problem(numbers, target)


def _sudoku(row: Mapping[str, Any]) -> Problem:
    puzzle, solution = _column(row, "puzzle", "Puzzle"), _column(row, "solution", "Solution")
    for name, value, digits in (("puzzle", puzzle, "0-4"), ("solution", solution, "1-4")):
        if not isinstance(value, str) or not re.fullmatch(f"[{digits}]{{16}}", value):
            raise DataError(f"{name} must be a text of 16 digits {digits}, found {value!r:.60}")
    if solution not in sudoku.solutions(puzzle):
        raise DataError(f"{solution} does not solve {puzzle}")
    return sudoku.make_problem(puzzle, solution)


def _column(row: Mapping[str, Any], *names: str) -> Any:
    for name in names:
        if row.get(name) is not None:
            return row[name]
    found = ", ".join(str(name) for name in row) or "none"
    raise DataError(f"no column {' or '.join(names)} (columns: {found:.100})")


def _integers(value: Any, single: bool = False) -> list[int]:
    """Return the integers of a list, an array, a number or a text such as `3,7,2`."""
    items: list[Any]
    if isinstance(value, str):
        pattern = _INTEGER if single else _LIST_OF_INTEGERS
        items = re.findall("[0-9]+", value) if pattern.fullmatch(value) else []
    else:
        items = [value] if single else list(value) if hasattr(value, "__iter__") else []
    try:
        integers = [int(item) for item in items]
    except (TypeError, ValueError):
        integers = []
    if not integers or [str(item) for item in items] != [str(number) for number in integers]:
        raise DataError(f"expected {'an integer' if single else 'integers'}, found {value!r:.60}")
    return integers
