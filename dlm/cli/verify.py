"""``dlm verify``: reference cases against this implementation."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--kind", help="Only this kind: forward, sampling, likelihood, loss, schedules or masks.")
def verify(folder: Path, kind: str | None) -> None:
    """Run every reference case under DIR, a line each; exit with 1 if one fails.

    DIR is in the format that docs/verify.md describes.
    """
    from dlm.verification import verify as run

    outcomes = run(folder, kind, tell=click.echo)
    failed = sum(bool(outcome.problems) for outcome in outcomes)
    click.echo(f"{len(outcomes) - failed} passed, {failed} failed")
    if failed:
        sys.exit(1)
