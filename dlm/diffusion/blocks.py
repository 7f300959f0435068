"""Block diffusion's attention: who may see whom, and where each token stands (BD3LM, arXiv 2503.09573, section 3).

Every mask is True where query i (second to last axis) may see key j (last axis). Blocks are counted from column 0 on;
the last one may be shorter. Shapes: B rows, L positions.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor


def train_mask(length: int, block_size: int, device: torch.device | None = None) -> Tensor:
    """Return the mask over a noisy copy followed by the clean copy, bool [2L, 2L].

    A noisy token sees the noisy tokens of its own block and the clean tokens of earlier blocks; a clean token sees the
    clean tokens of its own and of earlier blocks (ZHZisZZ/dllm, dllm/core/trainers/bd3lm.py,
    `_create_bd3lm_attention_mask`).
    """
    index_2L = torch.arange(2 * length, device=device)
    return _sees(index_2L[:, None], index_2L[None, :], length, block_size)


@functools.lru_cache(maxsize=64)
def train_block_mask(length: int, block_size: int, device: torch.device) -> Any:
    """Return :func:`train_mask` as the `BlockMask` of FlexAttention, which skips what nobody sees.

    FlexAttention has no backward pass on a CPU, so trainings use it on GPUs only. Masks are kept: to make one, all
    pairs are looked at, and micro-batches share a few lengths.
    """
    from torch.nn.attention.flex_attention import create_block_mask

    def visible(_row: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return _sees(query, key, length, block_size)

    return create_block_mask(visible, B=None, H=None, Q_LEN=2 * length, KV_LEN=2 * length, device=str(device))


def train_positions(length: int, device: torch.device | None = None) -> Tensor:
    """Return the position ids of the two copies, int64 [2L]: 0 to L-1, twice."""
    return torch.arange(length, device=device).repeat(2)


def sample_mask(valid_BL: Tensor, block_size: int, first: int = 0) -> Tensor:
    """Return the block-causal mask of a canvas, bool [B, L - first, L].

    A token sees its own and earlier blocks; padding neither sees nor is seen, so its rows are wholly False
    (ZHZisZZ/dllm, dllm/core/samplers/bd3lm.py, `_prepare_for_sampling`).

    Args:
        valid_BL: bool [B, L], False at padding.
        block_size: tokens of a block.
        first: column of the first query; the keys and values of what stands before it are known.
    """
    block_L = torch.arange(valid_BL.shape[1], device=valid_BL.device) // block_size
    return (block_L[first:, None] >= block_L[None, :]) & valid_BL[:, first:, None] & valid_BL[:, None, :]


def sample_positions(valid_BL: Tensor) -> Tensor:
    """Return the position ids of a canvas, int64 [B, L]: tokens are counted from 0, padding is not counted.

    Padding takes the position of the token before it, 0 where there is none.
    """
    return (valid_BL.long().cumsum(dim=1) - 1).clamp(min=0)


def _sees(query: Tensor, key: Tensor, length: int, block_size: int) -> Tensor:
    """Whether ``query`` may see ``key``: indices into the two copies, which broadcast."""
    query_clean, key_clean = query >= length, key >= length
    query_block, key_block = query % length // block_size, key % length // block_size
    own_noisy = ~query_clean & ~key_clean & (query_block == key_block)
    earlier_clean = ~query_clean & key_clean & (query_block > key_block)
    clean_past = query_clean & key_clean & (query_block >= key_block)
    return own_noisy | earlier_clean | clean_past
