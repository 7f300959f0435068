"""Views: what of a canvas the model sees, and what of it is computed again.

Shapes: B rows, L canvas positions, S positions of a block, N open positions of it, V tokens.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from dlm.diffusion.blocks import sample_mask, sample_positions
from dlm.models import Denoiser, Prefix, require_cache, require_pair_masks
from dlm.sampling.state import State
from dlm.settings import FullCanvas, GrowingCanvas


class View(Protocol):
    """The model's scores of a block's open positions. A view belongs to one batch."""

    def logits(self, state: State, window_BS: Tensor, open_BS: Tensor) -> Tensor:
        """Return float32 [N, V], rows in row-major order of ``open_BS`` (bool [B, S], of the window's positions)."""

    def take(self, kept_B: Tensor) -> None:
        """Forget what is known of rows that leave the batch: False in ``kept_B``, bool [B]."""


class FullView:
    """Every token sees every other; all is computed in each pass."""

    def __init__(self, model: Denoiser) -> None:
        self.model = model

    def logits(self, state: State, window_BS: Tensor, open_BS: Tensor) -> Tensor:
        return self.model.logits(state.tokens_BL, state.attention_BL, _on_canvas(state, window_BS, open_BS))

    def take(self, kept_B: Tensor) -> None:
        pass


class BlockCausalView:
    """A token sees its own block and those before it; all is computed in each pass."""

    def __init__(self, model: Denoiser, block_size: int) -> None:
        self.model, self.block_size = model, block_size

    def logits(self, state: State, window_BS: Tensor, open_BS: Tensor) -> Tensor:
        valid_BL = state.attention_BL
        return self.model.logits(
            state.tokens_BL,
            _block_causal(valid_BL, self.block_size, 0),
            _on_canvas(state, window_BS, open_BS),
            sample_positions(valid_BL),
        )

    def take(self, kept_B: Tensor) -> None:
        pass


class CachedBlocksView:
    """What :class:`BlockCausalView` gives, with keys and values of finished blocks computed once.

    A finished block sees nothing that comes later, so its keys and values are final. It enters the cache by one pass
    over its committed tokens, which is also the first pass of the next block.
    """

    def __init__(self, model: Denoiser, block_size: int) -> None:
        self.model, self.block_size, self.prefix = model, block_size, Prefix()

    def logits(self, state: State, window_BS: Tensor, open_BS: Tensor) -> Tensor:
        valid_BL, known = state.attention_BL, self.prefix.length
        return self.model.logits(
            state.tokens_BL[:, known:],
            _block_causal(valid_BL, self.block_size, known),
            _on_canvas(state, window_BS, open_BS)[:, known:],
            sample_positions(valid_BL)[:, known:],
            self.prefix,
            finished=valid_BL.shape[1] - window_BS.shape[1] - known,
        )

    def take(self, kept_B: Tensor) -> None:
        self.prefix.take(kept_B)


class GuidedView:
    """Classifier-free guidance over another view: the canvas and its unconditional twin in one pass.

    The twin's prompt is masked, but for the tokens to keep.
    """

    def __init__(self, inner: View, scale: float, keep: list[int], mask_token_id: int) -> None:
        self.inner, self.scale, self.keep, self.mask_token_id = inner, scale, keep, mask_token_id

    def logits(self, state: State, window_BS: Tensor, open_BS: Tensor) -> Tensor:
        rows = torch.arange(len(state.start_B), device=state.start_B.device)
        both, half = state.take(torch.cat([rows, rows])), len(rows)
        column_L = torch.arange(state.tokens_BL.shape[1], device=rows.device)
        kept_BL = torch.isin(state.tokens_BL, torch.tensor(self.keep, dtype=torch.int64, device=rows.device))
        prompt_BL = (column_L < state.start_B[:, None]) & state.attention_BL & ~kept_BL
        both.tokens_BL[half:].masked_fill_(prompt_BL, self.mask_token_id)
        logits_2NV = self.inner.logits(both, window_BS.repeat(2, 1), open_BS.repeat(2, 1))
        conditional_NV, unconditional_NV = logits_2NV.chunk(2)
        return unconditional_NV + (1 + self.scale) * (conditional_NV - unconditional_NV)

    def take(self, kept_B: Tensor) -> None:
        self.inner.take(kept_B.repeat(2))


def make_view(model: Denoiser, settings: FullCanvas | GrowingCanvas) -> View:
    """Return the view that goes with a canvas, knowing nothing yet."""
    if isinstance(settings, FullCanvas):
        return FullView(model)
    if settings.cache == "none":
        return BlockCausalView(model, settings.block_size)
    return CachedBlocksView(model, settings.block_size)


def check_view(model: Denoiser, settings: FullCanvas | GrowingCanvas) -> None:
    """Refuse a canvas that the model's network cannot be shown.

    Raises:
        CheckpointError: naming the network, what it lacks and what needs it.
    """
    if isinstance(settings, GrowingCanvas):
        require_pair_masks(model, "a growing canvas")
        if settings.cache == "exact":
            require_cache(model.model, "an exact cache")


def _on_canvas(state: State, window_BS: Tensor, open_BS: Tensor) -> Tensor:
    """Turn a mask of the window's positions into one of the canvas, bool [B, L]."""
    return torch.zeros_like(state.open_BL).scatter_(1, window_BS, open_BS)


def _block_causal(valid_BL: Tensor, block_size: int, first: int) -> Tensor:
    """Return :func:`sample_mask`, but for padding on the left, which sees itself.

    Nobody reads what comes out of it, but some kernels answer a query without keys with NaN, which would spread.
    """
    mask_BLK = sample_mask(valid_BL, block_size, first)
    before_BL = valid_BL.long().cumsum(dim=1)[:, first:] == 0
    mask_BLK.diagonal(first, dim1=1, dim2=2).logical_or_(before_BL)
    return mask_BLK
