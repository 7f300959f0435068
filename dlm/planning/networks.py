"""How large a checkpoint of the params is, before it is made or fetched."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from dlm.errors import CheckpointError, SettingsError
from dlm.models import described_network
from dlm.params import Plan
from dlm.params.schema import root_architecture
from dlm.settings import Architecture, ConvertedCheckpoint, FolderCheckpoint, TokenizerData, TrainedCheckpoint

_INTERMEDIATE = ("intermediate_size", "ffn_dim", "n_inner")
"""What the configs of transformers call the width inside an MLP; where none is set, it is four times the other."""


@dataclass(frozen=True)
class Sizes:
    """Parameters of a network, in what matters for its cost."""

    body: int
    """Of all layers."""
    projection: int
    """Of the vocabulary projection, which the embeddings may share."""
    embeddings: int
    """Of the embeddings that it does not share."""
    hidden: int
    layers: int
    keys: int
    """Width of the keys of one layer, which is that of the values."""
    intermediate: int
    vocab: int

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.body + self.projection + self.embeddings


def checkpoint_sizes(plan: Plan, checkpoint: str) -> Sizes:
    """Follow a checkpoint to the network it grew from, and return that one's sizes.

    Raises:
        SettingsError: it grew from a published one whose sizes the params do not give, or from a folder that does not
            tell them.
    """
    scratch = root_architecture(plan.params, checkpoint)
    if scratch is None:
        return _foreign(plan, checkpoint)
    tokenizer = plan.params.data.get(scratch.tokenizer)
    if isinstance(tokenizer, TokenizerData):
        return sizes(scratch.architecture, tokenizer.vocab_size)
    return sizes(scratch.architecture, _foreign(plan, scratch.tokenizer).vocab)


def sizes(architecture: Architecture, vocab_size: int) -> Sizes:
    """Count a network's parameters, biases and norms left out."""
    hidden, inner = architecture.hidden_size, architecture.intermediate_size
    keys = hidden * (architecture.kv_heads or architecture.heads) // architecture.heads
    matrices = 2 if architecture.model_type == "gpt2" else 3  # the others' MLPs are gated
    layer = 2 * hidden * hidden + 2 * hidden * keys + matrices * hidden * inner
    shared = architecture.tie_embeddings or architecture.model_type in ("gpt2", "modernbert")
    return Sizes(
        body=architecture.layers * layer,
        projection=hidden * vocab_size,
        embeddings=0 if shared else hidden * vocab_size,
        hidden=hidden,
        layers=architecture.layers,
        keys=keys,
        intermediate=inner,
        vocab=vocab_size,
    )


def network_sizes(model: Any) -> Sizes:
    """Count the parameters of a network of transformers, which may be without memory for its weights.

    Raises:
        SettingsError: not every parameter is used once for each token (it has experts, or layers that repeat), or the
            config does not tell its sizes.
    """
    try:
        return _counted(model)
    except (AttributeError, TypeError) as error:  # of a kind of network whose config has other words
        raise SettingsError(f"model_type '{model.config.model_type}' does not tell its sizes ({error})") from error


def _counted(model: Any) -> Sizes:
    config = model.config
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    if any(getattr(config, name, None) for name in ("num_experts", "num_local_experts", "n_routed_experts")):
        raise SettingsError(f"model_type '{config.model_type}' has experts, of which a token uses some")
    if not any(isinstance(part, nn.ModuleList) and len(part) == layers for part in model.modules()):
        raise SettingsError(f"model_type '{config.model_type}' has no list of its {layers} layers")
    projection, embeddings = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    tied = projection is embeddings
    outside = projection.numel() + (0 if tied else embeddings.numel())
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    return Sizes(
        body=sum(weight.numel() for weight in model.parameters()) - outside,
        projection=projection.numel(),
        embeddings=0 if tied else embeddings.numel(),
        hidden=config.hidden_size,
        layers=layers,
        keys=width * (getattr(config, "num_key_value_heads", None) or heads),
        intermediate=next(
            filter(None, (getattr(config, name, None) for name in _INTERMEDIATE)), 4 * config.hidden_size
        ),
        vocab=len(projection),
    )


def _foreign(plan: Plan, checkpoint: str) -> Sizes:
    """Return the sizes of what a checkpoint made elsewhere is, or grew from."""
    name = checkpoint
    while isinstance(entry := plan.params.checkpoints[name], TrainedCheckpoint | ConvertedCheckpoint):
        assert isinstance(entry.start, str)  # a network with random weights has a root architecture
        name = entry.start
    if name in plan.params.planning.networks:
        network = plan.params.planning.networks[name]
        return sizes(network.architecture, network.vocab_size)
    remedy = "write it under planning.networks"
    if isinstance(entry, FolderCheckpoint):
        try:
            return _folder_sizes((plan.layout.root / entry.path).resolve())
        except (CheckpointError, SettingsError) as error:
            raise SettingsError(f"the size of checkpoint '{name}' is not known ({error}); {remedy}") from error
    raise SettingsError(f"the size of checkpoint '{name}' is not known before it is fetched; {remedy}")


@functools.cache
def _folder_sizes(folder: Path) -> Sizes:
    return network_sizes(described_network(folder))
