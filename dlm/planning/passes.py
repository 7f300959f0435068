"""How often a model is asked, and how much it computes: from the settings alone.

The rules that commit tokens are run themselves, on a block of nothing but open positions, so what they do is not
written down a second time. Rules that go by confidence cannot be run without a model: for them a number of tokens per
pass is assumed.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch

from dlm.likelihood.maskings import design
from dlm.sampling.rules.base import Block, make_rule
from dlm.settings import (
    ApproximateCache,
    ExactLikelihood,
    FactorSelector,
    FullCanvas,
    GreedySettings,
    GrowingCanvas,
    LikelihoodSettings,
    OriginSelector,
    RemaskingSelector,
    SamplerSettings,
    ThresholdSelector,
)
from dlm.settings.planning import TaskSize

_DRAWS = 64  # rows and contexts over which what depends on chance is averaged


@dataclass(frozen=True)
class Work:
    """What one document asks of a model, on average."""

    passes: float
    """Forward passes, each over one sequence, as response records count them."""
    columns: float
    """Positions that the network computes, over all passes and both halves of guidance."""
    keys: float
    """Keys that each of those positions sees, on average."""
    projected: float
    """Positions whose logits are computed."""
    longest: int
    """Positions of the longest sequence."""

    @property
    def columns_per_pass(self) -> float:
        """Positions that a pass computes."""
        return self.columns / max(self.passes, 1)


@functools.cache
def sampling_work(settings: SamplerSettings | GreedySettings, size: TaskSize, tokens_per_pass: float = 1.0) -> Work:
    """Return the work of sampling one answer.

    Args:
        settings: the decoding method.
        size: of the prompt and, for methods that stop at an answer's end, of the answer.
        tokens_per_pass: what is assumed of selectors that go by confidence.
    """
    prompt = size.prompt_tokens
    if isinstance(settings, GreedySettings):
        tokens = min(size.answer_tokens or settings.max_new_tokens, settings.max_new_tokens)
        columns = prompt + tokens - 1
        return Work(tokens, columns, columns / 2, tokens, prompt + tokens)
    blocks = _blocks(settings, size.answer_tokens)
    steps = [_block_passes(settings, block, number, tokens_per_pass) for number, block in enumerate(blocks)]
    ends = [prompt + sum(blocks[: number + 1]) for number in range(len(blocks))]
    computed = _columns(settings.canvas, prompt, blocks, ends, steps)
    passes, twice = sum(steps), 2 if settings.proposer.guidance else 1
    whole = prompt + settings.canvas.max_new_tokens
    longest = whole if isinstance(settings.canvas, FullCanvas) else ends[-1]
    # Half of a block is open on average: all of it in its first pass, little in its last.
    projected = sum(count * (block + 1) / 2 for count, block in zip(steps, blocks, strict=True))
    return Work(passes, twice * computed, longest, twice * projected, longest)


@functools.cache
def likelihood_work(settings: LikelihoodSettings | ExactLikelihood, size: TaskSize, seed: int = 0) -> Work:
    """Return the work of scoring the choices of one document, all of one length.

    Choices share the passes in which they look alike: wholly masked, or showing nothing but what they share.
    """
    length = size.prompt_tokens + size.choice_tokens
    if isinstance(settings, ExactLikelihood):
        passes = float(size.choices)
        return Work(passes, passes * length, length / 2, passes * size.choice_tokens, length)
    differing = set(range(size.shared_tokens, size.choice_tokens))
    passes = masked = 0.0
    for draw in range(_DRAWS):
        for masking in design(size.choice_tokens, (draw,), settings, seed).masked:
            rows = 1 if differing <= set(masking) else size.choices
            passes += rows / _DRAWS
            masked += rows * len(masking) / _DRAWS
    if settings.greedy == "decode":
        passes += size.choices  # most answers are not the greedy one, which the first pass tells
    twice = 2 if settings.guidance_scale else 1
    return Work(passes, twice * passes * length, length, twice * masked, length)


def _blocks(settings: SamplerSettings, answer_tokens: int | None) -> list[int]:
    """Sizes of the blocks that are sampled."""
    length, size = settings.canvas.max_new_tokens, settings.canvas.block
    if settings.stop and answer_tokens is not None:
        length = min(length, math.ceil((answer_tokens + 1) / size) * size)  # the end token is sampled too
    return [min(size, length - begin) for begin in range(0, length, size)]


def _block_passes(settings: SamplerSettings, block: int, number: int, tokens_per_pass: float) -> float:
    """Return how many passes fill a block."""
    canvas, selector = settings.canvas, settings.selector
    if isinstance(selector, ThresholdSelector | FactorSelector):
        passes = math.ceil(block / tokens_per_pass)
        return passes if selector.most_steps is None else min(passes, -(-selector.most_steps // canvas.blocks))
    by_chance = isinstance(selector, OriginSelector | RemaskingSelector) or getattr(selector, "stochastic", False)
    rows = _DRAWS if by_chance else 1
    ones = torch.ones(rows, dtype=torch.int64)
    rule = make_rule(
        selector,
        Block(
            open_B=ones * block,
            size_B=ones * canvas.block,
            blocks_B=ones * canvas.blocks,
            block_B=ones * number,
            stream_B=torch.arange(rows),
            seed=0,
        ),
    )
    open_BS = torch.ones(rows, block, dtype=torch.bool)
    asked, step = 0, 0
    while True:
        going_B = ~rule.finished(step, open_BS)
        if not bool(going_B.any()):
            return asked / rows
        taken_back_BS = rule.reopen(step, ~open_BS)
        considered_BS = open_BS & going_B[:, None]
        commit_BS = rule.select(step, torch.zeros(open_BS.shape, dtype=torch.float64), considered_BS) & considered_BS
        asked += int((commit_BS if rule.blind else considered_BS).any(dim=1).sum())
        open_BS = open_BS & ~commit_BS
        if taken_back_BS is not None:
            open_BS |= taken_back_BS
        step += 1


def _columns(
    canvas: FullCanvas | GrowingCanvas, prompt: int, blocks: list[int], ends: list[int], steps: list[float]
) -> float:
    """Return how many positions are computed in all passes over one canvas."""
    whole = prompt + canvas.max_new_tokens
    if isinstance(canvas, GrowingCanvas):
        if canvas.cache == "none":
            return sum(count * end for count, end in zip(steps, ends, strict=True))
        # The prompt, and each block once more when it is finished, beside the next one's first pass.
        again = prompt + sum(blocks[:-1])
        return again + sum(count * block for count, block in zip(steps, blocks, strict=True))
    if not isinstance(canvas.cache, ApproximateCache):
        return sum(steps) * whole
    later = [
        block if canvas.cache.kind == "approximate_dual" else whole - (end - block)
        for block, end in zip(blocks, ends, strict=True)
    ]
    return sum(whole + (count - 1) * columns for count, columns in zip(steps, later, strict=True))
