"""The project itself as a test's subject: a copy of the checkout, and the table made in it."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

TARGET = "results/tables/table1.csv"


def copy_of(repository: Path, folder: Path) -> Path:
    """The checkout as it is, without what is computed or ignored: a fresh clone with the changes of the day."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=repository, capture_output=True, check=True, text=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (repository / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(repository / name, folder / name)
    return folder


def twin(project: Path, folder: Path) -> Path:
    """A copy of a project with all that was computed in it, for a test that changes it: nothing is left to do there."""
    return Path(shutil.copytree(project, folder, symlinks=True))


def again(project: Path, folder: Path) -> Path:
    """A copy of a copy: the same sources, whatever has become of the checkout since, and nothing computed."""
    computed = shutil.ignore_patterns("results", ".snakemake", ".cache", "__pycache__")
    return Path(shutil.copytree(project, folder, ignore=computed))


def command(*where: str) -> list[str]:
    """The command that a person types for the micro table."""
    return [str(Path(sys.executable).parent / "snakemake"), *where, TARGET, "--config", "scale=micro"]


def published(project: Path) -> bytes:
    """The published table."""
    return (project / TARGET).read_bytes()


def keep_rows(project: Path, models: Sequence[str]) -> None:
    """Leave the rows of these models in the table: enough for every stage, where the others would be made alike."""
    rows = yaml.safe_load((project / "params" / "tiny.yaml").read_text())["tables"]["table1"]["rows"]
    kept = {"tables": {"table1": {"rows": [row for row in rows if row["model"] in models]}}}
    with (project / "params" / "micro.yaml").open("a") as stream:
        stream.write("\n" + yaml.safe_dump(kept))


def cells(project: Path, models: Sequence[str]) -> list[dict[str, str]]:
    """What the published table says of these models."""
    return [row for row in csv.DictReader(published(project).decode().splitlines()) if row["model"] in models]


def make_table(folder: Path, environment: Mapping[str, str], *where: str) -> Path:
    """The micro table, made in a checkout."""
    done = subprocess.run(
        command(*where), cwd=folder, env=dict(environment), capture_output=True, text=True, timeout=1500
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / TARGET
