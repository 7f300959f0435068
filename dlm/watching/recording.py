"""The sampler's canvas, seen after each forward pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from dlm.watching.tokens import Speller, pieces
from dlm.watching.trace import Frame, Picture, Trace

if TYPE_CHECKING:
    from dlm.sampling import State


class _Seen(NamedTuple):
    passes: int
    seconds: float
    tokens: tuple[int | None, ...]


class Recorder:
    """Records one prompt's answer: to be given to a sampler as ``watch``, with that prompt alone.

    Args:
        speller: of the model's tokenizer.
        show: called with each picture; the time that it takes is not counted as the model's.
    """

    def __init__(self, speller: Speller, show: Callable[[Picture], None] | None = None) -> None:
        self.speller, self._show = speller, show
        self._seen: list[_Seen] = []
        self._began = time.perf_counter()

    def __call__(self, state: State) -> None:
        """Look at the canvas."""
        now = time.perf_counter()
        if not self._seen:
            self._began = now
        seen = _Seen(int(state.passes_B[0]), now - self._began, _tokens(state))
        self._seen.append(seen)
        if self._show:
            texts = tuple(pieces(self.speller, seen.tokens))
            before = self._seen[-2].tokens if len(self._seen) > 1 else ()
            self._show(Picture(number=len(self._seen) - 1, frame=_frame(seen, before, texts), texts=texts))
            self._began += time.perf_counter() - now

    def trace(self, model: str, prompt: str, settings: Mapping[str, str]) -> Trace:
        """Return what was seen; arguments as of :class:`Trace`. Tokens are spelled as they stand in the end."""
        last = self._seen[-1].tokens
        final = pieces(self.speller, last)
        frames, before = [], tuple[int | None, ...]()
        for seen in self._seen:
            texts = [
                None if token is None else final[place] if token == last[place] else self.speller.decode([token])
                for place, token in enumerate(seen.tokens)
            ]
            frames.append(_frame(seen, before, texts))
            before = seen.tokens
        used = {token for seen in self._seen for token in seen.tokens if token in self.speller.special}
        special = frozenset(self.speller.decode([token]) for token in used if token is not None)
        return Trace(model=model, prompt=prompt, settings=settings, special=special, frames=tuple(frames))


def _frame(seen: _Seen, before: Sequence[int | None], texts: Sequence[str | None]) -> Frame:
    """Return what changed from the tokens before; ``texts`` spell those that are seen."""
    length = len(seen.tokens)
    before = [*before, *([None] * (length - len(before)))]
    changed = [place for place in range(length) if seen.tokens[place] != before[place]]
    return Frame(
        passes=seen.passes,
        seconds=seen.seconds,
        length=length,
        written={place: str(texts[place]) for place in changed if seen.tokens[place] is not None},
        reopened=tuple(place for place in changed if seen.tokens[place] is None),
    )


def _tokens(state: State) -> tuple[int | None, ...]:
    """Return the tokens of the first row's answer as far as it is on the canvas; None where one is open."""
    start, tokens = int(state.start_B[0]), state.tokens_BL[0].tolist()
    answer, opened = state.answer_BL[0].tolist(), state.open_BL[0].tolist()
    end = max((place + 1 for place, is_answer in enumerate(answer) if is_answer), default=start)
    return tuple(None if opened[place] else tokens[place] for place in range(start, end))
