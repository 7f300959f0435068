"""``dlm sensitivity``: the table of a sweep."""

from __future__ import annotations

from pathlib import Path

import click

from dlm.cli.common import making, pipeline, pipeline_options
from dlm.params.layout import SENSITIVITY
from dlm.progress import say


@click.command()
@click.argument("sweep")
@click.option("--publish", is_flag=True, help="Make nothing: copy the scale's table to results/tables.")
@pipeline_options
def sensitivity(sweep: str, publish: bool, scale: str, log: Path | None) -> None:
    """Make the table of the sweep params/sweeps/SWEEP.yaml from the scores of its settings.

    `snakemake results/tables/sensitivity_SWEEP.csv` samples and scores them first; docs/sweeps.md.
    """
    name = f"{SENSITIVITY}{sweep}"
    with pipeline(scale, log) as plan:
        expanded = plan.sweep(sweep)
        if publish:
            from dlm.analysis.publish import publish as publish_table

            publish_table(plan.layout.tables, name, plan.layout.published)
            return
        for line in expanded.told():
            say(line)
        with making(plan, "tables", name):
            from dlm.analysis.sensitivity import write_sensitivity

            say(f"sensitivity {sweep}: {write_sensitivity(sweep, plan)}")
