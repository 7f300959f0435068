"""What does a new token cost: by number of prompts, vocabulary and length? Beside it the floor, and a figure.

    python benchmarks/token_cost.py [--rounds N] [--out FOLDER]

LLaDA's sampler without a cache, one token a pass, on a network of random weights (hidden 256, 6 layers, float32), one
thread. A length is the whole canvas: the prompt and the NEW tokens that are sampled. What is measured is this process's
own time, in which other load shows less; the median of the rounds.

The floor is the larger of two times: the operations of the matrix products at the rate of a large product, and the
bytes that must be moved (the weights once a pass, the logits of open positions written and read once) at the rate of
reading a large array; both rates are measured here first. It counts the network over the whole canvas, since every
token sees every other, but the vocabulary projection on open positions only.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import RESULTS, record
from sampling_speed import HIDDEN, LAYERS, make_model

from dlm.sampling import Sampler
from dlm.settings import preset

PROMPTS, VOCABULARIES, LENGTHS = (1, 4, 16), (8192, 32768, 131072), (64, 256, 1024)
NEW = 8


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--out", type=Path, default=RESULTS, help="folder of the figure")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    rates = {"operations per second": operation_rate(), "bytes per second": byte_rate()}
    rows = []
    for vocabulary in VOCABULARIES:
        model = make_model("mdlm", vocabulary=vocabulary, positions=max(LENGTHS))
        for length in LENGTHS:
            for prompts in PROMPTS:
                seconds = sampling_seconds(model, prompts, length, chosen.rounds)
                row = {"vocabulary": vocabulary, "length": length, "prompts": prompts}
                row |= costs(seconds, floor_seconds(model, prompts, length, rates), prompts * NEW)
                rows.append(row)
                print(json.dumps(row), file=sys.stderr, flush=True)
    sizes = f"hidden {HIDDEN}, {LAYERS} layers, float32, one thread; {NEW} new tokens, one a pass"
    draw(rows, sizes, chosen.out)
    print(record("token_cost", {"sizes": sizes, "rounds": chosen.rounds, "rates": rates, "costs": rows}))


def sampling_seconds(model: Any, prompts: int, length: int, rounds: int) -> float:
    """Return the median seconds that NEW tokens for each of some prompts take."""
    draw = torch.Generator().manual_seed(length)
    texts = torch.randint(model.vocab_size - 1, (prompts, length - NEW), generator=draw).tolist()
    sampler = Sampler(model, preset("llada", max_new_tokens=NEW, block_size=None), batch_size=prompts)
    return median_seconds(lambda: sampler.sample(texts), rounds)


def floor_seconds(model: Any, prompts: int, length: int, rates: dict[str, float]) -> dict[str, float]:
    """Return the least seconds for the same, by operations and by bytes."""
    projection = model.model.get_output_embeddings().weight.numel()
    body = sum(weight.numel() for weight in model.model.model.layers.parameters())
    asked = prompts * NEW * (NEW + 1) / 2  # open positions, over all passes
    attention = 4 * LAYERS * HIDDEN * length  # a position's products with keys and with values
    operations = NEW * prompts * length * (2 * body + attention) + asked * 2 * projection
    size = 4  # bytes of a number
    moved = NEW * (body + projection) * size + asked * 2 * model.vocab_size * size
    return {
        "operations": operations / rates["operations per second"],
        "bytes": moved / rates["bytes per second"],
    }


def costs(seconds: float, floor: dict[str, float], tokens: int) -> dict[str, Any]:
    """Return milliseconds per new token: measured, least, and their ratio."""
    least = max(floor.values())
    return {
        "ms per token": round(1e3 * seconds / tokens, 4),
        "floor ms per token": round(1e3 * least / tokens, 4),
        "bound by": max(floor, key=lambda name: floor[name]),
        "times the floor": round(seconds / least, 2),
    }


def operation_rate() -> float:
    """Return the operations per second of a large matrix product."""
    one, other = torch.randn(2048, 1024), torch.randn(1024, 1024)
    return 2 * one.numel() * other.shape[1] / median_seconds(lambda: one @ other, 9)


def byte_rate() -> float:
    """Return the bytes per second of reading a large array."""
    large = torch.ones(1 << 27)
    return 4 * large.numel() / median_seconds(lambda: large.sum(), 9)


def median_seconds(work: Callable[[], Any], rounds: int) -> float:
    """Return the median of this process's time for the work, after one round that is not counted."""
    seconds = []
    for number in range(rounds + 1):
        began = time.process_time()
        work()
        if number:
            seconds.append(time.process_time() - began)
    return statistics.median(seconds)


def draw(rows: list[dict[str, Any]], sizes: str, folder: Path) -> None:
    """Draw the cost over the length, one panel a vocabulary, as PNG and SVG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import LogLocator

    matplotlib.rcParams["svg.hashsalt"] = "token_cost"  # the same file from the same numbers
    figure, axes = pyplot.subplots(1, len(VOCABULARIES), figsize=(11, 4), sharey=True, layout="constrained")
    for axis, vocabulary in zip(axes, VOCABULARIES, strict=True):
        for number, prompts in enumerate(PROMPTS):
            chosen = [row for row in rows if (row["vocabulary"], row["prompts"]) == (vocabulary, prompts)]
            lengths = [row["length"] for row in chosen]
            label = f"{prompts} prompt" + "s" * (prompts > 1)
            axis.plot(lengths, [row["ms per token"] for row in chosen], f"C{number}o-", label=label)
        # Of all numbers of prompts it is the same but for the weights, which a pass reads once.
        axis.plot(lengths, [row["floor ms per token"] for row in chosen], "kx:", label=f"floor, {prompts} prompts")
        axis.set(xscale="log", yscale="log", title=f"vocabulary {vocabulary:,}", xlabel="canvas (tokens)")
        axis.set_xticks(LENGTHS, [str(length) for length in LENGTHS])
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("processor time per new token (ms)")
    axes[-1].legend(fontsize="small")
    figure.suptitle(f"Masked diffusion without a cache: {sizes}", fontsize="medium")
    for kind in ("png", "svg"):
        figure.savefig(folder / f"token_cost.{kind}", dpi=150, metadata={"Date": None} if kind == "svg" else None)


if __name__ == "__main__":
    main()
