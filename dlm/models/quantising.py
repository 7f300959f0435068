"""Weights in 4 bits, for cards of 24 GB: bitsandbytes, asked for only by whoever wants it."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch

from dlm.errors import SetupError


def four_bit_options() -> dict[str, Any]:
    """Return what `from_pretrained` needs to load weights as nf4 with double quantisation (QLoRA, arXiv 2305.14314).

    Raises:
        SetupError: no GPU, or bitsandbytes is not installed.
    """
    if not torch.cuda.is_available():
        raise SetupError("four_bit: weights in 4 bits need a CUDA GPU, and torch sees none here; use four_bit: false")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise SetupError("four_bit: the package bitsandbytes is not installed; `pip install bitsandbytes`")
    from transformers import BitsAndBytesConfig

    chosen = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"quantization_config": chosen, "device_map": {"": torch.cuda.current_device()}}
