"""The canvas during sampling, and what comes out of it.

Shapes: B rows, L canvas positions, S positions of a block.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass
class State:
    """One batch of canvases: prompt and answer, with padding on either side.

    Open positions are kept as a mask of their own, never read off the tokens: a mask token in a prompt is just a token.
    """

    tokens_BL: Tensor
    """int64 [B, L]; the mask token at open positions."""
    attention_BL: Tensor
    """bool [B, L], False where nobody looks: padding."""
    open_BL: Tensor
    """bool [B, L], True where a token is still to be committed."""
    start_B: Tensor
    """int64 [B], index of the first answer position."""
    stream_B: Tensor
    """int64 [B], key of each row's random numbers."""
    prompt_B: Tensor
    """int64 [B], index of each row's prompt among those that were given."""
    end_B: Tensor
    """int64 [B], length of the answer once it is done, in tokens; 0 before."""

    def window(self, first: int, size: int) -> Tensor:
        """Canvas indices of ``size`` answer positions from ``first`` on, int64 [B, S]."""
        offset_S = torch.arange(size, device=self.start_B.device) + first
        return self.start_B[:, None] + offset_S[None, :]

    def commit(self, window_BS: Tensor, commit_BS: Tensor, proposed_BS: Tensor) -> None:
        """Write the proposed tokens where ``commit_BS`` (bool [B, S]) and close those positions."""
        current_BS = self.tokens_BL.gather(1, window_BS)
        self.tokens_BL.scatter_(1, window_BS, torch.where(commit_BS, proposed_BS, current_BS))
        self.open_BL.scatter_(1, window_BS, self.open_BL.gather(1, window_BS) & ~commit_BS)

    def take(self, row_B: Tensor) -> State:
        """Return a state of the given rows: indices in any order, one perhaps twice, or a mask, bool [B]."""
        return State(**{item.name: getattr(self, item.name)[row_B] for item in fields(self)})


@dataclass(frozen=True)
class Sample:
    """One answer."""

    tokens: tuple[int, ...]
    """Every answer position up to the end of the last block that was sampled, end-of-text filler included."""
    text: str
    """The answer up to its first stop token, special tokens removed."""
    stopped: bool
    """Whether the answer holds a stop token; False means that it was cut off by its length."""
    forward_passes: int
    """Evaluations of the model that this answer took part in; with guidance, one evaluates two canvases."""
    seconds: float
    """Seconds of its batch, divided by the batch's rows."""
