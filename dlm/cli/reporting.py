"""`dlm figure` and `dlm report`: what a scale has found, drawn and on one page."""

from __future__ import annotations

from pathlib import Path

import click

from dlm.cli.common import pipeline, scale_option
from dlm.params.layout import SENSITIVITY
from dlm.progress import say


@click.command()
@click.argument("sweep")
@click.argument("name", metavar="[FIGURE]", required=False)
@click.option("--out", type=click.Path(path_type=Path), help="Folder.  [default: results/figures/SWEEP]")
@scale_option
def figure(sweep: str, name: str | None, out: Path | None, scale: str) -> None:
    """Draw FIGURE of SWEEP, or all of which the sweep has what they show, as PNG and SVG."""
    out = out.absolute() if out else None
    with pipeline(scale, None) as plan:
        from dlm.figures import figures_of, read_sweep_results, refuse_unknown, write_figure

        if not (plan.layout.tables / f"{SENSITIVITY}{sweep}.csv").is_file():
            plan.sweep(sweep)  # refuses one that cannot be made
        if name is not None:
            refuse_unknown(name)
        results = read_sweep_results(plan.layout.tables, sweep)
        for each in [name] if name else figures_of(results):
            paths = write_figure(each, results, out or plan.layout.figures / sweep)
            say(f"figure {sweep}: {', '.join(map(str, paths))}")


@click.command()
@click.argument("tables", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path), help="File.  [default: results/SCALE/report.html]")
@click.option(
    "--answers", type=click.IntRange(0), default=2, show_default=True, help="Right answers of each cell; as many wrong."
)
@click.option(
    "--cells", type=click.IntRange(1), default=200, show_default=True, help="Cells of a table shown one by one."
)
@scale_option
def report(tables: tuple[str, ...], out: Path | None, answers: int, cells: int, scale: str) -> None:
    """Write one HTML file of TABLES (all that are made, if none is named): tables, figures, lineage and answers."""
    out = out.absolute() if out else None
    with pipeline(scale, None) as plan:
        from dlm.reporting import write_report

        path = out or plan.layout.base / "report.html"
        count = write_report(plan.layout, path, tables, about=plan.params.title, answers=answers, cells=cells)
        say(f"report: {count} table{'s' * (count != 1)} in {path}")


REPORTING = (figure, report)
