"""Successive halving over documents: which settings of a sweep are worth more of a budget of forward passes.

Every setting answers the first few documents. Then, rung by rung, the better 1/eta go on to eta times as many documents
(Jamieson and Talwalkar, arXiv 1502.07943, with documents as the resource), and with them whoever cannot be told from
the best: a worse one is stopped only where a one-sided paired test over its documents says that it is behind, at a
level divided by the settings that are going (Bonferroni). All is a function of the answers, so a run that is begun
again stops the same ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from dlm.settings.metrics import MetricKind
from dlm.settings.sweep import Budget


@dataclass(frozen=True)
class Answers:
    """What a setting's first documents gave."""

    numerators: tuple[float, ...]
    weights: tuple[float, ...]
    forward_passes: int

    @property
    def rate(self) -> float:
        """The rate of the metric."""
        return math.fsum(self.numerators) / math.fsum(self.weights)


@dataclass(frozen=True)
class Fate:
    """How far a setting came."""

    setting: str
    documents: int
    """That it answered."""
    of: int
    """That there are."""
    forward_passes: int
    rate: float
    reason: str
    """Why it answered no more: `behind <best>` or `budget`; empty: it answered all."""
    p_value: float | None = None
    """Of the test by which it is behind."""


def race(
    settings: Sequence[str],
    documents: int,
    answer: Callable[[str, int], Answers],
    budget: Budget,
    forward_passes: int,
    kind: MetricKind,
    kept: Collection[str] = (),
) -> list[Fate]:
    """Spend forward passes on settings; return how far each came, in their order.

    Args:
        settings: names, none twice.
        documents: that there are.
        answer: gives a setting's answers to the first so many documents; asked for more each time.
        budget: the rungs and the test.
        forward_passes: to spend. The first rung is always answered, and ``kept`` are never stopped before the others.
        kind: of the metric, which way is up.
        kept: settings that every other is compared with.
    """
    reached = min(budget.first, documents)
    answers = {name: answer(name, reached) for name in settings}
    fates: dict[str, Fate] = {}
    going = list(settings)
    while reached < documents:
        for name, best, p_value in _behind(going, answers, budget, kind, kept):
            fates[name] = _fate(name, reached, documents, answers[name], f"behind {best}", p_value)
        going = [name for name in going if name not in fates]
        spent = sum(found.forward_passes for found in answers.values())
        target = min(reached * budget.eta, documents)
        each = sum(answers[name].forward_passes for name in going) / reached
        affordable = reached + math.floor((forward_passes - spent) / each) if each else target
        if affordable <= reached:
            break
        reached = min(target, affordable)
        answers |= {name: answer(name, reached) for name in going}
    for name in going:
        reason = "" if reached == documents else "budget"
        fates[name] = _fate(name, reached, documents, answers[name], reason)
    return [fates[name] for name in settings]


def _behind(
    going: Sequence[str], answers: dict[str, Answers], budget: Budget, kind: MetricKind, kept: Collection[str]
) -> list[tuple[str, str, float]]:
    """Return the settings to stop, each with the best and the p-value."""
    sign = 1 if kind.higher_is_better else -1
    ranked = sorted(going, key=lambda name: -sign * answers[name].rate)  # stable: ties in the order given
    best, worse = ranked[0], ranked[math.ceil(len(ranked) / budget.eta) :]
    tested = [name for name in worse if name not in kept]
    level = (1 - budget.confidence) / max(len(going) - 1, 1)
    found = ((name, best, p_value_behind(answers[best], answers[name], sign)) for name in tested)
    return [each for each in found if each[2] < level]


def p_value_behind(best: Answers, other: Answers, sign: int = 1) -> float:
    """Return the one-sided p-value that ``other`` is no worse than ``best`` on the same documents.

    All-or-nothing outcomes: the exact sign test over the documents on which they differ (McNemar's). Others: Student's
    test of the documents' differences.
    """
    from scipy.stats import binom, t

    if set(best.weights) == {1} and {*best.numerators, *other.numerators} <= {0, 1}:
        better = sum(b > o for b, o in zip(best.numerators, other.numerators, strict=True))
        worse = sum(b < o for b, o in zip(best.numerators, other.numerators, strict=True))
        ahead, apart = (better if sign > 0 else worse), better + worse
        return float(binom.sf(ahead - 1, apart, 0.5)) if apart else 1.0
    weight = math.fsum(best.weights) / len(best.weights)
    rates = best.rate - other.rate
    moved = [
        ((b - best.rate * w) - (o - other.rate * w)) / weight
        for b, o, w in zip(best.numerators, other.numerators, best.weights, strict=True)
    ]
    n = len(moved)
    error = math.sqrt(math.fsum(each * each for each in moved) / (n - 1) / n) if n > 1 else 0.0
    if not error:
        return 1.0 if not sign * rates > 0 or n < 2 else 0.5**n
    return float(t.sf(sign * rates / error, n - 1))


def _fate(name: str, reached: int, of: int, found: Answers, reason: str, p_value: float | None = None) -> Fate:
    return Fate(name, reached, of, found.forward_passes, found.rate, reason, p_value)
