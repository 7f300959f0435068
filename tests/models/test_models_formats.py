"""What a published config means, and what is refused by name rather than converted wrongly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dlm.errors import CheckpointError
from dlm.models.formats import read_format
from dlm.models.growing import grown_vocabulary

PARITY = Path(__file__).resolve().parents[1] / "parity" / "checkpoints"


def config_of(name: str, **changes: Any) -> dict[str, Any]:
    return {**json.loads((PARITY / name / "config.json").read_text()), **changes}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("alibi", True),
        ("include_bias", True),
        ("include_qkv_bias", True),
        ("layer_norm_type", "default"),
        ("layer_norm_with_affine", False),
        ("bias_for_layer_norm", True),
        ("rope", False),
        ("rope_scaling", {"type": "linear", "factor": 2.0}),
        ("input_emb_norm", True),
        ("scale_logits", True),
        ("clip_qkv", 8.0),
        ("block_type", "sequential"),
        ("block_group_size", 4),
        ("attention_layer_norm", True),
        ("activation_type", "swiglu"),
    ],
)
def test_an_option_of_llada_that_llama_has_not_is_named(option: str, value: Any) -> None:
    with pytest.raises(CheckpointError, match=rf"^here: LlamaForCausalLM does not compute .*: {option} = ") as caught:
        read_format(config_of("llada", **{option: value}), "here")
    assert "\n" not in str(caught.value)


def test_all_wrong_options_are_named_at_once() -> None:
    with pytest.raises(CheckpointError, match=r"rope = False, alibi = True"):
        read_format(config_of("llada", alibi=True, rope=False), "here")


@pytest.mark.parametrize(
    ("option", "value"),
    [("use_sliding_window", True), ("use_mrope", True), ("rope_scaling", {"rope_type": "yarn", "factor": 4.0})],
)
def test_an_option_of_dream_that_is_not_held_is_named(option: str, value: Any) -> None:
    with pytest.raises(CheckpointError, match=rf"^here: Qwen2ForCausalLM does not compute .*: {option} = "):
        read_format(config_of("dream", **{option: value}), "here")


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "llada_moe"},
        {"model_type": "lladamoe"},
        {"model_type": "llada2_moe"},
        {"architectures": ["LLaDAMoEModelLM"]},
        {"num_experts": 64},
    ],
)
def test_a_mixture_of_experts_of_llada_is_refused_with_the_reason(changes: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="is a mixture of experts: transformers has no class that computes it"):
        read_format(config_of("llada", **changes), "here")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "names no model_type"),
        ({"model_type": "nonesuch"}, r"no class for model_type 'nonesuch'$"),
        ({"model_type": "nonesuch", "auto_map": {}}, "no class for model_type 'nonesuch'"),
        ({"model_type": "nonesuch", "auto_map": {"AutoModel": "x.Y"}}, "its own code is not run"),
        ({"model_type": "t5", "is_encoder_decoder": True}, "has an encoder and a decoder"),
        ({"model_type": "vit"}, "has no language head"),
        ({"model_type": "llama", "quantization_config": {"bits": 4}}, "its weights are quantised"),
        ({"model_type": "llada3"}, "model_type 'llada3' is not known"),
    ],
)
def test_what_no_native_class_holds_is_refused_with_the_reason(config: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_format(config, "here")


@pytest.mark.parametrize("key", ["d_model", "n_heads", "n_layers", "rms_norm_eps", "rope_theta", "max_sequence_length"])
def test_a_missing_entry_is_named(key: str) -> None:
    with pytest.raises(CheckpointError, match=f"has no '{key}'"):
        read_format(config_of("llada", **{key: None}), "here")


def test_an_entry_of_another_type_is_one_line() -> None:
    with pytest.raises(CheckpointError, match=r"here: config\.json does not hold: .*'wide'"):
        read_format(config_of("llada", d_model="wide"), "here")


def test_llada_sizes_become_those_of_llama() -> None:
    found = read_format(config_of("llada_gqa", mlp_hidden_size=None, weight_tying=True, embedding_size=None), "here")
    assert (found.model_type, found.architecture) == ("llama", "LlamaForCausalLM")
    assert found.config["intermediate_size"] == 4 * 64
    assert found.config["num_key_value_heads"] == 2
    assert found.config["tie_word_embeddings"] is True
    assert found.config["vocab_size"] == 320
    shared = read_format(config_of("llada", n_kv_heads=None, multi_query_attention=True), "here")
    assert shared.config["num_key_value_heads"] == 1


@pytest.mark.parametrize(
    "changes", [{"model_type": "Dream"}, {"model_type": "diffucoder"}, {"model_type": "other"}, {"model_type": None}]
)
def test_dream_is_known_under_other_names(changes: dict[str, Any]) -> None:
    found = read_format(config_of("dream", **changes), "here")
    assert (found.name, found.architecture, found.shift, found.mask_token_id) == (
        "dream",
        "Qwen2ForCausalLM",
        True,
        292,
    )


@pytest.mark.parametrize(("model_type", "objective"), [("qwen3", "none"), ("a2d-qwen3", "mdlm"), ("a2d_llama", "mdlm")])
def test_decoders_are_known_before_and_after_they_became_diffusion_models(model_type: str, objective: str) -> None:
    found = read_format(config_of("qwen3", model_type=model_type, architectures=["X"]), "here")
    assert found.name == "a2d"
    assert found.model_type == model_type.removeprefix("a2d-").removeprefix("a2d_")
    assert (found.objective, found.shift) == (objective, False)


def test_a_bert_that_says_so_is_a_decoder() -> None:
    assert read_format(config_of("bert"), "here").is_encoder
    assert read_format(config_of("bert", architectures=["BertForPreTraining"]), "here").is_encoder
    assert read_format(config_of("bert", architectures=["BertLMHeadModel"]), "here").architecture == "BertLMHeadModel"


@pytest.mark.parametrize(
    ("rows", "needed", "grown"),
    [(320, 320, 320), (320, 321, 384), (151936, 151937, 152064), (50257, 50258, 50258), (30522, 30523, 30524)],
)
def test_a_grown_vocabulary_keeps_its_multiple(rows: int, needed: int, grown: int) -> None:
    assert grown_vocabulary(rows, needed) == grown
