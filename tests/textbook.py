"""Samplers the way published code writes them: the oracles of this project's, for answers and for speed.

Logits at every position, probabilities in float64 over all of them, a choice row by row in Python, no row leaves early.
Written for clarity from the methods' descriptions (LLaDA, arXiv 2502.09992; BD3LM, arXiv 2503.09573), for greedy
decoding that commits the most probable token first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def even_split(number: int, steps: int) -> list[int]:
    """Split a number evenly over steps, the remainder to the first."""
    return [number // steps + (step < number % steps) for step in range(steps)]


def commit_most_probable(tokens_BL: Tensor, logits_BLV: Tensor, open_BL: Tensor, counts: Sequence[int]) -> None:
    """Write each row's most probable proposals, in place."""
    probability_BLV = torch.softmax(logits_BLV.to(torch.float64), dim=-1)
    confidence_BL, proposed_BL = probability_BLV.max(dim=-1)
    for row, count in enumerate(counts):
        confidence_L = torch.where(open_BL[row], confidence_BL[row], -torch.inf)
        for position in torch.topk(confidence_L, count).indices.tolist():
            tokens_BL[row, position] = proposed_BL[row, position]


@torch.inference_mode()
def masked_diffusion(
    model: Any, prompts: Sequence[Sequence[int]], *, new_tokens: int, block_size: int, steps: int, mask: int
) -> list[list[int]]:
    """Answer prompts with a bidirectional model: the whole answer on the canvas, filled block by block.

    Args:
        model: a transformers model with a language head.
        prompts: token ids.
        new_tokens: answer positions.
        block_size: a divisor of them.
        steps: in all, a multiple of the number of blocks.
        mask: id of the mask token.

    Returns:
        The answers' token ids.
    """
    longest = max(map(len, prompts))
    tokens_BL = torch.zeros(len(prompts), longest + new_tokens, dtype=torch.int64)
    attention_BL = torch.zeros_like(tokens_BL)
    for row, prompt in enumerate(prompts):
        tokens_BL[row, : len(prompt)] = torch.tensor(prompt)
        tokens_BL[row, len(prompt) : len(prompt) + new_tokens] = mask
        attention_BL[row, : len(prompt) + new_tokens] = 1
    per_block = steps * block_size // new_tokens
    for begin in range(0, new_tokens, block_size):
        block_BL = torch.zeros_like(tokens_BL, dtype=torch.bool)
        for row, prompt in enumerate(prompts):
            block_BL[row, len(prompt) + begin : len(prompt) + begin + block_size] = True
        for count in even_split(block_size, per_block):
            logits_BLV = model(input_ids=tokens_BL, attention_mask=attention_BL).logits
            logits_BLV[:, :, mask] = -torch.inf
            commit_most_probable(tokens_BL, logits_BLV, block_BL & (tokens_BL == mask), [count] * len(prompts))
    return [tokens_BL[row, len(prompt) : len(prompt) + new_tokens].tolist() for row, prompt in enumerate(prompts)]


@torch.inference_mode()
def block_diffusion(
    model: Any, prompts: Sequence[Sequence[int]], *, new_tokens: int, block_size: int, steps: int, mask: int
) -> list[list[int]]:
    """Answer prompts with a block-causal model: block after block, what stands before a block computed anew for it.

    Prompts are padded on the left to a multiple of the block size. Arguments and result as for
    :func:`masked_diffusion`, but ``steps`` of each block.
    """
    from transformers import DynamicCache

    width = -(-max(map(len, prompts)) // block_size) * block_size
    tokens_BL = torch.zeros(len(prompts), width, dtype=torch.int64)
    valid_BL = torch.zeros(len(prompts), width, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        tokens_BL[row, width - len(prompt) :] = torch.tensor(prompt)
        valid_BL[row, width - len(prompt) :] = True
    for _ in range(0, new_tokens, block_size):
        before = tokens_BL.shape[1]
        tokens_BL = torch.nn.functional.pad(tokens_BL, (0, block_size), value=mask)
        valid_BL = torch.nn.functional.pad(valid_BL, (0, block_size), value=True)
        position_BL = (valid_BL.long().cumsum(1) - 1).clamp(min=0)
        number_L = torch.arange(tokens_BL.shape[1]) // block_size
        seen_BLK = (number_L[:, None] >= number_L[None]) & valid_BL[:, None, :]
        seen_BLK = seen_BLK | torch.eye(tokens_BL.shape[1], dtype=torch.bool)  # padding sees itself
        cache = DynamicCache()
        model(
            input_ids=tokens_BL[:, :before], attention_mask=seen_BLK[:, None, :before, :before],
            position_ids=position_BL[:, :before], past_key_values=cache, use_cache=True,
        )  # fmt: skip
        block_BS = torch.ones(len(prompts), block_size, dtype=torch.bool)
        for count in even_split(block_size, steps):
            logits_BSV = model(
                input_ids=tokens_BL[:, before:], attention_mask=seen_BLK[:, None, before:],
                position_ids=position_BL[:, before:], past_key_values=cache, use_cache=True,
            ).logits  # fmt: skip
            cache.crop(-block_size)
            logits_BSV[:, :, mask] = -torch.inf
            open_BS = block_BS & (tokens_BL[:, before:] == mask)
            commit_most_probable(tokens_BL[:, before:], logits_BSV, open_BS, [count] * len(prompts))
    return [tokens_BL[row, width : width + new_tokens].tolist() for row in range(len(prompts))]
