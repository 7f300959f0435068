"""Views: what of a canvas the model sees, and what of it is computed again.

Shapes: B rows, L canvas positions, S positions of a block, W columns computed again, N open positions, V tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dlm.diffusion.blocks import sample_mask, sample_positions
from dlm.models import Columns, Denoiser, Prefix, require_cache, require_pair_masks
from dlm.sampling.state import State, Window
from dlm.settings import FullCanvas, GrowingCanvas

_GRAIN = 4
"""Columns that are computed again come in multiples of so many."""


class View:
    """The model's scores of a block's open positions. A view belongs to one batch; most of them remember nothing."""

    def begin_block(self) -> None:
        """Prepare for the next block of every row."""

    def logits(self, state: State, window: Window, open_BS: Tensor) -> Tensor:
        """Return float32 [N, V], rows in row-major order of ``open_BS``, bool [B, S], of the window's positions.

        Numbers that are not finite are the caller's to find.
        """
        raise NotImplementedError

    def take(self, row_B: Tensor) -> None:
        """Keep what is known of some rows of the batch: a mask, bool [B], or indices in any order."""

    def pad(self, left: int) -> None:
        """Follow columns that are put before all rows; a negative number cuts them off."""

    def join(self, new: State) -> None:
        """Append rows that join the batch between two blocks, already of its width."""


class FullView(View):
    """Every token sees every other; all is computed in each pass, for the rows that have something open."""

    def __init__(self, model: Denoiser) -> None:
        self.model = model

    def logits(self, state: State, window: Window, open_BS: Tensor) -> Tensor:
        at_BL = window.on_canvas(state, open_BS)
        active_B = open_BS.any(dim=1)
        if bool(active_B.all()):
            return self.model.logits(state.tokens_BL, state.attention_BL, at_BL, checked=False)
        rows = (state.tokens_BL[active_B], state.attention_BL[active_B], at_BL[active_B])
        return self.model.logits(*rows, checked=False)


class StaleView(View):
    """What :class:`FullView` gives in a block's first pass; later ones take a part of the keys and values as they were.

    They compute the block alone (`approximate_dual`), or all from it on (`approximate_prefix`).
    """

    def __init__(self, model: Denoiser, kind: str) -> None:
        self.model, self.kind = model, kind
        self.begin_block()

    def begin_block(self) -> None:
        self.columns: Columns | None = None
        self.known_B: Tensor | None = None

    def logits(self, state: State, window: Window, open_BS: Tensor) -> Tensor:
        active_B = open_BS.any(dim=1)
        self._drop(active_B)
        state, window, open_BS = state.take(active_B), window.take(active_B), open_BS[active_B]
        if self.columns is None:
            self.columns = Columns(window.index_BS[:, 0] - 1)
            at_BL = window.on_canvas(state, open_BS)
            return self.model.logits(state.tokens_BL, state.attention_BL, at_BL, prefix=self.columns, checked=False)
        part = _widened(state, window, to_the_end=self.kind == "approximate_prefix")
        width, visible_B1L = part.index_BS.shape[1], state.attention_BL[:, None]
        at_BW = torch.nn.functional.pad(open_BS, (0, width - open_BS.shape[1]))
        self.columns.replace(part.index_BS, part.inside_BS)
        return self.model.logits(
            state.tokens_BL.gather(1, part.index_BS),
            visible_B1L.expand(-1, width, -1),
            at_BW,
            part.index_BS,
            self.columns,
            checked=False,
        )

    def _drop(self, active_B: Tensor) -> None:
        """Forget the rows that have nothing open any more; begin anew where one of them has something again."""
        if self.columns is not None and self.known_B is not None:
            if bool((active_B & ~self.known_B).any()):
                self.begin_block()
            elif bool((self.known_B & ~active_B).any()):
                self.columns.take(active_B[self.known_B])
        self.known_B = active_B


class BlockCausalView(View):
    """A token sees its own block and those before it; all is computed in each pass."""

    def __init__(self, model: Denoiser, block_size: int) -> None:
        self.model, self.block_size = model, block_size

    def logits(self, state: State, window: Window, open_BS: Tensor) -> Tensor:
        valid_BL = state.attention_BL
        return self.model.logits(
            state.tokens_BL,
            _block_causal(valid_BL, self.block_size, 0),
            window.on_canvas(state, open_BS),
            sample_positions(valid_BL),
            checked=False,
        )


class CachedBlocksView(View):
    """What :class:`BlockCausalView` gives, with keys and values of finished blocks computed once.

    A finished block sees nothing that comes later, so its keys and values are final. It enters the cache by one pass
    over its committed tokens, which is also the first pass of the next block.
    """

    def __init__(self, model: Denoiser, block_size: int) -> None:
        self.model, self.block_size, self.prefix = model, block_size, Prefix()

    def logits(self, state: State, window: Window, open_BS: Tensor) -> Tensor:
        finished = state.tokens_BL.shape[1] - window.index_BS.shape[1]
        return self._pass(state, window.on_canvas(state, open_BS), self.prefix, finished)

    def take(self, row_B: Tensor) -> None:
        self.prefix.take(row_B)

    def pad(self, left: int) -> None:
        if self.prefix.length:
            self.prefix.pad(left)

    def join(self, new: State) -> None:
        if not self.prefix.length:
            return
        known = Prefix()
        first = new.padded(0, self.prefix.length - new.tokens_BL.shape[1])
        self._pass(first, torch.zeros_like(first.open_BL), known, self.prefix.length)
        self.prefix.join(known)

    def _pass(self, state: State, at_BL: Tensor, prefix: Prefix, finished: int) -> Tensor:
        valid_BL, known = state.attention_BL, prefix.length
        return self.model.logits(
            state.tokens_BL[:, known:],
            _block_causal(valid_BL, self.block_size, known),
            at_BL[:, known:],
            sample_positions(valid_BL)[:, known:],
            prefix,
            finished=finished - known,
            checked=False,
        )


class GuidedView(View):
    """Classifier-free guidance over another view: the canvas and its unconditional twin in one pass.

    In the twin all that was given is masked, but for the tokens to keep.
    """

    def __init__(self, inner: View, scale: float, keep: list[int], mask_token_id: int) -> None:
        self.inner, self.scale, self.keep, self.mask_token_id = inner, scale, keep, mask_token_id
        self.rows = 0

    def begin_block(self) -> None:
        self.inner.begin_block()

    def logits(self, state: State, window: Window, open_BS: Tensor) -> Tensor:
        self.rows = len(open_BS)
        twice = Window(window.index_BS.repeat(2, 1), window.inside_BS.repeat(2, 1))
        logits_2NV = self.inner.logits(self._both(state), twice, open_BS.repeat(2, 1))
        conditional_NV, unconditional_NV = logits_2NV.chunk(2)
        return unconditional_NV + (1 + self.scale) * (conditional_NV - unconditional_NV)

    def take(self, row_B: Tensor) -> None:
        kept = torch.arange(self.rows, device=row_B.device)[row_B]
        self.inner.take(torch.cat([kept, kept + self.rows]))
        self.rows = len(kept)

    def pad(self, left: int) -> None:
        self.inner.pad(left)

    def join(self, new: State) -> None:
        old, more = self.rows, len(new.start_B)
        self.inner.join(self._both(new))
        # The joined rows stand behind both halves; each half gets its own.
        place = torch.arange(2 * (old + more), device=new.start_B.device)
        halves = (place[:old], place[2 * old : 2 * old + more], place[old : 2 * old], place[2 * old + more :])
        self.inner.take(torch.cat(halves))
        self.rows = old + more

    def _both(self, state: State) -> State:
        rows = torch.arange(len(state.start_B), device=state.start_B.device)
        both = state.take(torch.cat([rows, rows]))
        kept_BL = torch.isin(state.tokens_BL, torch.tensor(self.keep, dtype=torch.int64, device=rows.device))
        given_BL = state.attention_BL & ~state.answer_BL & ~kept_BL
        both.tokens_BL[len(rows) :].masked_fill_(given_BL, self.mask_token_id)
        return both


def make_view(model: Denoiser, settings: FullCanvas | GrowingCanvas) -> View:
    """Return the view that goes with a canvas, knowing nothing yet."""
    if isinstance(settings, FullCanvas):
        return FullView(model) if settings.cache is None else StaleView(model, settings.cache.kind)
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
    elif settings.cache is not None:
        require_pair_masks(model, "an approximate cache")
        require_cache(model.model, "an approximate cache")


def _widened(state: State, window: Window, *, to_the_end: bool) -> Window:
    """Return windows of a multiple of four columns, which begin with a block's own, so that these keep their places.

    Fewer rows CPU kernels sum in another order. With ``to_the_end`` they reach the end of each row's text.
    """
    first_B, width = window.index_BS[:, 0], window.index_BS.shape[1]
    end_B = first_B + window.inside_BS.sum(dim=1)
    if to_the_end:
        end_B = state.attention_BL.sum(dim=1)
        width = max(int((end_B - first_B).max()), width)
    index_BW = first_B[:, None] + torch.arange(-(-width // _GRAIN) * _GRAIN, device=first_B.device)
    return Window(index_BW.clamp(max=state.tokens_BL.shape[1] - 1), index_BW < end_B[:, None])


def _block_causal(valid_BL: Tensor, block_size: int, first: int) -> Tensor:
    """Return :func:`sample_mask`, but for padding on the left, which sees itself.

    Nobody reads what comes out of it, but some kernels answer a query without keys with NaN, which would spread.
    """
    mask_BLK = sample_mask(valid_BL, block_size, first)
    before_BL = valid_BL.long().cumsum(dim=1)[:, first:] == 0
    mask_BLK.diagonal(first, dim1=1, dim2=2).logical_or_(before_BL)
    return mask_BLK
