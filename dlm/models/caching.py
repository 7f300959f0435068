"""Keys and values of the finished part of a canvas, and which models have them.

Shapes: B rows, L new columns, D width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dlm.errors import CheckpointError


class Prefix:
    """What is computed once of a canvas's finished columns: keys, values and the last hidden state.

    Exact where nothing that comes later is seen by them, as under a block-causal mask.
    """

    def __init__(self) -> None:
        from transformers import DynamicCache

        self.layers = DynamicCache()
        self.length = 0
        self.last_hidden_BD: Tensor | None = None
        """Of the last finished column: a shifted model reads the scores of the first new one from it."""

    def keep(self, hidden_BLD: Tensor, finished: int) -> None:
        """Keep the first ``finished`` of the columns that were just computed, and forget the others."""
        if forgotten := hidden_BLD.shape[1] - finished:
            self.layers.crop(-forgotten)
        if finished:
            self.length += finished
            self.last_hidden_BD = hidden_BLD[:, finished - 1]

    def take(self, kept_B: Tensor) -> None:
        """Forget the rows that are False in ``kept_B``, bool [B]."""
        self.layers.batch_select_indices(kept_B)
        if self.last_hidden_BD is not None:
            self.last_hidden_BD = self.last_hidden_BD[kept_B]


@torch.inference_mode()
def require_cache(model: Any, method: str) -> None:
    """Refuse a model that keeps no keys and values: encoders ignore a cache without a word.

    Args:
        model: a transformers model.
        method: what needs them, for the message.

    Raises:
        CheckpointError: this one does not.
    """
    config, prefix = model.config, Prefix()
    tokens_BL = torch.zeros(1, 2, dtype=torch.int64, device=next(model.parameters()).device)
    model.base_model(input_ids=tokens_BL, past_key_values=prefix.layers, use_cache=True)
    if prefix.layers.get_seq_length() != 2:
        raise CheckpointError(
            f"{config.name_or_path or config.model_type}: {method} needs keys and values, which {config.model_type} "
            "does not keep; set cache to 'none'"
        )
