"""The published copy of a table: whichever scale was asked for last, copied when its content differs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dlm.analysis.render import SUFFIXES
from dlm.errors import DataError
from dlm.files import atomic_open
from dlm.params.layout import SENSITIVITY, SWEEP_SUFFIXES


def publish(source_folder: str | Path, name: str, destination_folder: str | Path) -> list[Path]:
    """Copy the files of table ``name`` whose content differs, each atomically; return the paths written.

    Raises:
        DataError: a file of the table is missing in ``source_folder``; nothing is then copied.
    """
    contents = {suffix: _content(Path(source_folder) / f"{name}{suffix}", name) for suffix in _suffixes(name)}
    written = []
    for suffix, content in contents.items():
        path = Path(destination_folder) / f"{name}{suffix}"
        if _read(path) != content:
            with atomic_open(path) as stream:
                stream.write(content)
            written.append(path)
    return written


def is_current(source_folder: str | Path, name: str, destination_folder: str | Path) -> bool:
    """Return whether every file of table ``name`` is in both folders with equal bytes."""
    for suffix in _suffixes(name):
        content = _read(Path(source_folder) / f"{name}{suffix}")
        if content is None or content != _read(Path(destination_folder) / f"{name}{suffix}"):
            return False
    return True


def drop_stale(source_folder: str | Path, destination_folder: str | Path, names: Iterable[str]) -> list[Path]:
    """Remove the published copies of tables ``names`` that are not current; return the paths removed.

    The workflow calls it before it plans, so that another scale's table, whose files are newer, is published over.
    """
    removed = []
    for name in names:
        if is_current(source_folder, name, destination_folder):
            continue
        for path in (Path(destination_folder) / f"{name}{suffix}" for suffix in _suffixes(name)):
            if path.is_file():
                path.unlink()
                removed.append(path)
    return removed


def _suffixes(name: str) -> tuple[str, ...]:
    """Return the endings of a table's files, or of a sweep's."""
    return SWEEP_SUFFIXES if name.startswith(SENSITIVITY) else SUFFIXES


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _content(path: Path, table: str) -> bytes:
    content = _read(path)
    if content is None:
        raise DataError(f"{path}: no such file; run `dlm table {table}` again")
    return content
