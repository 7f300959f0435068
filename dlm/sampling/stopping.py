"""When an answer is done, and what it then is.

It is done when its blocks are filled, at a stop token where the settings say so, or at a stop text that nothing can
change any more. Shapes: B rows, L canvas positions, S positions of a block.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dlm.models import Denoiser
from dlm.sampling.samples import Outcome, Sample
from dlm.sampling.state import State, Window

_APPENDING = ("ByteLevel", "WordPiece")
_UNFINISHED = "\ufffd"
"""What stands for a character whose last bytes are still to come."""


class Endings:
    """Ends the rows of a batch, and makes answers of them.

    Args:
        model: the denoiser.
        stop_token_ids: an answer's text ends before the first of them.
        stop_texts: by the prompt's index, texts at the first of which the caller cuts the answer. Of a tokenizer whose
            decoding does more than append text, whole answers are sampled all the same.
        infilled: indices of texts with blanks, which are not cut at stop tokens.
        record_order: whether samples hold the pass and the confidence of each token.
    """

    def __init__(
        self,
        model: Denoiser,
        stop_token_ids: frozenset[int],
        stop_texts: Mapping[int, Sequence[str]],
        *,
        infilled: Collection[int] = (),
        record_order: bool = False,
    ) -> None:
        self.infilled = frozenset(infilled)
        self.model, self.stop_token_ids, self.record_order = model, stop_token_ids, record_order
        self.stop_texts = {index: [text for text in texts if text] for index, texts in stop_texts.items()}
        self._watches = any(self.stop_texts.values()) and _appends(model.tokenizer)
        self._seen: dict[int, int] = {}

    def mark_ends(self, state: State, window: Window | None) -> None:
        """Mark, in place, the rows that are done by the block that was just filled.

        Args:
            state: the canvas; its rows are at the next block already.
            window: where a stop token of that block ends an answer; None: nowhere.
        """
        filled_B = torch.minimum(state.block_B * state.size_B, state.length_B)
        ended_B = filled_B == state.length_B
        if window is not None:
            stops = torch.tensor(sorted(self.stop_token_ids), device=filled_B.device)
            found_BS = torch.isin(state.tokens_BL.gather(1, window.index_BS), stops) & window.inside_BS
            ended_B |= found_BS.any(dim=1)
        state.end_B = torch.where(ended_B & (state.end_B == 0), filled_B, state.end_B)
        self.mark_stop_texts(state, filled_B)

    def mark_stop_texts(self, state: State, most_B: Tensor | None = None) -> None:
        """Mark, in place, the rows that are done by a stop text: they have an end, and nothing open any more.

        Looked at is a row's settled beginning: the tokens before its first open position, as far as no rule takes them
        back. Where its text holds a stop text, the rest of the answer is of no use, and is left as it is.

        Args:
            state: the canvas.
            most_B: int64 [B], answer positions that nothing takes back; None: all that are committed.
        """
        if not self._watches:
            return
        settled_B = _settled(state)
        if most_B is not None:
            settled_B = torch.minimum(settled_B, most_B)
        rows = zip(state.prompt_B.tolist(), settled_B.tolist(), state.end_B.tolist(), strict=True)
        for row, (index, settled, end) in enumerate(rows):
            texts = self.stop_texts.get(index)
            if end or not texts or settled <= self._seen.get(index, 0):
                continue
            self._seen[index] = settled
            start = int(state.start_B[row])
            if self._is_cut(state.tokens_BL[row, start : start + settled].tolist(), texts):
                state.end_B[row] = settled
                state.open_BL[row] = False

    def outcomes(self, state: State) -> dict[int, Outcome]:
        """Return the answers of rows that are done, by the index of their prompt."""
        found: dict[int, Outcome] = {}
        for row, index in enumerate(state.prompt_B.tolist()):
            start, end = int(state.start_B[row]), int(state.end_B[row])
            if end < 0:
                found[index] = f"prompt {index}: {self.model.not_finite}"
            else:
                found[index] = self._sample(state, row, index, slice(start, start + end))
        return found

    def _sample(self, state: State, row: int, index: int, place: slice) -> Sample:
        tokens = state.tokens_BL[row, place].tolist()
        end = len(tokens) if index in self.infilled else self._end(tokens)
        text = _decode(self.model.tokenizer, tokens[:end])
        record = {}
        if self.record_order:
            record = {
                "steps": tuple(state.step_BL[row, place].tolist()),
                "confidences": tuple(state.confidence_BL[row, place].tolist()),
            }
        stopped = end < len(tokens) or first_stop(text, self.stop_texts.get(index, ())) is not None
        return Sample(tuple(tokens), text, stopped, int(state.passes_B[row]), float(state.seconds_B[row]), **record)

    def _is_cut(self, tokens: Sequence[int], texts: Sequence[str]) -> bool:
        """Return whether an answer that begins with these tokens is cut within them, whatever follows."""
        end = self._end(tokens)
        text = _decode(self.model.tokenizer, tokens[:end])
        if end == len(tokens):
            text = text.rstrip(_UNFINISHED)
        cut = first_stop(text, texts)
        if cut is None or end < len(tokens):
            return cut is not None
        # A longer stop text that begins before this one may still be completed.
        longest = max(map(len, texts))
        rests = [text[place:] for place in range(max(0, len(text) - longest + 1), cut)]
        return not any(each.startswith(rest) for rest in rests for each in texts)

    def _end(self, tokens: Sequence[int]) -> int:
        """Return how many tokens stand before the first stop token."""
        return next((place for place, token in enumerate(tokens) if token in self.stop_token_ids), len(tokens))


def first_stop(text: str, texts: Sequence[str]) -> int | None:
    """Return where in ``text`` the first of the stop texts begins; None: it holds none."""
    return min((place for each in texts if each and (place := text.find(each)) >= 0), default=None)


def tokens_before(tokenizer: Any, tokens: Sequence[int], texts: Sequence[str]) -> int:
    """Return how many tokens it takes to write an answer as far as its first stop text; all, where it holds none."""
    cut = first_stop(_decode(tokenizer, tokens), texts) if texts else None
    few, enough = (len(tokens) if cut is None else 0), len(tokens)
    while few < enough:
        middle = (few + enough) // 2
        if len(_decode(tokenizer, tokens[:middle]).rstrip(_UNFINISHED)) < (cut or 0):
            few = middle + 1
        else:
            enough = middle
    return enough


def _settled(state: State) -> Tensor:
    """Return how many of each row's answer positions stand before its first open one, int64 [B]."""
    place_L = torch.arange(state.open_BL.shape[1], device=state.open_BL.device)
    end_B = torch.where(state.answer_BL, place_L + 1, 0).amax(dim=1)
    first_B = torch.where(state.open_BL & state.answer_BL, place_L, len(place_L)).amin(dim=1)
    return torch.minimum(first_B, end_B) - state.start_B


def _appends(tokenizer: Any) -> bool:
    """Return whether the text of some tokens begins with that of the first of them, but for an unfinished character."""
    decoder = getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None)
    return type(decoder).__name__ in _APPENDING and not getattr(tokenizer, "clean_up_tokenization_spaces", False)


def _decode(tokenizer: Any, tokens: Sequence[int]) -> str:
    return str(tokenizer.decode(tokens, skip_special_tokens=True))
