"""ReMDM: what each step hides and reveals has the paper's posterior and marginals (arXiv 2503.00307, section 3)."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from doubles import word_tokenizer
from scipy import stats
from torch import Tensor

from dlm.models import Conventions
from dlm.sampling import Sampler
from dlm.settings import FullCanvas, RemaskingSelector, SamplerSettings

TEXT = [2, 0, 1, 2]
"""What the model knows to stand behind every mask: the x of the posterior q(z_s | z_t, x)."""
PLACES, MASK, STEPS, DRAWS = len(TEXT), 3, 6, 10_000
ALPHA = {"linear": lambda time: 1 - time, "cosine": lambda time: 1 - math.cos(math.pi / 2 * (1 - time))}
TIMES = [1 - step / STEPS for step in range(STEPS + 1)]


class Knowing:
    """A denoiser that is sure of TEXT behind a prompt of one token, whatever it is shown."""

    conventions = Conventions(mask_token_id=MASK, shift=False, objective="mdlm")
    tokenizer = word_tokenizer()
    mask_token_id, vocab_size, max_positions = MASK, 4, 1 + PLACES
    device, stop_token_ids = torch.device("cpu"), frozenset({99})
    model = SimpleNamespace(config=SimpleNamespace(name_or_path="knowing"))

    def logits(self, tokens_BL: Tensor, attention: Any, at_BL: Tensor, **options: Any) -> Tensor:
        known_LV = 1e4 * torch.nn.functional.one_hot(torch.tensor([0, *TEXT]), 4).float()
        return known_LV.expand(len(tokens_BL), -1, -1)[at_BL]


def masked(**chosen: Any) -> list[Tensor]:
    """Where z is the mask, at each time: bool [DRAWS, PLACES]."""
    model: Any = Knowing()
    settings = SamplerSettings(
        canvas=FullCanvas(max_new_tokens=PLACES), selector=RemaskingSelector(steps=STEPS, **chosen)
    )
    seen: list[Tensor] = []
    sampler = Sampler(model, settings, batch_size=DRAWS)
    samples = sampler.sample(
        [[0]] * DRAWS, streams=range(DRAWS), watch=lambda state: seen.append(state.tokens_BL[:, 1:] == MASK)
    )
    assert {sample.tokens for sample in samples} == {tuple(TEXT)}
    assert len(seen) == STEPS + 1
    return seen


def kept(schedule: str) -> list[float]:
    return [ALPHA[schedule](time) for time in TIMES]


def sigma(kept_t: float, kept_s: float, cap: float = 1.0, scale: float = 1.0) -> float:
    most = min(1.0, (1 - kept_s) / kept_t) if kept_t else 1.0
    return min(cap, scale * most)


def fits(observed: list[int], expected: list[float]) -> bool:
    """Whether counts fit; what cannot happen does not."""
    possible = [place for place, count in enumerate(expected) if count > 0]
    assert not any(count for place, count in enumerate(observed) if place not in possible)
    pairs = [[observed[place] for place in possible], [expected[place] for place in possible]]
    return len(possible) < 2 or stats.chisquare(*pairs, sum_check=False).pvalue > 1e-3


CHOICES = [{}, {"cap": 0.15}, {"scale": 0.4}, {"scale": 0.0}]


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("chosen", CHOICES, ids=str)
def test_each_step_has_the_posterior_of_the_paper(chosen: dict[str, float], schedule: str) -> None:
    seen, alpha = masked(schedule=schedule, **chosen), kept(schedule)
    for (before, after), (kept_t, kept_s) in zip(itertools.pairwise(seen), itertools.pairwise(alpha), strict=True):
        hidden = sigma(kept_t, kept_s, **chosen)
        # Equation 5: a token is hidden with sigma, and what is hidden stays so with the rest of the masks' share.
        stays = (1 - kept_s - hidden * kept_t) / (1 - kept_t)
        open_t, written_t = int(before.sum()), int((~before).sum())
        assert fits([int((before & after).sum()), int((before & ~after).sum())], [open_t * stays, open_t * (1 - stays)])
        counts = [int((~before & after).sum()), int((~before & ~after).sum())]
        assert fits(counts, [written_t * hidden, written_t * (1 - hidden)])


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("chosen", CHOICES, ids=str)
def test_remasking_leaves_the_marginals_those_of_masked_diffusion(chosen: dict[str, float], schedule: str) -> None:
    # Theorem 3.1: q(z_s | x) keeps each token with alpha_s, on its own; so the masks of a text are binomial in number.
    for after, kept_s in zip(masked(schedule=schedule, **chosen), kept(schedule), strict=True):
        counts = torch.bincount(after.sum(dim=1), minlength=PLACES + 1).tolist()
        expected = stats.binom.pmf(range(PLACES + 1), PLACES, min(1.0, 1 - kept_s)) * DRAWS
        assert fits(counts, expected.tolist())
