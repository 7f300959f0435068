"""How large a checkpoint of the params is, before it is made or fetched."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlm.errors import SettingsError
from dlm.params import Plan
from dlm.params.schema import root_architecture
from dlm.settings import Architecture, ConvertedCheckpoint, FolderCheckpoint, TokenizerData, TrainedCheckpoint

# What a size is called in the config.json of the formats that `dlm convert` reads: transformers' usual word first, then
# GPT-2's and that of LLaDA's own files.
_HIDDEN = ("hidden_size", "n_embd", "d_model")
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers")
_HEADS = ("num_attention_heads", "n_head", "n_heads")
_KEY_HEADS = ("num_key_value_heads", "n_kv_heads")
_INTERMEDIATE = ("intermediate_size", "n_inner", "mlp_hidden_size")
_VOCAB = ("embedding_size", "vocab_size")  # LLaDA's: rows of the table, of which the vocabulary is a part

UNGATED = ("gpt2", "bert", "roberta")
"""Types of networks whose MLPs have two matrices; those of the others are gated and have three."""
SHARED = ("gpt2", "modernbert", "bert", "roberta")
"""Types of networks whose vocabulary projection is the table of embeddings where nothing else is said."""


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
    hidden = architecture.hidden_size
    return _counted(
        hidden=hidden,
        layers=architecture.layers,
        queries=hidden,
        keys=hidden * (architecture.kv_heads or architecture.heads) // architecture.heads,
        intermediate=architecture.intermediate_size,
        vocab=vocab_size,
        gated=architecture.model_type not in UNGATED,
        shared=architecture.tie_embeddings or architecture.model_type in SHARED,
    )


def _counted(
    *, hidden: int, layers: int, queries: int, keys: int, intermediate: int, vocab: int, gated: bool, shared: bool
) -> Sizes:
    layer = 2 * hidden * queries + 2 * hidden * keys + (3 if gated else 2) * hidden * intermediate
    return Sizes(
        body=layers * layer,
        projection=hidden * vocab,
        embeddings=0 if shared else hidden * vocab,
        hidden=hidden,
        layers=layers,
        keys=keys,
        intermediate=intermediate,
        vocab=vocab,
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
    if isinstance(entry, FolderCheckpoint):
        return described(plan.layout.root / entry.path / "config.json", name)
    raise SettingsError(
        f"the size of checkpoint '{name}' is not known before it is fetched; write it under planning.networks"
    )


def described(path: Path, name: str) -> Sizes:
    """Return the sizes of the network that a `config.json` describes, in any format that `dlm convert` reads.

    Raises:
        SettingsError: it cannot be read, or does not tell a size.
    """
    remedy = f"write the size of checkpoint '{name}' under planning.networks"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("not an object")
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: cannot be read ({error}); {remedy}") from error
    model_type = str(config.get("model_type", ""))

    def told(names: tuple[str, ...], otherwise: int | None = None) -> int:
        value: Any = next((config[each] for each in names if config.get(each) is not None), otherwise)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise SettingsError(f"{path}: {names[0]}: must be a whole number above 0, got {value!r}; {remedy}")
        return value

    hidden, heads = told(_HIDDEN), told(_HEADS)
    width = told(("head_dim",), max(1, hidden // heads))
    shared = config.get("tie_word_embeddings", config.get("weight_tying", model_type in SHARED))
    return _counted(
        hidden=hidden,
        layers=told(_LAYERS),
        queries=width * heads,
        keys=width * told(_KEY_HEADS, heads),
        intermediate=told(_INTERMEDIATE, 4 * hidden),
        vocab=told(_VOCAB),
        gated=model_type not in UNGATED,
        shared=bool(shared),
    )
