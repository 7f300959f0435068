"""A trace as an animated GIF."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlm.files import atomic_open
from dlm.watching.picture import Cell, Style, cells, lines, status
from dlm.watching.trace import Trace

if TYPE_CHECKING:
    from PIL.Image import Image

_WIDTH = 72
"""Characters of a line."""
_SIZE, _MARGIN, _LEADING = 18, 16, 1.35
_HOLD = 2000
"""Milliseconds for which the end stays."""
_INK: dict[Style, tuple[int, int, int]] = {
    "masked": (170, 170, 170), "new": (255, 255, 255), "written": (20, 20, 20), "special": (150, 150, 150),
}  # fmt: skip
_NEW = (0, 114, 178)  # Okabe and Ito's blue, dark in print too
_GREY = (95, 95, 95)


def write_gif(path: Path, trace: Trace, pictures_per_second: float) -> None:
    """Draw a trace: the end of its prompt, the answer with its masks, a line that tells how far it is.

    The same trace gives the same bytes.
    """
    images = _drawn(trace)
    duration = [round(1000 / pictures_per_second)] * (len(images) - 1) + [_HOLD]
    stream = io.BytesIO()
    images[0].save(stream, "GIF", save_all=True, append_images=images[1:], duration=duration, loop=0, optimize=False)
    with atomic_open(path) as out:
        out.write(stream.getvalue())


def _drawn(trace: Trace) -> list[Image]:
    prompt = [*lines([Cell(trace.prompt.rstrip("\n"), "special")], _WIDTH)][-4:]
    pages: list[list[list[Cell]]] = []
    for picture in trace.pictures():
        answer = [*lines(cells(picture, trace.special), _WIDTH)]
        pages.append([*prompt, [], *answer, [], [Cell(status(picture), "special")]])
    tallest = max(map(len, pages))
    # The status stays where it is: at the bottom of the tallest.
    whole = [[*page[:-1], *([[]] * (tallest - len(page))), page[-1]] for page in pages]
    return [_image(page, tallest) for page in whole]


def _image(page: list[list[Cell]], rows: int) -> Image:
    from PIL import Image, ImageDraw

    font = _font()
    advance, height = font.getlength("m"), round(_SIZE * _LEADING)
    size = (round(_WIDTH * advance) + 2 * _MARGIN, rows * height + 2 * _MARGIN)
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for row, line in enumerate(page):
        column = 0
        for text, style in line:
            left, top = _MARGIN + column * advance, _MARGIN + row * height
            if style == "new":
                draw.rectangle((left, top, left + len(text) * advance, top + height - 3), fill=_NEW)
            ink = _GREY if row == len(page) - 1 else _INK[style]
            draw.text((left, top), text, fill=ink, font=font)
            column += len(text)
    return image.quantize(16, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)


def _font() -> Any:
    """Return DejaVu Sans Mono, which matplotlib brings everywhere."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSansMono.ttf"), _SIZE)
