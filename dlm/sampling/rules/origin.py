"""Dream's `origin`: each open position is committed by chance, whatever its score."""

import torch
from torch import Tensor

from dlm.sampling.rules.base import Block, Rule, rule_for
from dlm.settings import OriginSelector


@rule_for(OriginSelector)
class Origin(Rule):
    """The step from time t to s commits a position with probability 1 - s/t, the last step what is left."""

    blind = True

    def __init__(self, settings: OriginSelector, block: Block) -> None:
        super().__init__(settings, block)
        self.steps_B = block.steps(settings)

    @property
    def stride_B(self) -> Tensor:
        return self.steps_B

    def select(self, step: int, score_BS: Tensor, open_BS: Tensor) -> Tensor:
        steps_B = self.steps_B.double()
        fall_B = (1 - self.settings.epsilon) / steps_B
        share_B = fall_B / (1 - step * fall_B)  # 1 - s/t, the times falling evenly from 1 to epsilon
        share_B = torch.where(step + 1 >= steps_B, 1.0, share_B)
        return open_BS & (self.block.uniform(open_BS.shape[1], step) < share_B[:, None])
