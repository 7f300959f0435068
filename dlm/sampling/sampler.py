"""The sampling loop: see the canvas, propose, score, select, commit, until nothing is open.

All decoding methods are this loop with different parts, chosen by settings.
Shapes: B rows, S positions of a block, N open positions, V tokens.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from dlm.errors import SettingsError
from dlm.models import Denoiser
from dlm.sampling.asking import Prompt, check_stop_texts, read_prompt, read_text, refuse_single
from dlm.sampling.canvas import make_canvas
from dlm.sampling.own import default_settings
from dlm.sampling.proposing import Where, filtered, propose, token_ids, without
from dlm.sampling.rules.base import Rule, block_rule
from dlm.sampling.samples import Outcome, PromptError, Sample
from dlm.sampling.scoring import SCORES, contested_score, draw_order, probability_score
from dlm.sampling.state import Row, State, Window
from dlm.sampling.stopping import Endings
from dlm.sampling.viewing import GuidedView, View, check_view, make_view
from dlm.settings import ApproximateCache, SamplerSettings


class Sampler:
    """Generates answers with a diffusion model.

    Args:
        model: the denoiser.
        settings: the decoding method; None: the checkpoint's own.
        seed: of all random numbers.
        batch_size: prompts per forward pass; does not change the answers.
        keep_finished: whether an answer that is done stays in its batch and is extended until all are done, as in
            published samplers; costs time and does not change the answers.
        record_order: whether samples hold the pass and the confidence of each token; does not change the answers.

    Raises:
        SettingsError: the settings name tokens that the vocabulary does not have, or need what the network cannot do;
            or an argument is not what it has to be.
    """

    def __init__(
        self,
        model: Denoiser,
        settings: SamplerSettings | None = None,
        *,
        seed: int = 0,
        batch_size: int = 32,
        keep_finished: bool = False,
        record_order: bool = False,
    ) -> None:
        if not callable(getattr(model, "logits", None)):
            raise SettingsError(
                f"Sampler needs a Denoiser, got {type(model).__name__}; dlm.models.load_denoiser(folder)"
            )
        if settings is not None and not isinstance(settings, SamplerSettings):
            raise SettingsError(f"settings must be SamplerSettings, got {settings!r}; dlm.settings.preset makes them")
        if batch_size < 1:
            raise SettingsError(f"batch_size must be at least 1, got {batch_size}")
        self.model, self.settings = model, settings or default_settings(model)
        self.seed, self.batch_size = seed, batch_size
        self.keep_finished, self.record_order = keep_finished, record_order
        check_view(model, self.settings.canvas)
        proposer, stop, pad = self.settings.proposer, self.settings.stop, model.tokenizer.pad_token_id
        pad = 0 if pad is None else pad
        self._canvas = make_canvas(self.settings.canvas, model.mask_token_id, pad, model.max_positions)
        self._suppressed = self._ids("suppress_tokens", proposer.suppress_tokens)
        self._deferred = self._ids("defer_tokens", self.settings.defer_tokens)
        self._kept = self._ids("keep_tokens", proposer.guidance.keep_tokens) if proposer.guidance else []
        self._banned = [model.mask_token_id]
        self.stop_token_ids = frozenset(self._ids("stop", stop.tokens) if stop else ()) or model.stop_token_ids

    def _ids(self, name: str, tokens: Sequence[int | str]) -> list[int]:
        return token_ids(name, tokens, self.model.tokenizer, self.model.vocab_size)

    def sample(
        self,
        prompts: Sequence[Prompt],
        *,
        streams: Sequence[int] | None = None,
        stop_texts: Sequence[Sequence[str]] | None = None,
        progress: Callable[[int], None] | None = None,
        watch: Callable[[State], None] | None = None,
    ) -> list[Sample]:
        """Answer each prompt.

        Args:
            prompts: texts (encoded as they stand, without special tokens) or token ids, of any lengths.
            streams: key of each prompt's random numbers; None: a hash of its tokens, so that its place does not matter.
            stop_texts: texts at the first of which the caller cuts each prompt's answer; None: none. Sampling of an
                answer ends where nothing can change any more what stands before the cut.
            progress: called with the number of prompts just answered.
            watch: called with each batch's canvas, before anything is written and after each forward pass. It is the
                loop's own: copy what is to be kept.

        Returns:
            One sample a prompt, in their order.

        Raises:
            PromptError: a prompt is empty, out of the vocabulary, too long, or holds the mask token, or the model's
                numbers for it are not finite. The message gives its index, the error the answers to the others.
        """
        return self._all(self._read(prompts, streams, stop_texts), progress, watch)

    def stream(
        self,
        prompts: Sequence[Prompt],
        streams: Sequence[int] | None = None,
        stop_texts: Sequence[Sequence[str]] | None = None,
    ) -> Iterator[dict[int, Sample]]:
        """Answer each prompt, the longest first; arguments and errors as for :meth:`sample`.

        Yields:
            The answers that have just been finished, by the index of their prompt.
        """
        problems: dict[int, str] = {}
        for outcomes in self._fill_all(self._read(prompts, streams, stop_texts)):
            problems |= {index: outcome for index, outcome in outcomes.items() if isinstance(outcome, str)}
            yield {index: outcome for index, outcome in outcomes.items() if isinstance(outcome, Sample)}
        if problems:
            raise PromptError(problems, {})

    def infill(
        self,
        texts: Sequence[Prompt],
        *,
        streams: Sequence[int] | None = None,
        progress: Callable[[int], None] | None = None,
        watch: Callable[[State], None] | None = None,
    ) -> list[Sample]:
        """Fill the blanks of each text: its mask tokens. Nothing else is changed.

        Blocks are counted from the beginning of the text; `block_size` None is one block, and `max_new_tokens` says
        nothing here. Arguments as for :meth:`sample`.

        Returns:
            One sample a text, in their order; its tokens are the whole text's.

        Raises:
            PromptError: as for :meth:`sample`, or a text holds no mask token.
            SettingsError: the settings' canvas is a growing one, or there is a stop.
        """
        refuse_single(texts)
        read = [read_text(self.model, self.settings, index, text) for index, text in enumerate(texts)]
        return self._all(self._keyed(read, streams), progress, watch)

    def fill(self, rows: Sequence[Row], watch: Callable[[State], None] | None = None) -> Iterator[dict[int, Outcome]]:
        """Fill rows, in their order; a row that is done leaves the batch and the next takes its place.

        Yields:
            After each block in which some were done, their answers by the rows' indices, or why there is none.
        """
        waiting, view, watch = deque(rows), self._view(), watch or (lambda state: None)
        endings = Endings(
            self.model,
            self.stop_token_ids,
            {row.index: row.stop_texts for row in rows},
            infilled=[row.index for row in rows if row.infilled],
            record_order=self.record_order,
        )
        state: State | None = None
        while waiting or state is not None:
            room = self.batch_size - (0 if state is None else len(state.start_B))
            if waiting and room > 0:
                begins = state is None
                state = self._admit(state, view, [waiting.popleft() for _ in range(min(room, len(waiting)))])
                if begins:
                    watch(state)
            assert state is not None
            began = time.perf_counter()
            self._fill_block(state, view, endings, watch)
            state.seconds_B += (time.perf_counter() - began) / len(state.start_B)
            leaving_B = state.end_B != 0
            if self.keep_finished and not bool(leaving_B.all()):
                continue
            if bool(leaving_B.any()):
                yield endings.outcomes(state.take(leaving_B))
                state, view = self._without(state, view, leaving_B)

    def _read(
        self,
        prompts: Sequence[Prompt],
        streams: Sequence[int] | None,
        stop_texts: Sequence[Sequence[str]] | None = None,
    ) -> list[Row | str]:
        refuse_single(prompts)
        read = self._keyed([read_prompt(self.model, self.settings, *each) for each in enumerate(prompts)], streams)
        if stop_texts is None:
            return read
        check_stop_texts(stop_texts, len(read))
        each = zip(read, stop_texts, strict=True)
        return [row if isinstance(row, str) else replace(row, stop_texts=texts) for row, texts in each]

    def _keyed(self, read: Sequence[Row | str], streams: Sequence[int] | None) -> list[Row | str]:
        if streams is None:
            return list(read)
        if len(streams) != len(read):
            raise SettingsError(f"streams has {len(streams)} keys for {len(read)} prompts; give one for each")
        return [
            row if isinstance(row, str) else replace(row, stream=key) for row, key in zip(read, streams, strict=True)
        ]

    def _all(
        self,
        read: Sequence[Row | str],
        progress: Callable[[int], None] | None,
        watch: Callable[[State], None] | None,
    ) -> list[Sample]:
        outcomes: dict[int, Outcome] = {}
        for done in self._fill_all(read, watch):
            outcomes |= done
            if progress:
                progress(len(done))
        samples = {index: outcome for index, outcome in sorted(outcomes.items()) if isinstance(outcome, Sample)}
        if len(samples) < len(read):
            problems = {index: outcome for index, outcome in outcomes.items() if isinstance(outcome, str)}
            raise PromptError(problems, samples)
        return list(samples.values())

    def _fill_all(
        self, read: Sequence[Row | str], watch: Callable[[State], None] | None = None
    ) -> Iterator[dict[int, Outcome]]:
        """Fill what could be read, and say what could not."""
        if refused := {index: row for index, row in enumerate(read) if isinstance(row, str)}:
            yield dict(refused)
        # Neighbours in length share a batch, so little of it is padding; the longest first, lest memory ends late.
        rows = sorted((row for row in read if isinstance(row, Row)), key=lambda row: (-len(row.tokens), row.index))
        yield from self.fill(rows, watch)

    def _view(self) -> View:
        view, guidance = make_view(self.model, self.settings.canvas), self.settings.proposer.guidance
        return GuidedView(view, guidance.scale, self._kept, self.model.mask_token_id) if guidance else view

    def _admit(self, state: State | None, view: View, rows: Sequence[Row]) -> State:
        """Let rows join the batch between two blocks."""
        new = self._canvas.lay(rows, self.model.device)
        if state is None:
            return new
        width = state.start_B[0].clone()
        state, new = self._canvas.align(state, new)
        view.pad(int(state.start_B[0] - width))
        view.join(new)
        return state.joined(new)

    def _without(self, state: State, view: View, leaving_B: Tensor) -> tuple[State | None, View]:
        """Let rows leave the batch; an empty one begins anew."""
        if bool(leaving_B.all()):
            return None, self._view()
        state = state.take(~leaving_B)
        view.take(~leaving_B)
        state, cut = self._canvas.trim(state)
        view.pad(-cut)
        return state, view

    @torch.inference_mode()
    def _fill_block(self, state: State, view: View, endings: Endings, watch: Callable[[State], None]) -> None:
        """Fill the next block of each row, and mark the rows that are done by it."""
        window = self._canvas.open_block(state)
        view.begin_block()
        cache = self.settings.canvas.cache
        first_token = isinstance(cache, ApproximateCache) and cache.first_pass == "first_token"
        rule = block_rule(self.settings.selector, state, window, self.seed, first_token=first_token)
        step = 0
        while True:
            open_BS = window.open(state)
            going_B = ~rule.finished(step, open_BS)
            if not bool(going_B.any()):
                break
            if bool((going_B & (step >= rule.stride_B)).any()):
                raise SettingsError(
                    f"selector: {type(rule).__name__} leaves positions open after {step} steps of a block, more than "
                    "its stride_B allows; a step has to commit something"
                )
            if self._step(state, view, window, rule, step, open_BS & going_B[:, None]):
                watch(state)
            if rule.final:
                endings.mark_stop_texts(state)
            step += 1
        state.block_B += 1
        endings.mark_ends(state, window if self.settings.stop else None)

    def _step(self, state: State, view: View, window: Window, rule: Rule, step: int, open_BS: Tensor) -> bool:
        """Make one step of a block; return whether the model was asked."""
        taken_back_BS = rule.reopen(step, window.written(state))
        score_BS = torch.zeros(open_BS.shape, dtype=torch.float64, device=open_BS.device)
        if rule.blind:
            open_BS = commit_BS = rule.select(step, score_BS, open_BS)
        asked = bool(open_BS.any())
        if asked:
            logits_NV = without(view.logits(state, window, open_BS), self._suppressed)
            open_BS, logits_NV = self._sound(state, open_BS, logits_NV)
            where = self._where(state, window, rule, step, open_BS)
            proposal_NV = filtered(logits_NV, self.settings.proposer, self._banned)
            token_N = propose(proposal_NV, self.settings.proposer, self._banned, where)
            if not rule.blind:
                score_BS[open_BS] = self._score(logits_NV, proposal_NV, token_N, where, open_BS, rule.quota(step))
                commit_BS = rule.select(step, score_BS, open_BS)
            proposed_BS = torch.zeros_like(window.index_BS).masked_scatter_(open_BS, token_N)
            state.commit(window, commit_BS & open_BS, proposed_BS)
            if self.record_order:
                now_BS = commit_BS & open_BS
                now_N = now_BS[open_BS]
                where = self._where(state, window, rule, step, now_BS)
                state.confidence_BL[window.places(now_BS)] = probability_score(logits_NV[now_N], token_N[now_N], where)
            state.passes_B += open_BS.any(dim=1)
        if taken_back_BS is not None:
            state.reopen(window, taken_back_BS, self.model.mask_token_id)
        return asked

    def _where(self, state: State, window: Window, rule: Rule, step: int, open_BS: Tensor) -> Where:
        row_N, column_N = window.places(open_BS)
        return Where(
            seed=self.seed,
            stream_N=state.stream_B[row_N],
            position_N=column_N - state.start_B[row_N],
            step_N=(state.block_B * rule.stride_B + step)[row_N],
        )

    def _score(
        self,
        logits_NV: Tensor,
        proposal_NV: Tensor,
        token_N: Tensor,
        where: Where,
        open_BS: Tensor,
        quota_B: Tensor | None,
    ) -> Tensor:
        if quota_B is not None and self._plain_confidence:
            return contested_score(without(logits_NV, self._deferred), token_N, where, open_BS, quota_B)
        scored_NV = logits_NV
        if self.settings.score_of == "proposer":
            scored_NV = proposal_NV.to(torch.float64) / (self.settings.proposer.temperature or 1.0)
        score_N = SCORES[self.settings.score](without(scored_NV, self._deferred), token_N, where)
        temperature = self.settings.score_temperature
        return draw_order(score_N, temperature, where) if temperature else score_N

    @property
    def _plain_confidence(self) -> bool:
        """Whether positions are ranked by the model's own probabilities."""
        settings = self.settings
        return (settings.score, settings.score_of, settings.score_temperature) == ("low_confidence", "model", 0)

    def _sound(self, state: State, open_BS: Tensor, logits_NV: Tensor) -> tuple[Tensor, Tensor]:
        """Give up rows for which the model's numbers are not finite; the others go on."""
        largest_N = logits_NV.amax(dim=1)  # NaN where there is one; -inf stands for suppressed tokens only
        sound_N = torch.isfinite(largest_N)
        if bool(sound_N.all()):
            return open_BS, logits_NV
        bad_B = torch.zeros_like(open_BS, dtype=torch.int64).masked_scatter_(open_BS, (~sound_N).long()).any(dim=1)
        state.end_B[bad_B] = -1
        state.open_BL[bad_B] = False
        kept_N = ~bad_B[open_BS.nonzero()[:, 0]]
        return open_BS & ~bad_B[:, None], logits_NV[kept_N]
