"""Clones of the project with the outputs of every stage of dvc.yaml, made up: DVC's part of them is real."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from micro_project import copy_of

FOLDER_OF_RESPONSES = 25
"""Response files beside each other; a bundle of the pipeline has three."""


def surroundings(project: Path) -> dict[str, str]:
    """The environment of a person who works in a clone, and whom git knows."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(project),
        "HOME": str(project.parent / "home"),
        "XDG_CACHE_HOME": str(project / ".cache"),
    }
    for role in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{role}_NAME": "A person", f"GIT_{role}_EMAIL": "a.person@example.org"}
    return environment


def try_run(project: Path, *command: str) -> tuple[int, str]:
    """Run a command as a person does in the environment; return its exit code and what it printed."""
    done = subprocess.run(
        command, cwd=project, env=surroundings(project), capture_output=True, text=True, timeout=1200
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def run(project: Path, *command: str) -> str:
    """Run a command that has to end well; return what it printed."""
    code, printed = try_run(project, *command)
    assert code == 0, printed[-8000:]
    return printed


def commit(project: Path) -> None:
    """Commit all that git does not ignore."""
    run(project, "git", "add", "-A")
    run(project, "git", "commit", "-qm", "a commit")


def with_outputs(repository: Path, folder: Path, responses: int = 3, weights: int = 1000) -> Path:
    """A clone with an output for each stage, which DVC has stored, and a commit that says so.

    Args:
        repository: to copy the project from.
        folder: of the clone.
        responses: how many files of them.
        weights: bytes of the checkpoint.
    """
    project = copy_of(repository, folder)
    (folder.parent / "home").mkdir(exist_ok=True)
    base = project / "results" / "tiny"
    write(base / "data" / "corpus" / "train.jsonl", 1000)
    write(base / "checkpoints" / "model" / "model.safetensors", weights)
    (base / "checkpoints" / "model" / "manifest.json").write_text("{}\n")
    curve = [f'{{"step": {step}, "loss": {4 / step}}}\n{{"step": {step}, "eval_loss": {5 / step}}}' for step in (1, 2)]
    (base / "checkpoints" / "model" / "curves.jsonl").write_text("\n".join(curve) + "\n")
    for number in range(responses):
        place = f"{number // FOLDER_OF_RESPONSES}/records-{number % FOLDER_OF_RESPONSES}.jsonl"
        write(base / "responses" / "model" / place, 2000)
    write(base / "scores" / "model" / "1" / "scores.json", 1000)
    table(project, {"value": 0.5, "stderr": 0.05})
    run(project, "dlm", "runs", "curves")
    run(project, "dlm", "plan", "table1", "--digests", "--out", str(base / "plan.json"))
    run(project, "git", "init", "-q")
    run(project, "dvc", "commit", "--force", "--quiet")
    commit(project)
    return project


def table(project: Path, figures: Mapping[str, float]) -> None:
    """Write the files of a table with one cell."""
    content = str(dict(figures)).replace("'", '"')
    for folder in (project / "results" / "tiny" / "tables", project / "results" / "tables"):
        folder.mkdir(parents=True, exist_ok=True)
        for suffix in (".csv", ".md", ".lineage.json", ".speed.csv"):
            (folder / f"table1{suffix}").write_text(f"{suffix} {content}\n")
        metrics = f'{{"model": {{"sudoku": {{"answer48": {content}}}}}}}\n'
        (folder / "table1.metrics.json").write_text(metrics)


def write(path: Path, size: int) -> None:
    """Write a file of ``size`` bytes like no other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        for begun in range(0, size, 1 << 24):
            stream.write(os.urandom(min(1 << 24, size - begun)))
