"""The canvas during sampling.

Shapes: B rows, L canvas positions, S positions of a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class Row:
    """One text that is to be filled, before it is laid on a canvas."""

    tokens: Sequence[int]
    """Token ids of what is given and, on a full canvas, the mask token where something is to be written."""
    open: Sequence[int]
    """Indices of the tokens that are to be written; none of a growing canvas, which appends them."""
    start: int
    """Index of the first token of the first block."""
    length: int
    """Positions from there on that the blocks cover (>= 1)."""
    block: int
    """Positions of a block (>= 1)."""
    stream: int
    """Key of the row's random numbers."""
    index: int
    """Place of the row among those that were given."""
    infilled: bool = False
    """Whether it is a text with blanks, which stop tokens do not end."""
    stop_texts: Sequence[str] = ()
    """Texts at the first of which the answer is cut."""


@dataclass
class State:
    """One batch of canvases: given and written tokens, with padding on either side.

    Open positions are kept as a mask of their own, never read off the tokens: corruption need not be a mask, and a
    committed token may be opened again.
    """

    tokens_BL: Tensor
    """int64 [B, L]; the mask token at open positions."""
    attention_BL: Tensor
    """bool [B, L], False where nobody looks: padding."""
    open_BL: Tensor
    """bool [B, L], True where a token is still to be committed."""
    answer_BL: Tensor
    """bool [B, L], True where the sampler writes, open or not; False at what was given."""
    step_BL: Tensor
    """int64 [B, L], the pass of its row, from 0, that committed the token; -1 before."""
    confidence_BL: Tensor
    """float64 [B, L], the model's probability of the token when it was committed; NaN where it was not asked for."""
    start_B: Tensor
    """int64 [B], index of the first answer position."""
    length_B: Tensor
    """int64 [B], answer positions that are to be filled."""
    size_B: Tensor
    """int64 [B], positions of a block."""
    block_B: Tensor
    """int64 [B], the block that is being filled, from 0."""
    passes_B: Tensor
    """int64 [B], passes that had something to write in the row."""
    seconds_B: Tensor
    """float64 [B], the row's share of the time so far."""
    stream_B: Tensor
    """int64 [B], key of each row's random numbers."""
    prompt_B: Tensor
    """int64 [B], index of each row's prompt among those that were given."""
    end_B: Tensor
    """int64 [B], length of the answer once it is done, in tokens; 0 before, -1 where the model failed."""

    @property
    def blocks_B(self) -> Tensor:
        """Blocks of each row, int64 [B]; the last one may be shorter."""
        return -(-self.length_B // self.size_B)

    def window(self) -> Window:
        """Return where each row's block is; as wide as the widest of them."""
        first_B = self.block_B * self.size_B
        left_B = torch.minimum(self.size_B, self.length_B - first_B)
        offset_S = torch.arange(int(left_B.max()), device=left_B.device)
        index_BS = (self.start_B + first_B)[:, None] + offset_S
        inside_BS = offset_S < left_B[:, None]
        return Window(index_BS.clamp(max=self.tokens_BL.shape[1] - 1), inside_BS)

    def commit(self, window: Window, commit_BS: Tensor, proposed_BS: Tensor) -> None:
        """Write the proposed tokens where ``commit_BS`` (bool [B, S]) and close those positions."""
        row_N, column_N = window.places(commit_BS)
        self.tokens_BL[row_N, column_N] = proposed_BS[commit_BS]
        self.open_BL[row_N, column_N] = False
        self.step_BL[row_N, column_N] = self.passes_B[row_N]

    def reopen(self, window: Window, open_BS: Tensor, mask_token_id: int) -> None:
        """Take back what was committed where ``open_BS``, bool [B, S]."""
        row_N, column_N = window.places(open_BS)
        self.tokens_BL[row_N, column_N] = mask_token_id
        self.open_BL[row_N, column_N] = True
        self.step_BL[row_N, column_N] = -1

    def take(self, row_B: Tensor) -> State:
        """Return a state of the given rows: indices in any order, one perhaps twice, or a mask, bool [B]."""
        return State(**{item.name: getattr(self, item.name)[row_B] for item in fields(self)})

    def padded(self, left: int, right: int) -> State:
        """Return a state with columns of padding put before and after; a negative number cuts columns off."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        for name, value in values.items():
            if name.endswith("_BL"):
                filler = {"step_BL": -1, "confidence_BL": float("nan")}.get(name, 0)
                values[name] = torch.nn.functional.pad(value, (left, right), value=filler)
        return State(**{**values, "start_B": self.start_B + left})

    def joined(self, other: State) -> State:
        """Return a state of both states' rows; they are of one width."""
        return State(
            **{item.name: torch.cat([getattr(self, item.name), getattr(other, item.name)]) for item in fields(self)}
        )


@dataclass(frozen=True)
class Window:
    """The canvas positions of each row's block."""

    index_BS: Tensor
    """int64 [B, S], columns of the canvas."""
    inside_BS: Tensor
    """bool [B, S], False where a row's block is shorter than the window."""

    def open(self, state: State) -> Tensor:
        """Mark the block's open positions, bool [B, S]."""
        return state.open_BL.gather(1, self.index_BS) & self.inside_BS

    def written(self, state: State) -> Tensor:
        """Mark the block's positions that the sampler has written, bool [B, S]."""
        return (state.answer_BL & ~state.open_BL).gather(1, self.index_BS) & self.inside_BS

    def places(self, where_BS: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows and canvas columns, int64 [N] each, of the True positions of ``where_BS`` in row-major order."""
        row_N, offset_N = where_BS.nonzero(as_tuple=True)
        return row_N, self.index_BS[row_N, offset_N]

    def on_canvas(self, state: State, where_BS: Tensor) -> Tensor:
        """Turn a mask of the window's positions into one of the canvas, bool [B, L]."""
        canvas_BL = torch.zeros_like(state.open_BL)
        canvas_BL[self.places(where_BS)] = True
        return canvas_BL

    def take(self, row_B: Tensor) -> Window:
        """Return the windows of the given rows."""
        return Window(self.index_BS[row_B], self.inside_BS[row_B])
