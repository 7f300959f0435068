"""Low-rank adapters: put into a model, merged at the end or kept beside the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from dlm.errors import SettingsError
from dlm.models import ADAPTER, Denoiser, load_denoiser
from dlm.settings import LoRA


def adapt(denoiser: Denoiser, lora: LoRA | None, seed: int) -> Any:
    """Put LoRA adapters, random by ``seed``, into the model, in place; return peft's wrapper, None without adapters.

    Raises:
        SettingsError: the network has not the layers that are to have them.
    """
    if lora is None:
        return None
    from peft import LoraConfig, get_peft_model

    trained: dict[str, list[int]] | None = None
    if lora.train_mask_embedding:
        embedding = denoiser.model.get_input_embeddings()
        name = next(name for name, module in denoiser.model.named_modules() if module is embedding)
        trained = {name: [denoiser.mask_token_id]}
    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    if isinstance(targets, list):
        _refuse_unknown(denoiser.model, targets)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        trainable_token_indices=trained,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return get_peft_model(denoiser.model, config)
        except ValueError as error:
            raise SettingsError(f"lora: {' '.join(str(error).split())}") from error


def _refuse_unknown(model: nn.Module, targets: list[str]) -> None:
    """Refuse names of layers that the network has not: peft says nothing as long as it has one of them."""
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()  # type: ignore[operator]
    layers = [name for name, part in model.named_modules() if isinstance(part, nn.Linear | Conv1D) and part is not head]
    for target in targets:
        if not any(f".{name}".endswith(f".{target}") for name, _ in model.named_modules()):
            known = ", ".join(sorted({name.rpartition(".")[2] for name in layers}))
            raise SettingsError(f"lora.targets: the network has no layer named '{target}'; known: {known}")


def onto_full_weights(denoiser: Denoiser, adapted: Any, lora: LoRA, seed: int) -> tuple[Denoiser, Any]:
    """Move the adapters of a model in 4 bits onto the model it was loaded from, loaded again in full precision."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    weights = {name: weight.cpu() for name, weight in get_peft_model_state_dict(adapted).items()}
    full = load_denoiser(denoiser.model.config.name_or_path, verify=False)
    wrapped = adapt(full, lora, seed)
    set_peft_model_state_dict(wrapped, weights)
    return full, wrapped


def take_off(denoiser: Denoiser, adapted: Any, lora: LoRA, draft: Path) -> None:
    """Merge the adapters into the weights, or write them into ``draft`` and leave the weights as they were."""
    if lora.merge:
        denoiser.model = adapted.merge_and_unload()
        return
    for config in adapted.peft_config.values():
        config.base_model_name_or_path = None  # a path of this machine; the weights lie in the folder above
    adapted.save_pretrained(str(draft / ADAPTER), save_embedding_layers=False)
    (draft / ADAPTER / "README.md").unlink(missing_ok=True)
    denoiser.model = adapted.unload()
