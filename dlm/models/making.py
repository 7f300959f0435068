"""Networks with random weights: the start of a pretraining. Native transformers classes only."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from dlm.models.conventions import Conventions
from dlm.models.denoiser import Denoiser
from dlm.settings import Architecture


def make_denoiser(architecture: Architecture, tokenizer: Any, *, causal: bool, shift: bool, seed: int) -> Denoiser:
    """Make a network with random weights, float32 on the CPU.

    Args:
        architecture: its sizes.
        tokenizer: gives the vocabulary and the special tokens.
        causal: autoregressive attention, or bidirectional.
        shift: whether the output at position i-1 scores token i; always so when causal.
        seed: of the random weights.
    """
    config = _config(architecture, tokenizer, causal)
    conventions = Conventions(
        mask_token_id=int(tokenizer.mask_token_id), shift=shift or causal, objective="ar" if causal else "none"
    )
    config.diffusion = conventions.to_config()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _classes(architecture.model_type)[1](config)
    return Denoiser(model, tokenizer, dataclasses.replace(conventions))


def _classes(model_type: str) -> tuple[type, type]:
    import transformers

    prefix, head = {
        "llama": ("Llama", "ForCausalLM"),
        "qwen2": ("Qwen2", "ForCausalLM"),
        "qwen3": ("Qwen3", "ForCausalLM"),
        "gpt2": ("GPT2", "LMHeadModel"),
        "modernbert": ("ModernBert", "ForMaskedLM"),
    }[model_type]
    return getattr(transformers, f"{prefix}Config"), getattr(transformers, prefix + head)


def _config(architecture: Architecture, tokenizer: Any, causal: bool) -> Any:
    sizes = {"gpt2": _gpt2, "modernbert": _modernbert}.get(architecture.model_type, _rotary)(architecture)
    config = _classes(architecture.model_type)[0](
        vocab_size=len(tokenizer),
        max_position_embeddings=architecture.max_positions,
        initializer_range=architecture.initializer_range,
        tie_word_embeddings=architecture.tie_embeddings,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        use_cache=causal,
        **sizes,
    )
    config.is_causal = causal
    return config


def _rotary(architecture: Architecture) -> dict[str, Any]:
    """Sizes of Llama and its kin."""
    return {
        "hidden_size": architecture.hidden_size,
        "num_hidden_layers": architecture.layers,
        "num_attention_heads": architecture.heads,
        "num_key_value_heads": architecture.kv_heads or architecture.heads,
        "head_dim": architecture.hidden_size // architecture.heads,
        "intermediate_size": architecture.intermediate_size,
        "rope_parameters": {"rope_type": "default", "rope_theta": architecture.rotary_base},
    }


def _gpt2(architecture: Architecture) -> dict[str, Any]:
    return {
        "n_embd": architecture.hidden_size,
        "n_layer": architecture.layers,
        "n_head": architecture.heads,
        "n_inner": architecture.intermediate_size,
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
    }


def _modernbert(architecture: Architecture) -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": architecture.rotary_base}
    return {
        "hidden_size": architecture.hidden_size,
        "num_hidden_layers": architecture.layers,
        "num_attention_heads": architecture.heads,
        "intermediate_size": architecture.intermediate_size,
        "rope_parameters": {"full_attention": rope, "sliding_attention": rope},
    }
