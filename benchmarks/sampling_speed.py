"""How fast is the sampler, beside textbook implementations and beside the model alone? Identical answers throughout.

    python benchmarks/sampling_speed.py [--rounds N]

A network of random weights at vocabulary 32k, hidden 256, 6 layers; one thread; prompts of 96 to 160 tokens; the
implementations take turns, and what is compared is this process's own time, in which other load shows less.

* `masked_diffusion`: 64 new tokens in 64 steps, batch 4, beside 64 bare calls `model(input_ids)` of that shape and the
  textbook sampler (tests/textbook.py).
* `block_diffusion`: 64 new tokens in blocks of 16, 16 steps each, beside a textbook sampler that computes what stands
  before a block anew for each block.
* `early_stop`: 256 prompts whose answers end after 10 to 60 of 64 tokens, batch 16, beside the same sampler that keeps
  finished rows to the end. Where answers end is made up: the end token is given a high logit from there on.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import demand, record, run_alone
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import textbook  # noqa: E402

from dlm.models import Conventions, Denoiser  # noqa: E402
from dlm.sampling import Sampler  # noqa: E402
from dlm.settings import EndOfText, preset  # noqa: E402

VOCABULARY, HIDDEN, LAYERS, LENGTH, BLOCK, SEED = 32768, 256, 6, 64, 16, 0
LIMITS = {
    "masked_diffusion / bare calls": 0.60,
    "textbook / masked_diffusion": 3.0,
    "textbook / block_diffusion": 2.0,
    "kept / early_stop": 1.3,
}


def make_model(
    objective: str, kind: type[Denoiser] = Denoiser, *, vocabulary: int = VOCABULARY, positions: int = 512
) -> Denoiser:
    """A bidirectional Llama of random weights."""
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=HIDDEN, intermediate_size=4 * HIDDEN, num_hidden_layers=LAYERS,
        num_attention_heads=4, max_position_embeddings=positions, use_cache=False,
        initializer_range=0.2,  # decisions far from ties
    )  # fmt: skip
    config.is_causal = False
    tokenizer = PreTrainedTokenizerFast.from_pretrained(str(ROOT / "tests" / "parity" / "checkpoints" / "llada"))
    conventions = Conventions(mask_token_id=vocabulary - 1, shift=False, objective=objective, block_size=BLOCK)
    return kind(LlamaForCausalLM(config), tokenizer, conventions).eval()


def make_prompts(number: int) -> list[list[int]]:
    """Prompts of 96 to 160 tokens."""
    draw = random.Random(SEED)
    lengths = [96 + 64 * index // max(number - 1, 1) for index in range(number)]
    return [[draw.randrange(VOCABULARY - 1) for _ in range(length)] for length in lengths]


class Ending(Denoiser):
    """Its answers, of LENGTH positions on a whole canvas, end after 10 to 60 tokens: by the prompt's first token."""

    def logits(self, tokens_BL: Tensor, attention: Any, at_BL: Tensor, *more: Any, **options: Any) -> Tensor:
        logits_NV = super().logits(tokens_BL, attention, at_BL, *more, **options)
        valid_BL = torch.ones_like(at_BL) if attention is None else attention
        first_B = valid_BL.int().argmax(1)
        answer_B = first_B + valid_BL.sum(1) - LENGTH
        end_B = answer_B + 10 + tokens_BL.gather(1, first_B[:, None])[:, 0] % 51
        row_N, column_N = at_BL.nonzero(as_tuple=True)
        logits_NV[:, self.tokenizer.eos_token_id] = torch.where(column_N >= end_B[row_N], 1e4, -1e4)
        return logits_NV


def timed(
    work: dict[str, Callable[[], Any]], rounds: int, warm: bool = True
) -> tuple[dict[str, float], dict[str, Any]]:
    """Let the ways take turns; return the median seconds of each, and what it gave."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    given: dict[str, Any] = {}
    for number in range(0 if warm else 1, rounds + 1):
        for name, way in work.items():
            began = time.process_time()
            given[name] = way()
            if number:  # the first round warms up
                seconds[name].append(time.process_time() - began)
        print(f"round {number} of {rounds}: {seconds}", file=sys.stderr, flush=True)
    return {name: statistics.median(times) for name, times in seconds.items()}, given


def answers(sampler: Sampler, prompts: list[list[int]]) -> list[list[int]]:
    """The answers' tokens."""
    return [list(sample.tokens) for sample in sampler.sample(prompts)]


def masked_diffusion(rounds: int) -> dict[str, Any]:
    """Masked diffusion beside bare calls and the textbook."""
    model, prompts = make_model("mdlm"), make_prompts(4)
    longest = max(map(len, prompts)) + LENGTH
    rectangle_BL = torch.randint(0, VOCABULARY, (4, longest))

    @torch.inference_mode()
    def bare() -> None:
        for _ in range(LENGTH):
            model.model(input_ids=rectangle_BL)

    sampler = Sampler(model, preset("llada", max_new_tokens=LENGTH))
    options = {"new_tokens": LENGTH, "block_size": LENGTH, "steps": LENGTH, "mask": model.mask_token_id}
    seconds, given = timed(
        {
            "masked_diffusion": lambda: answers(sampler, prompts),
            "bare calls": bare,
            "textbook": lambda: textbook.masked_diffusion(model.model, prompts, **options),
        },
        rounds,
    )
    return {
        "seconds": seconds,
        "identical tokens": given["masked_diffusion"] == given["textbook"],
        "ratios": {
            "masked_diffusion / bare calls": seconds["masked_diffusion"] / seconds["bare calls"],
            "textbook / masked_diffusion": seconds["textbook"] / seconds["masked_diffusion"],
        },
    }


def block_diffusion(rounds: int) -> dict[str, Any]:
    """Block diffusion beside the textbook."""
    model, prompts = make_model("bd3lm"), make_prompts(4)
    settings = preset("bd3lm", max_new_tokens=LENGTH, block_size=BLOCK, stop=None)
    sampler = Sampler(model, settings)
    options = {"new_tokens": LENGTH, "block_size": BLOCK, "steps": BLOCK, "mask": model.mask_token_id}
    seconds, given = timed(
        {
            "block_diffusion": lambda: answers(sampler, prompts),
            "textbook": lambda: textbook.block_diffusion(model.model, prompts, **options),
        },
        rounds,
    )
    return {
        "seconds": seconds,
        "identical tokens": given["block_diffusion"] == given["textbook"],
        "ratios": {"textbook / block_diffusion": seconds["textbook"] / seconds["block_diffusion"]},
    }


def early_stop(rounds: int) -> dict[str, Any]:
    """Rows that leave when they are done, beside rows that stay."""
    model, prompts = make_model("mdlm", Ending), make_prompts(256)
    settings = preset("llada", max_new_tokens=LENGTH, block_size=8, stop=EndOfText())
    leaving = Sampler(model, settings, batch_size=16)
    kept = Sampler(model, settings, batch_size=16, keep_finished=True)
    seconds, given = timed(
        {"early_stop": lambda: answers(leaving, prompts), "kept": lambda: answers(kept, prompts)}, rounds, warm=False
    )
    return {
        "seconds": seconds,
        "identical tokens": given["early_stop"] == given["kept"],
        "mean answer": sum(map(len, given["kept"])) / len(prompts),
        "ratios": {"kept / early_stop": seconds["kept"] / seconds["early_stop"]},
    }


PARTS: dict[str, Callable[[int], dict[str, Any]]] = {
    "masked_diffusion": masked_diffusion,
    "block_diffusion": block_diffusion,
    "early_stop": lambda rounds: early_stop(1),  # minutes a round
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--part", choices=PARTS, help="only this one")
    chosen = options.parse_args()
    if chosen.part:
        torch.set_num_threads(1)
        print(json.dumps(PARTS[chosen.part](chosen.rounds)))
        return
    # What an earlier part left of a process's memory decides how often the next one has to ask the system for more.
    parts = {name: run_alone(__file__, "--part", name, "--rounds", str(chosen.rounds)) for name in PARTS}
    sizes = f"vocabulary {VOCABULARY}, hidden {HIDDEN}, {LAYERS} layers, one thread"
    print(record("sampling_speed", {"sizes": sizes, "limits": LIMITS, "rounds": chosen.rounds, **parts}))
    ratios = {name: ratio for part in parts.values() for name, ratio in part["ratios"].items()}
    met = {
        f"{name} {ratios[name]:.2f}, limit {limit}": ratios[name] <= limit if "bare" in name else ratios[name] >= limit
        for name, limit in LIMITS.items()
    }
    demand({**met, **{f"identical tokens in {name}": part["identical tokens"] for name, part in parts.items()}})


if __name__ == "__main__":
    main()
