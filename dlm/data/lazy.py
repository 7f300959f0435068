"""Prepared rows read one by one, at any place, without holding them in memory."""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlm.errors import DataError
from dlm.files import read_manifest

Row = dict[str, Any]


class LazyRows(Sequence[Row]):
    """The rows of ``split`` of several prepared folders, one folder after the other.

    Only the places of the lines are kept: 8 bytes a row. The files are checked against their manifests first.

    Raises:
        DataError: the folder or split does not exist, or the files are not those of the manifest.
    """

    def __init__(self, folders: Sequence[Path], split: str) -> None:
        self.paths = [folder / f"{split}.jsonl" for folder in folders]
        self._begins: list[array[int]] = []
        for path in self.paths:
            if path.name not in (files := read_manifest(path.parent)["files"]):
                there = ", ".join(files) or "nothing"
                raise DataError(f"{path}: no such rows were prepared; this folder holds {there}")
            self._begins.append(_line_begins(path))

    def __len__(self) -> int:
        return sum(len(begins) for begins in self._begins)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[index] for index in range(*number.indices(len(self)))]
        place = number + len(self) if number < 0 else number
        for path, begins in zip(self.paths, self._begins, strict=True):
            if 0 <= place < len(begins):
                return _read_line(path, begins[place], place)
            place -= len(begins)
        raise IndexError(number)


def _line_begins(path: Path) -> array[int]:
    begins, place = array("q"), 0
    with path.open("rb") as stream:
        for line in stream:
            begins.append(place)
            place += len(line)
    return begins


def _read_line(path: Path, begin: int, number: int) -> Row:
    with path.open("rb") as stream:
        stream.seek(begin)
        line = stream.readline()
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}:{number + 1}: damaged line ({error}); delete the file and run again") from error
    if not isinstance(row, dict):
        raise DataError(f"{path}:{number + 1}: expected a JSON object, found {type(row).__name__}")
    return row
