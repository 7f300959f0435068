"""``RecordedLM``: a model that answers from records, and asks a real one only for what is not recorded.

With a backend this is sampling that resumes; without one it is replay, which needs neither weights nor torch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from dlm.errors import DataError, SettingsError
from dlm.evaluation.chat import Chat
from dlm.evaluation.records import RecordStore
from dlm.evaluation.request import Request, cut, requests_of
from dlm.files import digest
from dlm.progress import Progress

if TYPE_CHECKING:
    from dlm.evaluation.lm import Generation
    from dlm.likelihood import Estimate
    from dlm.params import Cell

Used = tuple[Request, dict[str, Any]]


class Backend(Protocol):
    """What answers the requests that are not recorded yet."""

    def generate(self, requests: Sequence[Request]) -> Iterator[list[tuple[int, Generation]]]:
        """Answer each request; yield (index, answer) after each batch."""

    def estimate(self, requests: Sequence[Request]) -> Iterator[list[tuple[int, Estimate]]]:
        """Find the log-likelihood of each request's continuation; yield (index, estimate) after each batch."""

    def execution_content(self) -> dict[str, Any]:
        """Describe how the model is run."""


class RecordedLM(LM):
    """lm-eval's model for one cell.

    Args:
        store: the records.
        cell: what is asked: sampler or likelihood settings, response prefix, seed.
        checkpoint: digest of the checkpoint's manifest.
        versions: lm-eval's version of each task that will ask, by lm-eval's name of it.
        chat: renders the checkpoint's chat template.
        backend: makes the real model when the first record is missing; None: a missing record is an error.
    """

    def __init__(
        self,
        store: RecordStore,
        cell: Cell,
        *,
        checkpoint: str,
        versions: Mapping[str, Any],
        chat: Chat,
        backend: Callable[[], Backend] | None = None,
    ) -> None:
        super().__init__()
        self.store, self.cell, self.checkpoint, self.versions = store, cell, checkpoint, versions
        self.used: list[Used] = []
        self._chat, self._backend = chat, backend

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Answer from records, sampling what is missing; answers are cut at the requests' stop texts."""
        prefix = self.cell.response_prefix
        return [cut(record["response"], prefix, request.until) for request, record in self._records(requests)]

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Answer from records, estimating what is missing."""
        return [(record["loglikelihood"], record["greedy"]) for _, record in self._records(requests)]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Answer from records, estimating what is missing."""
        return [record["loglikelihood"] for _, record in self._records(requests)]

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Render a chat with the checkpoint's template."""
        return self._chat.render(chat_history, add_generation_prompt)

    @property
    def tokenizer_name(self) -> str:
        """The checkpoint's digest: equal names have equal templates."""
        return self.checkpoint

    def _records(self, instances: Sequence[Instance]) -> list[Used]:
        """Return each request with its record, in order; fill the store first where something is missing."""
        requests = requests_of(instances)
        asked = {task: self._asked(task, requests) for task in dict.fromkeys(request.task for request in requests)}
        whats = [request.fingerprint(digest(asked[request.task])) for request in requests]
        if self._backend:
            self.store.adopt(what for what in whats if what not in self.store)
        missing = {what: request for what, request in zip(whats, requests, strict=True) if what not in self.store}
        if missing:
            self._fill(missing, asked)
        used = [(request, self._record(what)) for request, what in zip(requests, whats, strict=True)]
        self.used += used
        return used

    def _record(self, what: str) -> dict[str, Any]:
        record = self.store.get(what)
        assert record is not None  # filled before
        return record

    def _asked(self, task: str, requests: Sequence[Request]) -> dict[str, Any]:
        """Everything meant to change the outcome that the requests of a task have in common."""
        kind = requests[0].kind
        settings = self.cell.sampler if kind == "generate" else self.cell.likelihood
        if settings is None:
            raise SettingsError(
                f"task '{self.cell.task}': lm-eval's '{task}' asks for {_ASKS[kind]}, which the task's output and "
                "sampler do not provide; set `output` (and `sampler`) to fit"
            )
        return {
            "checkpoint": self.checkpoint,
            "task": task,
            "task_version": str(self.versions[task]),
            "output": kind,
            "settings": dataclasses.asdict(settings),
            "response_prefix": self.cell.response_prefix,
            "seed": self.cell.seed,
        }

    def _fill(self, missing: Mapping[str, Request], asked: Mapping[str, Mapping[str, Any]]) -> None:
        requests = list(missing.values())
        if self._backend is None:
            raise DataError(
                f"{self.store.path}: no record for {requests[0].where} (setting '{self.cell.setting}') and "
                f"{len(missing) - 1} more requests; checkpoint, prompt, settings or task version changed since "
                f"sampling; run `dlm sample {self.cell.checkpoint}`"
            )
        backend = self._backend()
        how = self.store.declare("execution", backend.execution_content())
        identities = {task: self.store.declare("asked", content) for task, content in asked.items()}
        whats = list(missing)
        label = f"sample {self.cell.checkpoint} on {self.cell.task} ({self.cell.setting})"
        with Progress(label, len(requests), "requests") as progress:
            for batch in self._outcomes(backend, requests):
                self.store.append(
                    self._line(whats[i], how, identities[requests[i].task], requests[i], outcome)
                    for i, outcome in batch
                )
                progress.advance(len(batch))

    def _outcomes(self, backend: Backend, requests: Sequence[Request]) -> Iterator[list[tuple[int, dict[str, Any]]]]:
        if requests[0].kind == "generate":
            for generations in backend.generate(requests):
                yield [(index, _generated(generation)) for index, generation in generations]
        else:
            for estimates in backend.estimate(requests):
                yield [(index, _estimated(estimate)) for index, estimate in estimates]

    def _line(self, what: str, how: str, asked: str, request: Request, outcome: Mapping[str, Any]) -> dict[str, Any]:
        line: dict[str, Any] = {
            "kind": request.kind,
            "what": what,
            "how": how,
            "asked": asked,
            "task": self.cell.task,
            "setting": self.cell.setting,
            "doc_id": request.doc_id,
            "request": request.index,
            "repeat": request.repeat,
            "prompt": request.prompt,
        }
        if request.continuation is not None:
            line["continuation"] = request.continuation
        if request.until:
            line["until"] = list(request.until)
        return {**line, **outcome}


_ASKS = {"generate": "sampled answers", "likelihood": "likelihoods"}


def _generated(generation: Generation) -> dict[str, Any]:
    return {
        "response": generation.response,
        "tokens": generation.tokens,
        "stopped": generation.stopped,
        "forward_passes": generation.forward_passes,
        "seconds": round(generation.seconds, 6),
        **_order(generation),
    }


def _order(generation: Generation) -> dict[str, Any]:
    if generation.steps is None or generation.confidences is None or generation.token_ids is None:
        return {}
    sure = [None if math.isnan(confidence) else round(confidence, 6) for confidence in generation.confidences]
    return {"steps": list(generation.steps), "confidences": sure, "token_ids": list(generation.token_ids)}


def _estimated(estimate: Estimate) -> dict[str, Any]:
    return {
        "loglikelihood": estimate.loglikelihood,
        "mc_stderr": estimate.stderr,
        "greedy": estimate.greedy,
        "forward_passes": estimate.forward_passes,
        "seconds": round(estimate.seconds, 6),
    }
