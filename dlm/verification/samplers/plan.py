"""What a case's settings become, and what a source would say of the passes that were made.

Where a shape is given it is [rows, columns].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from dlm.sampling import Row
from dlm.settings import Guidance, SamplerSettings
from dlm.verification.fields import Malformed, either, flag, items, nothing, number, one_of, whole

Rows = list[list[int]]
"""Token ids of each row."""

COUNT = whole(1, 65536)
TOKENS = either(nothing, items(whole(0)))
DLLM = {
    "return_dict": flag,
    "max_new_tokens": COUNT,
    "max_length": nothing,
    "steps": COUNT,
    "temperature": one_of(0.0),
    "stochastic_transfer": one_of(False),
    "right_shift_logits": flag,
    "scheduler": one_of("linear", "cosine"),
}
"""Settings that the samplers of ZHZisZZ/dllm have in common."""
DLLM_MDLM = {
    **DLLM,
    "block_size": COUNT,
    "remasking": one_of("low_confidence"),
    "cfg_scale": number,
    "cfg_keep_tokens": TOKENS,
}
"""Settings that those of its samplers have in common that decode LLaDA's way."""


@dataclass(frozen=True)
class Run:
    """A run of this sampler, all rows in one batch."""

    canvases: list[Rows]
    """As the source lays them out: the first before anything is written, then one after each pass."""
    blocks: list[int]
    """The block that each pass was made over."""

    def shape(self, place: int) -> tuple[int, int]:
        """Return the shape of the canvas at a place."""
        return len(self.canvases[place]), len(self.canvases[place][0])

    def passes(self) -> Iterable[tuple[int, int]]:
        """Return each block that passes were made over, and how many."""
        return [(block, len(list(same))) for block, same in groupby(self.blocks)]


@dataclass(frozen=True)
class Account:
    """What a source says of its passes."""

    shapes: list[list[int]]
    """Of each call of the model."""
    entries: int
    """Canvases that it records."""
    rounded: list[tuple[int, int, str]] | None = None
    """Open positions, steps and schedule of each division into steps that it rounds; None: it records no margin."""


@dataclass(frozen=True)
class Plan:
    """A case's settings as this sampler's."""

    settings: SamplerSettings
    rows: list[Row]
    """What is filled, without padding."""
    shift: bool
    """Whether the model's prediction is shifted."""
    pad: Callable[[Rows], Rows]
    """Brings the rows to one length, as the source does."""
    account: Callable[[Run], Account]


def answer_rows(prompts: Rows, mask: int, length: int, block: int, *, after: Rows | None = None) -> list[Row]:
    """Return the rows of prompts and answers; ``after``: what stands behind each answer and is seen."""
    behind = after or [[] for _ in prompts]
    return [
        Row(
            tokens=[*prompt, *[mask] * length, *rest],
            open=range(len(prompt), len(prompt) + length),
            start=len(prompt),
            length=length,
            block=block,
            stream=index,
            index=index,
        )
        for index, (prompt, rest) in enumerate(zip(prompts, behind, strict=True))
    ]


def text_rows(texts: Rows, mask: int, block: int | None) -> list[Row]:
    """Return the rows of texts with blanks: blocks are counted over the longest, as ZHZisZZ/dllm does."""
    longest = max(map(len, texts))
    return [
        Row(
            tokens=text,
            open=[place for place, token in enumerate(text) if token == mask],
            start=0,
            length=longest,
            block=block or longest,
            stream=index,
            index=index,
        )
        for index, text in enumerate(texts)
    ]


def padded(token: int, *, left: bool) -> Callable[[Rows], Rows]:
    """Return what pads rows with a token, on one side."""

    def pad(rows: Rows) -> Rows:
        longest = max(map(len, rows))
        missing = [[token] * (longest - len(row)) for row in rows]
        return [more + row if left else row + more for row, more in zip(rows, missing, strict=True)]

    return pad


def whole_canvas(
    settings: SamplerSettings, rounded: list[tuple[int, int, str]] | None = None, *, passes: int | None = None
) -> Callable[[Run], Account]:
    """Return the account of a source whose every pass sees the whole canvas, with guidance two of them.

    Args:
        settings: the sampler's.
        rounded: as of :class:`Account`.
        passes: how many it makes, those included that write nothing; None: no such.
    """
    twice = 2 if settings.proposer.guidance else 1

    def account(run: Run) -> Account:
        rows, width = run.shape(0)
        count = len(run.blocks) if passes is None else passes
        return Account([[twice * rows, width]] * count, count + 1, rounded)

    return account


def left_padded(data: Mapping[str, Any]) -> tuple[Rows, Callable[[Rows], Rows]]:
    """Return the prompts of a rectangle that is padded on the left where its attention mask is 0, and what pads so.

    Raises:
        Malformed: rows of several lengths, or padding elsewhere.
    """
    rows, mask = data["input_ids"], data["attention_mask"]
    if len({len(row) for row in rows}) != 1 or (mask and [len(row) for row in mask] != [len(row) for row in rows]):
        raise Malformed("input_ids and attention_mask: expected rows of one length")
    padding = [row.count(0) for row in mask] if mask else [0] * len(rows)
    if mask and any(sorted(row) != row for row in mask):
        raise Malformed("attention_mask: expected padding on the left")

    def pad(written: Rows) -> Rows:
        return [row[:count] + own for row, count, own in zip(rows, padding, written, strict=True)]

    return [row[count:] for row, count in zip(rows, padding, strict=True)], pad


def guidance(given: Mapping[str, Any]) -> Guidance | None:
    """Classifier-free guidance as the settings have it."""
    scale = given["cfg_scale"]
    return Guidance(scale=scale, keep_tokens=tuple(given.get("cfg_keep_tokens") or ())) if scale else None


def block_sizes(length: int, block: int) -> list[int]:
    """Return the positions of each block."""
    return [min(block, length - first) for first in range(0, length, block)]
