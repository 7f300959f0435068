"""Checkpoints that transformers has a class for: decoders (autoregressive, or diffusion models made from them) and
encoders with a masked-LM head. Tensors keep their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dlm.models.conventions import parse_conventions
from dlm.models.formats.base import Format

_DIFFUSION_PREFIXES = ("a2d-", "a2d_")
"""What ZHZisZZ/dllm puts before the model type of a decoder that it made bidirectional."""


def read(config: Mapping[str, Any], where: str) -> Format | None:
    """Describe a checkpoint by the class that transformers has for it; None: it has none with a language head."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as DECODERS,
    )
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_MASKED_LM_MAPPING_NAMES as ENCODERS,
    )

    if config.get("is_encoder_decoder"):
        return None
    named, opened = _base_type(config)
    fields = {key: value for key, value in config.items() if key not in ("auto_map", "model_type", "architectures")}
    stored = fields.pop("diffusion", None)
    carried = None if stored is None else parse_conventions(stored, where)
    kept = carried.to_config() if carried and carried.objective != "ar" else None
    declared = " ".join(map(str, config.get("architectures") or ()))
    # Encoders such as BERT are in both lists; only an architecture that says so is a decoder.
    if named in ENCODERS and "ForCausalLM" not in declared and "LMHead" not in declared:
        return Format(
            name="dlm" if kept else "encoder",
            model_type=named,
            architecture=ENCODERS[named],
            config=fields,
            mask_token_id=kept["mask_token_id"] if kept else config.get("mask_token_id"),
            conventions=kept,
        )
    if named not in DECODERS:
        return None
    mask = config.get("mask_token_id")
    return Format(
        name="dlm" if kept else "a2d",
        model_type=named,
        architecture=DECODERS[named],
        config={key: value for key, value in fields.items() if key != "mask_token_id"},
        objective="mdlm" if opened else "none",
        mask_token_id=kept["mask_token_id"] if kept else mask,
        conventions=kept,
    )


def _base_type(config: Mapping[str, Any]) -> tuple[str, bool]:
    """Return the model type without a prefix that marks diffusion, and whether it had one."""
    model_type = str(config.get("model_type", ""))
    for prefix in _DIFFUSION_PREFIXES:
        if model_type.lower().startswith(prefix):
            return model_type[len(prefix) :].lower(), True
    return model_type, False


def why_not(config: Mapping[str, Any], where: str) -> str:
    """Say in one line why a config that no reader knows cannot be converted."""
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    model_type = config.get("model_type")
    if not model_type:
        return f"{where}: config.json names no model_type, so its architecture is unknown"
    if config.get("is_encoder_decoder"):
        return f"{where}: model_type '{model_type}' has an encoder and a decoder; a denoiser is one or the other"
    if model_type in CONFIG_MAPPING_NAMES:
        return f"{where}: model_type '{model_type}' has no language head in transformers {transformers.__version__}"
    code = "; its own code is not run (no trust_remote_code)" if config.get("auto_map") else ""
    return f"{where}: transformers {transformers.__version__} has no class for model_type '{model_type}'{code}"
