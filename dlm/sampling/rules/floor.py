"""Dream's tokens per step."""

from torch import Tensor

from dlm.sampling.rules.base import Quota, rule_for
from dlm.sampling.selecting import floor_counts
from dlm.settings import FloorSelector


@rule_for(FloorSelector)
class Floored(Quota):
    """Whole tokens of a falling time, the rest at last; passes made before the rule begins take the first times."""

    def counts(self, open_B: Tensor, steps: int) -> Tensor:
        return floor_counts(open_B, steps, self.settings.epsilon, begun=self.block.passes)
