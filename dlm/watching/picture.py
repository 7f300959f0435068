"""How a picture of a canvas is drawn, wherever: what each place shows, and in which of a few styles."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Literal, NamedTuple

from dlm.progress import legible
from dlm.watching.trace import Picture

Style = Literal["masked", "new", "written", "special"]
MASK = "▒"
SPECIAL = "·"
"""What stands for a token that is no text."""
_NEWLINE = "↵"


class Cell(NamedTuple):
    """What a place shows."""

    text: str
    style: Style


def cells(picture: Picture, special: Collection[str]) -> list[Cell]:
    """Return what each place of a picture shows; ``special``: texts of tokens that are no text."""
    found = []
    for place, text in enumerate(picture.texts):
        if text is None:
            found.append(Cell(MASK, "masked"))
            continue
        style: Style = "special" if text in special else "written"
        shown = SPECIAL if text in special else legible(text).replace("\n", f"{_NEWLINE}\n")
        found.append(Cell(shown, "new" if place in picture.frame.written else style))
    return found


def status(picture: Picture) -> str:
    """Tell, in a line, how far the answer is: step, forward passes, tokens, rates."""
    passes, total = picture.frame.passes, len(picture.texts)
    rate = f", {picture.committed / passes:.2f} a pass" if passes else ""
    speed = f", {picture.tokens_per_second:.0f} a second" if picture.frame.seconds else ""
    noun = "forward pass" if passes == 1 else "forward passes"
    return f"step {picture.number} · {passes} {noun} · {picture.committed} of {total} tokens{rate}{speed}"


def lines(found: list[Cell], width: int) -> Iterator[list[Cell]]:
    """Break cells into lines of at most ``width`` characters, at line breaks and where a line is full."""
    line: list[Cell] = []
    used = 0
    for text, style in found:
        for number, part in enumerate(text.split("\n")):
            if number:
                yield line
                line, used = [], 0
            while part:
                fits = part[: width - used]
                if fits:
                    line.append(Cell(fits, style))
                    used += len(fits)
                part = part[len(fits) :]
                if part:
                    yield line
                    line, used = [], 0
    yield line
