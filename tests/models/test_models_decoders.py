"""Any decoder and any encoder of transformers: what passes the probe, what is refused, what becomes of odd tensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from published import PARITY, copy_of, make, tensors_of, write_tensors
from transformers import AutoModelForCausalLM

from dlm.errors import CheckpointError
from dlm.models import convert_back, convert_checkpoint, load_denoiser
from dlm.models.shards import read_shards

GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "bos_token_id": 0}
GPT_NEO = {"num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]], "bos_token_id": 0}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "num_key_value_heads": 2}


def logits(folder: Path, tokens: torch.Tensor) -> torch.Tensor:
    return load_denoiser(folder).logits(tokens, None, torch.ones_like(tokens, dtype=torch.bool))


def converted(source: Path, **options: Any) -> Path:
    folder = source.with_name(f"{source.name}-converted")
    convert_checkpoint(source, folder, **options)
    return folder


def restored(folder: Path) -> dict[str, torch.Tensor]:
    back = folder.with_name(f"{folder.name}-back")
    convert_back(folder, back)
    return tensors_of(back)


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        first[name].dtype == second[name].dtype and torch.equal(first[name], second[name]) for name in first
    )


@pytest.mark.parametrize(
    ("model_type", "sizes"),
    [
        ("qwen3", {"num_key_value_heads": 2, "head_dim": 12}),
        ("qwen2", {"num_key_value_heads": 2}),
        ("llama", {"num_key_value_heads": 2, "tie_word_embeddings": True}),
        ("gpt2", GPT2),
        ("mistral", {"num_key_value_heads": 2, "sliding_window": 8}),
        ("qwen3_moe", EXPERTS),
    ],
)
def test_a_decoder_that_opens_its_attention_is_converted(
    model_type: str, sizes: dict[str, Any], tmp_path: Path
) -> None:
    source = make(model_type, tmp_path / model_type, **sizes)
    folder = converted(source)
    tokens = torch.randint(4, 280, (1, 12))
    changed = tokens.clone()
    changed[0, -1] = tokens[0, -1] + 1
    assert not torch.equal(logits(folder, tokens)[0], logits(folder, changed)[0])
    assert same(restored(folder), tensors_of(source))


@pytest.mark.parametrize(
    ("model_type", "sizes", "message"),
    [
        ("gpt_neo", GPT_NEO, "gpt_neo stays causal with is_causal = False"),
        ("stablelm", {"num_key_value_heads": 2}, "stablelm stays causal"),
        ("mamba", {}, "mamba stays causal"),
        ("gemma2", {"num_key_value_heads": 2, "head_dim": 8}, "the logits of gemma2 are not those of its last layer"),
        ("granite", {"logits_scaling": 4.0}, "the logits of granite are not those of its last layer"),
    ],
)
def test_a_decoder_that_cannot_be_a_denoiser_is_refused(
    model_type: str, sizes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    source = make(model_type, tmp_path / model_type, **sizes)
    with pytest.raises(CheckpointError, match=message) as caught:
        converted(source)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [model_type]  # nothing is left behind


@pytest.mark.parametrize("model_type", ["gpt2", "qwen3"])
def test_a_decoder_kept_causal_is_the_published_model(model_type: str, tmp_path: Path) -> None:
    """No mask token, no row more, the same logits; and it can be opened later, or converted back."""
    source = make(model_type, tmp_path / model_type, **(GPT2 if model_type == "gpt2" else {"num_key_value_heads": 2}))
    manifest = convert_checkpoint(source, folder := tmp_path / "kept", causal=True)
    assert manifest["made_from"]["source"]["format"] == "causal"
    kept = load_denoiser(folder)
    tokens = torch.randint(4, 280, (2, 9))
    assert torch.equal(kept.model(tokens).logits, AutoModelForCausalLM.from_pretrained(source)(tokens).logits)
    assert kept.conventions.objective == "ar" and kept.shift and kept.tokenizer.mask_token is None
    with pytest.raises(CheckpointError, match="is autoregressive and has no mask token"):
        _ = kept.mask_token_id
    assert same(restored(folder), tensors_of(source))
    convert_checkpoint(folder, opened := tmp_path / "opened")
    assert load_denoiser(opened).mask_token_id == len(kept.tokenizer)
    changed = tokens.clone()
    changed[0, -1] += 1
    assert not torch.equal(logits(opened, tokens)[0, 0], logits(opened, changed)[0, 0])


@pytest.mark.parametrize(("name", "message"), [("bert", "is an encoder"), ("llada", "is a diffusion model")])
def test_what_never_was_causal_is_not_kept_so(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        convert_checkpoint(PARITY / name, tmp_path / "out", causal=True)
    assert not (tmp_path / "out").exists()


def test_gpt2_as_it_is_published(tmp_path: Path) -> None:
    """Its files leave the body's name out of the tensors' and hold the causal masks."""
    source = make("gpt2", tmp_path / "gpt2", **GPT2)
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in tensors_of(source).items()}
    tensors |= {f"h.{layer}.attn.bias": torch.ones(1, 1, 64, 64).tril() for layer in (0, 1)}
    before = logits(converted(source), tokens := torch.randint(4, 280, (2, 9)))
    write_tensors(source, tensors)
    manifest = convert_checkpoint(source, folder := tmp_path / "again")
    assert manifest["made_from"]["tensors"]["beside"] == 2
    assert torch.equal(logits(folder, tokens), before)
    assert same(restored(folder), tensors)


@pytest.mark.parametrize("model_type", ["bert", "roberta"])
def test_encoders_as_they_are_published(model_type: str, tmp_path: Path) -> None:
    """Files of BERT's pretraining: old names of norms, a pooler, a second head, repeated tied weights, counters."""
    sizes = {"max_position_embeddings": 66, "pad_token_id": 1} if model_type == "roberta" else {}
    source = make(model_type, tmp_path / model_type, like="bert", masked=True, vocab_size=208, **sizes)
    before = logits(converted(source), tokens := torch.randint(5, 200, (2, 9)))
    tensors = tensors_of(source)
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    for new, name in old.items():
        tensors = {key.replace(new, name): tensor for key, tensor in tensors.items()}
    words = next(key for key in tensors if key.endswith("word_embeddings.weight"))
    head = "cls.predictions.decoder.weight" if model_type == "bert" else "lm_head.decoder.weight"
    tensors |= {head: tensors[words].clone(), f"{model_type}.pooler.dense.bias": torch.ones(32)}
    tensors |= {f"{model_type}.embeddings.position_ids": torch.arange(64)[None]}
    if model_type == "bert":
        tensors |= {"cls.seq_relationship.weight": torch.ones(2, 32)}
    write_tensors(source, tensors)
    manifest = convert_checkpoint(source, folder := tmp_path / "again")
    assert manifest["made_from"]["tensors"]["repeated"] == 1
    assert manifest["made_from"]["tensors"]["beside"] == (3 if model_type == "bert" else 2)
    assert torch.equal(logits(folder, tokens), before)
    assert same(restored(folder), tensors)
    assert load_denoiser(folder).max_positions == 64


def test_a_causal_bert_is_no_encoder(tmp_path: Path) -> None:
    source = copy_of("bert", tmp_path / "bert", is_decoder=True)
    with pytest.raises(CheckpointError, match="is_decoder: a causal bert"):
        converted(source)


@pytest.mark.parametrize(("tied", "rows"), [(False, 291), (True, 291), (True, 290 + 1)])
def test_embeddings_grow_where_the_mask_token_has_no_row(tied: bool, rows: int, tmp_path: Path) -> None:
    sizes = {"vocab_size": rows, "num_key_value_heads": 2, "tie_word_embeddings": tied}
    source = make("qwen2", tmp_path / "qwen2", **sizes)
    folder = converted(source)
    published, model = tensors_of(source), load_denoiser(folder).model
    assert model.config.vocab_size == 292
    grown = model.get_input_embeddings().weight
    assert torch.equal(grown[:291], published["model.embed_tokens.weight"])
    torch.testing.assert_close(grown[291], published["model.embed_tokens.weight"].mean(0))
    assert (model.get_output_embeddings().weight is grown) is tied
    assert load_denoiser(folder).mask_token_id == 291
    assert same(restored(folder), published)


def test_tied_weights_that_differ_are_refused(tmp_path: Path) -> None:
    source = copy_of("qwen3", tmp_path / "qwen3")
    tensors = tensors_of(source)
    write_tensors(source, {**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"] + 1})
    with pytest.raises(CheckpointError, match=r"'lm_head\.weight' differs from 'model\.embed_tokens\.weight'"):
        converted(source)


def test_tied_weights_under_the_second_name_alone_are_found(tmp_path: Path) -> None:
    source = copy_of("qwen3", tmp_path / "qwen3")
    tensors = tensors_of(source)
    tensors["lm_head.weight"] = tensors.pop("model.embed_tokens.weight")
    write_tensors(source, tensors)
    folder = converted(source)
    assert same(restored(folder), tensors)
    assert torch.equal(load_denoiser(folder).model.get_input_embeddings().weight, tensors["lm_head.weight"])


def test_a_llada_with_tied_weights(tmp_path: Path) -> None:
    source = copy_of("llada", tmp_path / "llada", weight_tying=True)
    tensors = tensors_of(source)
    del tensors["model.transformer.ff_out.weight"]
    write_tensors(source, tensors)
    folder = converted(source)
    model = load_denoiser(folder).model
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert same(restored(folder), tensors)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_weights_keep_their_type(kind: torch.dtype, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    source = copy_of("llada", tmp_path / "llada")  # its config says float32
    write_tensors(source, {name: tensor.to(kind) for name, tensor in tensors_of(source).items()})
    folder = converted(source)
    assert {tensor.dtype for shard in read_shards(folder) for tensor in shard.tensors} <= {"BF16", "F16"}
    assert AutoModelForCausalLM.from_pretrained(folder).dtype is kind
    assert same(restored(folder), tensors_of(source))


def test_what_is_asked_for_is_recorded(tmp_path: Path) -> None:
    source = copy_of("qwen3", tmp_path / "qwen3")
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "mask_token_id": 5}))  # what it was trained with
    folder = converted(source, shift=True, objective="bd3lm", block_size=32, repository="a/b", revision="c0ffee")
    conventions = load_denoiser(folder).conventions
    assert (conventions.shift, conventions.objective, conventions.block_size) == (True, "bd3lm", 32)
    assert conventions.source is not None
    assert [conventions.source[key] for key in ("repository", "folder", "revision")] == ["a/b", None, "c0ffee"]


def test_a_checkpoint_of_this_project_keeps_its_conventions(tmp_path: Path) -> None:
    first = converted(copy_of("dream", tmp_path / "dream"))
    again = converted(first)
    before, after = load_denoiser(first).conventions, load_denoiser(again).conventions
    assert (after.shift, after.objective, after.padding_side) == (before.shift, before.objective, before.padding_side)
    assert after.source is not None and after.source["format"] == "dlm"


def test_a_checkpoint_without_chat_template_gets_one_that_its_tokens_can_write(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "q"}]
    for name, opening in (("qwen2", "<|im_start|>assistant\n"), ("llama", "<|start_header_id|>assistant")):
        source = copy_of(name, tmp_path / name)
        settings = json.loads((source / "tokenizer_config.json").read_text())
        del settings["chat_template"]
        (source / "tokenizer_config.json").write_text(json.dumps(settings))
        tokenizer = load_denoiser(converted(source)).tokenizer
        assert opening in tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)


def test_text_is_cut_as_before(tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    for name in ("qwen2", "llama", "dream", "llada", "modernbert"):
        source = copy_of(name, tmp_path / name)
        before = PreTrainedTokenizerFast.from_pretrained(source)
        after = load_denoiser(converted(source)).tokenizer
        text = "If a train leaves at 12:05, <|im_end|> when?\n  Else\tnot."
        assert after(text)["input_ids"] == before(text)["input_ids"]
        assert after.decode(after(text)["input_ids"]) == before.decode(before(text)["input_ids"])


def test_a_tokenizer_of_remote_code_is_read_by_the_class_that_cuts_the_same(tmp_path: Path) -> None:
    """Dream's: a copy of Qwen2's with a name of its own, vocabulary and merges in two files."""
    source = copy_of("dream", tmp_path / "dream")
    whole = json.loads((source / "tokenizer.json").read_text())
    (source / "tokenizer.json").unlink()
    (source / "vocab.json").write_text(json.dumps(whole["model"]["vocab"]))
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in whole["model"]["merges"]]
    (source / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    settings = json.loads((source / "tokenizer_config.json").read_text())
    settings |= {"tokenizer_class": "DreamTokenizer", "auto_map": {"AutoTokenizer": ["tokenization_dream.X", None]}}
    (source / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = load_denoiser(converted(source)).tokenizer
    assert type(tokenizer).__name__.startswith("Qwen2Tokenizer")
    assert (tokenizer.mask_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id) == (292, 288, 291)
    reference = load_denoiser(converted(copy_of("dream", tmp_path / "whole"))).tokenizer
    text = "a train, 12:05<|im_end|> when"
    assert tokenizer(text)["input_ids"] == reference(text)["input_ids"]
