"""Attention by pairs of tokens: which models can be given it, and by which kernel."""

from __future__ import annotations

import torch

from dlm.errors import CheckpointError
from dlm.models.denoiser import Denoiser


def require_pair_masks(denoiser: Denoiser, method: str) -> None:
    """Refuse a model that block diffusion's masks would change: a given mask stands in for a layer's own window.

    Args:
        denoiser: the model.
        method: what needs the masks, for the message.

    Raises:
        CheckpointError: some layers see a window only.
    """
    config = denoiser.model.config
    kinds = set(getattr(config, "layer_types", None) or [])
    # Configs without a list of kinds (Mistral) have a window in every layer, or in none.
    window = not kinds and getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    if window or kinds - {"full_attention"}:
        raise CheckpointError(
            f"{config.name_or_path or config.model_type}: {method} needs attention without windows, but "
            f"{config.model_type} has layers with a sliding window; choose another model or objective"
        )


def use_flex_attention(denoiser: Denoiser, device: torch.device) -> bool:
    """Switch a model that is run on a GPU to FlexAttention, in place, if it has it; return whether it was switched.

    FlexAttention skips the blocks that nobody sees, and needs no mask of all pairs. It has no backward pass on a CPU,
    where SDPA with a dense mask stays.

    Args:
        denoiser: the model.
        device: where it will run; sharded among processes, it is moved there after this is decided.
    """
    if device.type != "cuda":
        return False
    try:
        denoiser.model.set_attn_implementation("flex_attention")
    except (ValueError, ImportError):  # the architecture, or this version of torch, has no such kernel
        return False
    return True
