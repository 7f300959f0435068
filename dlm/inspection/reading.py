"""Files read once for all the rows of a table that ask for them; a file that has changed is read again."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from dlm.analysis.cells import Cell, read_cells
from dlm.errors import DataError
from dlm.files import read_json

_State = tuple[int, int]


def json_at(path: Path) -> Any:
    """Return a JSON file's content, not to be changed. Raises as `dlm.files.read_json`."""
    return _json(path, _state(path))


def cells_at(path: Path, scale: str) -> tuple[Cell, ...]:
    """Return the checked cells of a `scores.json`. Raises as `dlm.analysis.cells.read_cells`."""
    return _cells(path, scale, _state(path))


def rows_at(path: Path, begin: int, count: int) -> list[dict[str, Any]]:
    """Return some of a JSON-lines file's objects: ``count`` of them from line ``begin`` (from 0) on.

    Raises:
        DataError: the file is missing, or one of these lines is damaged; names path and line.
    """
    found = []
    for number, line in enumerate(_lines(path, _state(path))[begin : begin + count], start=begin + 1):
        try:
            found.append(json.loads(line))
        except ValueError as error:
            raise DataError(f"{path}:{number}: damaged line ({error}); delete the file and run again") from error
    return found


def _state(path: Path) -> _State:
    """Return what tells a file from what it was before; nothing of one that is not there."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return found.st_mtime_ns, found.st_size


@functools.lru_cache(maxsize=16)
def _json(path: Path, state: _State) -> Any:
    return read_json(path)


@functools.lru_cache(maxsize=16)
def _cells(path: Path, scale: str, state: _State) -> tuple[Cell, ...]:
    return tuple(read_cells(path.parent.parent.name, scale, json_at(path)))


@functools.lru_cache(maxsize=4)
def _lines(path: Path, state: _State) -> list[bytes]:
    if state == (0, 0):
        raise DataError(f"{path}: no such file; run `dlm score` again")
    return path.read_bytes().splitlines()
