"""A model whose logits can be written down, small real ones, and bounds enumerated from their definition."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from doubles import small_denoiser
from torch import Tensor

from dlm.likelihood import Answer, Estimate, estimate
from dlm.settings import LikelihoodSettings
from dlm.verification.checkpoints import Checkpoints

PARITY = Path(__file__).resolve().parent.parent / "parity"
VOCABULARY, MASK = 7, 6
KINDS: dict[str, Any] = {
    "llama": {"model_type": "llama", "shift": False},
    "shifted": {"model_type": "qwen2", "shift": True},
    "modernbert": {"model_type": "modernbert", "shift": False},
    "bert": None,
}
"""Kinds of real models, by what `small_denoiser` takes: LLaDA's, Dream's, encoders; BERT's from the reference cases."""


class CountingModel:
    """Logits from the visible tokens and their distances, row by row: exact in any batch. Counts its rows."""

    mask_token_id, vocab_size, max_positions = MASK, VOCABULARY, 1
    device = torch.device("cpu")

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(5)
        self.table = torch.randn(40, VOCABULARY, VOCABULARY, generator=generator)
        self.rows: list[list[int]] = []
        self.calls = 0

    def logits(
        self, tokens_BL: Tensor, attention: Tensor | None, at_BL: Tensor, positions_BL: Tensor | None = None
    ) -> Tensor:
        assert attention is not None
        assert bool((tokens_BL[at_BL] == MASK).all())
        self.calls += 1
        found = []
        for row, tokens_L in enumerate(tokens_BL.tolist()):
            sees = attention[row].tolist()
            places = range(len(tokens_L)) if positions_BL is None else positions_BL[row].tolist()
            self.rows.append(tokens_L)
            for at in at_BL[row].nonzero()[:, 0].tolist():
                seen = sees[at] if isinstance(sees[at], list) else sees
                known = [(places[j] - places[at], t) for j, t in enumerate(tokens_L) if seen[j] and t != MASK]
                found.append(self.one(known))
        return torch.stack(found)

    def one(self, known: Iterable[tuple[int, int]]) -> Tensor:
        score_V = sum((self.table[distance + 20, token] for distance, token in known), torch.zeros(VOCABULARY))
        score_V[MASK] = -20.0  # as a trained model has it
        return score_V


class Masked:
    """The log-probabilities of an answer's tokens under any masking, by single rows of a real model."""

    def __init__(self, model: Any, answer: Answer, *, scale: float = 0.0, block_size: int | None = None) -> None:
        self.model, self.answer, self.scale, self.block_size = model, answer, scale, block_size

    def __call__(self, masked: Iterable[int]) -> list[float]:
        """In the order of ``masked``, what follows the last masked token's block cut off where there are blocks."""
        chosen, start, size = list(masked), len(self.answer.context), self.block_size
        tokens = [*self.answer.context, *self.answer.tokens, *self.answer.after]
        for index in chosen:
            tokens[start + index] = self.model.mask_token_id
        if size is not None:
            tokens = tokens[: start + (max(chosen) // size + 1) * size]
        logits_NV = self._logits(tokens, [start + index for index in sorted(chosen)])
        if self.scale:
            hidden = [self.model.mask_token_id] * start + tokens[start:]
            other_NV = self._logits(hidden, [start + index for index in sorted(chosen)])
            logits_NV = other_NV + (1 + self.scale) * (logits_NV - other_NV)
        logp_NV = logits_NV.double().log_softmax(1)
        found = {index: logp_NV[row, self.answer.tokens[index]].item() for row, index in enumerate(sorted(chosen))}
        return [found[index] for index in chosen]

    def _logits(self, tokens: list[int], at: list[int]) -> Tensor:
        length, start = len(tokens), len(self.answer.context)
        at_BL = torch.zeros(1, length, dtype=torch.bool)
        at_BL[0, at] = True
        attention = torch.ones(1, length, dtype=torch.bool)
        if self.block_size is not None:
            block = [(place - start) // self.block_size for place in range(length)]
            attention = torch.tensor([[[there <= here for there in block] for here in block]])
        return self.model.logits(torch.tensor([tokens]), attention, at_BL, torch.arange(length)[None])


def sums(masked: Masked, places: range) -> Mapping[tuple[int, ...], float]:
    """The sum of log-probabilities under every masking of some of the answer's tokens."""
    every = [chosen for count in range(1, len(places) + 1) for chosen in itertools.combinations(places, count)]
    return {chosen: math.fsum(masked(chosen)) for chosen in every}


def exact(masked: Masked) -> float:
    """The bound from its definition: block by block, k uniform on 1..A, then every masking of k equally likely."""
    size, length = masked.block_size or len(masked.answer.tokens), len(masked.answer.tokens)
    total = 0.0
    for begin in range(0, length, size):
        places = range(begin, min(begin + size, length))
        by_count: dict[int, list[float]] = {}
        for chosen, value in sums(masked, places).items():
            by_count.setdefault(len(chosen), []).append(len(places) / len(chosen) * value)
        total += math.fsum(math.fsum(terms) / len(terms) for terms in by_count.values()) / len(places)
    return total


def real_model(kind: str) -> Any:
    if KINDS[kind] is None:
        with Checkpoints() as checkpoints:
            return checkpoints.denoiser(PARITY, kind)
    return small_denoiser(**KINDS[kind], sharpness=1.0)  # type: ignore[arg-type]


def run(
    model: Any, answers: list[Answer], settings: LikelihoodSettings, *, seed: int = 0, **options: Any
) -> list[Estimate]:
    """Estimates in the order of the answers."""
    batches = list(estimate(model, answers, settings, seed=seed, **{"batch_size": 16, **options}))
    found = dict(pair for batch in batches for pair in batch)
    assert sum(len(batch) for batch in batches) == len(found) == len(answers)
    return [found[index] for index in range(len(answers))]
