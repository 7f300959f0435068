"""The canvas during sampling, and what comes out of it.

Shapes: B rows, L canvas positions, S positions of a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class State:
    """One batch of canvases: prompt, answer, padding on the right.

    Open positions are kept as a mask of their own, never read off the tokens: a mask token in a prompt is just a token.
    """

    tokens_BL: Tensor
    """int64 [B, L]; the mask token at open positions."""
    attention_BL: Tensor
    """bool [B, L], False at padding."""
    open_BL: Tensor
    """bool [B, L], True where a token is still to be committed."""
    start_B: Tensor
    """int64 [B], index of the first answer position: the prompt's length."""
    stream_B: Tensor
    """int64 [B], key of each row's random numbers."""

    def window(self, block: int, size: int) -> Tensor:
        """Canvas indices of a block, int64 [B, S]: rows differ because prompts differ in length."""
        offset_S = torch.arange(size, device=self.start_B.device) + block * size
        return self.start_B[:, None] + offset_S[None, :]

    def commit(self, window_BS: Tensor, commit_BS: Tensor, proposed_BS: Tensor) -> None:
        """Write the proposed tokens where ``commit_BS`` (bool [B, S]) and close those positions."""
        current_BS = self.tokens_BL.gather(1, window_BS)
        self.tokens_BL.scatter_(1, window_BS, torch.where(commit_BS, proposed_BS, current_BS))
        self.open_BL.scatter_(1, window_BS, self.open_BL.gather(1, window_BS) & ~commit_BS)


def new_state(
    prompts: Sequence[Sequence[int]],
    streams: Sequence[int],
    answer: int,
    mask_token_id: int,
    pad_token_id: int,
    device: torch.device,
) -> State:
    """Lay prompts of different lengths on one canvas, each followed by ``answer`` open positions."""
    start_B = torch.tensor([len(prompt) for prompt in prompts], dtype=torch.int64)
    length = int(start_B.max()) + answer
    tokens_BL = torch.full((len(prompts), length), pad_token_id, dtype=torch.int64)
    for row, prompt in enumerate(prompts):
        tokens_BL[row, : len(prompt)] = torch.tensor(prompt, dtype=torch.int64)
    position_L = torch.arange(length)
    open_BL = (position_L >= start_B[:, None]) & (position_L < start_B[:, None] + answer)
    tokens_BL[open_BL] = mask_token_id
    return State(
        tokens_BL=tokens_BL.to(device),
        attention_BL=(position_L < start_B[:, None] + answer).to(device),
        open_BL=open_BL.to(device),
        start_B=start_B.to(device),
        stream_B=torch.tensor(streams, dtype=torch.int64, device=device),
    )


@dataclass(frozen=True)
class Sample:
    """One answer."""

    tokens: tuple[int, ...]
    """Every answer position of the canvas, end-of-text filler included."""
    text: str
    """The answer up to its first stop token, special tokens removed."""
    stopped: bool
    """Whether the answer holds a stop token; False means that it was cut off by its length."""
    forward_passes: int
    """Evaluations of the model that this answer took part in."""
    seconds: float
    """Seconds of its batch, divided by the batch's rows."""
