"""How the log-likelihood of an answer is estimated. Counts are of maskings or tokens; log-likelihoods are in nats."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dlm.errors import SettingsError
from dlm.settings.checks import above, at_least, between

_STRICT = {"extra": "forbid", "use_attribute_docstrings": True}


@dataclass(frozen=True, kw_only=True)
class StratifiedMasks:
    """Unbiased, the project's own: exact where all maskings are few, else stratified numbers of masked tokens."""

    __pydantic_config__ = _STRICT
    kind: Literal["stratified"] = "stratified"
    """Discriminator: `stratified`."""
    replicates: int | None = None
    """Independent replicates that the samples are divided into, from whose spread the standard error is taken (>= 1;
    one gives none). More of them make the error better known, fewer make it smaller. None: about sqrt(2 x samples)."""

    def __post_init__(self) -> None:
        if self.replicates is not None:
            at_least("replicates", self.replicates, 1)


@dataclass(frozen=True, kw_only=True)
class LLaDAMasks:
    """As published for LLaDA: a batch's numbers of masked tokens are spread evenly from a random start and rounded.

    At some batch sizes the rounding makes some numbers more frequent than others, so that the estimate is biased
    (ML-GSAI/LLaDA, get_log_likelihood.py).
    """

    __pydantic_config__ = _STRICT
    kind: Literal["llada"] = "llada"
    """Discriminator: `llada`."""
    batch_size: int
    """Maskings with one random start (>= 1), the `batch_size` of the source; samples must be a multiple of it."""

    def __post_init__(self) -> None:
        at_least("batch_size", self.batch_size, 1)


@dataclass(frozen=True, kw_only=True)
class DreamMasks:
    """As published for Dream: each token is masked by chance, at rates spread evenly over a batch from a random start.

    An end token follows the answer and stays visible (DreamLM/Dream; `nll_type mc`, `log_type ftb`).
    """

    __pydantic_config__ = _STRICT
    kind: Literal["dream"] = "dream"
    """Discriminator: `dream`."""
    batch_size: int
    """Maskings with one random start (>= 1), the `batch_size` of the source; samples must be a multiple of it."""
    epsilon: float = 1e-3
    """Smallest rate of masking (0 to 1), the source's `sampling_eps`; above 0 it makes a small bias."""

    def __post_init__(self) -> None:
        at_least("batch_size", self.batch_size, 1)
        between("epsilon", self.epsilon, 0, 1)
        above("1 - epsilon", 1 - self.epsilon, 0)


@dataclass(frozen=True, kw_only=True)
class LikelihoodSettings:
    """Monte-Carlo bound on the log-likelihood of an answer (LLaDA, arXiv 2502.09992, eq. 6)."""

    __pydantic_config__ = _STRICT
    samples: int = 32
    """Maskings per answer at most (>= 1); of block diffusion, per block of it."""
    masks: StratifiedMasks | LLaDAMasks | DreamMasks = field(default_factory=StratifiedMasks)
    """Which tokens the maskings hide, and with which weight they count."""
    guidance_scale: float = 0.0
    """Strength of classifier-free guidance (>= 0, no unit), at twice the cost: logits move away from those with a
    masked prompt, u + (1 + scale) (c - u). 0: without."""
    greedy: Literal["none", "one_step", "decode"] = "none"
    """How it is found whether a greedy decoder gives the answer, which the accuracy of lm-eval's `loglikelihood` tasks
    (LAMBADA) asks. `one_step`: every token is the most probable one where the whole answer is masked. `decode`: it is
    given by decoding that commits the most confident token at each step, one pass a token until it goes wrong
    (`is_check_greedy` of ML-GSAI/LLaDA). `none`: found for answers of one token, False for others."""
    begin_token: bool = False
    """Put the tokenizer's beginning-of-sequence token before every context: Dream's `add_bos_token`."""

    def __post_init__(self) -> None:
        at_least("samples", self.samples, 1)
        at_least("guidance_scale", self.guidance_scale, 0)
        if isinstance(self.masks, StratifiedMasks):
            if (self.masks.replicates or 1) > self.samples:
                raise SettingsError(f"replicates {self.masks.replicates} exceed the {self.samples} samples")
        elif self.samples % self.masks.batch_size:
            raise SettingsError(f"samples {self.samples} is not a multiple of batch_size {self.masks.batch_size}")
