"""Fast-dLLM's factor: the more tokens at once, the surer each has to be."""

from torch import Tensor

from dlm.sampling.rules.base import Block, Rule, rule_for
from dlm.sampling.rules.threshold import most_steps
from dlm.sampling.selecting import select_by_factor
from dlm.settings import FactorSelector


@rule_for(FactorSelector)
class Factor(Rule):
    """As many of the highest scores as the rank allows."""

    def __init__(self, settings: FactorSelector, block: Block) -> None:
        super().__init__(settings, block)
        self.most_B = most_steps(settings, block)

    def select(self, step: int, score_BS: Tensor, open_BS: Tensor) -> Tensor:
        return select_by_factor(score_BS, open_BS, self.settings.factor, last_rank=self.settings.last_rank)

    def finished(self, step: int, open_BS: Tensor) -> Tensor:
        return super().finished(step, open_BS) | (self.block.passes + step >= self.most_B)
