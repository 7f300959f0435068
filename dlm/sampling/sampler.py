"""The sampling loop: see the canvas, propose, score, select, commit, until nothing is open.

All decoding methods are this loop with different parts, chosen by settings.
Shapes: B rows, L canvas positions, S positions of a block, N open positions, V tokens.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dlm.errors import SettingsError
from dlm.models import Denoiser
from dlm.sampling.canvas import Batch, make_canvas
from dlm.sampling.own import default_settings
from dlm.sampling.proposing import SCORES, Where, propose, token_ids, without
from dlm.sampling.rules import Rule, make_rule
from dlm.sampling.state import Sample, State
from dlm.sampling.viewing import GuidedView, View, check_view, make_view
from dlm.settings import SamplerSettings

Prompt = str | Sequence[int]


def stream_of(tokens: Sequence[int]) -> int:
    """Return the key of a prompt's random numbers: 63 bits of the sha256 of its token ids."""
    text = ",".join(map(str, tokens)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


class Sampler:
    """Generates answers with a diffusion model.

    Args:
        model: the denoiser.
        settings: the decoding method; None: the checkpoint's own.
        seed: of all random numbers.
        batch_size: prompts per forward pass; does not change the answers.
        keep_finished: whether an answer that is done stays in its batch and is extended until all are done, as in
            published samplers; costs time and does not change the answers.

    Raises:
        SettingsError: the settings name tokens that the vocabulary does not have, or need what the network cannot do.
    """

    def __init__(
        self,
        model: Denoiser,
        settings: SamplerSettings | None = None,
        *,
        seed: int = 0,
        batch_size: int = 32,
        keep_finished: bool = False,
    ) -> None:
        self.model, self.settings = model, settings or default_settings(model)
        self.seed, self.batch_size, self.keep_finished = seed, batch_size, keep_finished
        check_view(model, self.settings.canvas)
        proposer, stop, pad = self.settings.proposer, self.settings.stop, model.tokenizer.pad_token_id
        self._canvas = make_canvas(self.settings.canvas, model.mask_token_id, 0 if pad is None else pad)
        self._suppressed = self._ids("suppress_tokens", proposer.suppress_tokens)
        self._deferred = self._ids("defer_tokens", self.settings.defer_tokens)
        self._kept = self._ids("keep_tokens", proposer.guidance.keep_tokens) if proposer.guidance else []
        self._score = SCORES[self.settings.score]
        self.stop_token_ids = frozenset(self._ids("stop", stop.tokens) if stop else ()) or model.stop_token_ids

    def _ids(self, name: str, tokens: Sequence[int | str]) -> list[int]:
        return token_ids(name, tokens, self.model.tokenizer, self.model.vocab_size)

    def sample(
        self,
        prompts: Sequence[Prompt],
        *,
        streams: Sequence[int] | None = None,
        progress: Callable[[int], None] | None = None,
        watch: Callable[[State], None] | None = None,
    ) -> list[Sample]:
        """Answer each prompt.

        Args:
            prompts: texts (encoded as they stand, without special tokens) or token ids, of any lengths.
            streams: key of each prompt's random numbers; None: a hash of its tokens, so that its place does not matter.
            progress: called with the number of prompts just answered.
            watch: called with each batch's canvas, before anything is written and after each forward pass. It is the
                loop's own: copy what is to be kept.

        Returns:
            One sample a prompt, in their order.

        Raises:
            SettingsError: a prompt is empty, out of the vocabulary, or too long; the message gives its index.
        """
        encoded = [self._encode(index, prompt) for index, prompt in enumerate(prompts)]
        keys = [stream_of(tokens) for tokens in encoded] if streams is None else list(streams)
        # Neighbours in length share a batch, so little of it is padding.
        order = sorted(range(len(encoded)), key=lambda index: len(encoded[index]))
        answers: dict[int, Sample] = {}
        for begin in range(0, len(order), self.batch_size):
            indices = order[begin : begin + self.batch_size]
            batch = Batch([encoded[i] for i in indices], [keys[i] for i in indices], indices, self.model.device)
            answers.update(self._sample_batch(batch, watch or (lambda state: None)))
            if progress:
                progress(len(indices))
        return [answers[index] for index in range(len(encoded))]

    def _encode(self, index: int, prompt: Prompt) -> list[int]:
        tokens = (
            self.model.tokenizer.encode(prompt, add_special_tokens=False) if isinstance(prompt, str) else list(prompt)
        )
        room = self.model.max_positions - self.settings.canvas.max_new_tokens
        if not tokens:
            raise SettingsError(f"prompt {index} is empty; give it at least one token")
        if len(tokens) > room:
            raise SettingsError(
                f"prompt {index} has {len(tokens)} tokens; with max_new_tokens {self.settings.canvas.max_new_tokens} "
                f"the model's {self.model.max_positions} positions leave room for {room}"
            )
        if bad := [token for token in tokens if not 0 <= token < self.model.vocab_size]:
            raise SettingsError(f"prompt {index} holds token id {bad[0]}; ids go from 0 to {self.model.vocab_size - 1}")
        return tokens

    @torch.inference_mode()
    def _sample_batch(self, batch: Batch, watch: Callable[[State], None]) -> dict[int, Sample]:
        """Run the loop on one batch; samples by the index of their prompt."""
        began, passes = time.perf_counter(), 0
        canvas, selector = self.settings.canvas, self.settings.selector
        state, view = self._canvas.lay(batch), self._view()
        done: dict[int, tuple[list[int], int]] = {}
        watch(state)
        for block in range(canvas.blocks):
            window_BS = self._canvas.open_block(state, block)
            rule = make_rule(selector, state.open_BL.gather(1, window_BS).sum(1), canvas.blocks)
            for step in range(rule.steps):
                self._step(state, view, window_BS, rule, block, step)
                passes += 1
                watch(state)
            length = min((block + 1) * canvas.block, canvas.max_new_tokens)
            leaving_B = self._leaving(state, window_BS, length)
            done |= _answers(state, leaving_B, passes)
            if bool(leaving_B.all()):
                break
            if bool(leaving_B.any()):
                state = state.take(~leaving_B)
                view.take(~leaving_B)
        seconds = (time.perf_counter() - began) / len(batch.prompts)
        return {index: self._finish(tokens, passes, seconds) for index, (tokens, passes) in done.items()}

    def _view(self) -> View:
        view, guidance = make_view(self.model, self.settings.canvas), self.settings.proposer.guidance
        return GuidedView(view, guidance.scale, self._kept, self.model.mask_token_id) if guidance else view

    def _step(self, state: State, view: View, window_BS: Tensor, rule: Rule, block: int, step: int) -> None:
        open_BS = state.open_BL.gather(1, window_BS)
        logits_NV = without(view.logits(state, window_BS, open_BS), self._suppressed)
        row_N, column_N = open_BS.nonzero(as_tuple=True)
        where = Where(
            seed=self.seed,
            stream_N=state.stream_B[row_N],
            position_N=window_BS[row_N, column_N] - state.start_B[row_N],
            step=block * self.settings.selector.per_block(self.settings.canvas.blocks) + step,
        )
        token_N = propose(logits_NV, self.settings.proposer, [self.model.mask_token_id], where)
        score_N = self._score(without(logits_NV, self._deferred), token_N, where)
        proposed_BS = torch.zeros_like(window_BS).masked_scatter_(open_BS, token_N)
        score_BS = torch.zeros(window_BS.shape, dtype=score_N.dtype, device=score_N.device)
        score_BS = score_BS.masked_scatter_(open_BS, score_N)
        state.commit(window_BS, rule.select(step, score_BS, open_BS), proposed_BS)

    def _leaving(self, state: State, window_BS: Tensor, length: int) -> Tensor:
        """Mark the rows that leave after a block which makes their answers ``length`` tokens long, bool [B]."""
        ended_B = torch.full_like(state.end_B, length == self.settings.canvas.max_new_tokens, dtype=torch.bool)
        if self.settings.stop:
            stops = torch.tensor(sorted(self.stop_token_ids), device=window_BS.device)
            ended_B |= torch.isin(state.tokens_BL.gather(1, window_BS), stops).any(dim=1)
        state.end_B[ended_B & (state.end_B == 0)] = length
        finished_B = state.end_B > 0
        return finished_B.all().expand_as(finished_B) if self.keep_finished else finished_B

    def _finish(self, tokens: list[int], passes: int, seconds: float) -> Sample:
        stops = self.stop_token_ids
        end = next((index for index, token in enumerate(tokens) if token in stops), len(tokens))
        text = self.model.tokenizer.decode(tokens[:end], skip_special_tokens=True)
        return Sample(tuple(tokens), text, end < len(tokens), passes, seconds)


def _answers(state: State, leaving_B: Tensor, passes: int) -> dict[int, tuple[list[int], int]]:
    """Return the answers of the rows that leave, with the passes they took part in, by the index of their prompt."""
    answers = {}
    for row in leaving_B.nonzero()[:, 0].tolist():
        start, length = int(state.start_B[row]), int(state.end_B[row])
        tokens = state.tokens_BL[row, start : start + length].tolist()
        answers[int(state.prompt_B[row])] = (tokens, passes)
    return answers
