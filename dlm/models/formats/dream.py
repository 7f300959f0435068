"""Dream (Dream-v0 Base and Instruct, and the same network under other names): a bidirectional Qwen2 that predicts one
position ahead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dlm.models.formats.base import Format, refuse_unless

_MODEL_TYPES = {"dream", "diffucoder"}
_SAME_AS_QWEN2: dict[str, tuple[Any, ...]] = {
    "use_sliding_window": (False, None),
    "use_mrope": (False, None),
    "rope_scaling": (None,),
    "attention_bias": (True, None),  # of q, k and v, as in Qwen2
    "mlp_bias": (False, None),
}


def read(config: Mapping[str, Any], where: str) -> Format | None:
    """Describe a Dream checkpoint as a Qwen2; None: it is none.

    Raises:
        CheckpointError: its options are not what Qwen2 computes.
    """
    architectures = config.get("architectures") or ()
    if str(config.get("model_type", "")).lower() not in _MODEL_TYPES and "DreamModel" not in architectures:
        return None
    refuse_unless(config, _SAME_AS_QWEN2, where, "Qwen2ForCausalLM")
    own = {"architectures", "auto_map", "model_type", "mask_token_id", "use_mrope", "transformers_version"}
    own |= set(_SAME_AS_QWEN2)
    return Format(
        name="dream",
        model_type="qwen2",
        architecture="Qwen2ForCausalLM",
        config={key: value for key, value in config.items() if key not in own},
        shift=True,
        objective="mdlm",
        padding_side="left",
        mask_token_id=config.get("mask_token_id"),
    )
