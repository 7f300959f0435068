"""`dlm publish`: a checkpoint as a hub wants it."""

from __future__ import annotations

from pathlib import Path

import click

from dlm.cli.common import pipeline, pipeline_options
from dlm.cli.converting import megabytes
from dlm.progress import say


@click.command()
@click.argument("name")
@click.argument("dest", type=click.Path(path_type=Path))
@click.option("--upload", "repository", metavar="REPO", help="Then send DEST to this repository of the hub.")
@click.option("--public", is_flag=True, help="With --upload: a repository that is made now is everybody's to see.")
@click.option("--license", "license_id", metavar="ID", help="The hub's word for the licence, for the card.")
@pipeline_options
def publish(
    name: str, dest: Path, repository: str | None, public: bool, license_id: str | None, scale: str, log: Path | None
) -> None:
    """Pack the checkpoint NAME into the folder DEST: its files, and a model card written from its lineage."""
    if public and repository is None:
        raise click.UsageError("--public goes with --upload")
    dest = dest.absolute()
    with pipeline(scale, log) as plan, megabytes(f"publish {name}") as watch:
        from dlm.publishing import pack, upload
        from dlm.publishing.uploading import check_repository

        if repository is not None:
            check_repository(repository)  # before gigabytes are copied
        pack(plan, name, dest, repository=repository, license_id=license_id, watch=watch)
        say(f"publish {name}: packed in {dest}")
        if repository is not None:
            say(f"publish {name}: {upload(dest, repository, private=not public)}")
