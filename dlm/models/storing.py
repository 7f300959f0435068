"""Checkpoint folders: loaded with their manifest checked, saved whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from dlm.errors import CheckpointError, SetupError
from dlm.files import MANIFEST, read_json, read_manifest, write_manifest
from dlm.models.conventions import read_conventions
from dlm.models.denoiser import Denoiser
from dlm.models.quantising import four_bit_options
from dlm.settings import ExecutionSettings


def pick_device(name: str) -> torch.device:
    """Turn a device setting into a torch device; ``auto`` is cuda where there is one.

    Raises:
        SetupError: the device is unknown, or this machine has none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SetupError(f"execution.device: unknown device '{name}'; use cpu, cuda, cuda:0 or auto") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SetupError(f"execution.device: '{name}' asked for, but torch sees no GPU here; use cpu or auto")
    if device.type == "cuda" and (device.index or 0) >= (number := torch.cuda.device_count()):
        raise SetupError(f"execution.device: '{name}' asked for, but torch sees {number} GPUs here, counted from 0")
    return device


def load_tokenizer(folder: str | Path) -> Any:
    """Load a tokenizer from a folder of this machine; no network, no remote code."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)


ADAPTER = "adapter"
"""Folder of a checkpoint's adapters that were not merged into its weights."""


def load_denoiser(
    folder: str | Path,
    execution: ExecutionSettings | None = None,
    *,
    verify: bool = True,
    four_bit: bool = False,
) -> Denoiser:
    """Load a checkpoint folder made by this project.

    Args:
        folder: with config, weights, tokenizer and manifest.
        execution: dtype, device and threads; None: float32 on the CPU, threads untouched.
        verify: check every file against the manifest first.
        four_bit: hold the weights in 4 bits, on the GPU; for training adapters.

    Raises:
        CheckpointError: not a checkpoint of this project, or damaged; the message names the file.
        SetupError: the device is not here, or what 4 bits need.
    """
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # shards load in no time beside what follows; our own progress is shown
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: {'is a file, not a folder' if folder.is_file() else 'no such folder'}")
    if not (folder / MANIFEST).is_file():
        remedy = f"dlm convert {folder} DEST" if (folder / "config.json").is_file() else "see `dlm train --help`"
        raise CheckpointError(f"{folder}: no {MANIFEST} in it, so it is no checkpoint of this project; {remedy}")
    manifest = read_manifest(folder, verify=verify)
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder}: no checkpoint, but a {manifest['kind']}; name the folder of a checkpoint")
    dtype = getattr(torch, execution.dtype) if execution else torch.float32
    options = four_bit_options() if four_bit else {}
    try:
        declared = read_json(folder / "config.json").get("architectures") or [""]
        loader: Any = AutoModelForMaskedLM if declared[0].endswith("ForMaskedLM") else AutoModelForCausalLM
        model: Any = loader.from_pretrained(str(folder), dtype=dtype, local_files_only=True, **options)
        if (folder / ADAPTER / "adapter_config.json").is_file():
            model.load_adapter(str(folder / ADAPTER))
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{folder}: cannot be loaded: {' '.join(str(error).split())[:300]}") from error
    if execution:
        torch.set_num_threads(execution.threads)
        model.to(pick_device(execution.device))
    model.eval()
    return Denoiser(model, load_tokenizer(folder), read_conventions(model.config, folder), manifest["digest"])


def save_denoiser(denoiser: Denoiser, folder: Path, *, name: str, made_from: Mapping[str, Any]) -> dict[str, Any]:
    """Write config, weights, tokenizer and manifest into ``folder`` and return the manifest.

    Use inside :func:`dlm.files.replacing_folder`, so that a half-written checkpoint is never seen.

    Raises:
        SetupError: the disk is full.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    denoiser.model.config.diffusion = denoiser.conventions.to_config()
    try:
        denoiser.model.save_pretrained(str(folder))
        denoiser.tokenizer.save_pretrained(str(folder))
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SetupError(f"{folder}: cannot be written ({reason}); free space and run again") from error
    return write_manifest(folder, kind="checkpoint", name=name, made_from=made_from)
