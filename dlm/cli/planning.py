"""Verbs that make nothing: what is asked of each product, what a table costs, which products are taken as they are."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dlm.cli.common import pipeline, scale_option
from dlm.files import write_text
from dlm.params import Plan
from dlm.params.stamps import accept as accept_products
from dlm.params.stamps import plan_text
from dlm.progress import say

if TYPE_CHECKING:
    from dlm.planning import Cost, TableCost

_COLUMNS = (
    "step", "checkpoint", "task", "setting", "documents", "forward passes", "tokens", "GPU hours", "GiB", "assumed",
)  # fmt: skip


@click.command()
@click.argument("tables", nargs=-1)
@click.option("--gpu", default="H100", show_default=True, help="Which GPU of data/gpus.yaml to reckon with.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")
@click.option("--digests", is_flag=True, help="Print what is asked of every product, as JSON, instead.")
@click.option("--out", type=click.Path(path_type=Path), help="Write to this file instead.")
@scale_option
def plan(scale: str, tables: tuple[str, ...], gpu: str, as_csv: bool, digests: bool, out: Path | None) -> None:
    """Estimate what TABLES (all, if none is named) cost: jobs, forward passes, tokens, GPU hours and memory.

    Nothing is run or fetched. docs/planning.md says what the estimates rest on. With --digests: the digests of the
    settings and the code of every product, which the stages of DVC depend on.
    """
    out = out.absolute() if out else None
    with pipeline(scale, None) as planned:
        text = plan_text(planned, *tables) if digests else _costs_text(planned, tables, gpu, as_csv)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_text(out, text)


def _costs_text(planned: Plan, tables: tuple[str, ...], gpu_name: str, as_csv: bool) -> str:
    from dlm.planning import find_gpu, table_cost

    gpu = find_gpu(gpu_name)
    costs = [table_cost(planned, table, gpu) for table in tables or planned.params.tables]
    if as_csv:
        return _csv(costs)
    return "\n".join(_rendered(cost, planned, gpu_name) for cost in costs)


def _csv(costs: list[TableCost]) -> str:
    from csv import writer as csv_writer
    from io import StringIO

    stream = StringIO()
    lines = csv_writer(stream, lineterminator="\n")
    lines.writerow(("table", *(name.replace(" ", "_") for name in _COLUMNS)))
    lines.writerows((cost.table, *_cells(line)) for cost in costs for line in cost.costs)
    return stream.getvalue()


def _rendered(cost: TableCost, planned: Plan, gpu: str) -> str:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{cost.table} at scale {planned.scale}, on one {gpu}", title_justify="left")
    for number, name in enumerate(_COLUMNS):
        table.add_column(name, justify="right" if 4 <= number <= 8 else "left", overflow="fold")
    for line in cost.costs:
        table.add_row(*_cells(line))
    console = Console(width=None if sys.stdout.isatty() else 160)
    jobs = ", ".join(f"{count} {step}" for step, count in cost.jobs.items())
    most = max((line.memory for line in cost.costs), default=0)
    with console.capture() as capture:
        console.print(table)
        console.print(f"jobs, if nothing is there yet: {sum(cost.jobs.values())} ({jobs})", highlight=False)
        passes = sum(line.passes for line in cost.costs if line.step == "sample")
        console.print(
            f"in all: {passes:,.0f} forward passes of sampling and scoring, {cost.hours:.3g} GPU hours, "
            f"{most:.3g} GiB at the most",
            highlight=False,
        )
        for problem in cost.unknown:
            console.print(f"not reckoned: {problem}", highlight=False, markup=False, soft_wrap=True)
    return capture.get()


def _cells(cost: Cost) -> tuple[str, ...]:
    return (
        cost.step,
        cost.checkpoint,
        cost.task,
        cost.setting,
        str(cost.documents),
        f"{cost.passes:.0f}",
        f"{cost.tokens:.3g}",
        f"{cost.hours:.3g}",
        f"{cost.memory:.3g}",
        cost.assumed,
    )


@click.command()
@scale_option
def accept(scale: str) -> None:
    """Take products as they are after a change of code that changes no result.

    Products of other settings or inputs are not taken: those are made again.
    """
    with pipeline(scale, None) as planned:
        accepted = accept_products(planned)
    for product in accepted:
        say(f"accept {product}")
    say(f"accept: {len(accepted)} products of other code")


PLANNING = (plan, accept)
