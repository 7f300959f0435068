"""What do many responses and a large checkpoint add to DVC's commands, where nothing has changed?

    python benchmarks/dvc_scale.py [--files N] [--gigabytes G] [--rounds R]

Two clones of the project with the outputs of every stage, which DVC has stored: a plain one, and a large one with N
response files and a checkpoint of G gigabytes. In both `dvc status` and `dvc repro` are run several times with nothing
to do, in turns. What is told is the time in each, and the difference of the medians, in seconds of the clock and of the
processor (user and system), since other work on the machine lengthens the first.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import common

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests")]

from dvc_project import surroundings, with_outputs  # noqa: E402

LIMIT = 20.0
"""Seconds that the large outputs may add to a command."""
STAGES = 6


def run(project: Path, *command: str) -> tuple[float, float]:
    """Run a command; return the seconds that it took, of the clock and of the processor."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=project, env=surroundings(project), capture_output=True, text=True)
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    if "repro" in command and done.stdout.count("didn't change, skipping") < STAGES:
        raise SystemExit(f"there was something to do: {done.stdout}")
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--files", type=int, default=10_000)
    options.add_argument("--gigabytes", type=float, default=2.0)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--folder", type=Path, help="Where the clones are made; some place with three times the size.")
    chosen = options.parse_args()
    seen: dict[str, Any] = {}
    added: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        size = round(chosen.gigabytes * 1e9)
        projects = {
            "plain": with_outputs(ROOT, Path(folder, "plain")),
            "large": with_outputs(ROOT, Path(folder, "large"), chosen.files, size),
        }
        for command in ("status", "repro"):
            times: dict[str, list[tuple[float, float]]] = {name: [] for name in projects}
            for _ in range(chosen.rounds):
                for name, project in projects.items():
                    times[name].append(run(project, "dvc", command))
            for index, clock in enumerate(("seconds", "processor seconds")):
                by_project = {name: [round(each[index], 2) for each in taken] for name, taken in times.items()}
                medians = {name: statistics.median(taken) for name, taken in by_project.items()}
                added[f"dvc {command}, {clock}"] = round(medians["large"] - medians["plain"], 2)
                seen[f"dvc {command}, {clock}"] = by_project
            print(command, times, file=sys.stderr, flush=True)
    result = {"response files": chosen.files, "checkpoint, bytes": size, "runs": seen, "added": added, "limit": LIMIT}
    print(common.record("dvc_scale", result))
    common.demand({f"{name}: no more than {LIMIT:g} added": value < LIMIT for name, value in added.items()})


if __name__ == "__main__":
    main()
