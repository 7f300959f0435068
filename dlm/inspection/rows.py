"""Rows of tables by a short address: `table1:llada-base/sudoku/answer48`, or `llada-base/sudoku` of any scores."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlm.analysis.cells import Cell
from dlm.errors import DataError, SettingsError, did_you_mean
from dlm.inspection.reading import cells_at, json_at
from dlm.params.layout import Layout

NO_CHAT = "no-chat"
"""Last part of the address of a row whose prompts are in no chat template."""
_LINEAGE = ".lineage.json"
_NEAR = 3


@dataclass(frozen=True, kw_only=True)
class Row:
    """One (checkpoint, task, setting), as scored."""

    layout: Layout
    table: str | None
    """None: found in the scores, whatever tables have it."""
    parts: tuple[str, ...]
    """Of its address: model, task, setting, and `no-chat` where that is so. A sweep may call a model otherwise than its
    checkpoint."""
    cell: Cell
    scores: Path
    """The `scores.json` that holds the cell."""
    line: Mapping[str, Any] = field(default_factory=dict)
    """What the table's lineage says of it; empty without a table."""

    @property
    def checkpoint(self) -> str:
        """Name of the checkpoint that answered."""
        return self.scores.parent.parent.name

    @property
    def bundle(self) -> str:
        """Name of the bundle of its responses."""
        return self.scores.parent.name

    @property
    def address(self) -> str:
        """Its short name, which finds it again."""
        return f"{self.table}:{'/'.join(self.parts)}" if self.table else "/".join(self.parts)


def find_row(layout: Layout, address: str) -> Row:
    """Return the one row that an address names.

    Raises:
        SettingsError: it names none, or several; the message names those near it.
        DataError: the table or the scores are damaged, or of different ages.
    """
    rows = find_rows(layout, address)
    if len(rows) > 1:
        known = [row.address for row in rows]
        more = f" and {len(known) - 4} more" if len(known) > 4 else ""
        raise SettingsError(f"'{address}' names {len(rows)} rows: {', '.join(known[:4])}{more}; name one")
    return rows[0]


def find_rows(layout: Layout, address: str) -> list[Row]:
    """Return the rows that an address, or the beginning of one, names; in the order of the table.

    Args:
        layout: of the scale.
        address: ``[TABLE:]MODEL[/TASK[/SETTING[/no-chat]]]``, or a table's name alone. Without a table, whatever is
            scored is looked through.

    Raises:
        SettingsError: it names none; the message names those near it.
        DataError: the table or the scores are damaged, or of different ages.
    """
    table, colon, rest = address.partition(":")
    if "/" in table or (not colon and (layout.base / "scores" / address).is_dir()):
        return _chosen(list(_scored(layout, address)), address)
    return _of_table(layout, table, rest)


def table_names(layout: Layout) -> list[str]:
    """Return the names of the scale's tables that are made."""
    return sorted(path.name.removesuffix(_LINEAGE) for path in layout.tables.glob(f"*{_LINEAGE}"))


def _of_table(layout: Layout, table: str, rest: str) -> list[Row]:
    path = layout.tables / f"{table}{_LINEAGE}"
    if not path.is_file():
        names = table_names(layout)
        near = did_you_mean(table, names) if names else "none is made yet: snakemake makes results/tables/<table>.csv"
        raise SettingsError(f"no table '{table}' at scale '{layout.scale}'; {near}")
    # Rows of a table may share a cell, such as likelihoods beside answers of several samplers.
    lines = {parts: line for line in reversed(json_at(path)["rows"]) for parts in reversed([*_parts_of(line)])}
    asked = tuple(rest.split("/")) if rest else ()
    found = [parts for parts in reversed(lines) if parts[: len(asked)] == asked]
    if not found:
        known = ["/".join(parts) for parts in reversed(lines)]
        raise SettingsError(f"table '{table}' has no row '{rest}'; {_near(rest, known)}")
    return [_row(layout, table, parts, lines[parts]) for parts in found]


def _parts_of(line: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the address of a row of a table's lineage; where it is a mean over seeds, of each seed."""
    settings = [seed["setting"] for seed in line.get("seeds", ())] or [line["setting"]]
    for setting in settings:
        yield _parts(line["model"], line["task"], setting, line.get("chat", True))


def _parts(model: str, task: str, setting: str, chat: bool) -> tuple[str, ...]:
    return (model, task, setting, *(() if chat else (NO_CHAT,)))


def _row(layout: Layout, table: str, parts: tuple[str, ...], line: Mapping[str, Any]) -> Row:
    own = next((seed for seed in line.get("seeds", ()) if seed["setting"] == parts[2]), line)
    if own["scores"] is None:
        raise DataError(f"table '{table}': its lineage does not say where the scores of {parts[0]} lie; make it again")
    path = layout.root / own["scores"]
    cells = cells_at(path, layout.scale)
    asked = (*parts[1:3], NO_CHAT not in parts)
    named = [cell for cell in cells if (cell.task, cell.setting, _chats(cell)) == asked]
    same = [cell for cell in cells if cell.extra.get("what") == own["what"]]
    # The very cell, under its name or, of a sweep, another; where it was scored anew since, that of its name.
    found = [cell for cell in named if cell in same] or same or named
    if not found:
        raise DataError(
            f"{path}: no longer holds {'/'.join(parts)}, so the scores are younger than the table; run "
            f"`dlm table {table} --scale {layout.scale}`"
        )
    return Row(layout=layout, table=table, parts=parts, cell=found[0], scores=path, line=line)


def _chats(cell: Cell) -> bool:
    return bool(cell.extra.get("chat", True))


def _scored(layout: Layout, address: str) -> Iterator[Row]:
    model = address.partition("/")[0]
    folder = layout.base / "scores" / model
    if not folder.is_dir():
        known = [path.name for path in (layout.base / "scores").glob("*") if not path.name.startswith(".")]
        raise SettingsError(f"no scores of a model '{model}' at scale '{layout.scale}'; {did_you_mean(model, known)}")
    for path in sorted(folder.glob("*/scores.json")):
        for cell in cells_at(path, layout.scale):
            parts = _parts(model, cell.task, cell.setting, _chats(cell))
            yield Row(layout=layout, table=None, parts=parts, cell=cell, scores=path)


def _chosen(rows: list[Row], address: str) -> list[Row]:
    asked = address.split("/")
    found = [row for row in rows if [*row.parts][: len(asked)] == asked]
    if not found:
        raise SettingsError(f"no scores of '{address}'; {_near(address, [row.address for row in rows])}")
    return found


def _near(name: str, known: list[str]) -> str:
    """Name the rows whose addresses are close to ``name``."""
    close = difflib.get_close_matches(name, known, n=_NEAR, cutoff=0.4) or known[:_NEAR]
    more = "" if len(close) == len(known) else f" ({len(known)} rows; name its beginning to list them)"
    return f"near: {', '.join(close)}{more}"
