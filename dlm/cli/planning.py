"""Verbs that make nothing: what a table costs, what is asked of products, which are taken as they are, what differs."""

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
    from rich.console import Console

    from dlm.analysis import Estimate
    from dlm.analysis.comparing import Comparison, Result
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
    from rich.table import Table

    table = Table(title=f"{cost.table} at scale {planned.scale}, on one {gpu}", title_justify="left")
    for number, name in enumerate(_COLUMNS):
        table.add_column(name, justify="right" if 4 <= number <= 8 else "left", overflow="fold")
    for line in cost.costs:
        table.add_row(*_cells(line))
    console = _console()
    jobs = ", ".join(f"{count} {step}" for step, count in cost.jobs.items())
    most = max((line.memory for line in cost.costs), default=0)
    with console.capture() as capture:
        console.print(table)
        console.print(f"jobs, if nothing is there yet: {sum(cost.jobs.values())} ({jobs})", highlight=False)
        passes = sum(line.passes for line in cost.costs if line.step == "sample")
        at_most = "at most " if any(line.at_most for line in cost.costs) else ""
        what = "in all" if not cost.unknown else "in all, but for what is not reckoned"
        console.print(
            f"{what}: {at_most}{passes:,.0f} forward passes of sampling and scoring, {cost.hours:.3g} GPU hours, "
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


@click.command()
@click.argument("one")
@click.argument("other")
@click.option(
    "--other-project",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Look for OTHER in this clone of the project.",
)
@click.option("--other-scale", help="Look for OTHER at this scale; default: that of --scale.")
@scale_option
def compare(one: str, other: str, other_project: Path | None, other_scale: str | None, scale: str) -> None:
    """Name every setting in which two results differ, and say whether their scores do.

    ONE and OTHER are results as MODEL/TASK or MODEL/TASK/SETTING, such as llada-base-sft/sudoku, or rows of a table as
    `dlm diff` takes them, TABLE:MODEL/TASK/SETTING.
    """
    other_root = other_project.absolute() if other_project else None
    with pipeline(scale, None):
        from dlm.analysis.comparing import compare as compare_results

        sides = _result(Path(), scale, one), _result(other_root or Path(), other_scale or scale, other)
        click.echo(_comparison(compare_results(*sides)), nl=False)


def _result(root: Path, scale: str, name: str) -> Result:
    """Return a result by its name, or by the address of a row of a table."""
    from dlm.analysis.comparing import find_result, result_of

    if "/" in name.partition(":")[0] or ":" not in name:
        return find_result(root, scale, name)
    from dlm.files import read_json
    from dlm.inspection import find_row
    from dlm.params.layout import Layout

    row = find_row(Layout(scale, root), name)
    return result_of(row.layout.base, row.bundle, read_json(row.scores), row.cell)


def _comparison(found: Comparison) -> str:
    from rich.table import Table

    table = Table(title="What differs", title_justify="left")
    for name in ("setting", found.one.name, found.other.name):
        table.add_column(name, overflow="fold")
    for row in found.differing:
        table.add_row(*(text.replace("\n", "\\n") for text in row))
    lines = [f"{side.name}: {_with_interval(side.estimate)}" for side in (found.one, found.other)]
    documents = "the same documents" if found.paired else "documents that are not the same, or not known to be"
    chance = "" if found.p_value is None else f", p = {found.p_value:.3g}"
    error = found.paired.stderr if found.paired else None
    lines.append(f"difference: {_difference(found, error)} on {documents}{chance}")
    console = _console()
    with console.capture() as capture:
        if found.differing:
            console.print(table)
        else:
            console.print("no setting differs", highlight=False)
        for line in lines:
            console.print(line, highlight=False, soft_wrap=True)
    return capture.get()


def _difference(found: Comparison, error: float | None) -> str:
    from dlm.analysis.numbers import unit_of_changes

    kind = found.one.cell.kind
    factor, digits = (1, 4) if kind.loss else (100, 2)
    spread = "" if error is None else f" ± {factor * error:.{digits}f}"
    ratio = f" (×{kind.value(found.difference):.4f})" if kind.exponential else ""
    return f"{factor * found.difference:+.{digits}f}{spread} {unit_of_changes(kind)}{ratio}"


def _with_interval(found: Estimate) -> str:
    if found.kind.loss:
        numbers = f"{found.value:.4g} [{found.low:.4g}, {found.high:.4g}]"
    else:
        numbers = f"{100 * found.value:.2f} % [{100 * found.low:.2f}, {100 * found.high:.2f}]"
    return f"{numbers} of {found.n} documents"


def _console() -> Console:
    """Return where tables are drawn: as wide as the terminal, or as a page."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 160)


PLANNING = (plan, accept, compare)
