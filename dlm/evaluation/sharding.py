"""A shard of a cell: lm-eval asks for all documents, and those of the shard are answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from lm_eval.api.instance import Instance

from dlm.evaluation.replay import RecordedLM
from dlm.params.sharding import WHOLE, Shard

Answer = TypeVar("Answer")


class ShardLM(RecordedLM):
    """Records of a shard's documents; for the others a blank is returned, which is good for nothing.

    lm-eval could be given the documents themselves, but the examples of few-shot prompts are drawn one document after
    the other, so that leaving one out would change the prompts of those behind it.
    """

    def __init__(self, *arguments: Any, shard: Shard = WHOLE, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.shard = shard

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Answer the shard's requests."""
        return self._own(super().generate_until, requests, "")

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Answer the shard's requests."""
        return self._own(super().loglikelihood, requests, (0.0, False))

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Answer the shard's requests."""
        return self._own(super().loglikelihood_rolling, requests, 0.0)

    def _own(
        self, answer: Callable[[list[Instance]], list[Answer]], requests: Sequence[Instance], blank: Answer
    ) -> list[Answer]:
        answers = [blank] * len(requests)
        own = [index for index, request in enumerate(requests) if self.shard.has(int(request.doc_id or 0))]
        for index, given in zip(own, answer([requests[index] for index in own]), strict=True):
            answers[index] = given
        return answers
