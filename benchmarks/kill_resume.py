"""Does a training that was killed end with the same weights? Every family with every objective that it can learn by.

    python benchmarks/kill_resume.py [--seed N]

Each pair trains twice by `dlm train`, on one thread, in float32: once whole; once killed (SIGKILL to the process group)
a random time after its first state is on the disk, then started again by the same command. States are saved every few
updates, so that those since the last one are lost and done again, and some kills fall into a saving. Compared are the
digests of the two checkpoints: weights, tokenizer, config and loss curves, byte for byte.
"""

from __future__ import annotations

import argparse
import json
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
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "training"), str(ROOT / "tests")]

from doubles import small_encoder  # noqa: E402
from training_project import NAME, checkpoint, command, make_project, run, start, states  # noqa: E402

from dlm.files import read_manifest  # noqa: E402
from dlm.models import save_denoiser  # noqa: E402

STEPS = 200
BETWEEN = 0.3
"""Seconds between two states; an update takes some hundredths."""
LATEST = 1.0
"""Seconds after the first state until which a kill may fall."""
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
    "bert": ("mdlm", "mlm"),
    "roberta": ("mdlm", "mlm"),
}


def interrupted(project: Path, delay: float) -> dict[str, Any]:
    """Kill a training ``delay`` seconds after its first state is whole, start it again; return what was seen."""
    process = start(project, command(1))
    while not states(checkpoint(project)):
        if process.poll() is not None:
            raise SystemExit(f"the training ended before it saved a state: {process.communicate()[0][-2000:]}")
        time.sleep(0.002)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGKILL)
    now = time.time()
    process.wait()
    if checkpoint(project).exists():
        raise SystemExit("the training was over before it was killed")
    newest = max(states(checkpoint(project)), key=_update)
    work = newest.parent.parent
    seen = {
        "state": _update(newest),
        "lost_updates": _lost(json.loads(newest.read_text()), now),
        "killed_while_saving": any(_update(folder / "x") > _update(newest) for folder in work.glob("checkpoint-*")),
    }
    told = run(project, command(1))
    return {**seen, "said": next((line for line in told.splitlines() if "continues at" in line), "")}


def _lost(mark: dict[str, Any], now: float) -> int | None:
    """Return about how many updates were done since a state: by the pace between its first and last record.

    None where it holds no two records to tell a pace by.
    """
    steps, times = [record["step"] for record in mark["records"]], mark["times"]
    if len(times) < 2:
        return None
    return round((steps[-1] - steps[0]) / (times[-1] - times[0]) * (now - times[-1]))


def _update(mark: Path) -> int:
    return int(mark.parent.name.rpartition("-")[2])


def encoder(project: Path, family: str) -> None:
    """Give a project a BERT or RoBERTa to start from, dropout 0.1: the params make no such networks themselves."""
    params = project / "params" / f"{NAME}.yaml"
    scale = yaml.safe_load(params.read_text())
    scale["checkpoints"]["encoder"] = scale["checkpoints"][NAME]
    scale["checkpoints"][NAME] = {**scale["checkpoints"][NAME], "start": "encoder"}
    params.write_text(yaml.safe_dump(scale))
    folder = checkpoint(project).with_name("encoder")
    folder.mkdir(parents=True)
    save_denoiser(small_encoder(family), folder, name="encoder", made_from={})


def try_pair(folder: Path, family: str, objective: str, delay: float) -> dict[str, Any]:
    """Train a family by an objective whole and interrupted; return what was seen."""
    options: dict[str, Any] = {
        "network": family, "causal": objective == "ar", "objective": OBJECTIVES[objective], "steps": STEPS,
        "checkpoint_seconds": BETWEEN,
    }  # fmt: skip
    if objective == "bd3lm":
        options["filler"] = "eos_to_block"
    if made := family in ("bert", "roberta"):
        del options["network"]
    whole, killed = (make_project(folder / name, ROOT, **options) for name in ("whole", "killed"))
    for project in (whole, killed) if made else ():
        encoder(project, family)
    run(whole, command(1))
    seen = interrupted(killed, delay)
    same = read_manifest(checkpoint(whole))["digest"] == read_manifest(checkpoint(killed))["digest"]
    return {"family": family, "objective": objective, **seen, "identical": same}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--family", choices=sorted(FAMILIES), help="Try this one only, and record nothing.")
    chosen = options.parse_args()
    draw = random.Random(chosen.seed)
    seen = []
    for family, objectives in FAMILIES.items():
        for objective in objectives if chosen.family in (None, family) else ():
            with tempfile.TemporaryDirectory() as folder:
                seen.append(try_pair(Path(folder), family, objective, draw.uniform(0, LATEST)))
            print(seen[-1], file=sys.stderr, flush=True)
    identical = sum(pair["identical"] for pair in seen)
    result = {
        "seed": chosen.seed,
        "updates": STEPS,
        "identical": identical,
        "of": len(seen),
        "updates done again, about": sum(pair["lost_updates"] or 0 for pair in seen),
        "killed while saving": sum(pair["killed_while_saving"] for pair in seen),
        "pairs": seen,
    }
    if chosen.family is None:
        print(common.record("kill_resume", result))
    if identical < len(seen):
        raise SystemExit(f"{len(seen) - identical} of {len(seen)} resumed trainings differ")


if __name__ == "__main__":
    try:
        main()
    except subprocess.TimeoutExpired as error:
        raise SystemExit(f"{error.cmd}: took longer than {error.timeout} s") from error
