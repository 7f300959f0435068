"""``AutoregressiveLM``: autoregressive baselines through lm-eval's own model class, recorded as the others."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from dlm.errors import SettingsError
from dlm.evaluation.execution import execution_content
from dlm.evaluation.lm import Generation
from dlm.evaluation.request import Request
from dlm.likelihood import Estimate
from dlm.models import Denoiser
from dlm.sampling import first_stop, tokens_before
from dlm.settings import ExecutionSettings, GreedySettings


class AutoregressiveLM:
    """Gives the records of an autoregressive model: greedy answers and exact likelihoods of ``lm_eval``'s ``HFLM``.

    Args:
        model: the checkpoint, its attention causal.
        greedy: how long answers may be; None where only likelihoods are asked for.
        response_prefix: text with which every answer is made to begin.
        execution: batch size, and what is reported of how the model was run.
    """

    def __init__(
        self, model: Denoiser, *, greedy: GreedySettings | None, response_prefix: str, execution: ExecutionSettings
    ) -> None:
        self.model, self.greedy, self.response_prefix, self.execution = model, greedy, response_prefix, execution
        # Every token that ends an answer stops its row, so that none goes on while others of its batch do.
        model.model.generation_config.eos_token_id = sorted(model.stop_token_ids)
        self._lm = _Watched(pretrained=model.model, tokenizer=model.tokenizer, batch_size=execution.batch_size)

    def generate(self, requests: Sequence[Request]) -> Iterator[list[tuple[int, Generation]]]:
        """Answer each request, the longest prompts first; yield (index, generation) after each batch.

        Raises:
            SettingsError: a prompt leaves no room for the answer; ``HFLM`` would cut its beginning off in silence.
        """
        assert self.greedy is not None
        prompts = [request.prompt + self.response_prefix for request in requests]
        lengths = [len(self._lm.tok_encode(prompt)) for prompt in prompts]
        for request, length in zip(requests, lengths, strict=True):
            self._check_fit(request, length, self.greedy.max_new_tokens)
        order = sorted(range(len(prompts)), key=lambda index: (-lengths[index], index))
        for batch in _batches(order, self.execution.batch_size):
            asked = [(prompts[index], requests[index].until) for index in batch]
            yield list(zip(batch, self._answer(asked), strict=True))

    def estimate(self, requests: Sequence[Request]) -> Iterator[list[tuple[int, Estimate]]]:
        """Score each request's continuation; yield (index, estimate) after each batch. These are exact.

        A whole text is scored in ``HFLM``'s own windows, a pass each.

        Raises:
            SettingsError: context and continuation exceed the model's positions.
        """
        pairs = [(request.prompt + self.response_prefix, request.continuation or "") for request in requests]
        for request, (context, continuation) in zip(requests, pairs, strict=True):
            if not request.rolling:
                self._check_fit(request, len(self._lm.tok_encode(context + continuation)), 0)
        for batch in _batches(range(len(pairs)), self.execution.batch_size):
            began = time.perf_counter()
            found = [*self._score([pairs[index] for index in batch], requests[batch[0]].rolling)]
            seconds = (time.perf_counter() - began) / len(batch)
            yield [
                (index, Estimate(value, 0.0, greedy, passes, seconds))
                for index, (value, greedy, passes) in zip(batch, found, strict=True)
            ]

    def _score(self, pairs: Sequence[tuple[str, str]], rolling: bool) -> Iterator[tuple[float, bool, int]]:
        """Yield log-likelihood, whether greedy decoding gives the text (False for whole texts), and forward passes."""
        if rolling:
            texts = [_instance("loglikelihood_rolling", (text,)) for _, text in pairs]
            for (_, text), value in zip(pairs, self._lm.loglikelihood_rolling(texts, disable_tqdm=True), strict=True):
                yield value, False, -(-len(self._lm.tok_encode(text)) // self._lm.max_length)
        else:
            asked = [_instance("loglikelihood", pair) for pair in pairs]
            for value, greedy in self._lm.loglikelihood(asked, disable_tqdm=True):
                yield value, greedy, 1

    def execution_content(self) -> dict[str, Any]:
        """Describe how the model is run."""
        return execution_content(self.model, self.execution)

    def _answer(self, asked: Sequence[tuple[str, Sequence[str]]]) -> list[Generation]:
        """Answer prompts, each with its stop texts; all are answered to the end."""
        assert self.greedy is not None
        began = time.perf_counter()
        how = {"max_gen_toks": self.greedy.max_new_tokens, "do_sample": False, "until": []}
        texts = self._lm.generate_until(
            [_instance("generate_until", (prompt, how)) for prompt, _ in asked], disable_tqdm=True
        )
        seconds = (time.perf_counter() - began) / len(asked)
        return [
            self._generation(text, self._lm.answers[tuple(self._lm.tok_encode(prompt))], until, seconds)
            for (prompt, until), text in zip(asked, texts, strict=True)
        ]

    def _generation(self, text: str, tokens: Sequence[int], until: Sequence[str], seconds: float) -> Generation:
        stops = self.model.stop_token_ids
        end = next((index for index, token in enumerate(tokens) if token in stops), len(tokens))
        length = tokens_before(self.model.tokenizer, tokens[:end], until)
        stopped = end < len(tokens) or first_stop(text, until) is not None
        return Generation(self.response_prefix + text, length, stopped, len(tokens), seconds)

    def _check_fit(self, request: Request, prompt: int, answer: int) -> None:
        if prompt + answer > self.model.max_positions:
            raise SettingsError(
                f"{request.where}: a prompt of {prompt} tokens and an answer of {answer} exceed the model's "
                f"{self.model.max_positions} positions; choose fewer shots, a shorter answer or another task"
            )


class _Watched(HFLM):
    """``HFLM`` that keeps the tokens of its last batch beside the texts that it returns."""

    answers: dict[tuple[int, ...], list[int]]
    """Generated tokens by the prompt's."""

    def _model_generate(self, context: torch.Tensor, max_length: int, stop: list[str], **options: Any) -> torch.Tensor:
        out = super()._model_generate(context, max_length, stop, **options)
        width, real = context.shape[1], options["attention_mask"].bool()
        self.answers = {
            tuple(context[row][real[row]].tolist()): out[row, width:].tolist() for row in range(context.shape[0])
        }
        return out


def _batches(order: Sequence[int], size: int) -> Iterator[list[int]]:
    for begin in range(0, len(order), size):
        yield list(order[begin : begin + size])


def _instance(kind: str, arguments: tuple[Any, ...]) -> Instance:
    return Instance(request_type=kind, doc={}, arguments=arguments, idx=0)
