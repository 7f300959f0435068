"""Training objectives: what is minimised."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from dlm.errors import SettingsError
from dlm.settings.checks import above, at_least

_STRICT = {"extra": "forbid", "use_attribute_docstrings": True}
_CART = re.compile(r"cart\[geo_p:(0?\.\d+|1(?:\.0*)?)\]")


def cart_parameter(weight: str) -> float | None:
    """Return the geometric parameter of the loss weight `cart[geo_p:<number>]`; None for any other weight."""
    found = _CART.fullmatch(weight)
    return float(found[1]) if found else None


def _check_noise(objective: MDLM | BD3LM) -> None:
    if objective.weight not in ("scheduler", "uniform") and not cart_parameter(objective.weight):
        raise SettingsError(
            f"weight: unknown '{objective.weight}'; known: scheduler, uniform, cart[geo_p:P], P above 0 and at most 1"
        )
    above("time_epsilon", objective.time_epsilon, 0)
    if objective.time_epsilon >= 1:
        raise SettingsError(f"time_epsilon must be below 1, got {objective.time_epsilon}")


@dataclass(frozen=True, kw_only=True)
class MDLM:
    """Masked diffusion (arXiv 2406.07524; LLaDA, arXiv 2502.09992, eq. 3): cross-entropy on masked positions."""

    __pydantic_config__ = _STRICT
    kind: Literal["mdlm"] = "mdlm"
    """Discriminator: `mdlm`."""
    schedule: Literal["linear", "cosine"] = "linear"
    """Noise schedule alpha(t), the share of tokens kept at time t."""
    weight: str = "scheduler"
    """Loss weight: `scheduler` is -alpha'(t) / (1 - alpha(t)), which is 1/t when linear; `uniform` is 1;
    `cart[geo_p:0.3]` is Dream's, which grows with the unmasked tokens nearby (its parameter is above 0, at most 1)."""
    time_epsilon: float = 1e-3
    """Smallest time that is drawn, of 1 (0 < time_epsilon < 1)."""
    bos: Literal["as_given", "prepend_when_shifted"] = "as_given"
    """What stands before a row's first token: nothing, or, where the model's prediction is shifted, the
    beginning-of-sequence token, unless every row of the batch begins with an untrained token (ZHZisZZ/dllm)."""

    def __post_init__(self) -> None:
        _check_noise(self)


@dataclass(frozen=True, kw_only=True)
class BD3LM:
    """Block diffusion (arXiv 2503.09573): masked diffusion inside each block, given the clean blocks before it."""

    __pydantic_config__ = _STRICT
    kind: Literal["bd3lm"] = "bd3lm"
    """Discriminator: `bd3lm`."""
    block_size: int
    """Tokens of a block (>= 1)."""
    schedule: Literal["linear", "cosine"] = "linear"
    """Noise schedule alpha(t), the share of tokens kept at time t."""
    weight: str = "scheduler"
    """Loss weight, as for `mdlm`."""
    time_epsilon: float = 1e-3
    """Smallest time that is drawn, of 1 (0 < time_epsilon < 1)."""
    time: Literal["sequence", "block"] = "sequence"
    """One time for all blocks of a row (ZHZisZZ/dllm), or one for each (the paper, arXiv 2503.09573, eq. 8)."""
    bos: Literal["as_given", "prepend_when_shifted"] = "as_given"
    """As for `mdlm`."""

    def __post_init__(self) -> None:
        at_least("block_size", self.block_size, 1)
        _check_noise(self)


@dataclass(frozen=True, kw_only=True)
class MLM:
    """Masked language modelling (BERT, arXiv 1810.04805; ModernBERT, arXiv 2412.13663): one rate of masking for all.

    What an encoder is pretrained with before it becomes a diffusion model: masked diffusion at a single time.
    """

    __pydantic_config__ = _STRICT
    kind: Literal["mlm"] = "mlm"
    """Discriminator: `mlm`."""
    mask_rate: float = 0.3
    """Probability that a token is masked (0 < mask_rate < 1); ModernBERT's by default. Masks only, no random tokens."""

    def __post_init__(self) -> None:
        above("mask_rate", self.mask_rate, 0)
        if self.mask_rate >= 1:
            raise SettingsError(f"mask_rate must be below 1, got {self.mask_rate}")


@dataclass(frozen=True, kw_only=True)
class Autoregressive:
    """Next-token cross-entropy with causal attention: what an autoregressive parent is trained with."""

    __pydantic_config__ = _STRICT
    kind: Literal["ar"] = "ar"
    """Discriminator: `ar`."""
