"""``dlm score --generations``: files of recorded answers, a line a setting."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dlm.progress import say

if TYPE_CHECKING:
    from dlm.evaluation.rescoring import Rescored

_COLUMNS = ("task", "length", "steps", "n", "accuracy")
_BLOCK = "block"


def print_scores(files: Sequence[str], filter_name: str | None) -> None:
    """Score files of answers and print task, length, steps, number of answers and accuracy in percent of each setting.

    A table on a terminal; elsewhere lines of these columns alone, apart by tabs, their names on standard error. The
    block length is a column more where it tells settings apart.
    """
    from dlm.evaluation.rescoring import score_generations

    lines = score_generations([Path(file) for file in files], filter_name)
    settings = {(one.setting.task, one.setting.gen_length, one.setting.steps) for one in lines}
    columns = _COLUMNS if len(settings) == len(lines) else (*_COLUMNS, _BLOCK)
    rows = [_row(line)[: len(columns)] for line in lines]
    if sys.stdout.isatty():
        _print_table(columns, rows)
        return
    say("\t".join(columns))
    for row in rows:
        click.echo("\t".join(row))


def _row(line: Rescored) -> tuple[str, ...]:
    setting = line.setting
    numbers = (setting.gen_length, setting.steps, line.n)
    return (setting.task, *map(str, numbers), f"{100 * line.value:.2f}", str(setting.block_length))


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
