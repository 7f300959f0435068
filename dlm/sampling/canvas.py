"""Canvases: how prompts and answers are laid out, and where the next block of the answer is.

Shapes: B rows, L canvas positions, S positions of a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dlm.sampling.state import State
from dlm.settings import FullCanvas, GrowingCanvas


@dataclass(frozen=True)
class Batch:
    """Prompts that are answered together."""

    prompts: Sequence[Sequence[int]]
    """Token ids, at least one each."""
    streams: Sequence[int]
    """Key of each prompt's random numbers."""
    indices: Sequence[int]
    """Index of each prompt among those that were given."""
    device: torch.device


class Canvas(Protocol):
    """A layout of prompts and answers."""

    def lay(self, batch: Batch) -> State:
        """Return the canvas before anything is written."""

    def open_block(self, state: State, block: int) -> Tensor:
        """Prepare the answer's next block, in place, and return its canvas indices, int64 [B, S]."""


class WholeCanvas:
    """Each prompt followed by all open positions, padding on the right."""

    def __init__(self, settings: FullCanvas, mask_token_id: int, pad_token_id: int) -> None:
        self.settings, self.mask_token_id, self.pad_token_id = settings, mask_token_id, pad_token_id

    def lay(self, batch: Batch) -> State:
        answer = self.settings.max_new_tokens
        start_B = torch.tensor([len(prompt) for prompt in batch.prompts], dtype=torch.int64)
        position_L = torch.arange(int(start_B.max()) + answer)
        tokens_BL = torch.full((len(start_B), len(position_L)), self.pad_token_id, dtype=torch.int64)
        for row, prompt in enumerate(batch.prompts):
            tokens_BL[row, : len(prompt)] = torch.tensor(prompt, dtype=torch.int64)
        attention_BL = position_L < start_B[:, None] + answer
        open_BL = attention_BL & (position_L >= start_B[:, None])
        tokens_BL[open_BL] = self.mask_token_id
        return _state(batch, tokens_BL, attention_BL, open_BL, start_B)

    def open_block(self, state: State, block: int) -> Tensor:
        return state.window(*_span(self.settings, block))


class BlockwiseCanvas:
    """Prompts padded on the left to a common multiple of the block size; the answer's blocks are appended."""

    def __init__(self, settings: GrowingCanvas, mask_token_id: int, pad_token_id: int) -> None:
        self.settings, self.mask_token_id, self.pad_token_id = settings, mask_token_id, pad_token_id

    def lay(self, batch: Batch) -> State:
        longest = max(len(prompt) for prompt in batch.prompts)
        width = -(-longest // self.settings.block_size) * self.settings.block_size
        tokens_BL = torch.full((len(batch.prompts), width), self.pad_token_id, dtype=torch.int64)
        for row, prompt in enumerate(batch.prompts):
            tokens_BL[row, width - len(prompt) :] = torch.tensor(prompt, dtype=torch.int64)
        length_B = torch.tensor([len(prompt) for prompt in batch.prompts], dtype=torch.int64)
        attention_BL = torch.arange(width) >= width - length_B[:, None]
        open_BL = torch.zeros_like(attention_BL)
        return _state(batch, tokens_BL, attention_BL, open_BL, torch.full_like(length_B, width))

    def open_block(self, state: State, block: int) -> Tensor:
        if self.settings.hide_pad_token:
            state.attention_BL &= state.tokens_BL != self.pad_token_id
        first, size = _span(self.settings, block)
        shape = (len(state.start_B), size)
        masks_BS = state.tokens_BL.new_full(shape, self.mask_token_id)
        true_BS = state.open_BL.new_ones(shape)
        state.tokens_BL = torch.cat([state.tokens_BL, masks_BS], dim=1)
        state.attention_BL = torch.cat([state.attention_BL, true_BS], dim=1)
        state.open_BL = torch.cat([state.open_BL, true_BS], dim=1)
        return state.window(first, size)


def make_canvas(settings: FullCanvas | GrowingCanvas, mask_token_id: int, pad_token_id: int) -> Canvas:
    """Return the canvas that the settings name."""
    if isinstance(settings, GrowingCanvas):
        return BlockwiseCanvas(settings, mask_token_id, pad_token_id)
    return WholeCanvas(settings, mask_token_id, pad_token_id)


def _span(settings: FullCanvas | GrowingCanvas, block: int) -> tuple[int, int]:
    """First answer position and size of a block; the last one may be shorter."""
    first = block * settings.block
    return first, min(settings.block, settings.max_new_tokens - first)


def _state(batch: Batch, tokens_BL: Tensor, attention_BL: Tensor, open_BL: Tensor, start_B: Tensor) -> State:
    device = batch.device
    return State(
        tokens_BL=tokens_BL.to(device),
        attention_BL=attention_BL.to(device),
        open_BL=open_BL.to(device),
        start_B=start_B.to(device),
        stream_B=torch.tensor(batch.streams, dtype=torch.int64, device=device),
        prompt_B=torch.tensor(batch.indices, dtype=torch.int64, device=device),
        end_B=torch.zeros_like(start_B, device=device),
    )
