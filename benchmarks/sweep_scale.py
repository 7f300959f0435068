"""What large sweeps cost before and beside sampling: the plan of 10,000 settings, and a job of many settings.

    python benchmarks/sweep_scale.py                        the plan alone
    python benchmarks/sweep_scale.py --job CHECKPOINT DATA  and a worker's job, with a finished checkpoint of the tiny
                                                            scale and its prepared data (results/tiny/data)

The plan: `snakemake -n` of a sweep of 10,000 settings in a copy of this project: seconds, memory at the peak, jobs.
The job: 240 settings on 2 tasks of 50 documents, sampled by one worker: how often weights were loaded, seconds of the
whole and of the sampling that its records have. Then one value more of one factor, 4 settings: how many requests were
sampled, and what it took to find all others recorded. Seconds of the processor stand beside those of the clock, which
are others' too on a machine that is busy. A trial with fewer settings (`--settings 8`) leaves the record as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import demand, record

REPOSITORY = Path(__file__).resolve().parents[1]
SETTINGS = 10_000
JOB, SEEDS, DOCUMENTS, TASKS = 240, 4, 50, ("countdown", "sudoku")
SECONDS, GIB, MOST_JOBS, OVERHEAD = 60, 2, 99, 0.15
ROW = "[{model: llada-instruct-sft, label: LLaDA, sampler: %s}]"
SWEEP = """
title: "Many settings"
factors:
  temperature: {temperatures}
  seed: {seeds}
scales:
  tiny: {{rows: {row}, tasks: {tasks}, limit: {limit}}}
"""


def main() -> None:
    """Measure, write the record, and end with what does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", nargs=2, type=Path, metavar=("CHECKPOINT", "DATA"))
    parser.add_argument("--settings", type=int, default=JOB, help=f"Of the job, a multiple of {SEEDS}.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = project_copy(Path(folder))
        result: dict[str, Any] = {"plan": plan(project)}
        if arguments.job:
            result["job"] = job(project, *(path.resolve() for path in arguments.job), arguments.settings)
    print(json.dumps(result))
    if arguments.settings == JOB:
        record("sweep_scale", result)
    holds = {
        f"plan below {SECONDS} s of the processor": result["plan"]["processor seconds"] < SECONDS,
        f"plan below {GIB} GiB": result["plan"]["GiB at the peak"] < GIB,
        "tens of sampling jobs": 10 <= result["plan"]["sampling jobs"] <= MOST_JOBS,
    }
    if found := result.get("job"):
        holds |= {
            "weights are loaded once": found["loads"] == 1,
            f"overhead at most {OVERHEAD:.0%}": found["overhead"] <= OVERHEAD,
            "one more value samples its own requests alone": found["one more value"]["requests sampled"]
            == SEEDS * len(TASKS) * DOCUMENTS,
        }
    demand(holds)


def project_copy(folder: Path) -> Path:
    """Copy what Snakemake reads."""
    for name in ("params", "workflow", "profiles", "data"):
        shutil.copytree(REPOSITORY / name, folder / name)
    shutil.copy(REPOSITORY / "Snakefile", folder / "Snakefile")
    return folder


def write_sweep(project: Path, temperatures: int, seeds: int, tasks: str, limit: int, sampler: str) -> None:
    """Write the sweep `many`: temperatures × seeds."""
    content = SWEEP.format(
        temperatures=[round(index / 100, 2) for index in range(temperatures)],
        seeds=list(range(seeds)),
        row=ROW % sampler,
        tasks=tasks,
        limit=limit,
    )
    (project / "params" / "sweeps" / "many.yaml").write_text(content)


def plan(project: Path) -> dict[str, Any]:
    """Measure `snakemake -n` of 10,000 settings."""
    write_sweep(project, 100, SETTINGS // 100, "[countdown]", 50, "own")
    command = [sys.executable, "-m", "snakemake", "-n", "results/tables/sensitivity_many.csv"]
    done, spent = measured(command, project)
    jobs = sum(" sample llada" in line for line in (done.stdout + done.stderr).splitlines())
    return {"settings": SETTINGS, **spent, "sampling jobs": jobs}


def job(project: Path, checkpoint: Path, data: Path, settings: int) -> dict[str, Any]:
    """Measure a worker's job of many settings on 2 tasks of 50 documents, and again with one value more."""
    base = project / "results" / "tiny"
    shutil.copytree(checkpoint, base / "checkpoints" / "llada-instruct-sft")
    for name in TASKS:
        shutil.copytree(data / name, base / "data" / name)
    temperatures = settings // SEEDS
    first, before = sampled(project, temperatures), records(base)
    more, after = sampled(project, temperatures + 1), records(base)
    sampling = sum(before.values())
    return {
        "settings": settings,
        "tasks": len(TASKS),
        "documents": DOCUMENTS,
        **first,
        "requests": len(before),
        "seconds of sampling": round(sampling, 1),
        "overhead": round(first["seconds"] / sampling - 1, 3),
        "one more value": {
            **more,
            "requests sampled": len(after.keys() - before.keys()),
            "seconds of sampling": round(sum(after[what] for what in after.keys() - before.keys()), 1),
        },
    }


def sampled(project: Path, temperatures: int) -> dict[str, Any]:
    """Sample the sweep with so many temperatures; return what it took and how often weights were loaded."""
    write_sweep(project, temperatures, SEEDS, f"[{', '.join(TASKS)}]", DOCUMENTS, "answer48")
    command = [sys.executable, "-c", COUNTING, "sample", "llada-instruct-sft", "--table", "sensitivity_many"]
    done, spent = measured(command, project)
    return {**spent, "loads": int(done.stdout.split("loads ")[-1])}


def records(base: Path) -> dict[str, float]:
    """Return the seconds of every recorded answer, by its fingerprint."""
    lines = (
        json.loads(line)
        for path in base.glob("responses/*/*/records.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    )
    return {line["what"]: line["seconds"] for line in lines if line["kind"] == "generate"}


COUNTING = """
import atexit, sys
import dlm.models
loads, load = [], dlm.models.load_denoiser
dlm.models.load_denoiser = lambda *given: loads.append(1) or load(*given)
atexit.register(lambda: print("loads", len(loads)))
from dlm.cli import main
main()
"""


def measured(command: list[str], project: Path) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """Run a command in the project; return it with its seconds and memory."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done, {
        "seconds": round(time.monotonic() - began, 1),
        "processor seconds": round(processor, 1),
        "GiB at the peak": round(after.ru_maxrss / 2**20, 2),
    }


if __name__ == "__main__":
    main()
