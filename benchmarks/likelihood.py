"""What does sharing save where likelihoods of given answers are asked? Passes and time, at the same standard error.

    python benchmarks/likelihood.py

Networks of random weights, one thread, seconds of this process's own time; the ways take turns, and the median is told.

`one_token`: 200 questions with four choices of one token, after contexts of 60 to 120 tokens (vocabulary 32768, hidden
256, 6 layers). One exact pass a choice, in batches of equal size sorted by length, beside this project's way.

`several_tokens`: 20 questions with four choices of 2 to 10 tokens, after contexts of 40 to 80 (vocabulary 8192, hidden
128, 4 layers). One request at a time, its 32 maskings in a batch, a row each, drawn as ML-GSAI/LLaDA draws them,
beside this project's way with as many samples as give the same error or less: the error is the spread of estimates over
seeds, root mean square over the answers.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from common import record
from transformers import LlamaConfig, LlamaForCausalLM

from dlm.likelihood import Answer, Row, Scorer, design, estimate
from dlm.models import Conventions, Denoiser
from dlm.settings import LikelihoodSettings, LLaDAMasks

BATCH, ROUNDS, SEEDS = 32, 2, 4
SAMPLES = (16, 20, 24, 32)  # that are tried, until the error is small enough
PEER = LikelihoodSettings(samples=32, masks=LLaDAMasks(batch_size=32))


def make_model(vocabulary: int, hidden: int, layers: int) -> Denoiser:
    """A bidirectional Llama of random weights, its outputs far from uniform."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
        initializer_range=0.1,
    )
    config.is_causal = False
    conventions = Conventions(mask_token_id=vocabulary - 1, shift=False, objective="mdlm")
    return Denoiser(LlamaForCausalLM(config), None, conventions).eval()


def questions(
    count: int, vocabulary: int, contexts: tuple[int, int], answers: tuple[int, int], seed: int = 0
) -> list[Answer]:
    """Four choices each, of random tokens and lengths; those of one question differ."""
    randomness = random.Random(seed)

    def tokens(lengths: tuple[int, int]) -> tuple[int, ...]:
        return tuple(randomness.randrange(vocabulary - 1) for _ in range(randomness.randint(*lengths)))

    asked = []
    for _ in range(count):
        context, choices = tokens(contexts), set[tuple[int, ...]]()
        while len(choices) < 4:
            choices.add(tokens(answers))
        asked += [Answer(context, choice) for choice in sorted(choices)]
    return asked


class Counted:
    """A model that counts the rows it is asked for."""

    def __init__(self, model: Denoiser) -> None:
        self.model, self.rows = model, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def logits(self, tokens_BL: torch.Tensor, *rest: Any) -> torch.Tensor:
        self.rows += len(tokens_BL)
        return self.model.logits(tokens_BL, *rest)


def pass_a_choice(model: Counted, answers: Sequence[Answer]) -> list[float]:
    """Exact likelihoods of one-token answers, a row each."""
    values = [0.0] * len(answers)
    order = sorted(range(len(answers)), key=lambda index: -answers[index].length)
    for begin in range(0, len(order), BATCH):
        batch = order[begin : begin + BATCH]
        rows = [Row(answers[index].context, (None,), (), 0) for index in batch]
        found = Scorer(model).score(rows, [[answers[index].tokens] for index in batch])
        for index, (scored,) in zip(batch, found, strict=True):
            values[index] = scored.logp[0]
    return values


def together(model: Counted, answers: Sequence[Answer], settings: LikelihoodSettings, seed: int = 0) -> list[float]:
    """This project's way."""
    batches = estimate(model, answers, settings, seed=seed, batch_size=BATCH)
    found = dict(pair for batch in batches for pair in batch)
    return [found[index].loglikelihood for index in range(len(answers))]


def one_by_one(model: Counted, answers: Sequence[Answer], seed: int) -> list[float]:
    """One request at a time, a row for each masking, as the published function does."""
    values = []
    for answer in answers:
        maskings = design(len(answer.tokens), answer.context, PEER, seed).maskings
        rows = [
            Row(answer.context, tuple(None if i in each.masked else t for i, t in enumerate(answer.tokens)), (), 0)
            for each in maskings
        ]
        found = Scorer(model).score(rows, [[[answer.tokens[i] for i in each.masked]] for each in maskings])
        values.append(sum(each.weight * sum(one.logp) for each, (one,) in zip(maskings, found, strict=True)))
    return values


def timed(model: Denoiser, way: Callable[[Counted], list[float]]) -> tuple[list[float], float, int]:
    """Return values, seconds and rows."""
    counted, began = Counted(model), time.process_time()
    values = way(counted)
    return values, time.process_time() - began, counted.rows


def one_token() -> dict[str, Any]:
    model = make_model(32768, 256, 6)
    answers = questions(200, 32768, (60, 120), (1, 1))
    seconds: dict[str, list[float]] = {"choices": [], "shared": []}
    for _ in range(ROUNDS + 1):
        apart, first, rows = timed(model, lambda counted: pass_a_choice(counted, answers))
        shared, second, shared_rows = timed(model, lambda counted: together(counted, answers, LikelihoodSettings()))
        assert max(abs(a - b) for a, b in zip(apart, shared, strict=True)) < 1e-3, "both are exact"
        seconds["choices"].append(first)
        seconds["shared"].append(second)
    middle = {way: statistics.median(taken[1:]) for way, taken in seconds.items()}  # the first round warms up
    return {
        "passes_a_choice": rows,
        "passes_shared": shared_rows,
        "seconds_a_choice": round(middle["choices"], 3),
        "seconds_shared": round(middle["shared"], 3),
        "passes_ratio": round(rows / shared_rows, 2),
        "speed_ratio": round(middle["choices"] / middle["shared"], 2),
        "rounds": {way: [round(each, 3) for each in taken[1:]] for way, taken in seconds.items()},
    }


def spread(runs: Sequence[Sequence[float]]) -> float:
    """Root mean square over the answers of the standard deviation over the runs."""
    return math.sqrt(statistics.fmean(statistics.variance(values) for values in zip(*runs, strict=True)))


def several_tokens() -> dict[str, Any]:
    model = make_model(8192, 128, 4)
    answers = questions(20, 8192, (40, 80), (2, 10))
    timed(model, lambda counted: together(counted, answers[:8], LikelihoodSettings(samples=8)))  # warms up
    alone = [timed(model, lambda counted, seed=seed: one_by_one(counted, answers, seed)) for seed in range(SEEDS)]
    error = spread([values for values, _, _ in alone])
    for samples in SAMPLES:
        settings = LikelihoodSettings(samples=samples)
        ours = [
            timed(model, lambda counted, seed=seed, told=settings: together(counted, answers, told, seed))
            for seed in range(SEEDS)
        ]
        print(samples, round(spread([values for values, _, _ in ours]), 3), "beside", round(error, 3))
        if spread([values for values, _, _ in ours]) <= error:
            break
    # Timed once more, side by side: the load of the machine changes.
    turns = [
        (
            timed(model, lambda counted, seed=seed: one_by_one(counted, answers, seed))[1],
            timed(model, lambda counted, seed=seed: together(counted, answers, settings, seed))[1],
        )
        for seed in range(ROUNDS)
    ]
    seconds = [statistics.median(each) for each in zip(*turns, strict=True)]
    return {
        "samples_one_by_one": PEER.samples,
        "samples_together": settings.samples,
        "error_one_by_one": round(error, 3),
        "error_together": round(spread([values for values, _, _ in ours]), 3),
        "passes_one_by_one": alone[0][2],
        "passes_together": ours[0][2],
        "seconds_one_by_one": round(seconds[0], 3),
        "seconds_together": round(seconds[1], 3),
        "speed_ratio": round(seconds[0] / seconds[1], 2),
        "rounds": [[round(each, 3) for each in turn] for turn in turns],
    }


def main() -> None:
    torch.set_num_threads(1)
    result = {
        "what": "Likelihoods of given answers: what is shared runs once; process seconds, one thread.",
        "one_token": one_token(),
        "several_tokens": several_tokens(),
    }
    print(record("likelihood", result))
    for name in ("one_token", "several_tokens"):
        print(f"{name}: {result[name]['speed_ratio']} times the speed")  # type: ignore[index]


if __name__ == "__main__":
    main()
