"""A source's tokenizer, made fit for diffusion: a mask token, the tokens that samplers need, a chat template."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from dlm.errors import CheckpointError
from dlm.models.probing import one_line
from dlm.models.templates import chat_template

MASK_TOKEN = "<|mask|>"
"""Name of the mask token where there is none."""
_NATIVE_CLASSES = {"DreamTokenizer": "Qwen2Tokenizer", "DiffuCoderTokenizer": "Qwen2Tokenizer"}
"""Tokenizer classes of remote code, and the class of transformers that cuts text the same."""
_CONFIG = "tokenizer_config.json"
_FILES = (
    "tokenizer.json", _CONFIG, "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "vocab.json",
    "merges.txt", "vocab.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model",
)  # fmt: skip
_VOCABULARIES = (
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)


def prepare_tokenizer(
    source: Path,
    draft: Path,
    *,
    mask_token_id: int | None,
    mask_needed: bool,
    add_mask: bool,
    encoder: bool,
    where: str,
) -> Any:
    """Load the source's tokenizer, complete it and save it in ``draft``, which holds the native config.

    No remote code is run: what names it in the tokenizer's config is left out.

    Args:
        source: folder with the published tokenizer.
        draft: folder to save in.
        mask_token_id: id of the mask token as the model's config says it; None: the tokenizer's own, or
            a new one, where one may be added.
        mask_needed: whether there has to be a mask token.
        add_mask: whether one may be added: to what was trained without any.
        encoder: whether the model is an encoder.
        where: names the checkpoint in messages.

    Returns:
        The tokenizer, with end-of-text and padding tokens, a chat template, and the mask token if asked for.

    Raises:
        CheckpointError: there is none, it is not legible, or it contradicts the config.
    """
    from transformers import AutoTokenizer

    if not any((source / name).is_file() for name in _VOCABULARIES):
        raise CheckpointError(f"{where}: no tokenizer in it (none of {', '.join(_VOCABULARIES)})")
    copied = [name for name in _FILES if (source / name).is_file()]
    try:
        for name in copied:
            shutil.copyfile(source / name, draft / name)
        if _CONFIG in copied:
            settings = json.loads((draft / _CONFIG).read_text(encoding="utf-8"))
            settings.pop("auto_map", None)
            if (named := settings.get("tokenizer_class")) in _NATIVE_CLASSES:
                settings["tokenizer_class"] = _NATIVE_CLASSES[named]
            (draft / _CONFIG).write_text(json.dumps(settings, ensure_ascii=False), encoding="utf-8")
        tokenizer: Any = AutoTokenizer.from_pretrained(str(draft), local_files_only=True)
    except Exception as error:  # the loaders raise errors of many unrelated classes
        raise CheckpointError(f"{where}: its tokenizer cannot be loaded ({one_line(error)})") from error
    if mask_needed or mask_token_id is not None:
        _set_mask(tokenizer, mask_token_id, where, add=add_mask)
    _complete(tokenizer, where)
    if not tokenizer.chat_template:
        tokenizer.chat_template = chat_template(tokenizer.get_vocab(), encoder=encoder)
    for name in copied:
        (draft / name).unlink()
    tokenizer.save_pretrained(str(draft))
    return tokenizer


def _set_mask(tokenizer: Any, mask_token_id: int | None, where: str, *, add: bool) -> None:
    """Set the mask token that the config names, or add one to what was trained without."""
    known = {int(value) for value in tokenizer.get_vocab().values()}
    if mask_token_id is not None:
        if mask_token_id not in known:
            raise CheckpointError(f"{where}: mask_token_id {mask_token_id} of its config is no token of its tokenizer")
        declared = tokenizer.mask_token_id if tokenizer.mask_token is not None else mask_token_id
        if declared != mask_token_id:
            raise CheckpointError(
                f"{where}: its config says mask_token_id {mask_token_id}, its tokenizer {declared}; correct one of them"
            )
        tokenizer.mask_token = tokenizer.convert_ids_to_tokens(mask_token_id)
    elif tokenizer.mask_token is None and not add:
        raise CheckpointError(
            f"{where}: neither its config (mask_token_id) nor its tokenizer (mask_token in {_CONFIG}) names the mask "
            "token that it was trained with; add it to one of them (or say --objective none of what was not trained so)"
        )
    elif tokenizer.mask_token is None:
        existed = MASK_TOKEN in tokenizer.get_vocab()
        tokenizer.add_special_tokens({"mask_token": MASK_TOKEN})
        if not existed and int(tokenizer.mask_token_id) in known:
            raise CheckpointError(
                f"{where}: its tokenizer gives {MASK_TOKEN} an id that is taken, as its ids have gaps"
            )


def _complete(tokenizer: Any, where: str) -> None:
    """Set the end-of-text, padding and first tokens that are not set."""
    # As ZHZisZZ/dllm has it: padding and end of text stand for each other, and either for a missing first token.
    if tokenizer.pad_token is None and tokenizer.eos_token is None:
        raise CheckpointError(f"{where}: its tokenizer has neither an end-of-text token nor a padding token")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.eos_token is None:
        tokenizer.eos_token = tokenizer.pad_token
    if tokenizer.bos_token is None:
        tokenizer.bos_token = tokenizer.pad_token
