"""What a sampler can be told, and how a model is run."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from dlm.errors import SettingsError
from dlm.settings.checks import at_least, between, checked
from dlm.settings.decoding import ApproximateCache, EndOfText, FullCanvas, GrowingCanvas, Proposer
from dlm.settings.selecting import (
    EvenSelector,
    FactorSelector,
    FloorSelector,
    OriginSelector,
    QuotaSelector,
    RemaskingSelector,
    Selector,
    ThresholdSelector,
)

_STRICT = {"extra": "forbid", "use_attribute_docstrings": True}


@dataclass(frozen=True, kw_only=True)
@checked
class SamplerSettings:
    """One decoding method: canvas, proposer, ranking score, selector and stop."""

    __pydantic_config__ = _STRICT
    canvas: FullCanvas | GrowingCanvas
    """What the model sees and how it grows."""
    proposer: Proposer = field(default_factory=Proposer)
    """How tokens are proposed."""
    score: Literal["low_confidence", "random", "topk_margin", "negative_entropy"] = "low_confidence"
    """Ranking of proposals: `low_confidence` commits the most probable first, `random` a uniform draw, `topk_margin` by
    the difference of the two largest probabilities, `negative_entropy` by the sum of p log p."""
    score_of: Literal["model", "proposer"] = "model"
    """Whose probabilities are scored: the `model`'s, as LLaDA does, or the `proposer`'s after temperature, top_p and
    top_k, as Dream does."""
    score_temperature: float = 0.0
    """Above 0, a selector's quota is drawn instead of the highest taken: without replacement, each position in
    proportion to exp(score / score_temperature) (Dream's `alg_temp`)."""
    defer_tokens: tuple[int | str, ...] = ()
    """Tokens (ids, or their text in the vocabulary) that are committed only when nothing else is left: their confidence
    counts as 0, and that of others as if they were not in the vocabulary. ML-GSAI/LLaDA's `confidence_eos_eot_inf` at
    temperature 0, ZHZisZZ/dllm's `begin_suppress_tokens`."""
    selector: Selector = field(metadata={"open": True})  # rules of one's own bring settings of their own
    """Which of the ranked proposals a step commits."""
    stop: EndOfText | None = None
    """When an answer is done before its length; None: never."""
    begin_token: bool = False
    """Put the tokenizer's beginning-of-sequence token before every prompt that does not begin with it, as Dream's own
    evaluation does when it generates (DreamLM/Dream, `add_bos_token`)."""

    def __post_init__(self) -> None:
        at_least("score_temperature", self.score_temperature, 0)
        self._check_score()
        if isinstance(self.selector, EvenSelector):
            self._check_even(self.selector.steps)
        cache = self.canvas.cache
        if isinstance(cache, ApproximateCache) and cache.first_pass == "first_token":
            self._check_first_token()

    def _check_score(self) -> None:
        """Refuse what a score has no use for."""
        if self.score == "random" and self.defer_tokens:
            raise SettingsError("defer_tokens does not apply to score 'random', which knows no confidence; remove it")
        ranking = (self.score, self.score_of, self.defer_tokens)
        if isinstance(self.selector, OriginSelector | RemaskingSelector) and ranking != ("low_confidence", "model", ()):
            raise SettingsError(
                f"a selector of kind '{self.selector.kind}' commits by chance: remove score, score_of and defer_tokens"
            )
        proposer = self.proposer
        filters = proposer.top_p is not None or proposer.top_k is not None
        if filters and not proposer.temperature and self.score_of == "model":
            raise SettingsError(
                "top_p and top_k do not apply at temperature 0 where score_of is 'model': the most probable token "
                "always stays; remove them, or set temperature"
            )
        if self.score_temperature and not isinstance(self.selector, QuotaSelector):
            raise SettingsError(
                f"score_temperature does not apply to a selector of kind '{self.selector.kind}'; remove it, or choose "
                "kind 'even', 'schedule' or 'floor'"
            )
        if self.score == "random" and (self.score_of == "proposer" or self.score_temperature):
            raise SettingsError("score_of and score_temperature do not apply to score 'random'; remove them")
        scores = {ThresholdSelector: ("low_confidence", "topk_margin"), FactorSelector: ("low_confidence",)}
        for selector, fitting in scores.items():
            if isinstance(self.selector, selector) and self.score not in fitting:
                raise SettingsError(
                    f"a selector of kind '{self.selector.kind}' compares probabilities, which score '{self.score}' is "
                    f"not; choose {' or '.join(fitting)}"
                )

    def _check_first_token(self) -> None:
        per_block = getattr(self.selector, "per_block", None)
        if isinstance(self.selector, OriginSelector | RemaskingSelector):
            raise SettingsError(f"first_pass 'first_token' does not go with a selector of kind '{self.selector.kind}'")
        if isinstance(self.selector, FloorSelector) and per_block and per_block(self.canvas.blocks) == 1:
            raise SettingsError(
                "first_pass 'first_token' takes one of a block's steps, and there is only one; choose more steps"
            )

    def _check_even(self, steps: int) -> None:
        length, blocks = self.canvas.max_new_tokens, self.canvas.blocks
        if length % self.canvas.block:
            raise SettingsError(
                f"block_size {self.canvas.block} does not divide max_new_tokens {length}; choose a divisor, or a "
                "selector of kind 'schedule' (the preset 'mdlm' has one)"
            )
        if steps % blocks:
            raise SettingsError(f"steps {steps} is not a multiple of the {blocks} blocks; choose {blocks} x n")
        if steps > length:
            raise SettingsError(f"steps {steps} exceeds max_new_tokens {length}; a step commits at least one token")


@dataclass(frozen=True, kw_only=True)
@checked
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
    record_order: bool = False
    """Whether the record of a sampled answer holds its tokens and, of each, the forward pass that committed it and the
    model's probability of it then; changes no answer. Autoregressive models have no order to record."""
    bundle: int | None = None
    """Cells (a task at a setting) in a sampling job (>= 1), which loads the weights once; null: all of a table."""

    def __post_init__(self) -> None:
        at_least("batch_size", self.batch_size, 1)
        if self.bundle is not None:
            at_least("bundle", self.bundle, 1)
        between("threads", self.threads, 1, 256)
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise SettingsError(f"device must be auto, cpu, cuda or cuda:<number>, got '{self.device}'")
