"""LLaDA's split of a block's tokens over its steps."""

from torch import Tensor

from dlm.sampling.rules.base import Quota, rule_for
from dlm.sampling.selecting import even_counts
from dlm.settings import EvenSelector


@rule_for(EvenSelector)
class Even(Quota):
    """As many tokens in each step, the remainder in the first."""

    def counts(self, open_B: Tensor, steps: int) -> Tensor:
        return even_counts(open_B, steps)
