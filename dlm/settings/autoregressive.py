"""How an autoregressive baseline answers: as lm-eval's own model class does, so that there is little to choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class GreedySettings:
    """Greedy decoding from left to right, by lm-eval's own model class."""

    kind: Literal["greedy"] = "greedy"
    max_new_tokens: int
    """Longest answer, in tokens: that of the task's sampler, so that all models of a table have the same room."""


@dataclass(frozen=True, kw_only=True)
class ExactLikelihood:
    """The exact log-likelihood, in one forward pass, by lm-eval's own model class."""

    kind: Literal["exact"] = "exact"
