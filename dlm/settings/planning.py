"""What `dlm plan` estimates with. Nothing that is made depends on it, so it may be corrected at any time."""

from __future__ import annotations

from dataclasses import dataclass, field

from dlm.settings.checks import at_least, between
from dlm.settings.model import Architecture

_STRICT = {"extra": "forbid", "use_attribute_docstrings": True}


@dataclass(frozen=True, kw_only=True)
class TaskSize:
    """How much a benchmark asks."""

    __pydantic_config__ = _STRICT
    documents: int
    """Documents that are scored (>= 1); the task's `limit` cuts them."""
    prompt_tokens: int
    """Tokens of a prompt on average, template and solved examples included (>= 1)."""
    answer_tokens: int | None = None
    """Tokens of a generated answer on average (>= 1), for samplers that stop at its end; None: the full length."""
    choices: int = 1
    """Answers that are compared, of a likelihood task (>= 1)."""
    choice_tokens: int = 1
    """Tokens of such an answer on average (>= 1)."""
    shared_tokens: int = 0
    """Leading tokens that the answers have in common (0 to choice_tokens - 1); passes that show no more are shared."""

    def __post_init__(self) -> None:
        for name in ("documents", "prompt_tokens", "choices", "choice_tokens"):
            at_least(name, getattr(self, name), 1)
        between("shared_tokens", self.shared_tokens, 0, self.choice_tokens - 1)
        if self.answer_tokens is not None:
            at_least("answer_tokens", self.answer_tokens, 1)


@dataclass(frozen=True, kw_only=True)
class DataSize:
    """How much training data there is."""

    __pydantic_config__ = _STRICT
    rows: int
    """Rows (>= 1)."""
    tokens: int
    """Tokens of a row on average, padding left out (>= 1)."""

    def __post_init__(self) -> None:
        at_least("rows", self.rows, 1)
        at_least("tokens", self.tokens, 1)


@dataclass(frozen=True, kw_only=True)
class Network:
    """Sizes of a published checkpoint, known before it is fetched."""

    __pydantic_config__ = _STRICT
    architecture: Architecture
    """The network."""
    vocab_size: int
    """Rows of its vocabulary projection (>= 1)."""

    def __post_init__(self) -> None:
        at_least("vocab_size", self.vocab_size, 1)


@dataclass(frozen=True, kw_only=True)
class PlanningSettings:
    """Sizes that are not known before data and weights are fetched."""

    __pydantic_config__ = _STRICT
    networks: dict[str, Network] = field(default_factory=dict)
    """By the name of a checkpoint of kind `hub`, or of kind `folder` whose config does not tell its size."""
    tasks: dict[str, TaskSize] = field(default_factory=dict)
    """By the name of a task."""
    data: dict[str, DataSize] = field(default_factory=dict)
    """By the name of training data."""
    tokens_per_pass: dict[str, float] = field(default_factory=dict)
    """By the name of a sampler whose selector goes by confidence: tokens that a pass commits on average (>= 1)."""

    def __post_init__(self) -> None:
        for name, tokens in self.tokens_per_pass.items():
            at_least(f"tokens_per_pass.{name}", tokens, 1)
