"""What a commit rule is, and which settings stand for which.

Shapes: B rows, S positions of a block, T steps of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from dlm.diffusion.noise import uniform
from dlm.errors import SettingsError
from dlm.sampling.selecting import select_highest, without_zeros
from dlm.sampling.state import State, Window

_RULES: dict[type, type[Rule]] = {}
R = TypeVar("R", bound="type[Rule]")
_RULE_DRAWS = 2
"""Last counter of the rules' random numbers, which keeps them apart from those of proposals (none) and scores (1)."""


@dataclass(frozen=True)
class Block:
    """What a rule knows of the block that it is made for."""

    open_B: Tensor
    """int64 [B], open positions when the rule begins."""
    size_B: Tensor
    """int64 [B], positions of a whole block."""
    blocks_B: Tensor
    """int64 [B], blocks of each row."""
    block_B: Tensor
    """int64 [B], which of them this is, from 0."""
    stream_B: Tensor
    """int64 [B], key of each row's random numbers."""
    seed: int
    passes: int = 0
    """Passes over the block that were made before the rule begins."""

    def steps(self, settings: Any) -> Tensor:
        """Return the steps of each row's block that ``settings.per_block(blocks)`` says, int64 [B]."""
        return torch.tensor([settings.per_block(blocks) for blocks in self.blocks_B.tolist()]).to(self.open_B)

    def uniform(self, length: int, *counters: int) -> Tensor:
        """Draw numbers that depend on seed, row, block, counters and place alone, float64 [B, length] in (0, 1)."""
        return uniform(self.seed, self.stream_B, length, self.block_B, *counters, _RULE_DRAWS)


class Rule(ABC):
    """What is committed in the steps of a block. A rule belongs to one block of one batch.

    Args:
        settings: those that it is registered for.
        block: the block.
    """

    blind: ClassVar[bool] = False
    """Whether it selects without looking at scores: then only the selected positions are proposed for."""

    def __init__(self, settings: Any, block: Block) -> None:
        self.settings, self.block = settings, block

    @property
    def final(self) -> bool:
        """Whether what is committed stays: nothing is ever taken back."""
        return type(self).reopen is Rule.reopen

    @property
    def stride_B(self) -> Tensor:
        """No row of the block takes more steps than this, int64 [B]: blocks are so many apart in random numbers."""
        return self.block.size_B

    @abstractmethod
    def select(self, step: int, score_BS: Tensor, open_BS: Tensor) -> Tensor:
        """Mark what step ``step`` (from 0) commits among the open positions.

        Args:
            step: from 0 in each block.
            score_BS: float64 [B, S], higher is better; 0 where not open. All 0 for a blind rule.
            open_BS: bool [B, S].

        Returns:
            bool [B, S], True nowhere but where ``open_BS`` is.
        """

    def quota(self, step: int) -> Tensor | None:
        """Return how many of each row's highest scores step ``step`` takes, int64 [B], if that is all it does.

        None: it looks at the scores themselves. Where numbers are fixed, scores that decide nothing need not be exact.
        """
        return None

    def finished(self, step: int, open_BS: Tensor) -> Tensor:
        """Mark the rows whose block is done before step ``step``, bool [B]."""
        return ~open_BS.any(dim=1)

    def reopen(self, step: int, written_BS: Tensor) -> Tensor | None:
        """Mark what step ``step`` takes back of what was written before it (bool [B, S]); None: nothing, ever."""
        return None


class Quota(Rule):
    """A number of tokens fixed beforehand for each row and step; the highest scores are taken.

    Steps that commit nothing are left out, since the model would see the same canvas again. A subclass says the numbers
    in ``counts``; its settings have ``per_block(blocks)``, the steps of a block.
    """

    def __init__(self, settings: Any, block: Block) -> None:
        super().__init__(settings, block)
        self.steps_B = block.steps(settings)
        counts: dict[int, Tensor] = {}
        for steps in sorted(set(self.steps_B.tolist())):  # rows of infilled texts may have different numbers of blocks
            counts[steps] = without_zeros(self.counts(block.open_B, steps))
        self.count_BT = block.open_B.new_zeros(len(block.open_B), max(each.shape[1] for each in counts.values()))
        for steps, count_BT in counts.items():
            same_B = self.steps_B == steps
            self.count_BT[same_B, : count_BT.shape[1]] = count_BT[same_B]

    @abstractmethod
    def counts(self, open_B: Tensor, steps: int) -> Tensor:
        """Return how many tokens each of a block's steps commits, int64 [B, steps]; their sum is ``open_B``."""

    @property
    def stride_B(self) -> Tensor:
        return self.steps_B

    def quota(self, step: int) -> Tensor | None:
        return self.count_BT[:, step]

    def select(self, step: int, score_BS: Tensor, open_BS: Tensor) -> Tensor:
        return select_highest(score_BS, open_BS, self.count_BT[:, step])


class FirstToken(Rule):
    """The block's first open position in its first step, whatever its score; then another rule."""

    def __init__(self, settings: Any, block: Block) -> None:
        super().__init__(settings, block)
        self.rest = make_rule(settings, replace(block, open_B=(block.open_B - 1).clamp(min=0), passes=block.passes + 1))

    @property
    def stride_B(self) -> Tensor:
        return self.rest.stride_B + 1

    def select(self, step: int, score_BS: Tensor, open_BS: Tensor) -> Tensor:
        if step:
            return self.rest.select(step - 1, score_BS, open_BS)
        return open_BS & (open_BS.cumsum(dim=1) == 1)

    def quota(self, step: int) -> Tensor | None:
        return self.rest.quota(step - 1) if step else None

    def finished(self, step: int, open_BS: Tensor) -> Tensor:
        return self.rest.finished(step - 1, open_BS) if step else super().finished(step, open_BS)


def rule_for(settings: type) -> Callable[[R], R]:
    """Register a rule as what a class of settings stands for."""

    def register(rule: R) -> R:
        _RULES[settings] = rule
        return rule

    return register


def make_rule(settings: Any, block: Block) -> Rule:
    """Return the rule that the settings stand for.

    Raises:
        SettingsError: no rule is registered for them.
    """
    if type(settings) not in _RULES:
        raise SettingsError(f"selector: no rule for {type(settings).__name__}; register one (docs/sampling.md)")
    return _RULES[type(settings)](settings, block)


def block_rule(settings: Any, state: State, window: Window, seed: int, *, first_token: bool) -> Rule:
    """Return the rule for the block that is in each row's window; ``first_token``: see :class:`FirstToken`."""
    block = Block(
        open_B=window.open(state).sum(dim=1),
        size_B=state.size_B,
        blocks_B=state.blocks_B,
        block_B=state.block_B,
        stream_B=state.stream_B,
        seed=seed,
    )
    return FirstToken(settings, block) if first_token else make_rule(settings, block)
