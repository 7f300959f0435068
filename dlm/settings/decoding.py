"""The parts that a decoding method is made of: canvas, proposer, stop. Selectors are in selecting.py.

Lengths are in tokens. A setting that does not apply to a part does not exist on it, so it cannot be written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dlm.errors import SettingsError
from dlm.settings.checks import above, at_least, checked

_STRICT = {"extra": "forbid", "use_attribute_docstrings": True}


@dataclass(frozen=True, kw_only=True)
@checked
class ApproximateCache:
    """Keys and values that go stale: a block's first pass computes the whole canvas, its others a part of it.

    Fast-dLLM (arXiv 2505.22618, section 3.2). Every token sees every other, so what is not computed again no longer
    fits what was written since; the answers are not those without a cache.
    """

    __pydantic_config__ = _STRICT
    kind: Literal["approximate_prefix", "approximate_dual"]
    """`approximate_prefix`: what stands before the block stays as it was; `approximate_dual`: so does what follows."""
    first_pass: Literal["select", "first_token"] = "select"
    """What a block's first pass commits: `select` what the selector says; `first_token` the block's first open token
    whatever its score, as NVlabs/Fast-dLLM does for Dream, whose shifted score of it no later pass computes anew."""


@dataclass(frozen=True, kw_only=True)
@checked
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
    """Tokens per block (>= 1); the last one may be shorter. None: one block of all that is answered or infilled."""
    cache: ApproximateCache | None = None
    """What is not computed again in each pass; None: all is, and the answers are exact."""

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
@checked
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
@checked
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
@checked
class Proposer:
    """How a token is proposed for each open position."""

    __pydantic_config__ = _STRICT
    temperature: float = 0.0
    """Temperature of the Gumbel-max draw (>= 0, no unit); 0 takes the most probable token."""
    top_p: float | None = None
    """Draw among the most probable tokens whose probabilities, after the temperature, reach this sum (above 0, below
    1); the token that reaches it is kept. The mask token counts, but is not drawn. None: among all."""
    top_k: int | None = None
    """Draw among this many most probable tokens (>= 1), after top_p; None: among all."""
    suppress_tokens: tuple[int | str, ...] = ()
    """Tokens (ids, or their text in the vocabulary) that are never proposed: their logits are -inf, also where
    confidence is computed. The mask token never is proposed either, but counts in the confidence."""
    guidance: Guidance | None = None
    """Classifier-free guidance, at twice the cost; None: without."""

    def __post_init__(self) -> None:
        at_least("temperature", self.temperature, 0.0)
        if self.top_p is not None and not 0 < self.top_p < 1:
            raise SettingsError(f"top_p must be above 0 and below 1, got {self.top_p}; leave it out to draw among all")
        if self.top_k is not None:
            at_least("top_k", self.top_k, 1)


@dataclass(frozen=True, kw_only=True)
@checked
class EndOfText:
    """An answer is done when one of its finished blocks holds a stop token; what follows is not sampled."""

    __pydantic_config__ = _STRICT
    kind: Literal["end_of_text"] = "end_of_text"
    """Discriminator: `end_of_text`."""
    tokens: tuple[int | str, ...] = ()
    """Stop tokens (ids, or their text in the vocabulary); none: the tokenizer's end of sequence, padding and end of
    turn."""
