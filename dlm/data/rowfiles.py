"""Files of rows from elsewhere (JSON lines, JSON, CSV, Parquet), read row by row; what is damaged is named."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from dlm.errors import DataError, SettingsError
from dlm.settings.data import ROW_FILES

_LONGEST_CELL = 1 << 30
"""Characters of a cell of a CSV file; Python's own limit is for less than a book."""
_TOGETHER = 1000
"""Rows of a Parquet file that are in memory at once."""

Numbered = Iterator[tuple[int, Mapping[str, Any]]]
"""Rows with their numbers, from 1."""


def file_rows(path: str) -> Numbered:
    """Yield the rows of a file; of JSON lines and Parquet, a few at a time are in memory.

    Raises:
        DataError: the file cannot be read or is damaged, or a row is no mapping; at once or while the rows come.
        SettingsError: its format is unknown.
    """
    with _opened(path) as stream:
        yield from stream_rows(stream, path)


def stream_rows(stream: IO[bytes], where: str) -> Numbered:
    """Yield the rows of what is open already; the end of ``where``, its path or address, says the format.

    Raises:
        DataError, SettingsError: as ``file_rows``.
    """
    suffix = PurePosixPath(where).suffix
    if suffix not in _READERS:
        raise SettingsError(f"{where}: unknown format '{suffix}'; known: {', '.join(_READERS)}")
    read = _READERS[suffix]
    for number, row in enumerate(read(stream, where), start=1):
        if not isinstance(row, Mapping):
            raise DataError(f"{where}: row {number}: expected named columns, found {type(row).__name__}")
        yield number, row


def origin(path: str) -> dict[str, Any]:
    """Return what a manifest says of a file on this machine: its bytes and their SHA-256.

    Raises:
        DataError: it cannot be read.
    """
    with _opened(path) as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return {"bytes": stream.tell(), "sha256": digest}


@contextmanager
def _opened(path: str) -> Iterator[io.BufferedReader]:
    try:
        with Path(path).open("rb") as stream:
            yield stream
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); correct its path in the params file") from error


def _lines(stream: IO[bytes], where: str) -> Iterator[Any]:
    empty = None
    for number, line in enumerate(stream, start=1):
        text = _text(line, where, number).strip()
        if not text:
            empty = empty or number
            continue
        if empty:  # at the end they do no harm
            raise DataError(f"{where}: row {empty}: an empty line; remove it")
        yield _parsed(text, f"{where}: row {number}")


def _json(stream: IO[bytes], where: str) -> Iterator[Any]:
    rows = _parsed(_text(stream.read(), where), where)
    yield from rows if isinstance(rows, list) else [rows]


def _csv(stream: IO[bytes], where: str) -> Iterator[Any]:
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.DictReader(io.StringIO(_text(stream.read(), where), newline=""), strict=True)
    try:
        columns = list(reader.fieldnames or ())
        if twice := [name for name in columns if columns.count(name) > 1]:
            raise DataError(f"{where}: column '{twice[0]}' stands there twice")
        for number, row in enumerate(reader, start=1):
            if None in row:
                raise DataError(
                    f"{where}: row {number}: more cells than the {len(columns)} columns; put a text that holds a comma "
                    "in double quotes"
                )
            yield row
    except csv.Error as error:
        raise DataError(f"{where}: line {reader.reader.line_num}: not valid CSV ({error})") from error


def _parquet(stream: IO[bytes], where: str) -> Iterator[Any]:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        table = ParquetFile(stream)
        # pandas saves its row numbers as a column
        columns = [name for name in table.schema_arrow.names if not name.startswith("__index_level_")]
        for batch in table.iter_batches(_TOGETHER, columns=columns):
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        raise DataError(f"{where}: not a whole Parquet file ({' '.join(str(error).split())})") from error


_READERS = dict(zip(ROW_FILES, (_lines, _json, _csv, _parquet), strict=True))


def _text(content: bytes, where: str, first_line: int = 1) -> str:
    try:
        return content.decode("utf-8-sig" if first_line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        line = first_line + content.count(b"\n", 0, error.start)
        raise DataError(f"{where}: line {line}: not UTF-8 text") from error


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: a number of thousands of digits, too
        raise DataError(f"{where}: not valid JSON ({error})") from error
