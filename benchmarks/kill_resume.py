"""Does a training that was killed end with the same weights? Every family with every objective that it can learn by.

    python benchmarks/kill_resume.py [--seed N]

Each pair trains twice by `dlm train`, on one thread, in float32: once whole; once killed (SIGKILL to the process group)
when its state of a randomly chosen update is on the disk, then started again by the same command. Compared are the
digests of the two checkpoints: weights, tokenizer, config and loss curves, byte for byte.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import common

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "training"), str(ROOT / "tests")]

from training_project import checkpoint, command, make_project, run, start, states  # noqa: E402

from dlm.files import read_manifest  # noqa: E402

STEPS = 40
OBJECTIVES: dict[str, dict[str, Any]] = {
    "mdlm": {"kind": "mdlm"},
    "bd3lm": {"kind": "bd3lm", "block_size": 4},
    "mlm": {"kind": "mlm", "mask_rate": 0.3},
    "ar": {"kind": "ar"},
}
FAMILIES = {
    "llama": ("mdlm", "bd3lm", "ar"),
    "qwen2": ("mdlm", "bd3lm", "ar"),
    "qwen3": ("mdlm", "bd3lm", "ar"),
    "gpt2": ("mdlm", "bd3lm", "ar"),
    "modernbert": ("mdlm", "mlm"),
}


def interrupted(project: Path, after: int) -> str:
    """Kill a training once its state of update ``after`` is whole, start it again, return what the second one said."""
    process = start(project, command(1))
    while not any(_update(mark.parent) >= after for mark in states(checkpoint(project))):
        if process.poll() is not None:
            raise SystemExit(f"the training ended before update {after}: {process.communicate()[0][-2000:]}")
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if checkpoint(project).exists():
        raise SystemExit("the training was over before it was killed")
    return run(project, command(1))


def _update(state: Path) -> int:
    return int(state.name.rpartition("-")[2])


def try_pair(folder: Path, family: str, objective: str, after: int) -> dict[str, Any]:
    """Train a family by an objective whole and interrupted; return what was seen."""
    options: dict[str, Any] = {
        "network": family, "causal": objective == "ar", "objective": OBJECTIVES[objective], "steps": STEPS,
        "checkpoint_seconds": 0,
    }  # fmt: skip
    if objective == "bd3lm":
        options["filler"] = "eos_to_block"
    whole, killed = (make_project(folder / name, ROOT, **options) for name in ("whole", "killed"))
    run(whole, command(1))
    told = interrupted(killed, after)
    line = next((line for line in told.splitlines() if "continues at" in line), "")
    same = read_manifest(checkpoint(whole))["digest"] == read_manifest(checkpoint(killed))["digest"]
    return {"family": family, "objective": objective, "killed_after": after, "said": line, "identical": same}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    draw = random.Random(chosen.seed)
    seen = []
    for family, objectives in FAMILIES.items():
        for objective in objectives:
            with tempfile.TemporaryDirectory() as folder:
                seen.append(try_pair(Path(folder), family, objective, draw.randrange(1, STEPS - 5)))
            print(seen[-1], file=sys.stderr, flush=True)
    identical = sum(pair["identical"] for pair in seen)
    result = {"seed": chosen.seed, "updates": STEPS, "identical": identical, "of": len(seen), "pairs": seen}
    print(common.record("kill_resume", result))
    if identical < len(seen):
        raise SystemExit(f"{len(seen) - identical} of {len(seen)} resumed trainings differ")


if __name__ == "__main__":
    try:
        main()
    except subprocess.TimeoutExpired as error:
        raise SystemExit(f"{error.cmd}: took longer than {error.timeout} s") from error
