"""LLaDA (ML-GSAI: 8B Base, 8B Instruct, 1.5): a bidirectional Llama whose parameters and options have OLMo's names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dlm.errors import CheckpointError
from dlm.models.formats.base import Format, refuse_unless, required

# Under these values a LLaDA network is a Llama; any other asks for something that LlamaForCausalLM has not. An absent
# option (None) has LLaDA's default, so None is listed where that default is among them.
_SAME_AS_LLAMA: dict[str, tuple[Any, ...]] = {
    "block_type": ("llama",),
    "block_group_size": (1, None),
    "layer_norm_type": ("rms",),
    "layer_norm_with_affine": (True, None),
    "bias_for_layer_norm": (False, None),
    "attention_layer_norm": (False, None),
    "include_bias": (False,),
    "include_qkv_bias": (False, None),
    "rope": (True,),
    "rope_scaling": (None,),
    "alibi": (False, None),
    "clip_qkv": (None,),
    "input_emb_norm": (False, None),
    "scale_logits": (False, None),
    "activation_type": ("silu", "gelu", "relu"),
}
_OUTER = {
    "model.transformer.wte": "model.embed_tokens",
    "model.transformer.ln_f": "model.norm",
    "model.transformer.ff_out": "lm_head",
}
_INNER = {
    "attn_norm": "input_layernorm",
    "ff_norm": "post_attention_layernorm",
    "q_proj": "self_attn.q_proj",
    "k_proj": "self_attn.k_proj",
    "v_proj": "self_attn.v_proj",
    "attn_out": "self_attn.o_proj",
    "ff_proj": "mlp.gate_proj",
    "up_proj": "mlp.up_proj",
    "ff_out": "mlp.down_proj",
}
_BLOCK = re.compile(r"model\.transformer\.blocks\.(\d+)\.(\w+)")


def read(config: Mapping[str, Any], where: str) -> Format | None:
    """Describe a LLaDA checkpoint as a Llama; None: it is none.

    Raises:
        CheckpointError: its options, or its experts, are not what Llama computes.
    """
    model_type = str(config.get("model_type", ""))
    if not model_type.lower().startswith("llada"):
        return None
    architectures = " ".join(map(str, config.get("architectures") or ()))
    if "moe" in model_type.lower() or "moe" in architectures.lower() or config.get("num_experts"):
        raise CheckpointError(
            f"{where}: model_type '{model_type}' is a mixture of experts: transformers has no class that computes it, "
            "and Llama, which holds LLaDA, has no experts; this project runs no remote code, so it cannot be converted"
        )
    if model_type.lower() != "llada":
        raise CheckpointError(f"{where}: model_type '{model_type}' is not known; of this family, 'llada' is converted")
    refuse_unless(config, _SAME_AS_LLAMA, where, "LlamaForCausalLM")
    width, heads = int(required(config, "d_model", where)), int(required(config, "n_heads", where))
    kv_heads = config.get("n_kv_heads") or (1 if config.get("multi_query_attention") else heads)
    fields = {
        "vocab_size": config.get("embedding_size") or required(config, "vocab_size", where),
        "hidden_size": width,
        "intermediate_size": config.get("mlp_hidden_size") or required(config, "mlp_ratio", where) * width,
        "num_hidden_layers": required(config, "n_layers", where),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": width // heads,
        "hidden_act": config["activation_type"],
        "max_position_embeddings": required(config, "max_sequence_length", where),
        "rms_norm_eps": required(config, "rms_norm_eps", where),
        "rope_parameters": {"rope_type": "default", "rope_theta": float(required(config, "rope_theta", where))},
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": config.get("attention_dropout") or 0.0,
        "initializer_range": config.get("init_std") or 0.02,
        "tie_word_embeddings": bool(config.get("weight_tying")),
        "bos_token_id": config.get("bos_token_id"),
        "eos_token_id": config.get("eos_token_id"),
        "pad_token_id": config.get("pad_token_id"),
        "dtype": config.get("dtype") or config.get("torch_dtype"),
    }
    return Format(
        name="llada",
        model_type="llama",
        architecture="LlamaForCausalLM",
        config=fields,
        rename=rename,
        objective="mdlm",
        padding_side="left",
        mask_token_id=config.get("mask_token_id"),
    )


def rename(name: str) -> str:
    """Return Llama's name of a LLaDA tensor, or the name itself where Llama has no such tensor."""
    module, _, kind = name.rpartition(".")
    if module in _OUTER:
        return f"{_OUTER[module]}.{kind}"
    if (found := _BLOCK.fullmatch(module)) and found[2] in _INNER:
        return f"model.layers.{found[1]}.{_INNER[found[2]]}.{kind}"
    return name
