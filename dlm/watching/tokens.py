"""What each token of an answer adds to its text, where some of its neighbours are not written yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from dlm.errors import CheckpointError

_UNFINISHED = "\ufffd"
"""What stands for a character whose last bytes are still to come."""
_CONTEXT = 4
"""Tokens before one that its text may depend on: a word's first piece, the other bytes of a character."""


@dataclass(frozen=True)
class Speller:
    """Spells tokens, without the rest of a model."""

    decode: Callable[[list[int]], str]
    """Text of token ids, special tokens written out."""
    special: frozenset[int]
    """Ids of tokens that are no text: end of text and turn, padding."""

    @classmethod
    def of_tokenizer(cls, tokenizer: Any) -> Self:
        """Return that of a transformers tokenizer."""

        def decode(tokens: list[int]) -> str:
            return str(tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False))

        return cls(decode, frozenset(tokenizer.all_special_ids))

    @classmethod
    def of_folder(cls, folder: Path) -> Self:
        """Return that of a checkpoint folder, without torch or transformers.

        Raises:
            CheckpointError: it holds no legible tokenizer.json.
        """
        from tokenizers import Tokenizer

        try:
            found = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the library raises nothing more specific
            path = folder / "tokenizer.json"
            raise CheckpointError(f"{path}: cannot be read ({error}); make the checkpoint again") from error
        added = found.get_added_tokens_decoder()
        special = frozenset(token for token, entry in added.items() if entry.special)
        return cls(lambda tokens: str(found.decode(tokens, skip_special_tokens=False)), special)


def pieces(speller: Speller, tokens: Sequence[int | None]) -> list[str | None]:
    """Return the text that each token adds to those before it; None where there is none yet.

    A token after an open place is spelled as if a text began there. Of several tokens that make a character, the last
    one has it.
    """
    found: list[str | None] = []
    run: list[int] = []
    for token in tokens:
        if token is None:
            run = []
            found.append(None)
            continue
        run = [*run[-_CONTEXT:], token]
        before = speller.decode(run[:-1]).rstrip(_UNFINISHED) if len(run) > 1 else ""
        found.append(speller.decode(run)[len(before) :])
    return [_held_back(piece, place, tokens) for place, piece in enumerate(found)]


def _held_back(piece: str | None, place: int, tokens: Sequence[int | None]) -> str | None:
    """Leave an unfinished character to the token that finishes it, where that is there."""
    follows = place + 1 < len(tokens) and tokens[place + 1] is not None
    return piece.rstrip(_UNFINISHED) if piece and follows else piece
