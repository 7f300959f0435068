"""Answers whose likelihood is asked, and the pieces that are estimated one by one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """A context and the answer to it, as token ids."""

    context: tuple[int, ...]
    tokens: tuple[int, ...]
    """At least one."""
    after: tuple[int, ...] = ()
    """What follows the answer and is seen: Dream's end token."""
    part: int = 0
    """Which window of which text, so that windows that begin alike do not share their maskings: their errors add up."""

    @property
    def length(self) -> int:
        """Tokens in all."""
        return len(self.context) + len(self.tokens) + len(self.after)


@dataclass(frozen=True)
class Piece:
    """Tokens that are masked and scored together: a whole answer, or a block of one."""

    before: tuple[int, ...]
    """What is given: the context, and the blocks before this one."""
    tokens: tuple[int, ...]
    after: tuple[int, ...]
    prompt: int
    """Tokens of ``before`` that are the context, which guidance masks."""
    part: int
    """Which window of which text."""

    @property
    def length(self) -> int:
        """Tokens in all."""
        return len(self.before) + len(self.tokens) + len(self.after)


def pieces_of(answer: Answer, block_size: int | None) -> list[Piece]:
    """Return the pieces of an answer, in order.

    Block diffusion's log p(answer | context) is the sum over blocks of log p(block | context, earlier blocks), each a
    diffusion of its own (BD3LM, arXiv 2503.09573, section 3). The sum of the blocks' lower bounds is a lower bound of
    the answer's log-likelihood; at blocks of one token it is the log-likelihood. Blocks are counted from the end of
    the context, as where they are sampled.

    Args:
        answer: the answer.
        block_size: tokens of a block; None: the answer is one piece, which sees all of itself.
    """
    size = block_size or len(answer.tokens)
    whole = answer.context + answer.tokens
    prompt, end = len(answer.context), len(whole)
    return [
        Piece(whole[:at], whole[at : at + size], answer.after if at + size >= end else (), prompt, answer.part)
        for at in range(prompt, end, size)
    ]
