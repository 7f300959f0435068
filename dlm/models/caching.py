"""Keys and values of a canvas: of its finished part, or of all of it, and which models have them.

Shapes: B rows, L new columns, W columns computed again, D width.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dlm.errors import CheckpointError

_ROOM = 4
"""Passes' columns for which room is made at once."""


class Prefix:
    """What is computed once of a canvas's finished columns: keys, values and the last hidden state.

    Exact where nothing that comes later is seen by them, as under a block-causal mask.
    """

    def __init__(self) -> None:
        from transformers.cache_utils import Cache

        self.layers = Cache(layer_class_to_replicate=_growing_layer())
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

    def take(self, row_B: Tensor) -> None:
        """Keep some rows: a mask, bool [B], or indices in any order."""
        self.layers.batch_select_indices(row_B)
        if self.last_hidden_BD is not None:
            self.last_hidden_BD = self.last_hidden_BD[row_B]

    def pad(self, left: int) -> None:
        """Put columns that nobody sees before the known ones; a negative number cuts columns off."""
        layers: Any = self.layers.layers
        for layer in layers:
            layer.keys = F.pad(layer.keys, (0, 0, left, 0))
            layer.values = F.pad(layer.values, (0, 0, left, 0))
        self.length += left

    def join(self, other: Prefix) -> None:
        """Append another prefix's rows; it is of this one's length (> 0)."""
        own: Any = self.layers.layers
        new: Any = other.layers.layers
        for layer, more in zip(own, new, strict=True):
            layer.keys = torch.cat([layer.keys, more.keys])
            layer.values = torch.cat([layer.values, more.values])
        assert self.last_hidden_BD is not None and other.last_hidden_BD is not None
        self.last_hidden_BD = torch.cat([self.last_hidden_BD, other.last_hidden_BD])


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


@functools.cache
def _growing_layer() -> Any:
    """Return the class of a layer of :class:`Prefix`: it writes new columns where there is room for them.

    A block is computed many times before it is finished; a `DynamicLayer` would copy all that is known for each pass.
    """
    from transformers.cache_utils import DynamicLayer

    class GrowingLayer(DynamicLayer):
        def __init__(self) -> None:
            super().__init__()
            self.rooms: tuple[Tensor, Tensor] | None = None

        def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
            if not self.is_initialized:
                return super().update(key_states, value_states)
            known: Any = (self.keys, self.values)
            length, new = known[0].shape[-2], key_states.shape[-2]
            if self.rooms is None or not _fits(self.rooms[0], known[0], length + new):
                self.rooms = (_room(known[0], length + _ROOM * new), _room(known[1], length + _ROOM * new))
            for room, states in zip(self.rooms, (key_states, value_states), strict=True):
                room[..., length : length + new, :] = states
            self.keys, self.values = (room[..., : length + new, :] for room in self.rooms)
            return self.keys, self.values

    return GrowingLayer


def _fits(room: Tensor, known: Tensor, length: int) -> bool:
    """Return whether ``known`` is what stands first in a room that holds ``length`` columns."""
    return room.data_ptr() == known.data_ptr() and len(room) == len(known) and room.shape[-2] >= length


def _room(known: Tensor, length: int) -> Tensor:
    """Return a copy of what is known, with room for ``length`` columns."""
    room = known.new_empty((*known.shape[:-2], length, known.shape[-1]))
    room[..., : known.shape[-2], :] = known
    return room


class Columns:
    """Keys and values of a whole canvas, of which later passes compute some columns again and put them in place.

    Not exact: under full attention every column depends on every token, so those that stay go stale.

    Args:
        before_B: int64 [B], the column before those that will be computed again; a shifted model reads the scores of
            the first of them from it. -1 where there is none.
    """

    def __init__(self, before_B: Tensor) -> None:
        from transformers.cache_utils import Cache

        make_layer: Any = functools.partial(_column_layer(), self)
        self.layers = Cache(layer_class_to_replicate=make_layer)
        self.before_B = before_B
        self.last_hidden_BD: Tensor | None = None
        """Of the column before, as of the first pass; None before it."""
        self.places: tuple[Tensor, Tensor, Tensor] | None = None
        """Where the next pass's columns belong: their rows, canvas columns and places in the pass, int64 [N] each; None
        before the first pass, which is over the whole canvas."""

    def keep(self, hidden_BLD: Tensor, finished: int) -> None:
        """Keep, of the first pass, the hidden state of the column before."""
        if self.last_hidden_BD is None:
            rows = torch.arange(len(self.before_B), device=hidden_BLD.device)
            self.last_hidden_BD = hidden_BLD[rows, self.before_B.clamp(min=0)]

    def replace(self, index_BW: Tensor, inside_BW: Tensor) -> None:
        """Say which columns the next pass computes: ``index_BW`` (int64 [B, W]) where ``inside_BW`` (bool [B, W])."""
        row_N, offset_N = inside_BW.nonzero(as_tuple=True)
        self.places = (row_N, index_BW[row_N, offset_N], offset_N)

    def take(self, kept_B: Tensor) -> None:
        """Forget the rows that are False in ``kept_B``, bool [B]."""
        self.layers.batch_select_indices(kept_B)
        self.before_B = self.before_B[kept_B]
        if self.last_hidden_BD is not None:
            self.last_hidden_BD = self.last_hidden_BD[kept_B]


@functools.cache
def _column_layer() -> Any:
    """Return the class of a layer of :class:`Columns`; transformers is imported when it is first needed."""
    from transformers.cache_utils import DynamicLayer

    class ColumnLayer(DynamicLayer):
        def __init__(self, owner: Columns) -> None:
            super().__init__()
            self.owner = owner

        def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
            if self.owner.places is None:
                return super().update(key_states, value_states)
            row_N, column_N, offset_N = self.owner.places
            keys: Any = self.keys
            values: Any = self.values
            for kept, new in ((keys, key_states), (values, value_states)):
                kept[row_N, :, column_N] = new[row_N, :, offset_N]
            return keys, values

    return ColumnLayer
