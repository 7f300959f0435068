"""Small real models for tests: random weights, a closed word vocabulary, the same classes as the real thing."""

from __future__ import annotations

from typing import Any

from dlm.models import Conventions, Denoiser, make_denoiser, open_attention
from dlm.settings import Architecture

WORDS = [chr(ord("a") + index) for index in range(20)]
SPECIAL = ["<|endoftext|>", "<|mdm_mask|>", "<|eot_id|>", "<|startoftext|>"]


def word_tokenizer() -> Any:
    """A tokenizer whose tokens are single letters, with the special tokens and the chat template of LLaDA's shape."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: index for index, word in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|startoftext|>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        mask_token="<|mdm_mask|>",
        additional_special_tokens=["<|eot_id|>"],
    )
    fast.chat_template = (
        "{% for m in messages %}{{ m['content'] }} <|eot_id|> {% endfor %}{% if add_generation_prompt %}a{% endif %}"
    )
    return fast


def small_architecture(model_type: str = "llama", **changes: Any) -> Architecture:
    sizes = {"hidden_size": 32, "layers": 2, "heads": 4, "intermediate_size": 48, "max_positions": 64}
    return Architecture(model_type=model_type, **{**sizes, **changes})  # type: ignore[arg-type]


def small_denoiser(
    model_type: str = "llama", *, shift: bool = False, seed: int = 0, sharpness: float = 6.0
) -> Denoiser:
    """A bidirectional model with random weights whose outputs are far from uniform, so that decisions have margins."""
    if model_type == "qwen2":
        made = make_denoiser(
            small_architecture("qwen2", kv_heads=2), word_tokenizer(), causal=True, shift=True, seed=seed
        )
        made = open_attention(made, shift=shift)
    else:
        made = make_denoiser(small_architecture(model_type), word_tokenizer(), causal=False, shift=shift, seed=seed)
    made.model.get_output_embeddings().weight.data.mul_(20 * sharpness)
    return made.eval()


def small_encoder(model_type: str, seed: int = 0, **changes: Any) -> Denoiser:
    """A BERT or RoBERTa with random weights and the dropout of the published ones, 0.1; it reads 64 tokens."""
    import torch
    import transformers

    tokenizer = word_tokenizer()
    prefix = {"bert": "Bert", "roberta": "Roberta"}[model_type]
    sizes = {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
        "vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id,
        "max_position_embeddings": 64 + (tokenizer.pad_token_id + 1 if model_type == "roberta" else 0),
    }  # fmt: skip
    config = getattr(transformers, f"{prefix}Config")(**{**sizes, **changes})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = getattr(transformers, f"{prefix}ForMaskedLM")(config)
    return Denoiser(model, tokenizer, Conventions(mask_token_id=1, shift=False, objective="mlm"))


def with_conventions(denoiser: Denoiser, **changes: Any) -> Denoiser:
    kept = {**denoiser.conventions.to_config(), **changes}
    return Denoiser(denoiser.model, denoiser.tokenizer, Conventions(**kept)).eval()
