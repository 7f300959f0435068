"""The parts that a decoding method is made of: canvas, proposer, selector, stop. Lengths are in tokens.

A setting that does not apply to a part does not exist on it, so it cannot be written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dlm.settings.checks import above, at_least

_STRICT = {"extra": "forbid", "use_attribute_docstrings": True}


@dataclass(frozen=True, kw_only=True)
class FullCanvas:
    """The whole answer is on the canvas from the start and is filled block by block, left to right.

    Every token sees every other. ``block_size == max_new_tokens`` is pure diffusion; a smaller block is LLaDA's
    semi-autoregressive decoding.
    """

    __pydantic_config__ = _STRICT
    kind: Literal["full"] = "full"
    """Discriminator: `full`."""
    max_new_tokens: int
    """Number of answer positions, in tokens (>= 1)."""
    block_size: int | None = None
    """Tokens per block (>= 1); the last one may be shorter. None: one block of max_new_tokens."""

    def __post_init__(self) -> None:
        at_least("max_new_tokens", self.max_new_tokens, 1)
        if self.block_size is not None:
            at_least("block_size", self.block_size, 1)

    @property
    def block(self) -> int:
        """Tokens per block."""
        return self.block_size or self.max_new_tokens

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return -(-self.max_new_tokens // self.block)


@dataclass(frozen=True, kw_only=True)
class GrowingCanvas:
    """The answer grows by a block at a time: block diffusion (BD3LM, arXiv 2503.09573, section 3).

    A token sees its own block and those before it. Blocks are counted from the prompt's end, in both directions, as
    ZHZisZZ/dllm does, which pads the prompt on its left to a multiple of the block size.
    """

    __pydantic_config__ = _STRICT
    kind: Literal["growing"] = "growing"
    """Discriminator: `growing`."""
    max_new_tokens: int
    """Number of answer positions, in tokens (>= 1)."""
    block_size: int
    """Tokens per block (>= 1), as in the model's training; the last one may be shorter."""
    cache: Literal["exact", "none"] = "exact"
    """`exact` computes a finished block once and keeps its keys and values; `none` computes all anew in each pass. Both
    give the same answers."""
    hide_pad_token: bool = False
    """True: padding is recognised by its token, as in ZHZisZZ/dllm: a pad token in the prompt, or in a finished block
    of the answer, is hidden from what follows and not counted in the positions."""

    def __post_init__(self) -> None:
        at_least("max_new_tokens", self.max_new_tokens, 1)
        at_least("block_size", self.block_size, 1)

    @property
    def block(self) -> int:
        """Tokens per block."""
        return self.block_size

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return -(-self.max_new_tokens // self.block_size)


@dataclass(frozen=True, kw_only=True)
class Guidance:
    """Classifier-free guidance: logits move away from those of an unconditional canvas, whose prompt is masked.

    u + (1 + scale) (c - u), with c the conditional and u the unconditional logits (ML-GSAI/LLaDA, generate.py).
    """

    __pydantic_config__ = _STRICT
    scale: float
    """Strength (> 0, no unit)."""
    keep_tokens: tuple[int | str, ...] = ()
    """Tokens (ids, or their text in the vocabulary) of the prompt that the unconditional canvas keeps."""

    def __post_init__(self) -> None:
        above("scale", self.scale, 0)


@dataclass(frozen=True, kw_only=True)
class Proposer:
    """How a token is proposed for each open position."""

    __pydantic_config__ = _STRICT
    temperature: float = 0.0
    """Temperature of the Gumbel-max draw (>= 0, no unit); 0 takes the most probable token."""
    suppress_tokens: tuple[int | str, ...] = ()
    """Tokens (ids, or their text in the vocabulary) that are never proposed: their logits are -inf, also where
    confidence is computed. The mask token never is proposed either, but counts in the confidence."""
    guidance: Guidance | None = None
    """Classifier-free guidance, at twice the cost; None: without."""

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

    def per_block(self, blocks: int) -> int:
        """Steps of a block."""
        return self.steps // blocks


@dataclass(frozen=True, kw_only=True)
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
    schedule: Literal["linear", "cosine"] = "linear"
    """Noise schedule alpha(t), the share of tokens kept at time t."""

    def __post_init__(self) -> None:
        at_least("steps", self.steps, 1)

    def per_block(self, blocks: int) -> int:
        """Steps of a block, those included that would commit nothing."""
        return -(-self.steps // blocks)


@dataclass(frozen=True, kw_only=True)
class EndOfText:
    """An answer is done when one of its finished blocks holds a stop token; what follows is not sampled."""

    __pydantic_config__ = _STRICT
    kind: Literal["end_of_text"] = "end_of_text"
    """Discriminator: `end_of_text`."""
    tokens: tuple[int | str, ...] = ()
    """Stop tokens (ids, or their text in the vocabulary); none: the tokenizer's end of sequence, padding and end of
    turn."""
