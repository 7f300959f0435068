"""What is drawn has the distribution that an enumeration of every course of events gives: three tokens and places."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from doubles import word_tokenizer
from scipy import stats

from dlm.models import Conventions
from dlm.sampling import Sampler
from dlm.settings import (
    EvenSelector,
    FloorSelector,
    FullCanvas,
    OriginSelector,
    Proposer,
    RemaskingSelector,
    SamplerSettings,
    ScheduleSelector,
)

PLACES, TOKENS, MASK, DRAWS = 3, 3, 3, 20_000
Canvas = tuple[int, ...]
TABLE = torch.randn(4**PLACES, PLACES, TOKENS + 1, generator=torch.Generator().manual_seed(5)) * 1.5
"""Logits of each canvas and place; the mask token has some, too."""


class TableModel:
    """A denoiser that looks its answers up."""

    conventions = Conventions(mask_token_id=MASK, shift=False, objective="mdlm")
    tokenizer = word_tokenizer()
    mask_token_id, vocab_size, max_positions = MASK, TOKENS + 1, 1 + PLACES
    device, stop_token_ids = torch.device("cpu"), frozenset({99})
    model = SimpleNamespace(config=SimpleNamespace(name_or_path="table"))

    def logits(self, tokens_BL: Any, attention: Any, at_BL: Any, **options: Any) -> Any:
        code_B = (tokens_BL[:, 1:] * torch.tensor([16, 4, 1])).sum(1)
        logits_BLV = torch.cat([torch.zeros(len(code_B), 1, TOKENS + 1), TABLE[code_B]], 1)
        return logits_BLV[at_BL]


def settings(selector: Any, **parts: Any) -> SamplerSettings:
    return SamplerSettings(canvas=FullCanvas(max_new_tokens=PLACES), selector=selector, **parts)


def observed(chosen: SamplerSettings) -> dict[Canvas, int]:
    model: Any = TableModel()
    counts: dict[Canvas, int] = defaultdict(int)
    for sample in Sampler(model, chosen, batch_size=DRAWS).sample([[0]] * DRAWS, streams=range(DRAWS)):
        counts[sample.tokens] += 1
    return counts


def logits_of(canvas: Canvas, place: int) -> list[float]:
    return TABLE[canvas[0] * 16 + canvas[1] * 4 + canvas[2], place].double().tolist()


def softmax(values: list[float]) -> list[float]:
    return torch.tensor(values, dtype=torch.float64).softmax(0).tolist()


def drawn(canvas: Canvas, place: int, proposer: Proposer) -> list[float]:
    """Probability of each token, worked out from the definitions of temperature, top_p and top_k."""
    probability = softmax([value / proposer.temperature for value in logits_of(canvas, place)])
    ranked = sorted(range(TOKENS + 1), key=lambda token: -probability[token])
    kept, total = [], 0.0
    for token in ranked:
        if total <= (proposer.top_p or 1.0):
            kept.append(token)
        total += probability[token]
    kept = [token for token in kept if token in ranked[: proposer.top_k or TOKENS + 1]]
    kept = [token for token in kept if token != MASK] or [next(token for token in ranked if token != MASK)]
    rest = sum(probability[token] for token in kept)
    return [probability[token] / rest if token in kept else 0.0 for token in range(TOKENS)]


def proposals(canvas: Canvas, proposer: Proposer) -> Iterator[tuple[dict[int, int], float]]:
    """A token for each open place, with its probability."""
    places = [place for place in range(PLACES) if canvas[place] == MASK]
    each = [drawn(canvas, place, proposer) for place in places]
    for tokens in itertools.product(range(TOKENS), repeat=len(places)):
        chance = 1.0
        for probability, token in zip(each, tokens, strict=True):
            chance *= probability[token]
        if chance:
            yield dict(zip(places, tokens, strict=True)), chance


def written(canvas: Canvas, tokens: dict[int, int], places: Any) -> Canvas:
    return tuple(tokens[place] if place in places else token for place, token in enumerate(canvas))


Choice = Callable[[Canvas, dict[int, int], int], Iterator[tuple[tuple[int, ...], float]]]


def expected(steps: int, proposer: Proposer, choose: Choice, reopen: Any = None) -> dict[Canvas, float]:
    """The distribution of answers where step n commits the places that ``choose`` gives, with their probability."""
    now: dict[Canvas, float] = {(MASK,) * PLACES: 1.0}
    for step in range(steps):
        later: dict[Canvas, float] = defaultdict(float)
        for canvas, chance in now.items():
            for tokens, of_tokens in proposals(canvas, proposer):
                for places, of_places in choose(canvas, tokens, step):
                    after = written(canvas, tokens, places)
                    for final, of_final in reopen(canvas, after, step) if reopen else [(after, 1.0)]:
                        later[final] += chance * of_tokens * of_places * of_final
        now = later
    return now


def subsets(places: list[int], count: int) -> list[tuple[int, ...]]:
    return list(itertools.combinations(places, count))


def uniformly(counts: list[int]) -> Choice:
    def choose(canvas: Canvas, tokens: dict[int, int], step: int) -> Iterator[tuple[tuple[int, ...], float]]:
        options = subsets(list(tokens), counts[step])
        yield from ((option, 1 / len(options)) for option in options)

    return choose


def confidence(canvas: Canvas, place: int, token: int) -> float:
    return softmax(logits_of(canvas, place))[token]


def surest(counts: list[int]) -> Choice:
    def choose(canvas: Canvas, tokens: dict[int, int], step: int) -> Iterator[tuple[tuple[int, ...], float]]:
        ranked = sorted(tokens, key=lambda place: (-confidence(canvas, place, tokens[place]), place))
        yield tuple(ranked[: counts[step]]), 1.0

    return choose


def by_weight(counts: list[int], temperature: float) -> Choice:
    """Without replacement, each place in proportion to exp(confidence / temperature)."""

    def choose(canvas: Canvas, tokens: dict[int, int], step: int) -> Iterator[tuple[tuple[int, ...], float]]:
        weight = {
            place: float(torch.tensor(confidence(canvas, place, token) / temperature).double().exp())
            for place, token in tokens.items()
        }
        for order in itertools.permutations(tokens, counts[step]):
            chance, rest = 1.0, sum(weight.values())
            for place in order:
                chance *= weight[place] / rest
                rest -= weight[place]
            yield order, chance

    return choose


def by_chance(shares: list[float]) -> Choice:
    def choose(canvas: Canvas, tokens: dict[int, int], step: int) -> Iterator[tuple[tuple[int, ...], float]]:
        for count in range(len(tokens) + 1):
            for option in subsets(list(tokens), count):
                yield option, shares[step] ** count * (1 - shares[step]) ** (len(tokens) - count)

    return choose


def in_number(shares: list[float]) -> Choice:
    """A binomial number of places, the surest."""

    def choose(canvas: Canvas, tokens: dict[int, int], step: int) -> Iterator[tuple[tuple[int, ...], float]]:
        ranked = sorted(tokens, key=lambda place: (-confidence(canvas, place, tokens[place]), place))
        for count in range(len(tokens) + 1):
            yield tuple(ranked[:count]), float(stats.binom.pmf(count, len(tokens), shares[step]))

    return choose


WARM = Proposer(temperature=0.9)
TIMES = torch.linspace(1, 1e-3, 4).double().tolist()
FALLS = [*(1 - late / early for early, late in itertools.pairwise(TIMES[:3])), 1.0]


@pytest.mark.parametrize(
    ("chosen", "distribution"),
    [
        (settings(EvenSelector(steps=2), proposer=WARM, score="random"), lambda: expected(2, WARM, uniformly([2, 1]))),
        (settings(EvenSelector(steps=3), proposer=WARM), lambda: expected(3, WARM, surest([1, 1, 1]))),
        (
            settings(EvenSelector(steps=2), proposer=WARM, score_temperature=0.2),
            lambda: expected(2, WARM, by_weight([2, 1], 0.2)),
        ),
        (
            settings(FloorSelector(steps=2), proposer=WARM, score_temperature=0.5),
            lambda: expected(2, WARM, by_weight([1, 2], 0.5)),
        ),
        (settings(OriginSelector(steps=3), proposer=WARM), lambda: expected(3, WARM, by_chance(FALLS))),
        (
            settings(ScheduleSelector(steps=3, stochastic=True), proposer=WARM),
            lambda: expected(3, WARM, in_number([1 / 3, 1 / 2, 1.0])),
        ),
        *[
            (settings(EvenSelector(steps=2), proposer=p, score="random"), lambda p=p: expected(2, p, uniformly([2, 1])))
            for p in (
                Proposer(temperature=1.2, top_p=0.85),
                Proposer(temperature=1.2, top_k=3),
                Proposer(temperature=1.5, top_p=0.85, top_k=3),
            )
        ],
    ],
    ids=["random commit", "tempered", "alg_temp", "alg_temp of Dream", "origin", "stochastic transfer", "top_p",
         "top_k", "top_p and top_k"],
)  # fmt: skip
def test_answers_have_the_enumerated_distribution(chosen: SamplerSettings, distribution: Any) -> None:
    assert_distributed(observed(chosen), distribution())


@pytest.mark.parametrize(("cap", "scale"), [(1.0, 1.0), (0.3, 1.0), (1.0, 0.4)])
def test_remasking_has_the_enumerated_distribution(cap: float, scale: float) -> None:
    steps = 3
    kept = [step / steps for step in range(steps + 1)]  # alpha of the linear schedule, from t = 1 on
    sigma = [min(cap, scale * min(1.0, (1 - kept[n + 1]) / kept[n] if kept[n] else 1.0)) for n in range(steps)]
    shares = [(kept[n + 1] - (1 - sigma[n]) * kept[n]) / (1 - kept[n]) for n in range(steps)]

    def reopen(before: Canvas, after: Canvas, step: int) -> Iterator[tuple[Canvas, float]]:
        old = [place for place in range(PLACES) if before[place] != MASK]
        for count in range(len(old) + 1):
            for back in subsets(old, count):
                chance = sigma[step] ** count * (1 - sigma[step]) ** (len(old) - count)
                yield tuple(MASK if place in back else token for place, token in enumerate(after)), chance

    chosen = settings(RemaskingSelector(steps=steps, cap=cap, scale=scale), proposer=WARM)
    assert_distributed(observed(chosen), expected(steps, WARM, by_chance(shares), reopen))


def assert_distributed(counts: dict[Canvas, int], probabilities: dict[Canvas, float]) -> None:
    probabilities = {canvas: chance for canvas, chance in probabilities.items() if chance > 1e-12}
    assert sum(probabilities.values()) == pytest.approx(1.0)
    assert set(counts) <= set(probabilities), "what cannot come out came out"
    common = [canvas for canvas, chance in probabilities.items() if chance * DRAWS >= 5]
    rare = [canvas for canvas in probabilities if canvas not in common]
    seen = [counts.get(canvas, 0) for canvas in common] + [sum(counts.get(canvas, 0) for canvas in rare)] * bool(rare)
    wanted = [probabilities[canvas] * DRAWS for canvas in common] + [
        sum(probabilities[canvas] for canvas in rare) * DRAWS
    ] * bool(rare)
    assert len(seen) > 5, "the case should have several answers"
    assert stats.chisquare(seen, wanted, sum_check=False).pvalue > 1e-3
