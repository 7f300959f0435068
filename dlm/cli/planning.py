"""Verbs that make nothing: what is asked of each product, and which products are taken as they are."""

from __future__ import annotations

from pathlib import Path

import click

from dlm.cli.common import pipeline, scale_option
from dlm.files import write_text
from dlm.params.stamps import accept as accept_products
from dlm.params.stamps import plan_text
from dlm.progress import say


@click.command()
@click.option("--table", "tables", multiple=True, help="Only what this table needs; may be given several times.")
@click.option("--out", type=click.Path(path_type=Path), help="Write to this file instead.")
@scale_option
def plan(scale: str, tables: tuple[str, ...], out: Path | None) -> None:
    """Print what is asked of every product: digests of its settings and of the code that makes it, as JSON."""
    out = out.absolute() if out else None
    with pipeline(scale, None) as planned:
        text = plan_text(planned, *tables)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_text(out, text)


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
