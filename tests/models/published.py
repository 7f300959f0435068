"""Small published checkpoints for tests: a reference one with something changed, or one of any architecture."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

PARITY = Path(__file__).resolve().parents[1] / "parity" / "checkpoints"


def copy_of(name: str, folder: Path, **changes: Any) -> Path:
    """Copy a reference checkpoint; ``changes`` are made to its config, None removes an entry."""
    shutil.copytree(PARITY / name, folder)
    config = {**json.loads((folder / "config.json").read_text()), **changes}
    (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return folder


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for path in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(path).items()}


def write_tensors(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    for path in folder.glob("model*"):
        path.unlink()
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")


def make(model_type: str, folder: Path, *, like: str = "qwen2", masked: bool = False, **sizes: Any) -> Path:
    """Make a checkpoint with random weights of any architecture, with a reference checkpoint's tokenizer."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    common = {"vocab_size": 320, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    common |= {"intermediate_size": 48, "max_position_embeddings": 64, "pad_token_id": 0, "eos_token_id": 0}
    config = AutoConfig.for_model(model_type, **{**common, **sizes})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = (AutoModelForMaskedLM if masked else AutoModelForCausalLM).from_config(config, dtype=torch.float32)
    model.save_pretrained(folder)
    for path in (PARITY / like).glob("*token*"):
        shutil.copy(path, folder)
    return folder
