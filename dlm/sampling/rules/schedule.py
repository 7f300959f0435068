"""A noise schedule's tokens per step: rounded, or drawn."""

import torch
from torch import Tensor

from dlm.diffusion import schedule
from dlm.sampling.rules.base import Quota, rule_for
from dlm.sampling.selecting import schedule_counts, schedule_shares
from dlm.settings import ScheduleSelector


@rule_for(ScheduleSelector)
class Scheduled(Quota):
    """What a noise schedule would reveal; with stochastic transfer, a binomial number of what is left."""

    def counts(self, open_B: Tensor, steps: int) -> Tensor:
        chosen = schedule(self.settings.schedule)
        return self._drawn(open_B, steps) if self.settings.stochastic else schedule_counts(open_B, steps, chosen)

    def _drawn(self, open_B: Tensor, steps: int) -> Tensor:
        rest_B, counts = open_B, []
        for step, share in enumerate(schedule_shares(steps, schedule(self.settings.schedule)).tolist()):
            hit_BN = self.block.uniform(int(open_B.max()), step) < share
            still_BN = torch.arange(hit_BN.shape[1], device=open_B.device) < rest_B[:, None]
            counts.append((hit_BN & still_BN).sum(dim=1))
            rest_B = rest_B - counts[-1]
        return torch.stack(counts, dim=1)
