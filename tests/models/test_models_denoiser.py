"""Any checkpoint as a denoiser: alignment, attention, padding, conversion, and the folder on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from doubles import small_architecture, small_denoiser, with_conventions, word_tokenizer

from dlm.errors import CheckpointError, SetupError
from dlm.files import replacing_folder, write_manifest
from dlm.models import (
    Conventions,
    Denoiser,
    is_bidirectional,
    load_denoiser,
    make_denoiser,
    open_attention,
    pick_device,
    save_denoiser,
    use_flex_attention,
)


def everywhere(tokens: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(tokens, dtype=torch.bool)


@pytest.mark.parametrize("model_type", ["llama", "qwen2"])
def test_logits_are_those_of_the_whole_transformers_model(model_type: str) -> None:
    denoiser = small_denoiser(model_type, shift=False)
    tokens = torch.randint(4, 24, (3, 10))
    at = torch.rand(3, 10) < 0.5
    expected = denoiser.model(input_ids=tokens).logits[at]
    torch.testing.assert_close(denoiser.logits(tokens, None, at), expected, rtol=1e-5, atol=1e-5)


def test_a_shifted_model_scores_a_token_by_the_output_before_it() -> None:
    plain = small_denoiser("qwen2", shift=False)
    shifted = with_conventions(plain, shift=True)
    tokens = torch.randint(4, 24, (1, 6))
    raw = plain.logits(tokens, None, everywhere(tokens))
    aligned = shifted.logits(tokens, None, everywhere(tokens))
    torch.testing.assert_close(aligned[1:], raw[:-1])
    torch.testing.assert_close(aligned[0], raw[0])


@pytest.mark.parametrize("model_type", ["llama", "qwen2"])
def test_right_padding_changes_nothing(model_type: str) -> None:
    denoiser = small_denoiser(model_type)
    tokens = torch.randint(4, 24, (1, 7))
    padded = torch.cat([tokens, torch.zeros(1, 5, dtype=torch.int64)], dim=1)
    attention = torch.arange(12)[None] < 7
    alone = denoiser.logits(tokens, None, everywhere(tokens))
    torch.testing.assert_close(denoiser.logits(padded, attention, attention), alone, rtol=1e-4, atol=1e-4)


def test_a_causal_model_is_seen_as_causal_and_opens() -> None:
    parent = make_denoiser(small_architecture("qwen2"), word_tokenizer(), causal=True, shift=True, seed=0)
    assert parent.conventions.objective == "ar"
    assert not is_bidirectional(parent)
    assert is_bidirectional(open_attention(parent, shift=True))


def test_an_architecture_that_stays_causal_is_refused() -> None:
    from transformers import GPTNeoConfig, GPTNeoForCausalLM

    from dlm.models import Conventions, Denoiser

    config = GPTNeoConfig(
        vocab_size=24,
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        attention_types=[[["global"], 2]],
        max_position_embeddings=64,
    )
    model = GPTNeoForCausalLM(config).eval()
    parent = Denoiser(model, word_tokenizer(), Conventions(mask_token_id=1, shift=True, objective="ar"))
    with pytest.raises(CheckpointError, match="gpt_neo stays causal"):
        open_attention(parent, shift=True)


def test_weights_depend_on_the_seed_only() -> None:
    torch.manual_seed(1)
    first = small_denoiser(seed=3).model.state_dict()
    torch.manual_seed(2)
    again, other = small_denoiser(seed=3).model.state_dict(), small_denoiser(seed=4).model.state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with replacing_folder(tmp_path / "model") as draft:
        save_denoiser(small_denoiser("qwen2", shift=True), draft, name="model", made_from={})
    return tmp_path / "model"


def test_a_saved_checkpoint_loads_the_same(folder: Path) -> None:
    loaded, made = load_denoiser(folder), small_denoiser("qwen2", shift=True)
    tokens = torch.randint(4, 24, (2, 9))
    assert torch.equal(loaded.logits(tokens, None, everywhere(tokens)), made.logits(tokens, None, everywhere(tokens)))
    assert loaded.conventions == made.conventions
    assert loaded.digest


def test_plain_transformers_loads_it_bidirectional(folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.config.is_causal is False
    tokens = torch.randint(4, 24, (1, 6))
    changed = tokens.clone()
    changed[0, -1] = (tokens[0, -1] - 3) % 20 + 4
    assert not torch.equal(model(tokens).logits[0, 0], model(changed).logits[0, 0])
    assert AutoTokenizer.from_pretrained(folder).mask_token_id == 1


def test_a_truncated_checkpoint_is_named(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: \d+ bytes, the manifest says \d+ \(truncated\?\)"):
        load_denoiser(folder)


def test_an_altered_checkpoint_is_named(folder: Path) -> None:
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"hidden_size": 32', '"hidden_size": 23'))
    with pytest.raises(CheckpointError, match=r"config\.json: content differs"):
        load_denoiser(folder)


def test_a_folder_that_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no manifest\.json"):
        load_denoiser(tmp_path)


def test_logits_that_are_not_numbers_are_refused() -> None:
    denoiser = small_denoiser()
    denoiser.model.get_output_embeddings().weight.data[5] = float("nan")
    with pytest.raises(CheckpointError, match="not finite"):
        denoiser.logits(torch.tensor([[4, 5]]), None, torch.tensor([[True, True]]))


@pytest.mark.parametrize("device", ["tpu9", "cuda:99x"])
def test_an_unknown_device_is_refused(device: str) -> None:
    with pytest.raises(SetupError, match=r"execution\.device"):
        pick_device(device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(SetupError, match="no GPU here"):
        pick_device("cuda")


ENCODER = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}


@pytest.mark.parametrize("model_type", ["bert", "roberta", "modernbert", "gpt2", "qwen3"])
def test_body_and_head_give_the_models_own_logits(model_type: str) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

    ids = {f"{name}_token_id": 0 for name in ("pad", "bos", "eos", "cls", "sep")}
    config = AutoConfig.for_model(model_type, vocab_size=24, **ids, **({} if model_type == "gpt2" else ENCODER))
    if model_type == "gpt2":
        config.n_embd, config.n_layer, config.n_head = 32, 2, 4
    if model_type == "qwen3":
        config.num_key_value_heads = 2
    config.is_causal = False
    classes = AutoModelForMaskedLM if "bert" in model_type else AutoModelForCausalLM
    model = classes.from_config(config).eval()
    denoiser = Denoiser(model, None, Conventions(mask_token_id=1, shift=False, objective="none"))
    tokens, at = torch.randint(4, 24, (3, 10)), torch.rand(3, 10) < 0.5
    torch.testing.assert_close(denoiser.logits(tokens, None, at), model(input_ids=tokens).logits[at])


def test_a_token_sees_what_a_mask_of_pairs_lets_it_see() -> None:
    denoiser = small_denoiser("qwen2")
    tokens = torch.randint(4, 24, (2, 6))
    changed = tokens.clone()
    changed[:, 4] = (tokens[:, 4] - 3) % 20 + 4
    pairs = torch.ones(2, 6, 6, dtype=torch.bool)
    pairs[:, :3, 4] = False
    # The last positions still see the changed token, and nobody who sees them is among the first three.
    pairs[:, :3, 3:] = False
    before, after = (denoiser.logits(seen, pairs, everywhere(seen)).reshape(2, 6, -1) for seen in (tokens, changed))
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.equal(before[:, 5], after[:, 5])


def test_positions_can_be_given() -> None:
    denoiser = small_denoiser()
    tokens = torch.randint(4, 24, (1, 6))
    own = denoiser.logits(tokens, None, everywhere(tokens))
    positions = torch.arange(6)[None]
    assert torch.equal(denoiser.logits(tokens, None, everywhere(tokens), positions), own)
    assert not torch.equal(denoiser.logits(tokens, None, everywhere(tokens), positions * 2), own)


def test_a_gpu_that_is_not_there_is_refused_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(SetupError, match="'cuda:2' asked for, but torch sees 2 GPUs here, counted from 0"):
        pick_device("cuda:2")


def test_flex_attention_is_chosen_by_where_a_model_will_run() -> None:
    """A model that is sharded among processes is still on the CPU when this is decided."""
    denoiser = small_denoiser()
    assert not use_flex_attention(denoiser, torch.device("cpu"))
    assert denoiser.model.config._attn_implementation == "sdpa"
    assert use_flex_attention(denoiser, torch.device("cuda", 0))
    assert denoiser.model.config._attn_implementation == "flex_attention"


def test_a_product_that_is_no_checkpoint_is_called_what_it_is(tmp_path: Path) -> None:
    write_manifest(tmp_path, kind="dataset", name="corpus", made_from={})
    with pytest.raises(CheckpointError, match="no checkpoint, but a dataset; name the folder of a checkpoint"):
        load_denoiser(tmp_path)
