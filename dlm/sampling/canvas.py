"""Canvases: how prompts and answers are laid out, and where the next block of the answer is.

Shapes: B rows, L canvas positions, S positions of a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from dlm.sampling.state import Row, State, Window
from dlm.settings import FullCanvas, GrowingCanvas

_GRAIN = 16
"""A whole canvas is a multiple of so many columns wide: CPU kernels sum over columns in vectors of as many, and what is
left over in another order. So a row's numbers do not depend, to the last bit, on the padding that its company brings
(measured with torch 2.13 up to 192 columns, docs/sampling.md)."""


class Canvas(Protocol):
    """A layout of prompts and answers."""

    def lay(self, rows: Sequence[Row], device: torch.device) -> State:
        """Return the canvas before anything is written."""

    def align(self, state: State, new: State) -> tuple[State, State]:
        """Bring two states, each between two blocks, to one width, so that they can be joined."""

    def trim(self, state: State) -> tuple[State, int]:
        """Cut off the columns that no row needs any more; return the state, and how many were cut on the left."""

    def open_block(self, state: State) -> Window:
        """Prepare each row's next block, in place."""


class WholeCanvas:
    """Each text with its open positions, padding on the right.

    Args:
        mask_token_id: at open positions.
        pad_token_id: behind the text.
        most: columns that the model has positions for; no row is longer.
    """

    def __init__(self, mask_token_id: int, pad_token_id: int, most: int) -> None:
        self.mask_token_id, self.pad_token_id, self.most = mask_token_id, pad_token_id, most

    def _width(self, longest: int) -> int:
        return min(-(-longest // _GRAIN) * _GRAIN, self.most)

    def lay(self, rows: Sequence[Row], device: torch.device) -> State:
        width = self._width(max(len(row.tokens) for row in rows))
        tokens_BL = torch.full((len(rows), width), self.pad_token_id, dtype=torch.int64)
        open_BL = torch.zeros(tokens_BL.shape, dtype=torch.bool)
        for number, row in enumerate(rows):
            tokens_BL[number, : len(row.tokens)] = torch.tensor(row.tokens, dtype=torch.int64)
            open_BL[number, torch.tensor(row.open, dtype=torch.int64)] = True
        length_B = torch.tensor([len(row.tokens) for row in rows])
        attention_BL = torch.arange(width) < length_B[:, None]
        return _state(rows, tokens_BL, attention_BL, open_BL, [row.start for row in rows], device)

    def align(self, state: State, new: State) -> tuple[State, State]:
        missing = state.tokens_BL.shape[1] - new.tokens_BL.shape[1]
        return state.padded(0, max(-missing, 0)), new.padded(0, max(missing, 0))

    def trim(self, state: State) -> tuple[State, int]:
        used = int(state.attention_BL.any(dim=0).sum())
        return state.padded(0, self._width(used) - state.tokens_BL.shape[1]), 0

    def open_block(self, state: State) -> Window:
        return state.window()


class BlockwiseCanvas:
    """Prompts padded on the left to a common multiple of the block size; the answer's blocks are appended."""

    def __init__(self, settings: GrowingCanvas, mask_token_id: int, pad_token_id: int) -> None:
        self.settings, self.mask_token_id, self.pad_token_id = settings, mask_token_id, pad_token_id

    def lay(self, rows: Sequence[Row], device: torch.device) -> State:
        longest = max(len(row.tokens) for row in rows)
        width = -(-longest // self.settings.block_size) * self.settings.block_size
        tokens_BL = torch.full((len(rows), width), self.pad_token_id, dtype=torch.int64)
        for number, row in enumerate(rows):
            tokens_BL[number, width - len(row.tokens) :] = torch.tensor(row.tokens, dtype=torch.int64)
        length_B = torch.tensor([len(row.tokens) for row in rows], dtype=torch.int64)
        attention_BL = torch.arange(width) >= width - length_B[:, None]
        return _state(rows, tokens_BL, attention_BL, torch.zeros_like(attention_BL), [width] * len(rows), device)

    def align(self, state: State, new: State) -> tuple[State, State]:
        missing = state.tokens_BL.shape[1] - new.tokens_BL.shape[1]
        return state.padded(max(-missing, 0), 0), new.padded(max(missing, 0), 0)

    def trim(self, state: State) -> tuple[State, int]:
        # Hidden pad tokens of an answer do not count: what was before the first token stays before it.
        unused = int((state.attention_BL.any(dim=0).int().cumsum(0) == 0).sum())
        unused = unused // self.settings.block_size * self.settings.block_size
        return state.padded(-unused, 0), unused

    def open_block(self, state: State) -> Window:
        if self.settings.hide_pad_token:
            state.attention_BL &= state.tokens_BL != self.pad_token_id
        left_B = torch.minimum(state.size_B, state.length_B - state.block_B * state.size_B)
        grown = state.padded(0, int(left_B.max()))
        state.__dict__.update(grown.__dict__)
        window = state.window()
        places = window.places(window.inside_BS)
        state.tokens_BL[:, -window.index_BS.shape[1] :] = self.pad_token_id
        state.tokens_BL[places] = self.mask_token_id
        for mask_BL in (state.attention_BL, state.open_BL, state.answer_BL):
            mask_BL[places] = True
        return window


def make_canvas(settings: FullCanvas | GrowingCanvas, mask_token_id: int, pad_token_id: int, most: int) -> Canvas:
    """Return the canvas that the settings name; ``most``: see :class:`WholeCanvas`."""
    if isinstance(settings, GrowingCanvas):
        return BlockwiseCanvas(settings, mask_token_id, pad_token_id)
    return WholeCanvas(mask_token_id, pad_token_id, most)


def _state(
    rows: Sequence[Row],
    tokens_BL: Tensor,
    attention_BL: Tensor,
    open_BL: Tensor,
    starts: list[int],
    device: torch.device,
) -> State:
    def column(values: Sequence[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=device)

    zero_B = torch.zeros(len(rows), dtype=torch.int64, device=device)
    return State(
        tokens_BL=tokens_BL.to(device),
        attention_BL=attention_BL.to(device),
        open_BL=open_BL.to(device),
        answer_BL=open_BL.to(device, copy=True),
        step_BL=torch.full_like(tokens_BL, -1, device=device),
        confidence_BL=torch.full(tokens_BL.shape, float("nan"), dtype=torch.float64, device=device),
        start_B=column(starts),
        length_B=column([row.length for row in rows]),
        size_B=column([row.block for row in rows]),
        block_B=zero_B.clone(),
        passes_B=zero_B.clone(),
        seconds_B=zero_B.double(),
        stream_B=column([row.stream for row in rows]),
        prompt_B=column([row.index for row in rows]),
        end_B=zero_B,
    )
