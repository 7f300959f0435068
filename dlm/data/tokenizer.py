"""Byte-level BPE tokenizers, trained here, with the special tokens and chat template of a family.

Text is cut into single digits, words, signs and blanks before pairs are merged; a tag such as ``<answer>`` is one
piece, and so is an operator with the blanks around it. Every byte has a token, so any text survives encoding and
decoding.

The saved folder is a plain transformers tokenizer. Transformers 5 keeps any ``*_token`` of ``tokenizer_config.json``
as a special token with that name, so the loaded tokenizer has ``eot_token`` and ``eot_token_id`` beside ``mask_token``,
``pad_token`` and the like; the other tokens of the chat template are in ``extra_special_tokens``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dlm.settings.data import TokenizerData

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# A tag; a word with the blank before it; signs with a blank on either side; a run of other white space.
_PIECES = r"</?[a-z]+>| ?\p{L}+| ?[^\s\p{L}\p{N}]+(?: (?=\z))?| ?\p{N}|\s+(?=\s)|\s"


@dataclass(frozen=True, kw_only=True)
class Conventions:
    """Special tokens of a family and how it writes a chat."""

    bos: str
    eos: str
    """End of text, and the padding."""
    mask: str
    eot: str
    """End of a turn."""
    headers: tuple[str, ...]
    """Further tokens of the chat template."""
    template: str
    """Jinja template of a chat."""

    @property
    def special(self) -> list[str]:
        """Every special token, in the order of their ids."""
        return list(dict.fromkeys((self.bos, self.eos, self.mask, *self.headers, self.eot)))


CONVENTIONS = {
    "llada": Conventions(
        bos="<|startoftext|>",
        eos="<|endoftext|>",
        mask="<|mdm_mask|>",
        eot="<|eot_id|>",
        headers=("<|start_header_id|>", "<|end_header_id|>"),
        template=(
            "{{ bos_token }}"
            "{% for turn in messages %}"
            "<|start_header_id|>{{ turn.role }}<|end_header_id|>\n\n{{ turn.content | trim }}<|eot_id|>"
            "{% endfor %}"
            "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{{ '' }}{% endif %}"
        ),
    ),
    "chatml": Conventions(
        bos="<|beginoftext|>",
        eos="<|endoftext|>",
        mask="<|mask|>",
        eot="<|im_end|>",
        headers=("<|im_start|>",),
        template=(
            "{% for turn in messages %}"
            "<|im_start|>{{ turn.role }}\n{{ turn.content }}<|im_end|>\n{{ '' }}"
            "{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{{ '' }}{% endif %}"
        ),
    ),
}


def train_tokenizer(settings: TokenizerData, texts: Iterable[str], folder: str | Path) -> int:
    """Train a tokenizer on ``texts``, save it in ``folder`` and return its number of tokens.

    The number is ``settings.vocab_size``, or less if the texts hold too few different pairs. The files are the same
    bytes for the same texts.
    """
    from transformers import PreTrainedTokenizerFast

    names = CONVENTIONS[settings.template]
    with _one_thread():
        trained = _train(texts, settings.vocab_size, names.special)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=trained,
        bos_token=names.bos,
        eos_token=names.eos,
        pad_token=names.eos,
        mask_token=names.mask,
        eot_token=names.eot,
        extra_special_tokens=list(names.headers),
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = names.template
    tokenizer.save_pretrained(folder)
    return len(tokenizer)


def _train(texts: Iterable[str], size: int, special: Sequence[str]) -> Tokenizer:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(special),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Keep the tokenizers library to one thread, then restore what was set."""
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        yield
    finally:
        del os.environ["TOKENIZERS_PARALLELISM"]
        if before is not None:
            os.environ["TOKENIZERS_PARALLELISM"] = before
