"""Decoding-order map: which forward pass committed each place of each answer."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dlm.errors import DataError
from dlm.figures.style import MAP, grid
from dlm.figures.sweep import SweepResults
from dlm.files import read_jsonl
from dlm.ordering import order_tau

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST, _ANSWERS = 4, 64
"""Settings and answers that are shown."""
_TITLE = 68
"""Characters of the panels' titles side by side."""


class Order(NamedTuple):
    """The answers of one setting."""

    where: str
    """Model and task."""
    title: str
    steps: list[list[int]]
    """Of each answer the pass of each place; -1: none."""
    taus: list[float]


def order_map(results: SweepResults) -> Figure:
    """Draw a panel a setting: a row an answer, its places from left to right, its passes as colours.

    Shown are the settings whose mean Kendall's tau lies farthest apart, of one model on one task.
    """
    orders = _orders(results)
    if len(orders) == 0:
        raise DataError(
            f"sweep '{results.name}': its records hold no order of decoding; set `execution: {{record_order: true}}`"
        )
    columns = min(len(orders), 2)
    rows = -(-len(orders) // columns)
    figure, all_axes = grid(rows, columns, height=2.8, title=f"{_message(orders)}, {orders[0].where}")
    for axes, order in zip(all_axes.flat, orders, strict=False):
        width = max(map(len, order.steps))
        table = [_relative(steps, width) for steps in order.steps]
        image = axes.imshow(table, cmap=MAP, aspect="auto", interpolation="nearest", vmin=0, vmax=1)
        name = textwrap.fill(order.title.replace("+", " +"), _TITLE // columns, break_long_words=False)
        axes.set_title(f"{name}\nmean tau {_mean(order.taus):.2f}", loc="left")
        axes.set_xlabel("place in the answer, tokens")
        axes.set_ylabel("answer")
        axes.grid(visible=False)
        axes.yaxis.get_major_locator().set_params(integer=True)
    for axes in list(all_axes.flat)[len(orders) :]:
        axes.set_visible(False)
    bar = figure.colorbar(image, ax=all_axes, label="when committed, of all passes")
    bar.set_ticks([0, 0.5, 1], labels=["first", "middle", "last"])
    return figure


def _orders(results: SweepResults) -> list[Order]:
    """Return the orders that lie farthest apart, those most left to right first."""
    rows = [row for row in results.lineage["rows"] if row.get("order_tau") is not None]
    if not rows:
        return []
    first = rows[0]["model"], rows[0]["task"]
    own = sorted((row for row in rows if (row["model"], row["task"]) == first), key=lambda row: -row["order_tau"])
    spread = own if len(own) <= _MOST else [own[round(at * (len(own) - 1) / (_MOST - 1))] for at in range(_MOST)]
    root = results.folder.parents[2]
    found = [order_of(root / Path(row["responses"]).parent / "records.jsonl", row) for row in spread]
    return [order for order in found if order.steps]


def order_of(records: Path, row: Mapping[str, Any]) -> Order:
    """Return the order of the first answers of a lineage's row, up to the end of each answer's text.

    Raises:
        DataError: the records are missing or damaged.
    """
    steps, taus = [], []
    for line in read_jsonl(records):
        if (line.get("task"), line.get("setting")) == (row["task"], row["setting"]) and "steps" in line:
            steps.append(line["steps"])
            tau = order_tau(line["steps"][: line["tokens"]])
            taus += [] if tau is None else [tau]
            if len(steps) == _ANSWERS:
                break
    return Order(f"{row['model']}, {row['task']}", row["setting"], steps, taus)


def _relative(steps: Sequence[int], width: int) -> list[float]:
    last = max(max(steps), 1)
    known = [step / last if step >= 0 else float("nan") for step in steps]
    return known + [float("nan")] * (width - len(steps))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def _message(orders: Sequence[Order]) -> str:
    most, least = _mean(orders[0].taus), _mean(orders[-1].taus)
    if len(orders) == 1:
        return f"Answers are decoded with a mean tau of {most:.2f} (1: left to right, 0: neither)"
    return (
        f"Order of decoding: mean tau from {least:.2f} to {most:.2f} among the settings "
        "(1: left to right, 0: neither, -1: right to left)"
    )
