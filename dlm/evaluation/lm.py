"""``DiffusionLM``: a masked diffusion model as lm-eval sees a model, registered there under the name ``dlm``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.utils import simple_parse_args_string

from dlm.errors import CheckpointError, DataError, SettingsError
from dlm.evaluation.arguments import read_arguments
from dlm.evaluation.chat import Chat
from dlm.evaluation.execution import execution_content
from dlm.evaluation.request import Request, cut, requests_of, stream_of
from dlm.likelihood import Answer, Estimate, combine, estimate, windows
from dlm.models import Denoiser, load_denoiser, require_pair_masks
from dlm.progress import warn
from dlm.sampling import PromptError, Sample, Sampler, begun, default_settings, misfits, tokens_before
from dlm.settings import DreamMasks, ExecutionSettings, LikelihoodSettings, SamplerSettings


@dataclass(frozen=True)
class Generation:
    """A sampled answer."""

    response: str
    """Response prefix and answer, up to the first stop token; not cut at stop texts, behind the first of which it may
    break off."""
    tokens: int
    """Tokens of the answer before its first stop token or stop text, the prefix's not counted."""
    stopped: bool
    """Whether the answer ended by one of these; False means that its length cut it off."""
    forward_passes: int
    """Evaluations of the model that the answer took part in."""
    seconds: float
    """Its share of its batch's seconds."""
    steps: tuple[int, ...] | None = None
    """As of :class:`dlm.sampling.Sample`: the pass that committed each position of the answer. None: not recorded."""
    confidences: tuple[float, ...] | None = None
    """As of :class:`dlm.sampling.Sample`: the model's probability of each then. None: not recorded."""
    token_ids: tuple[int, ...] | None = None
    """The token at each of these positions, what follows the end of the answer included. None: not recorded."""


@register_model("dlm")
class DiffusionLM(TemplateLM):
    """Answers lm-eval's requests with a denoiser.

    lm-eval's own generation settings (length, temperature, sampling) are not used: the sampler's settings say all of
    that. Its stop texts (``until``) are.

    Args:
        denoiser: the model.
        sampler: how answers are sampled; None: the checkpoint's own way.
        likelihood: how likelihoods are estimated; None: the default.
        response_prefix: text with which every answer is made to begin; stands in the returned answer, too.
        seed: of all random numbers.
        execution: batch size, and what is reported of how the model was run.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        *,
        sampler: SamplerSettings | None = None,
        likelihood: LikelihoodSettings | None = None,
        response_prefix: str = "",
        seed: int = 0,
        execution: ExecutionSettings | None = None,
    ) -> None:
        super().__init__()
        self.denoiser, self.seed, self.response_prefix = denoiser, seed, response_prefix
        self.execution = execution or ExecutionSettings()
        self.likelihood_settings = likelihood or LikelihoodSettings()
        batch_size, record_order = self.execution.batch_size, self.execution.record_order
        self._sampler = Sampler(denoiser, sampler, seed=seed, batch_size=batch_size, record_order=record_order)
        for line in misfits(denoiser.conventions, self._sampler.settings):
            warn(line)
        self._chat = Chat(lambda: denoiser.tokenizer, denoiser.digest[:12] or "unsaved")

    # What the records are made of

    def generate(self, requests: Sequence[Request]) -> Iterator[list[tuple[int, Generation]]]:
        """Sample an answer to each request, the longest prompts first.

        Yields:
            The (index, generation) of requests whenever some are done.

        Raises:
            SettingsError: a prompt leaves no room for the answer; names task, document and lengths. Nothing ran yet. Or
                some could not be answered, as of :meth:`dlm.sampling.Sampler.sample`; the answers to all others came.
        """
        texts, settings = [request.prompt + self.response_prefix for request in requests], self._sampler.settings
        prompts = [begun(self.denoiser, settings, self.tok_encode(text)) for text in texts]
        for request, prompt in zip(requests, prompts, strict=True):
            self._check_fit(request, len(prompt), settings.canvas.max_new_tokens)
        streams = [stream_of("generate", p, request.repeat) for p, request in zip(prompts, requests, strict=True)]
        try:
            for done in self._sampler.stream(prompts, streams, [request.until for request in requests]):
                yield [(index, self._generation(sample, requests[index].until)) for index, sample in done.items()]
        except PromptError as error:  # after the answers to all others
            raise SettingsError(f"{requests[min(error.problems)].where}: {error}") from error

    def estimate(self, requests: Sequence[Request]) -> Iterator[list[tuple[int, Estimate]]]:
        """Estimate the log-likelihood of each request's continuation; of a whole text, the sum over its windows.

        Yields:
            After each batch, the (index, estimate) of the requests that it completed.

        Raises:
            DataError: a continuation has no tokens of its own.
            SettingsError: context and continuation exceed the model's positions. Nothing ran yet.
        """
        parts = [self._windows(request) if request.rolling else [self._answer(request)] for request in requests]
        for request, answers in zip(requests, parts, strict=True):
            for answer in answers:
                self._check_fit(request, len(answer.context), answer.length - len(answer.context))
        return self._whole(parts)

    def execution_content(self) -> dict[str, Any]:
        """Describe how the model is run: what is not meant to change a result and yet may change its bits."""
        return execution_content(self.denoiser, self.execution)

    def _generation(self, sample: Sample, until: Sequence[str] = ()) -> Generation:
        stops = self._sampler.stop_token_ids
        end = next((i for i, token in enumerate(sample.tokens) if token in stops), len(sample.tokens))
        length = tokens_before(self.denoiser.tokenizer, sample.tokens[:end], until)
        response = self.response_prefix + sample.text
        order: dict[str, Any] = {}
        if sample.steps is not None:
            order = {"steps": sample.steps, "confidences": sample.confidences, "token_ids": sample.tokens}
        return Generation(response, length, sample.stopped, sample.forward_passes, sample.seconds, **order)

    def _whole(self, parts: Sequence[Sequence[Answer]]) -> Iterator[list[tuple[int, Estimate]]]:
        """Estimate all parts together; yield each whole when its last part is known."""
        places = [index for index, answers in enumerate(parts) for _ in answers]
        known: list[list[Estimate]] = [[] for _ in parts]
        for batch in self._estimate([answer for answers in parts for answer in answers]):
            for place, found in batch:
                known[places[place]].append(found)
            touched = dict.fromkeys(places[place] for place, _ in batch)
            yield [(index, combine(known[index])) for index in touched if len(known[index]) == len(parts[index])]

    def _estimate(self, answers: Sequence[Answer]) -> Iterator[list[tuple[int, Estimate]]]:
        conventions, settings = self.denoiser.conventions, self.likelihood_settings
        blocks = conventions.block_size if conventions.objective == "bd3lm" else None
        if blocks is not None:
            require_pair_masks(self.denoiser, "a likelihood by blocks")
            if isinstance(settings.masks, DreamMasks):
                raise SettingsError("likelihood masks of kind 'dream' are of whole answers, this model's are of blocks")
        return estimate(
            self.denoiser, answers, settings, seed=self.seed, batch_size=self.execution.batch_size, block_size=blocks
        )

    def _answer(self, request: Request) -> Answer:
        context, continuation = request.prompt + self.response_prefix, request.continuation or ""
        before, tokens = self._split(context, continuation)
        begin = [self.prefix_token_id] if self.likelihood_settings.begin_token and context else []
        _check_some(request, tokens)
        return Answer((*begin, *before), tuple(tokens), self._after)

    def _windows(self, request: Request) -> list[Answer]:
        tokens = self.tok_encode(request.continuation or "")
        _check_some(request, tokens)
        parts = windows(tokens, self.prefix_token_id, self.denoiser.max_positions - len(self._after))
        return [dataclasses.replace(part, after=self._after) for part in parts]

    @property
    def _after(self) -> tuple[int, ...]:
        """What stands behind every answer: Dream's end token."""
        return (self.eot_token_id,) if isinstance(self.likelihood_settings.masks, DreamMasks) else ()

    def _split(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Encode context and continuation together and part the tokens.

        They part where the texts do, so that the line break that ends a chat template's header stays context; a digit
        after it is then one token, whose likelihood is exact. Where a token spans the border, lm-eval's way is taken:
        blanks at the end of the context go to the continuation.
        """
        if not context:
            return [self.prefix_token_id], self.tok_encode(continuation)
        before, whole = self.tok_encode(context), self.tok_encode(context + continuation)
        if whole[: len(before)] == before:
            return before, whole[len(before) :]
        return self._encode_pair(context, continuation)

    def _check_fit(self, request: Request, prompt: int, answer: int) -> None:
        room = self.denoiser.max_positions
        if prompt + answer > room:
            raise SettingsError(
                f"{request.where}: a prompt of {prompt} tokens and an answer of {answer} exceed the model's {room} "
                "positions; choose fewer shots, a shorter answer (max_new_tokens) or another task"
            )

    # What lm-eval asks for

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Answer each request: response prefix and sampled text, cut at the first stop text."""
        asked = requests_of(requests)
        answers = [""] * len(asked)
        for batch in self.generate(asked):
            for index, generation in batch:
                answers[index] = cut(generation.response, self.response_prefix, asked[index].until)
        return answers

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Estimate each continuation's log-likelihood, in nats; what the flag says is the `greedy` setting's choice."""
        return [(found.loglikelihood, found.greedy) for found in self._in_order(requests)]

    def _loglikelihood_tokens(
        self, requests: list[tuple[tuple[str, str], list[int], list[int]]], **kwargs: Any
    ) -> list[tuple[float, bool]]:
        answers = [Answer(tuple(context), tuple(tokens)) for _, context, tokens in requests]
        found = dict(pair for batch in self._estimate(answers) for pair in batch)
        return [(found[index].loglikelihood, found[index].greedy) for index in range(len(requests))]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Estimate each text's log-likelihood, in nats: a lower bound, the sum of its windows' (`dlm.likelihood`).

        So a perplexity made of it is, up to its Monte-Carlo error, an upper bound of the model's. A window and the
        token before it fill the model's positions.
        """
        return [found.loglikelihood for found in self._in_order(requests)]

    def _in_order(self, requests: list[Instance]) -> list[Estimate]:
        found = dict(pair for batch in self.estimate(requests_of(requests)) for pair in batch)
        return [found[index] for index in range(len(requests))]

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Render a chat with the checkpoint's template."""
        return self._chat.render(chat_history, add_generation_prompt)

    @property
    def tokenizer_name(self) -> str:
        """The checkpoint's digest: equal names have equal templates."""
        return self.denoiser.digest

    @property
    def tokenizer(self) -> Any:
        """The checkpoint's tokenizer; lm-eval writes its chat template into its results."""
        return self.denoiser.tokenizer

    @property
    def eot_token_id(self) -> int:
        """End-of-sequence token; an encoder's separator."""
        tokenizer = self.denoiser.tokenizer
        end = tokenizer.sep_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
        if end is None:
            raise CheckpointError("the tokenizer has neither an end-of-sequence token nor a separator; give it one")
        return int(end)

    @property
    def prefix_token_id(self) -> int:
        """What stands before a continuation without context: begin of sequence, an encoder's first token, the end."""
        tokenizer = self.denoiser.tokenizer
        begin = tokenizer.cls_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
        return self.eot_token_id if begin is None else int(begin)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """Encode text as it stands: the chat template has written every special token already."""
        return list(self.denoiser.tokenizer.encode(string, add_special_tokens=bool(add_special_tokens)))

    @property
    def max_length(self) -> int:
        """Longest sequence, in tokens."""
        return self.denoiser.max_positions

    # lm-eval's own command line

    @classmethod
    def create_from_arg_string(cls, arg_string: str, additional_config: dict | None = None) -> Self:
        """Make the model from ``pretrained=DIR,steps=64,…``, as lm-eval's command line does."""
        return cls.create_from_arg_obj(simple_parse_args_string(arg_string), additional_config)

    @classmethod
    def create_from_arg_obj(cls, arg_dict: dict[str, Any], additional_config: dict | None = None) -> Self:
        """Make the model from named arguments; those of ``additional_config`` count where they are not None."""
        extra = {key: value for key, value in (additional_config or {}).items() if value is not None}
        return cls._from_arguments({**extra, **arg_dict})

    @classmethod
    def _from_arguments(cls, arguments: Mapping[str, Any]) -> Self:
        asked = read_arguments(arguments)
        denoiser = load_denoiser(asked.pretrained, asked.execution)
        return cls(
            denoiser,
            sampler=asked.sampler(default_settings(denoiser), denoiser.max_positions),
            likelihood=asked.likelihood,
            execution=asked.execution,
            seed=asked.seed,
            response_prefix=asked.response_prefix,
        )


def _check_some(request: Request, tokens: Sequence[int]) -> None:
    if not tokens:
        raise DataError(f"{request.where}: continuation {request.continuation!r} adds no token to its context")
