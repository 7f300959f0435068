"""How large a checkpoint of the params is, before it is made or fetched."""

from __future__ import annotations

from dataclasses import dataclass

from dlm.errors import SettingsError
from dlm.params import Params
from dlm.params.schema import root_architecture
from dlm.settings import Architecture, ConvertedCheckpoint, TokenizerData, TrainedCheckpoint
from dlm.settings.planning import Network


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


def checkpoint_sizes(params: Params, checkpoint: str) -> Sizes:
    """Follow a checkpoint to the network it grew from, and return that one's sizes.

    Raises:
        SettingsError: it grew from a published one whose sizes the params do not give.
    """
    scratch = root_architecture(params, checkpoint)
    if scratch is None:
        network = _published(params, checkpoint)
        return sizes(network.architecture, network.vocab_size)
    tokenizer = params.data.get(scratch.tokenizer)
    if isinstance(tokenizer, TokenizerData):
        return sizes(scratch.architecture, tokenizer.vocab_size)
    return sizes(scratch.architecture, _published(params, scratch.tokenizer).vocab_size)


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


def _published(params: Params, checkpoint: str) -> Network:
    name = checkpoint
    while isinstance(entry := params.checkpoints[name], TrainedCheckpoint | ConvertedCheckpoint):
        assert isinstance(entry.start, str)  # a network with random weights has a root architecture
        name = entry.start
    if name not in params.planning.networks:
        raise SettingsError(
            f"the size of checkpoint '{name}' is not known before it is fetched; write it under planning.networks"
        )
    return params.planning.networks[name]
