"""Whole texts, in windows that a model has room for.

The log-likelihood of a text is taken window by window, each given the one token before it (the beginning of sequence
before the first), as lm-eval's `loglikelihood_rolling` does with `context_len` 1. Each window's value is a lower bound,
so their sum is one of the windowed log-likelihood, and a perplexity made of it an upper bound.
"""

from __future__ import annotations

from collections.abc import Sequence

from dlm.files import digest
from dlm.likelihood.answers import Answer


def windows(tokens: Sequence[int], begin_token: int, positions: int) -> list[Answer]:
    """Split a text.

    Args:
        tokens: the text's, at least one.
        begin_token: what stands before the first.
        positions: longest sequence of the model (>= 2); a window and the token before it fill it.
    """
    room = positions - 1
    whole = (begin_token, *tokens)
    return [
        Answer(whole[at : at + 1], whole[at + 1 : at + 1 + room], part=_part(whole, number))
        for number, at in enumerate(range(0, len(tokens), room))
    ]


def _part(text: tuple[int, ...], number: int) -> int:
    """Tell a window from all others: those of many texts are given the same token, and their errors are added up."""
    return int(digest(["window", text, number])[:15], 16)
