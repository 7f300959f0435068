"""What a sampler can be told: one dataclass per part of the sampling loop.

A setting that does not apply to a part does not exist on it, so it cannot be written. Lengths are in tokens.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from dlm.errors import SettingsError
from dlm.settings.checks import at_least, between

_STRICT = {"extra": "forbid", "use_attribute_docstrings": True}


@dataclass(frozen=True, kw_only=True)
class FullCanvas:
    """The whole answer is on the canvas from the start and is filled block by block, left to right.

    ``block_size == max_new_tokens`` is pure diffusion; a smaller block is LLaDA's semi-autoregressive decoding.
    """

    __pydantic_config__ = _STRICT
    kind: Literal["full"] = "full"
    """Discriminator: `full`."""
    max_new_tokens: int
    """Number of answer positions, in tokens (>= 1)."""
    block_size: int | None = None
    """Tokens per block; must divide max_new_tokens. None: one block of max_new_tokens."""

    def __post_init__(self) -> None:
        at_least("max_new_tokens", self.max_new_tokens, 1)
        if self.block_size is not None:
            at_least("block_size", self.block_size, 1)
            if self.max_new_tokens % self.block_size:
                raise SettingsError(
                    f"block_size {self.block_size} does not divide max_new_tokens {self.max_new_tokens}; "
                    "choose a divisor"
                )

    @property
    def block(self) -> int:
        """Tokens per block."""
        return self.block_size or self.max_new_tokens

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return self.max_new_tokens // self.block


@dataclass(frozen=True, kw_only=True)
class Proposer:
    """How a token is proposed for each open position."""

    __pydantic_config__ = _STRICT
    temperature: float = 0.0
    """Temperature of the Gumbel-max draw (>= 0, no unit); 0 takes the most probable token."""
    suppress_tokens: tuple[int | str, ...] = ()
    """Tokens (ids, or their text in the vocabulary) that are never proposed; the mask token never is."""

    def __post_init__(self) -> None:
        at_least("temperature", self.temperature, 0.0)


@dataclass(frozen=True, kw_only=True)
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


@dataclass(frozen=True, kw_only=True)
class SamplerSettings:
    """One decoding method: canvas, proposer, ranking score and selector."""

    __pydantic_config__ = _STRICT
    canvas: FullCanvas
    """What the model sees and how it grows."""
    proposer: Proposer = field(default_factory=Proposer)
    """How tokens are proposed."""
    score: Literal["low_confidence", "random"] = "low_confidence"
    """Ranking of proposals: `low_confidence` commits the most probable first, `random` a uniform draw."""
    selector: EvenSelector
    """How many of the ranked proposals a step commits."""

    def __post_init__(self) -> None:
        blocks, steps = self.canvas.blocks, self.selector.steps
        if steps % blocks:
            raise SettingsError(f"steps {steps} is not a multiple of the {blocks} blocks; choose {blocks} x n")
        if steps > self.canvas.max_new_tokens:
            raise SettingsError(
                f"steps {steps} exceeds max_new_tokens {self.canvas.max_new_tokens}; a step commits at least one token"
            )


@dataclass(frozen=True, kw_only=True)
class LikelihoodSettings:
    """Monte-Carlo bound on the log-likelihood of an answer (LLaDA, arXiv 2502.09992, eq. 6)."""

    __pydantic_config__ = _STRICT
    samples: int = 32
    """Random maskings per answer (>= 1)."""

    def __post_init__(self) -> None:
        at_least("samples", self.samples, 1)


@dataclass(frozen=True, kw_only=True)
class ExecutionSettings:
    """How a model is run: reported with every result, not meant to change it."""

    __pydantic_config__ = _STRICT
    batch_size: int = 32
    """Sequences per forward pass (>= 1)."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Floating-point type of weights and activations."""
    device: str = "auto"
    """`cpu`, `cuda`, `cuda:0`, … or `auto`: cuda where there is one."""
    threads: int = 1
    """Threads of torch per process (1 to 256). The count changes the bits of the result."""

    def __post_init__(self) -> None:
        at_least("batch_size", self.batch_size, 1)
        between("threads", self.threads, 1, 256)
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", self.device):
            raise SettingsError(f"device must be auto, cpu, mps, cuda or cuda:<number>, got '{self.device}'")
