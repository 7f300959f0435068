"""What a checkpoint can be: made from scratch, trained from another, converted, or fetched from a hub."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from dlm.errors import SettingsError
from dlm.settings.checks import above, at_least

_STRICT = {"extra": "forbid", "use_attribute_docstrings": True}


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A native transformers network, by its sizes."""

    __pydantic_config__ = _STRICT
    model_type: Literal["llama", "qwen2", "qwen3", "gpt2", "modernbert"]
    """transformers model type; `modernbert` is an encoder, the others are decoders."""
    hidden_size: int
    """Width of the residual stream."""
    layers: int
    """Number of transformer blocks."""
    heads: int
    """Attention heads; must divide hidden_size."""
    kv_heads: int | None = None
    """Key-value heads (grouped-query attention); None: as many as heads."""
    intermediate_size: int
    """Width of the MLP."""
    max_positions: int
    """Longest sequence, in tokens."""
    rope_theta: float | None = None
    """Base of the rotary position embedding, for networks that have one; None: 10,000."""
    initializer_range: float = 0.02
    """Standard deviation of the random weights; narrow networks start faster with more."""
    tie_embeddings: bool = False
    """Share the input and output embedding matrices."""

    def __post_init__(self) -> None:
        for name in ("hidden_size", "layers", "heads", "intermediate_size", "max_positions"):
            at_least(name, getattr(self, name), 1)
        if self.rope_theta is not None:
            above("rope_theta", self.rope_theta, 0)
            if self.model_type == "gpt2":
                raise SettingsError("rope_theta does not apply to gpt2, whose positions are learned; remove it")
        if self.kv_heads is not None and self.model_type in ("gpt2", "modernbert"):
            raise SettingsError(f"kv_heads does not apply to {self.model_type}; remove it")
        above("initializer_range", self.initializer_range, 0)
        if self.hidden_size % self.heads:
            raise SettingsError(f"heads {self.heads} does not divide hidden_size {self.hidden_size}")
        if self.kv_heads is not None and (self.kv_heads < 1 or self.heads % self.kv_heads):
            raise SettingsError(f"kv_heads {self.kv_heads} does not divide heads {self.heads}")

    @property
    def rotary_base(self) -> float:
        """Base of the rotary position embedding."""
        return 10000.0 if self.rope_theta is None else self.rope_theta

    @property
    def is_encoder(self) -> bool:
        """Whether attention goes both ways by construction."""
        return self.model_type == "modernbert"


@dataclass(frozen=True, kw_only=True)
class Scratch:
    """Random weights: the start of a pretraining."""

    __pydantic_config__ = _STRICT
    architecture: Architecture
    """Sizes of the network."""
    tokenizer: str
    """Name of the prepared tokenizer under `data`, or of a checkpoint of kind `hub`, whose tokenizer is taken."""
    causal: bool = False
    """True: an autoregressive model with causal attention; False: a diffusion model with bidirectional attention."""
    shift: bool = False
    """True: the output at position i-1 predicts token i (Dream); False: the output at i predicts token i (LLaDA)."""

    def __post_init__(self) -> None:
        if self.causal and self.architecture.is_encoder:
            raise SettingsError(f"causal: {self.architecture.model_type} is an encoder; its attention goes both ways")


@dataclass(frozen=True, kw_only=True)
class TrainedCheckpoint:
    """A checkpoint that a training of this pipeline makes."""

    __pydantic_config__ = _STRICT
    kind: Literal["train"] = "train"
    """Discriminator: `train`."""
    start: str | Scratch
    """Name of the checkpoint to start from, or a network with random weights."""
    recipe: str
    """Name of the recipe under `recipes`."""
    dataset: str | tuple[str, ...]
    """Name of the prepared training data under `data`, or several names, whose rows follow one another."""
    sampler: str | None = None
    """Name of the sampler under `samplers` that is stored as the checkpoint's own; None: the library's default."""

    def __post_init__(self) -> None:
        if not self.datasets:
            raise SettingsError("dataset is empty; name at least one data set")
        for name, count in Counter(self.datasets).items():
            if count > 1:
                raise SettingsError(f"dataset names '{name}' {count} times; keep one")

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of all the training data."""
        return (self.dataset,) if isinstance(self.dataset, str) else self.dataset


@dataclass(frozen=True, kw_only=True)
class ConvertedCheckpoint:
    """An autoregressive checkpoint of this pipeline, its attention opened to both sides and its mask token set."""

    __pydantic_config__ = _STRICT
    kind: Literal["convert"] = "convert"
    """Discriminator: `convert`."""
    start: str
    """Name of the checkpoint to convert."""
    shift: bool = True
    """True: keep the autoregressive parent's shifted prediction (Dream); False: predict in place (A2D)."""


@dataclass(frozen=True, kw_only=True)
class ToldConventions:
    """What the files of a checkpoint that was made elsewhere do not say of it; `dlm convert` has the same choices."""

    __pydantic_config__ = _STRICT
    shift: bool | None = None
    """Whether the output at position i-1 predicts token i; None: as its format has it."""
    objective: Literal["mdlm", "bd3lm", "none"] | None = None
    """What the weights were trained with; None: as its format has it."""
    block_size: int | None = None
    """Tokens of a block (>= 1), for block diffusion; None: no blocks, or as its files say."""

    def __post_init__(self) -> None:
        if self.block_size is not None:
            at_least("block_size", self.block_size, 1)


@dataclass(frozen=True, kw_only=True)
class FolderCheckpoint:
    """A checkpoint folder of this machine, in any format that `dlm convert` reads, converted to the native one."""

    __pydantic_config__ = _STRICT
    kind: Literal["folder"] = "folder"
    """Discriminator: `folder`."""
    path: str
    """The folder, from the project's root or from the root of the file system."""
    autoregressive: bool = False
    """True: kept as it is, an autoregressive model to start from or to compare with."""
    conventions: ToldConventions = ToldConventions()
    """How its outputs are to be read, where its files do not say it."""

    def __post_init__(self) -> None:
        _check_conventions(self)


@dataclass(frozen=True, kw_only=True)
class HubCheckpoint:
    """A published checkpoint, fetched and converted to the native format."""

    __pydantic_config__ = _STRICT
    kind: Literal["hub"] = "hub"
    """Discriminator: `hub`."""
    repository: str
    """Hub id, `organisation/name`."""
    revision: str
    """Branch, tag or commit."""
    autoregressive: bool = False
    """True: kept as it is, an autoregressive model to start from or to compare with."""
    conventions: ToldConventions = ToldConventions()
    """How its outputs are to be read, where its files do not say it."""

    def __post_init__(self) -> None:
        _check_conventions(self)
        if self.repository.count("/") != 1:
            raise SettingsError(f"repository must read 'organisation/name', got '{self.repository}'")


ForeignCheckpoint = FolderCheckpoint | HubCheckpoint
"""A checkpoint that was made elsewhere."""


def _check_conventions(checkpoint: ForeignCheckpoint) -> None:
    if checkpoint.autoregressive and checkpoint.conventions != ToldConventions():
        raise SettingsError("conventions do not apply to a checkpoint that stays autoregressive; remove them")


CheckpointSettings = TrainedCheckpoint | ConvertedCheckpoint | ForeignCheckpoint
