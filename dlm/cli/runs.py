"""``dlm runs``: the results in MLflow."""

from __future__ import annotations

import click

from dlm.cli.common import enter_project, scale_option
from dlm.progress import say


@click.group()
def runs() -> None:
    """Show the results in MLflow: on the server that MLFLOW_TRACKING_URI names, else in this clone's own store."""


shown_scales = click.option("--scale", "scales", multiple=True, help="Only this scale's; may be given several times.")


@runs.command()
@shown_scales
def sync(scales: tuple[str, ...]) -> None:
    """Bring every finished training and evaluation into MLflow, each once."""
    root = enter_project()
    from dlm.tracking import sync as sync_runs

    say(f"runs sync: {sync_runs(root, scales)}")


@runs.command()
@shown_scales
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the UI; 5000, or a free one, where none is given.")
def ui(scales: tuple[str, ...], port: int | None) -> None:
    """Sync, then open MLflow's UI on the runs."""
    root = enter_project()
    from dlm.tracking import serve

    serve(root, scales, port)


@runs.command()
@scale_option
def curves(scale: str) -> None:
    """Write the trainings' loss curves as CSV files under results/SCALE/curves, which `dvc plots` draws."""
    root = enter_project()
    from dlm.tracking.curves import write_curves

    say(f"runs curves: {len(write_curves(root, scale))} files in results/{scale}/curves")


@runs.command()
@click.argument("name")
@scale_option
def model(name: str, scale: str) -> None:
    """Make checkpoint NAME an MLflow model that refers to its folder, for `mlflow models serve`."""
    root = enter_project()
    from dlm.tracking.models import write_model

    folder = write_model(root, scale, name).relative_to(root.resolve())
    say(f"runs model: {folder} refers to results/{scale}/checkpoints/{name}; to serve it:")
    say(f"mlflow models serve --env-manager local --model-uri {folder} --port 5001")
