"""Prepared rows into token sequences, and token sequences into batches.

Shapes: B rows, L positions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dlm.errors import DataError, SettingsError
from dlm.progress import say
from dlm.settings import BD3LM, Autoregressive, Recipe
from dlm.training import processes

# Texts that are encoded at once. One by one takes about twice as long; of all at once, the tokenizer would keep what it
# knows of each token besides its number, some 90 bytes, until the last is done.
_TOGETHER = 1000


@dataclass(frozen=True)
class Example:
    """One training sequence."""

    number: int
    """Its place in the data: the key of its noise."""
    tokens: tuple[int, ...]
    prompt: int
    """Tokens at the beginning that are neither masked nor counted."""


def encode_rows(
    rows: Iterable[Mapping[str, Any]], tokenizer: Any, recipe: Recipe, *, of: str = "training rows"
) -> list[Example]:
    """Turn prepared rows into examples.

    Texts are joined, an end-of-text token after each, and cut into pieces of ``recipe.max_length``; the incomplete tail
    is dropped, as in pretraining. With ``packing`` they are not joined: each is cut by itself, and its tail stays.
    Chats are one example each; a response that is too long is cut on the right, and a row whose prompt leaves no room,
    or that has no response, is dropped. With ``filler: eos_to_block``, end tokens that belong to the response follow,
    up to a whole number of blocks. How many rows were dropped is said. ``of`` names the rows.

    Raises:
        DataError: nothing is left to train on, or a row is neither text nor chat.
        SettingsError: response-only loss is asked for on plain text.
    """
    rows = list(rows)
    refuse_none(len(rows), of)
    texts = "text" in rows[0]
    if texts:
        refuse_responses_of_texts(recipe)
    if texts and not recipe.packing:
        stream = [token for text in text_tokens(rows, tokenizer) for token in text]
        refuse_short_texts(len(rows), len(stream), recipe, of)
        length = recipe.max_length
        sequences = [(stream[begin : begin + length], 0) for begin in range(0, len(stream) - length + 1, length)]
    else:
        parts = row_sequences(rows, tokenizer, recipe, texts=texts)
        tell_dropped(len(rows), sum(not part for part in parts), recipe, of)
        sequences = [pair for part in parts for pair in part]
    return [Example(number, tuple(tokens), prompt) for number, (tokens, prompt) in enumerate(sequences)]


def refuse_responses_of_texts(recipe: Recipe) -> None:
    """Refuse to train on the responses of plain texts."""
    if recipe.loss_on == "response":
        raise SettingsError("loss_on 'response' needs chats, but the data set holds plain text; use loss_on: all")


_MORE = {
    "training rows": "prepare it again with more rows",
    "held-out rows": "give it a held_out_share above 0 or held-out rows of its own (a single row is not held out)",
}


def refuse_none(rows: int, of: str = "training rows") -> None:
    """Refuse an empty data set."""
    if not rows:
        raise DataError(f"no {of}: the data set has none; {_MORE[of]}")


def refuse_short_texts(rows: int, tokens: int, recipe: Recipe, of: str = "training rows") -> None:
    """Refuse joined texts that do not fill one piece."""
    if tokens < recipe.max_length:
        raise DataError(
            f"{rows} {of} are {tokens} tokens together, fewer than max_length {recipe.max_length}; lower max_length, "
            "or prepare more rows"
        )


def tell_dropped(rows: int, dropped: int, recipe: Recipe, of: str = "training rows") -> None:
    """Say how many rows gave no example; refuse data of which none did."""
    if dropped == rows:
        raise DataError(
            f"no row fits: {rows} {of}, none with room for a response within max_length {recipe.max_length}; "
            "raise max_length, or prepare rows that have responses"
        )
    if dropped and processes.is_first():
        say(
            f"{dropped} of {rows} {of} dropped: no room for a response within max_length {recipe.max_length}, or no "
            "response"
        )


def text_tokens(rows: Sequence[Mapping[str, Any]], tokenizer: Any) -> list[list[int]]:
    """Return the tokens of each text, the end-of-text token last.

    Raises:
        DataError: a row has no text.
    """
    for row in rows:
        if "text" not in row:
            raise DataError(f"row {row.get('id')}: expected 'text', as the first row has; keep texts and chats apart")
    return [[*tokens, tokenizer.eos_token_id] for tokens in _encode([row["text"] for row in rows], tokenizer)]


def row_sequences(
    rows: Sequence[Mapping[str, Any]], tokenizer: Any, recipe: Recipe, *, texts: bool
) -> list[list[tuple[list[int], int]]]:
    """Return the sequences of each row by itself, and how many of their tokens are prompt; none of a dropped row.

    Args:
        rows, tokenizer, recipe: as for :func:`encode_rows`; the rows may be some of the data's.
        texts: whether the data's first row is a text, as all rows have to be then; else all are chats.

    Raises:
        DataError: a row is neither text nor chat, or not what the first one is, or its template hides where the
            response begins.
    """
    if texts:
        least = 2 if isinstance(recipe.objective, Autoregressive) else 1  # tokens of which one can be trained
        return [
            [(piece, 0) for piece in _pieces(tokens, recipe.max_length) if len(piece) >= least]
            for tokens in text_tokens(rows, tokenizer)
        ]
    chats = [_prompt_and_response(row, tokenizer) for row in rows]
    prompts = _encode([prompt for prompt, _ in chats], tokenizer)
    responses = _encode([response for _, response in chats], tokenizer)
    return [
        _chat_sequences(prompt, response, recipe, tokenizer.eos_token_id)
        for prompt, response in zip(prompts, responses, strict=True)
    ]


def _encode(texts: list[str], tokenizer: Any) -> list[list[int]]:
    found: list[list[int]] = []
    for begin in range(0, len(texts), _TOGETHER):
        some = texts[begin : begin + _TOGETHER]
        found += tokenizer(some, add_special_tokens=False, return_attention_mask=False)["input_ids"]
    return found


def _pieces(tokens: list[int], length: int) -> list[list[int]]:
    return [tokens[begin : begin + length] for begin in range(0, len(tokens), length)]


def _prompt_and_response(row: Mapping[str, Any], tokenizer: Any) -> tuple[str, str]:
    messages = row.get("messages")
    if not messages and "text" in row:
        raise DataError(f"row {row.get('id')}: expected 'messages', as the first row has; keep texts and chats apart")
    if not messages or messages[-1].get("role") != "assistant":
        raise DataError(f"row {row.get('id')}: expected 'text', or 'messages' that end with the assistant's")
    opening = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template(messages, tokenize=False)
    if not whole.startswith(opening):
        raise DataError(
            f"row {row.get('id')}: the chat template rewrites earlier turns, so the response cannot be told"
        )
    return opening, whole[len(opening) :]


def _chat_sequences(
    prompt: list[int], response: list[int], recipe: Recipe, eos_token_id: int
) -> list[tuple[list[int], int]]:
    if len(prompt) >= recipe.max_length or not response:
        return []
    tokens = (prompt + response)[: recipe.max_length]
    if recipe.filler == "eos_to_block":
        assert isinstance(recipe.objective, BD3LM)
        tokens += [eos_token_id] * (-len(tokens) % recipe.objective.block_size)
    return [(tokens, len(prompt) if recipe.loss_on == "response" else 0)]


class Collator:
    """Pads examples on the right to the longest of a batch.

    Args:
        filler_id: id that pads.
        train_filler: whether the filler is visible and trained (``filler: eos``), or hidden and ignored.
        skip_first: whether the first token does not count: nothing precedes it that could predict it.
    """

    def __init__(self, filler_id: int, train_filler: bool, *, skip_first: bool = False) -> None:
        self.filler_id, self.train_filler, self.skip_first = filler_id, train_filler, skip_first

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Return tokens int64 [B, L], labels int64 [B, L] (-100 where not trained), attention bool [B, L], rows [B]."""
        length = max(len(example.tokens) for example in examples)
        tokens_BL = torch.full((len(examples), length), self.filler_id, dtype=torch.int64)
        size_B = torch.tensor([len(example.tokens) for example in examples])
        prompt_B = torch.tensor([example.prompt for example in examples])
        for row, example in enumerate(examples):
            tokens_BL[row, : len(example.tokens)] = torch.tensor(example.tokens)
        position_L = torch.arange(length)
        real_BL = torch.ones_like(tokens_BL, dtype=torch.bool) if self.train_filler else position_L < size_B[:, None]
        trainable_BL = real_BL & (position_L >= prompt_B[:, None].clamp(min=int(self.skip_first)))
        return {
            "tokens": tokens_BL,
            "labels": tokens_BL.masked_fill(~trainable_BL, -100),
            "attention": real_BL,
            "rows": torch.tensor([example.number for example in examples], dtype=torch.int64),
        }
