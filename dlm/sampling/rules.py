"""Rules: the selector of one block, as the settings choose it.

Shapes: B rows, S positions of a block, T steps of it.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from dlm.diffusion import schedule
from dlm.sampling.selecting import even_counts, schedule_counts, select_highest
from dlm.settings import EvenSelector, ScheduleSelector


class Rule(Protocol):
    """What is committed in a block's steps."""

    steps: int
    """Most steps that the block takes."""

    def select(self, step: int, score_BS: Tensor, open_BS: Tensor) -> Tensor:
        """Mark what the step commits among the open positions (bool [B, S]) of given scores, bool [B, S]."""


class Quota:
    """A number of tokens fixed beforehand for each row and step; the highest scores are taken.

    Args:
        count_BT: int64 [B, T].
    """

    def __init__(self, count_BT: Tensor) -> None:
        self.count_BT, self.steps = count_BT, count_BT.shape[1]

    def select(self, step: int, score_BS: Tensor, open_BS: Tensor) -> Tensor:
        return select_highest(score_BS, open_BS, self.count_BT[:, step])


def make_rule(settings: EvenSelector | ScheduleSelector, open_B: Tensor, blocks: int) -> Rule:
    """Return the rule for a block with ``open_B`` (int64 [B]) open positions, one of ``blocks``."""
    steps = settings.per_block(blocks)
    if isinstance(settings, ScheduleSelector):
        return Quota(schedule_counts(open_B, steps, schedule(settings.schedule)))
    return Quota(even_counts(open_B, steps))
