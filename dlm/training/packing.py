"""Sequences of a batch side by side in fewer rows, each seeing itself only.

Attention in both directions would let a document read its neighbours, which position ids alone do not prevent: a mask
of pairs does. Noise, loss and normalisation stay those of the unpacked batch, since only the denoiser's question is
packed.

Shapes: B sequences, L positions of the longest, R packed rows, M positions of a packed row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Packed:
    """A denoiser that answers a padded batch by asking another about packed rows.

    Args:
        denoise: takes ``(tokens, mask of pairs, positions to score, position ids)`` and more by name.
        length: of the rows, where no sequence is longer.
        causal: whether a token sees only those before it.
        shift: whether the output at position i-1 scores token i.
    """

    def __init__(self, denoise: Callable[..., Tensor], length: int, *, causal: bool, shift: bool) -> None:
        self.denoise, self.length, self.causal, self.shift = denoise, length, causal, shift

    def __call__(self, tokens_BL: Tensor, attention_BL: Tensor | None, at_BL: Tensor, **more: Any) -> Tensor:
        """Return what the other says of the same positions, in the same order: see :class:`dlm.models.Denoiser`."""
        sizes = [tokens_BL.shape[1]] * len(tokens_BL) if attention_BL is None else attention_BL.sum(1).tolist()
        # A shifted model scores a row's first token by its own output. So that this holds for every sequence of a
        # packed row, its first token is preceded by a twin, which sees what the token sees and is seen by none.
        twin = int(self.shift)
        places = _places([size + twin for size in sizes], self.length)
        shape = (places[-1][0] + 1, max(begin + size + twin for (_, begin), size in zip(places, sizes, strict=True)))
        kind: dict[str, Any] = {"device": tokens_BL.device, "dtype": torch.int64}
        tokens_RM, positions_RM = torch.zeros(shape, **kind), torch.zeros(shape, **kind)
        at_RM = torch.zeros(shape, device=tokens_BL.device, dtype=torch.bool)
        # Columns that stay empty are sequences of one token, so that each has something to see.
        sequence_RM = -1 - torch.arange(shape[1], **kind).expand(shape).clone()
        twins_RM = torch.zeros_like(at_RM)
        for number, ((row, begin), size) in enumerate(zip(places, sizes, strict=True)):
            own = slice(begin + twin, begin + twin + size)
            tokens_RM[row, own], at_RM[row, own] = tokens_BL[number, :size], at_BL[number, :size]
            positions_RM[row, own] = torch.arange(size, **kind)
            sequence_RM[row, begin : begin + twin + size] = number
            if twin:
                tokens_RM[row, begin], twins_RM[row, begin] = tokens_BL[number, 0], True
        mask_RMM = sequence_RM[:, :, None] == sequence_RM[:, None, :]
        if self.causal:
            mask_RMM &= positions_RM[:, :, None] >= positions_RM[:, None, :]
        mask_RMM &= ~twins_RM[:, None, :]
        return self.denoise(tokens_RM, mask_RMM, at_RM, positions_RM, **more)


def _places(sizes: list[int], length: int) -> list[tuple[int, int]]:
    """Return row and first column of each sequence: in order, so that the chosen positions stay in theirs."""
    places: list[tuple[int, int]] = []
    row = filled = 0
    for size in sizes:
        if filled and filled + size > length:
            row, filled = row + 1, 0
        places.append((row, filled))
        filled += size
    return places
