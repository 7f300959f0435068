"""Do two processes train as one? The same global batch in one process and in two that talk by gloo.

    python benchmarks/two_processes.py

Each objective trains by `dlm train`: in one process, an update in one pass; in two under DDP and in two under FSDP2
(launch/*.yaml), in micro-batches where the recipe has them. Compared are the losses of every record of the curves,
those of held-out rows among them, and the weights at the end.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import common

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "training"), str(ROOT / "tests")]

from safetensors.torch import load_file  # noqa: E402
from training_project import checkpoint, command, curves, make_project, run  # noqa: E402

RECIPES: dict[str, dict[str, Any]] = {
    "mdlm": {"objective": {"kind": "mdlm"}},
    "mdlm, in micro-batches": {"objective": {"kind": "mdlm"}, "micro_batch_size": 2},
    "mdlm, normalised by sequence": {
        "objective": {"kind": "mdlm"}, "normalisation": "sequence", "filler": "ignore", "micro_batch_size": 2,
    },
    "bd3lm": {"objective": {"kind": "bd3lm", "block_size": 4}, "filler": "eos_to_block"},
}  # fmt: skip
STEPS, LIMIT = 20, 1e-5


def differences(one: Path, two: Path) -> dict[str, float]:
    """Return the largest relative difference of a loss, and the largest difference of a weight."""
    losses = [
        abs(here[key] - there[key]) / abs(there[key])
        for here, there in zip(curves(two), curves(one), strict=True)
        for key in there
        if "loss" in key
    ]
    weights = load_file(checkpoint(one) / "model.safetensors")
    shared = load_file(checkpoint(two) / "model.safetensors")
    return {
        "losses": len(losses),
        "loss": max(losses),
        "weight": max(float((shared[name] - weights[name]).abs().max()) for name in weights),
    }


def main() -> None:
    seen: dict[str, dict[str, dict[str, float]]] = {}
    for name, recipe in RECIPES.items():
        with tempfile.TemporaryDirectory() as folder:
            projects = {
                kind: make_project(Path(folder) / kind, ROOT, steps=STEPS, evaluations=5, **{**recipe, **layout})
                for kind, layout in (("one", {"micro_batch_size": None}), ("ddp", {}), ("fsdp2", {}))
            }
            run(projects["one"], command(1))
            run(projects["ddp"], command(2, "torchrun"))
            run(projects["fsdp2"], command(2, "accelerate", str(ROOT / "launch" / "fsdp2.yaml")))
            seen[name] = {kind: differences(projects["one"], projects[kind]) for kind in ("ddp", "fsdp2")}
        print(name, seen[name], file=sys.stderr, flush=True)
    worst = max(shared["loss"] for pair in seen.values() for shared in pair.values())
    result = {
        "updates": STEPS,
        "differences": seen,
        "largest relative difference of a loss": worst,
        "limit": LIMIT,
    }
    print(common.record("two_processes", result))
    common.demand({f"losses differ by no more than {LIMIT:g}": worst <= LIMIT})


if __name__ == "__main__":
    main()
