"""ReMDM (arXiv 2503.00307): committed tokens are opened again by chance, so that mistakes can be mended."""

from __future__ import annotations

import torch
from torch import Tensor

from dlm.diffusion import schedule
from dlm.sampling.rules.base import Block, Rule, rule_for
from dlm.settings import RemaskingSelector


@rule_for(RemaskingSelector)
class Remasking(Rule):
    """The posterior of ReMDM's section 3: from time t to s a token is opened again with probability sigma, and an open
    position committed with probability (alpha_s - (1 - sigma) alpha_t) / (1 - alpha_t)."""

    blind = True

    def __init__(self, settings: RemaskingSelector, block: Block) -> None:
        super().__init__(settings, block)
        self.steps_B = block.steps(settings)

    @property
    def stride_B(self) -> Tensor:
        return self.steps_B

    def select(self, step: int, score_BS: Tensor, open_BS: Tensor) -> Tensor:
        kept_t_B, kept_s_B, sigma_B = self._step(step)
        share_B = (kept_s_B - (1 - sigma_B) * kept_t_B) / (1 - kept_t_B)
        # The last step's share is 1; rounding must not leave a position open.
        share_B = torch.where(step + 1 >= self.steps_B, 1.0, share_B)
        return open_BS & (self.block.uniform(open_BS.shape[1], step, 0) < share_B[:, None])

    def finished(self, step: int, open_BS: Tensor) -> Tensor:
        return step >= self.steps_B

    def reopen(self, step: int, written_BS: Tensor) -> Tensor | None:
        sigma_B = self._step(step)[2]
        return written_BS & (self.block.uniform(written_BS.shape[1], step, 1) < sigma_B[:, None])

    def _step(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return alpha at the step's times t and s, and sigma, float64 [B] each."""
        chosen, steps_B = schedule(self.settings.schedule), self.steps_B.double()
        kept_t_B = chosen.alpha(1 - step / steps_B).clamp(0, 1)
        kept_s_B = chosen.alpha((1 - (step + 1) / steps_B).clamp(min=0)).clamp(0, 1)
        most_B = torch.where(kept_t_B > 0, (1 - kept_s_B) / kept_t_B, 1.0).clamp(max=1)
        return kept_t_B, kept_s_B, (self.settings.scale * most_B).clamp(max=self.settings.cap)
