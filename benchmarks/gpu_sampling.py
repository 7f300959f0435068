"""How many tokens a second does the sampler give on a GPU, beside the chip's floor? An 8B network of LLaDA's shape.

    python benchmarks/gpu_sampling.py [--small] [--rounds N] [--compile] [--batches 1 8 32]

Random weights in bfloat16, prompts of 512 tokens, 256 new ones in blocks of 32, without a cache and with Fast-dLLM's
prefix and dual caches, 1 and 3 tokens a pass (random weights never reach a threshold), in batches of 1, 8 and 32. The
seconds are those of the whole call, the device waited for; the median of the rounds, after one that is not counted.

The floor is, pass by pass, the larger of two times: the operations of the matrix products at the rate of a large
product, and the bytes that must be moved (weights, the keys and values that a cache keeps, the logits of open positions
written and read) at the rate of reading a large array. Both rates are measured here first.

Needs torch and transformers alone, and this repository on the path. `--small` runs the same on a CPU at a small size,
in seconds; its figures say nothing. `--compile` compiles the network's body (torch.compile) before it is timed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from common import record
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from dlm.models import Conventions, Denoiser
from dlm.sampling import Sampler
from dlm.settings import ApproximateCache, EvenSelector, FullCanvas, SamplerSettings

SEED, WARM_UP = 0, 1
CACHES = {
    "none": None,
    "prefix": ApproximateCache(kind="approximate_prefix"),
    "dual": ApproximateCache(kind="approximate_dual"),
}


@dataclass(frozen=True)
class Size:
    """A network, and what is asked of it; lengths are in tokens."""

    vocabulary: int = 126464
    hidden: int = 4096
    layers: int = 32
    heads: int = 32
    inner: int = 12288
    prompt: int = 512
    answer: int = 256
    block: int = 32
    batches: tuple[int, ...] = (1, 8, 32)
    per_pass: tuple[int, ...] = (1, 3)
    dtype: torch.dtype = torch.bfloat16

    @property
    def canvas(self) -> int:
        """Columns of the whole canvas."""
        return self.prompt + self.answer


LLADA_8B = Size()
SMALL = Size(
    vocabulary=128, hidden=32, layers=1, heads=4, inner=64, prompt=16, answer=16, block=8, batches=(1, 2),
    dtype=torch.float32,
)  # fmt: skip


def make_model(size: Size, device: torch.device) -> Denoiser:
    """A bidirectional Llama of random weights, made on the device."""
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        intermediate_size=size.inner,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        max_position_embeddings=2 * size.canvas,
        tie_word_embeddings=False,
        dtype=size.dtype,
    )
    config.is_causal = False
    before = torch.get_default_dtype()
    torch.set_default_dtype(size.dtype)
    try:
        with device:
            network = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    conventions = Conventions(mask_token_id=size.vocabulary - 1, shift=False, objective="mdlm")
    return Denoiser(network, make_tokenizer(), conventions).eval()


def make_tokenizer() -> Any:
    """A tokenizer that knows an end and nothing else: prompts are token ids here."""
    from tokenizers import Tokenizer, models

    words = Tokenizer(models.WordLevel({"<end>": 0}, unk_token="<end>"))
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>", pad_token="<end>", unk_token="<end>")


def settings_of(size: Size, cache: str, per_pass: int) -> SamplerSettings:
    """LLaDA's decoding by blocks, each in as few steps as commit so many tokens at the most."""
    steps = -(-size.block // per_pass) * (size.answer // size.block)
    canvas = FullCanvas(max_new_tokens=size.answer, block_size=size.block, cache=CACHES[cache])
    return SamplerSettings(canvas=canvas, selector=EvenSelector(steps=steps))


def passes(size: Size, cache: str, per_pass: int) -> Iterator[tuple[int, int, bool]]:
    """Yield of each pass the columns that it computes, those of them that are open, and whether it reads a cache."""
    steps = -(-size.block // per_pass)
    for begin in range(size.prompt, size.canvas, size.block):
        left = size.block
        for step in range(steps):
            part = {"none": size.canvas, "prefix": size.canvas - begin, "dual": size.block}[cache]
            cached = cache != "none" and step > 0
            yield part if cached else size.canvas, left, cached
            left -= size.block // steps + (step < size.block % steps)


def floor_seconds(size: Size, cache: str, per_pass: int, batch: int, rates: dict[str, float]) -> float:
    """The least seconds that the passes take."""
    width = torch.finfo(size.dtype).bits // 8
    body = size.layers * (4 * size.hidden**2 + 3 * size.hidden * size.inner)
    head = size.hidden * size.vocabulary
    seconds = 0.0
    for columns, opened, cached in passes(size, cache, per_pass):
        attention = 4 * size.layers * size.hidden * size.canvas  # a column's products with keys and with values
        operations = batch * (columns * (2 * body + attention) + opened * 2 * head)
        kept = batch * 2 * size.layers * size.canvas * size.hidden if cached else 0
        moved = width * (body + head + kept) + 4 * 2 * batch * opened * size.vocabulary
        seconds += max(operations / rates["operations per second"], moved / rates["bytes per second"])
    return seconds


def measured_rates(size: Size, device: torch.device, rounds: int) -> dict[str, float]:
    """Operations per second of a large matrix product in the network's type, bytes per second of reading an array."""
    large, many = (8192, 1 << 30) if device.type == "cuda" else (256, 1 << 20)
    one = torch.randn(large, large, dtype=size.dtype, device=device)
    array = torch.randn(many, device=device)
    return {
        "operations per second": 2 * large**3 / median_seconds(lambda: one @ one, device, rounds),
        "bytes per second": 4 * many / median_seconds(lambda: array.sum(), device, rounds),
    }


def median_seconds(work: Callable[[], Any], device: torch.device, rounds: int) -> float:
    """The median seconds of some work, the device waited for."""
    seconds = []
    for number in range(WARM_UP + rounds):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if number >= WARM_UP:
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def measure(size: Size, device: torch.device, rounds: int, *, compiled: bool) -> dict[str, Any]:
    """Tokens per second of every cache, tokens per pass and batch, beside the floor's."""
    rates = measured_rates(size, device, rounds)
    model = make_model(size, device)
    if compiled:
        model.model.base_model.compile(dynamic=True)
    draw = torch.Generator().manual_seed(SEED)
    rows = []
    for batch in size.batches:
        prompts = torch.randint(1, size.vocabulary - 1, (batch, size.prompt), generator=draw).tolist()
        for per_pass in size.per_pass:
            for cache in CACHES:
                sampler = Sampler(model, settings_of(size, cache, per_pass), batch_size=batch)
                seconds = median_seconds(partial(sampler.sample, prompts), device, rounds)
                least, tokens = floor_seconds(size, cache, per_pass, batch, rates), batch * size.answer
                row = {
                    "batch": batch,
                    "tokens per pass": per_pass,
                    "cache": cache,
                    "tokens per second": round(tokens / seconds, 2),
                    "floor's tokens per second": round(tokens / least, 2),
                    "times the floor": round(seconds / least, 2),
                }
                rows.append(row)
                print(json.dumps(row), flush=True)
    peak = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {"device": name, "compiled": compiled, "rates": rates, "peak_memory_gib": peak, "rows": rows}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--small", action="store_true", help="a small network on a CPU; nothing is recorded")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--compile", action="store_true")
    options.add_argument("--batches", type=int, nargs="+", help="instead of 1, 8 and 32")
    chosen = options.parse_args()
    if not chosen.small and not torch.cuda.is_available():
        sys.exit("no GPU here; --small runs the same on a CPU at a small size")
    size, device = (SMALL, torch.device("cpu")) if chosen.small else (LLADA_8B, torch.device("cuda"))
    if chosen.batches:
        size = Size(**{**vars(size), "batches": tuple(chosen.batches)})
    result = measure(size, device, chosen.rounds, compiled=chosen.compile)
    told = {key: str(value) for key, value in vars(size).items()}
    if not chosen.small:
        print(record("gpu_sampling", {"size": told, "rounds": chosen.rounds, **result}))


if __name__ == "__main__":
    main()
