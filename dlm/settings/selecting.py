"""Selectors: which of the scored proposals a step commits. A selector's rule is in dlm/sampling/rules/.

A setting that does not apply to a selector does not exist on it, so it cannot be written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dlm.errors import SettingsError
from dlm.settings.checks import above, at_least, between, checked

_STRICT = {"extra": "forbid", "use_attribute_docstrings": True}


@dataclass(frozen=True, kw_only=True)
@checked
class EvenSelector:
    """Commit a number of tokens per step that is fixed beforehand: a block's masks split evenly over its steps.

    The remainder goes to the first steps, as in LLaDA's `get_num_transfer_tokens` (ML-GSAI/LLaDA, generate.py).
    """

    __pydantic_config__ = _STRICT
    kind: Literal["even"] = "even"
    """Discriminator: `even`."""
    steps: int
    """Steps in total, over all blocks (>= 1); the number of blocks must divide it."""

    def __post_init__(self) -> None:
        at_least("steps", self.steps, 1)

    def per_block(self, blocks: int) -> int:
        """Steps of a block."""
        return -(-self.steps // blocks)


@dataclass(frozen=True, kw_only=True)
@checked
class ScheduleSelector:
    """Commit a number of tokens per step that is fixed beforehand: what a noise schedule would reveal.

    Rounded half to even; steps that would commit nothing are left out (ZHZisZZ/dllm, `get_num_transfer_tokens`), so
    there may be fewer than `steps`, and more steps than tokens only make the schedule's grid finer.
    """

    __pydantic_config__ = _STRICT
    kind: Literal["schedule"] = "schedule"
    """Discriminator: `schedule`."""
    steps: int
    """Steps in total, over all blocks (>= 1), divided by the number of blocks and rounded up."""
    schedule: Literal["linear", "cosine"] = field(default="linear", metadata={"open": True})
    """Noise schedule alpha(t), the share of tokens kept at time t."""
    stochastic: bool = False
    """True: a step's number is drawn, each open token with the share that the schedule would reveal, instead of rounded
    (ZHZisZZ/dllm, `stochastic_transfer`)."""

    def __post_init__(self) -> None:
        at_least("steps", self.steps, 1)

    def per_block(self, blocks: int) -> int:
        """Steps of a block, those included that would commit nothing."""
        return -(-self.steps // blocks)


@dataclass(frozen=True, kw_only=True)
@checked
class FloorSelector:
    """Commit a number of tokens per step that is fixed beforehand: whole tokens of a falling time.

    The times fall evenly from 1 to `epsilon`; the step from t to s commits the share 1 - s/t of what is open, rounded
    down, and the last step all of it. Steps that would commit nothing are left out (Dream's generation_utils.py).
    """

    __pydantic_config__ = _STRICT
    kind: Literal["floor"] = "floor"
    """Discriminator: `floor`."""
    steps: int
    """Steps in total, over all blocks (>= 1), divided by the number of blocks and rounded up."""
    epsilon: float = 1e-3
    """The smallest time (above 0, below 1)."""

    def __post_init__(self) -> None:
        at_least("steps", self.steps, 1)
        _check_epsilon(self.epsilon)

    def per_block(self, blocks: int) -> int:
        """Steps of a block, those included that would commit nothing."""
        return -(-self.steps // blocks)


@dataclass(frozen=True, kw_only=True)
@checked
class OriginSelector:
    """Commit each open position by chance: Dream's `origin`, the plain reverse process of masked diffusion.

    The times fall evenly from 1 to `epsilon`; the step from t to s commits a position with probability 1 - s/t, the
    last step all that is left.
    """

    __pydantic_config__ = _STRICT
    kind: Literal["origin"] = "origin"
    """Discriminator: `origin`."""
    steps: int
    """Steps in total, over all blocks (>= 1), divided by the number of blocks and rounded up."""
    epsilon: float = 1e-3
    """The smallest time (above 0, below 1)."""

    def __post_init__(self) -> None:
        at_least("steps", self.steps, 1)
        _check_epsilon(self.epsilon)

    def per_block(self, blocks: int) -> int:
        """Steps of a block."""
        return -(-self.steps // blocks)


@dataclass(frozen=True, kw_only=True)
@checked
class ThresholdSelector:
    """Commit every token whose score reaches a threshold, and always the highest (Fast-dLLM, arXiv 2505.22618, 3.3)."""

    __pydantic_config__ = _STRICT
    kind: Literal["threshold"] = "threshold"
    """Discriminator: `threshold`."""
    threshold: float
    """From this score on (0 to 1, a probability or a difference of two)."""
    quota: EvenSelector | ScheduleSelector | FloorSelector | None = None
    """At no step more tokens in all than this selector would have committed by then; once its steps are over, no limit
    (`confidence_threshold` of NVlabs/Fast-dLLM for Dream, with an even quota). None: no limit."""
    most_steps: int | None = None
    """Most steps in total, over all blocks (>= 1), divided by the number of blocks and rounded up; what is open then
    stays a mask in the answer (the dual cache of ZHZisZZ/dllm's FastdLLMLLaDASampler). None: until all is committed."""

    def __post_init__(self) -> None:
        between("threshold", self.threshold, 0, 1)
        if self.most_steps is not None:
            at_least("most_steps", self.most_steps, 1)


@dataclass(frozen=True, kw_only=True)
@checked
class FactorSelector:
    """Commit the r highest probabilities while the r-th is at least 1 - factor / (r + 1), and always the highest."""

    __pydantic_config__ = _STRICT
    kind: Literal["factor"] = "factor"
    """Discriminator: `factor`."""
    factor: float
    """Above 0; the larger, the more is committed at once."""
    last_rank: bool = False
    """True: also take the last open position when it alone falls short, as inclusionAI/dInfer does."""
    most_steps: int | None = None
    """As of the threshold selector."""

    def __post_init__(self) -> None:
        above("factor", self.factor, 0)
        if self.most_steps is not None:
            at_least("most_steps", self.most_steps, 1)


@dataclass(frozen=True, kw_only=True)
@checked
class RemaskingSelector:
    """Commit open positions and open committed ones again, both by chance: ReMDM (arXiv 2503.00307, section 3).

    From time t to s a committed token is opened again with probability sigma = min(cap, scale x sigma_max), where
    sigma_max = min(1, (1 - alpha_s) / alpha_t) is the most that leaves the marginals those of masked diffusion. The
    paper's ReMDM-cap and ReMDM-rescale set one of the two.
    """

    __pydantic_config__ = _STRICT
    kind: Literal["remasking"] = "remasking"
    """Discriminator: `remasking`."""
    steps: int
    """Steps in total, over all blocks (>= 1), divided by the number of blocks and rounded up."""
    schedule: Literal["linear", "cosine"] = field(default="linear", metadata={"open": True})
    """Noise schedule alpha(t), the share of tokens kept at time t."""
    cap: float = 1.0
    """Largest sigma (0 to 1)."""
    scale: float = 1.0
    """Share of sigma_max (0 to 1); 0: nothing is opened again."""

    def __post_init__(self) -> None:
        at_least("steps", self.steps, 1)
        between("cap", self.cap, 0, 1)
        between("scale", self.scale, 0, 1)

    def per_block(self, blocks: int) -> int:
        """Steps of a block."""
        return -(-self.steps // blocks)


QuotaSelector = EvenSelector | ScheduleSelector | FloorSelector
"""Selectors that fix the number of tokens per step beforehand."""
Selector = QuotaSelector | OriginSelector | ThresholdSelector | FactorSelector | RemaskingSelector


def _check_epsilon(epsilon: float) -> None:
    if not 0 < epsilon < 1:
        raise SettingsError(f"epsilon must be above 0 and below 1, got {epsilon}")
