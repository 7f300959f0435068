"""One update of a small network with Muon's iterations in float32, beside the same in bfloat16.

    python benchmarks/muon.py [--updates N]

The network is Table 3's at the tiny scale (Qwen3's architecture, hidden 96, 3 layers), on one thread: 32 rows of 96
tokens, forward, backward and the step of the optimizer. The two take turns, update by update, in one process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

import common

ROWS, LENGTH, VOCABULARY = 32, 96, 512


def main() -> None:
    import torch
    import transformers

    from dlm.models import Conventions, Denoiser
    from dlm.settings import MDLM, Muon, Recipe
    from dlm.training.optimizer import make_optimizer

    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--updates", type=int, default=30)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    config = transformers.Qwen3Config(
        vocab_size=VOCABULARY, hidden_size=96, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        head_dim=24, intermediate_size=256, max_position_embeddings=128, use_cache=False, tie_word_embeddings=False,
    )  # fmt: skip
    runs: dict[str, Any] = {}
    for precision in ("bf16", "fp32"):
        torch.manual_seed(0)
        network = transformers.Qwen3ForCausalLM(config)
        denoiser = Denoiser(network, None, Conventions(mask_token_id=0, shift=False, objective="none"))
        recipe = Recipe(
            objective=MDLM(), loss_on="all", max_length=LENGTH, steps=1, batch_size=ROWS, learning_rate=2e-3,
            muon=Muon(), precision=precision,
        )  # fmt: skip
        runs[precision] = (denoiser, make_optimizer(denoiser, recipe))
    tokens_BL = torch.randint(4, VOCABULARY, (ROWS, LENGTH), generator=torch.Generator().manual_seed(0))
    seconds: dict[str, list[dict[str, float]]] = {precision: [] for precision in runs}
    for _ in range(chosen.updates + 2):
        for precision, (denoiser, optimizer) in runs.items():
            began = time.perf_counter()
            optimizer.zero_grad()
            logits_BLV = denoiser.model(input_ids=tokens_BL).logits
            torch.nn.functional.cross_entropy(logits_BLV.flatten(0, 1), tokens_BL.flatten()).backward()
            learned = time.perf_counter()
            optimizer.step()
            ended = time.perf_counter()
            seconds[precision].append({"update": ended - began, "step of the optimizer": ended - learned})
    kept = {precision: rounds[2:] for precision, rounds in seconds.items()}  # the first two warm up
    medians = {
        precision: {part: statistics.median(made[part] for made in rounds) for part in rounds[0]}
        for precision, rounds in kept.items()
    }
    result = {
        "network": f"Qwen3, hidden 96, 3 layers; {ROWS} rows of {LENGTH} tokens, one thread",
        "updates": chosen.updates,
        "median seconds": {p: {part: round(value, 4) for part, value in m.items()} for p, m in medians.items()},
        "ratios float32 / bfloat16": {
            part: round(medians["fp32"][part] / medians["bf16"][part], 3) for part in medians["fp32"]
        },
    }
    path = common.record("muon", result)
    print(json.dumps(result, indent=2))
    print(path)


if __name__ == "__main__":
    main()
