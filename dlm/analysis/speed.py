"""What a table's cells took, as their records say: forward passes, tokens, and seconds, which another run changes."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from dlm.analysis.cells import Cell
from dlm.analysis.tables import TableResult

COLUMNS = (
    "table", "scale", "model", "task", "setting", "documents", "requests", "forward_passes", "seconds", "tokens",
    "tokens_per_pass", "tokens_per_second", "device", "device_name", "dtype", "batch_size", "threads",
)  # fmt: skip
_EXECUTION = ("device", "device_name", "dtype", "batch_size", "threads")


def speed_csv(result: TableResult) -> str:
    """Return a CSV with a line a cell, of each seed its own: sums over its distinct requests.

    Seconds are of sampling, each answer's share of its batch's; tokens are those of answers before their first stop
    token, and empty where likelihoods were estimated. Where several executions gave a cell's answers (a run that was
    gone on with elsewhere), they stand in one field, ` | ` between them.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_row(result, line.row.model, cell) for line in result.results for cell in line.cells)
    return stream.getvalue()


def _row(result: TableResult, model: str, cell: Cell) -> list[str]:
    found = cell.extra
    requests, seconds = found.get("requests"), found.get("seconds")
    tokens = round(found["mean_tokens"] * requests) if "mean_tokens" in found and requests else None
    return [
        result.name,
        result.scale,
        model,
        cell.task,
        cell.setting,
        str(cell.n),
        _number(requests),
        _number(found.get("forward_passes")),
        _number(seconds, 3),
        _number(tokens),
        _number(found.get("tokens_per_pass"), 3),
        _number(tokens / seconds if tokens is not None and seconds else None, 3),
        *(_several(found.get("executions", {}), key) for key in _EXECUTION),
    ]


def _number(value: float | None, decimals: int = 0) -> str:
    return "" if value is None else f"{value:.{decimals}f}"


def _several(executions: Mapping[str, Any], key: str) -> str:
    values: Sequence[str] = [str(each[key]) for _, each in sorted(executions.items()) if key in each]
    return " | ".join(dict.fromkeys(values))
