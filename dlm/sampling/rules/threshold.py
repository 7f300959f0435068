"""Fast-dLLM's threshold: what is sure enough, and always the surest."""

import torch
from torch import Tensor

from dlm.sampling.rules.base import Block, Quota, Rule, make_rule, rule_for
from dlm.sampling.selecting import select_by_threshold
from dlm.settings import ThresholdSelector


@rule_for(ThresholdSelector)
class Threshold(Rule):
    """Every score from the threshold on; with a quota, no more by any step than the quota would have committed."""

    def __init__(self, settings: ThresholdSelector, block: Block) -> None:
        super().__init__(settings, block)
        self.most_B = most_steps(settings, block)
        quota = make_rule(settings.quota, block) if settings.quota else None
        self.due_BT = quota.count_BT.cumsum(dim=1) if isinstance(quota, Quota) else None

    def select(self, step: int, score_BS: Tensor, open_BS: Tensor) -> Tensor:
        most_B = open_BS.sum(dim=1)
        if self.due_BT is not None and step < self.due_BT.shape[1]:
            most_B = self.due_BT[:, step] - (self.block.open_B - most_B)
        return select_by_threshold(score_BS, open_BS, self.settings.threshold, most_B)

    def finished(self, step: int, open_BS: Tensor) -> Tensor:
        return super().finished(step, open_BS) | (self.block.passes + step >= self.most_B)


def most_steps(settings: object, block: Block) -> Tensor:
    """Return the most steps of a block that ``most_steps`` of some settings allows, int64 [B]."""
    total = getattr(settings, "most_steps", None)
    if total is None:
        return torch.full_like(block.blocks_B, torch.iinfo(torch.int64).max)
    return -(-total // block.blocks_B)
