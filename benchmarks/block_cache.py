"""What does the exact cache of block diffusion save? The same answers with it and without.

    python benchmarks/block_cache.py

A network of random weights at vocabulary 32k, hidden 256, 6 layers; 64 new tokens in blocks of 16, one token a pass,
four prompts of 96 to 160 tokens, one thread. Without the cache each pass computes prompt and answer anew. The median of
some rounds, in which the two take turns, in seconds of this process's own time: other load on the machine shows less.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import torch
from common import demand, record
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from dlm.models import Conventions, Denoiser
from dlm.sampling import Sampler
from dlm.settings import GrowingCanvas, SamplerSettings, ScheduleSelector

PARITY = Path(__file__).resolve().parent.parent / "tests" / "parity" / "checkpoints" / "llada"
VOCABULARY, HIDDEN, LAYERS, BLOCK, LENGTH = 32768, 256, 6, 16, 64
PROMPTS = (96, 118, 139, 160)
ROUNDS, SEED = 5, 0


def make_model() -> Denoiser:
    """A bidirectional Llama of random weights."""
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=4 * HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        max_position_embeddings=512,
        initializer_range=0.2,  # decisions far from ties
    )
    config.is_causal = False
    tokenizer = PreTrainedTokenizerFast.from_pretrained(str(PARITY))
    conventions = Conventions(mask_token_id=VOCABULARY - 1, shift=False, objective="bd3lm", block_size=BLOCK)
    return Denoiser(LlamaForCausalLM(config), tokenizer, conventions).eval()


def main() -> None:
    torch.set_num_threads(1)
    model, generator = make_model(), torch.Generator().manual_seed(SEED)
    prompts = [torch.randint(0, VOCABULARY - 1, (length,), generator=generator).tolist() for length in PROMPTS]
    seconds: dict[str, list[float]] = {"exact": [], "none": []}
    answers: dict[str, Any] = {}
    for _ in range(ROUNDS + 1):
        for cache in ("exact", "none"):
            canvas = GrowingCanvas(max_new_tokens=LENGTH, block_size=BLOCK, cache=cache)  # type: ignore[arg-type]
            sampler = Sampler(model, SamplerSettings(canvas=canvas, selector=ScheduleSelector(steps=LENGTH)))
            began = time.process_time()
            answers[cache] = [sample.tokens for sample in sampler.sample(prompts)]
            seconds[cache].append(time.process_time() - began)
    middle = {cache: statistics.median(taken[1:]) for cache, taken in seconds.items()}  # the first round warms up
    result = {
        "what": "Block diffusion with an exact cache and without: process seconds, four answers of 64 tokens.",
        "cache_exact_s": round(middle["exact"], 3),
        "cache_none_s": round(middle["none"], 3),
        "rounds": {cache: [round(each, 3) for each in taken[1:]] for cache, taken in seconds.items()},
        "forward_passes": LENGTH,
        "ratio": round(middle["none"] / middle["exact"], 2),
    }
    print(record("block_cache", result))
    print(f"without the cache {result['ratio']} times the time of with it")
    demand({"an exact cache gives the tokens of no cache": answers["exact"] == answers["none"]})


if __name__ == "__main__":
    main()
