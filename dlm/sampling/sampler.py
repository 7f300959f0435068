"""The sampling loop: see the canvas, propose, score, select, commit, until nothing is open.

All decoding methods are this loop with different parts, chosen by settings.
Shapes: B rows, L canvas positions, S positions of a block, N open positions, V tokens.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from dlm.errors import SettingsError
from dlm.models import Denoiser
from dlm.sampling.proposing import SCORES, Where, banned_tokens, propose
from dlm.sampling.selecting import even_counts, select_highest
from dlm.sampling.state import Sample, State, new_state
from dlm.settings import EvenSelector, FullCanvas, Proposer, SamplerSettings

Prompt = str | Sequence[int]


def default_settings(denoiser: Denoiser) -> SamplerSettings:
    """Return the checkpoint's own sampler settings, or those of dLLM's masked-diffusion sampler (128 tokens, steps)."""
    stored = denoiser.conventions.sampler
    if stored is None:
        return SamplerSettings(canvas=FullCanvas(max_new_tokens=128), selector=EvenSelector(steps=128))
    parts = dict(stored)
    proposer = dict(parts.pop("proposer"))
    proposer["suppress_tokens"] = tuple(proposer["suppress_tokens"])
    return SamplerSettings(
        canvas=FullCanvas(**parts.pop("canvas")),
        proposer=Proposer(**proposer),
        selector=EvenSelector(**parts.pop("selector")),
        **parts,
    )


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

    Raises:
        SettingsError: the settings name tokens that the vocabulary does not have.
    """

    def __init__(
        self, model: Denoiser, settings: SamplerSettings | None = None, *, seed: int = 0, batch_size: int = 32
    ) -> None:
        self.model, self.settings = model, settings or default_settings(model)
        self.seed, self.batch_size = seed, batch_size
        self._banned = banned_tokens(self.settings.proposer, model.tokenizer, model.mask_token_id, model.vocab_size)
        self._score = SCORES[self.settings.score]

    def sample(
        self,
        prompts: Sequence[Prompt],
        *,
        streams: Sequence[int] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[Sample]:
        """Answer each prompt.

        Args:
            prompts: texts (encoded as they stand, without special tokens) or token ids, of any lengths.
            streams: key of each prompt's random numbers; None: a hash of its tokens, so that its place does not matter.
            progress: called with the number of prompts just answered.

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
            batch = order[begin : begin + self.batch_size]
            samples = self._sample_batch([encoded[i] for i in batch], [keys[i] for i in batch])
            answers.update(zip(batch, samples, strict=True))
            if progress:
                progress(len(batch))
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
    def _sample_batch(self, prompts: list[list[int]], streams: list[int]) -> list[Sample]:
        began = time.perf_counter()
        tokenizer, answer = self.model.tokenizer, self.settings.canvas.max_new_tokens
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        state = new_state(prompts, streams, answer, self.model.mask_token_id, pad, self.model.device)
        passes = sum(1 for _ in self._steps(state))
        tokens_BA = state.tokens_BL.gather(1, state.window(0, answer)).tolist()
        seconds = (time.perf_counter() - began) / len(prompts)
        return [self._finish(tokens, passes, seconds) for tokens in tokens_BA]

    def _steps(self, state: State) -> Iterator[None]:
        """Run the loop; yield after each forward pass."""
        canvas, selector = self.settings.canvas, self.settings.selector
        steps = selector.steps // canvas.blocks
        for block in range(canvas.blocks):
            window_BS = state.window(block, canvas.block)
            quota_BT = even_counts(state.open_BL.gather(1, window_BS).sum(1), steps)
            for step in range(steps):
                self._step(state, window_BS, block * steps + step, quota_BT[:, step])
                yield

    def _step(self, state: State, window_BS: Tensor, step: int, count_B: Tensor) -> None:
        open_BS = state.open_BL.gather(1, window_BS)
        at_BL = torch.zeros_like(state.open_BL).scatter_(1, window_BS, open_BS)
        logits_NV = self.model.logits(state.tokens_BL, state.attention_BL, at_BL)
        row_N, column_N = open_BS.nonzero(as_tuple=True)
        where = Where(
            seed=self.seed,
            stream_N=state.stream_B[row_N],
            position_N=window_BS[row_N, column_N] - state.start_B[row_N],
            step=step,
        )
        token_N = propose(logits_NV, self.settings.proposer, self._banned, where)
        score_N = self._score(logits_NV, token_N, where)
        proposed_BS = torch.zeros_like(window_BS).masked_scatter_(open_BS, token_N)
        score_BS = torch.zeros(window_BS.shape, dtype=score_N.dtype, device=score_N.device)
        score_BS = score_BS.masked_scatter_(open_BS, score_N)
        state.commit(window_BS, select_highest(score_BS, open_BS, count_B), proposed_BS)

    def _finish(self, tokens: list[int], passes: int, seconds: float) -> Sample:
        stops = self.model.stop_token_ids
        end = next((index for index, token in enumerate(tokens) if token in stops), len(tokens))
        text = self.model.tokenizer.decode(tokens[:end], skip_special_tokens=True)
        return Sample(tuple(tokens), text, end < len(tokens), passes, seconds)
