"""What the number of a metric is made of, and what it means: a share of right answers, or how well texts are predicted.

A document contributes a numerator x and a weight w > 0; with the rate R = sum(x) / sum(w), the value is R itself or
exp(R). Of a share, x is what was right of w. Of a loss, x is the negative log-likelihood of a text and w its length.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from dlm.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class MetricKind:
    """A share of right answers (0 to 1) unless told otherwise."""

    loss: bool = False
    """Whether it is made of log-likelihoods: lower is better, and blind guessing earns nothing that could be named."""
    exponential: bool = False
    """Whether the value is exp(R), a perplexity; then numerators are in nats, and differences are those of R."""
    base: float = math.e
    """Of the logarithm in which a loss is measured: 2 for bits."""
    each: str = ""
    """What a weight of 1 is, such as a `word`."""
    title: str = ""
    """In words, for headings."""

    @property
    def higher_is_better(self) -> bool:
        """Which way is up."""
        return not self.loss

    def in_unit(self, nats: float) -> float:
        """Turn nats into the unit of the numerators: nats or bits."""
        return nats / math.log(self.base)

    def value(self, rate: float) -> float:
        """Return the metric's value of a rate; infinity where it is beyond every number."""
        try:
            return math.exp(rate) if self.exponential else rate
        except OverflowError:
            return math.inf

    def rate(self, value: float) -> float:
        """Return the rate of a value (above 0, where it is a perplexity)."""
        return math.log(value) if self.exponential else value

    def slope(self, rate: float) -> float:
        """Return the derivative of the value by the rate, which carries a standard error from one to the other."""
        return self.value(rate) if self.exponential else 1.0


SHARE = MetricKind()
_KINDS: Mapping[str, MetricKind] = {
    "word_perplexity": MetricKind(loss=True, exponential=True, each="word", title="word perplexity"),
    "byte_perplexity": MetricKind(loss=True, exponential=True, each="byte", title="byte perplexity"),
    "bits_per_byte": MetricKind(loss=True, base=2, each="byte", title="bits per byte"),
    "perplexity": MetricKind(loss=True, exponential=True, each="answer", title="perplexity of answers"),
}
"""lm-eval's metrics that are no shares, by its names of them (lm_eval/api/metrics.py)."""


def metric_kind(metric: str) -> MetricKind:
    """Return the kind of a metric by lm-eval's name: a loss under the names above, else a share of right answers."""
    return _KINDS.get(metric, SHARE)


def check_chance(metric: str, chance: float) -> None:
    """Refuse a share of blind guessing where nothing is guessed.

    Raises:
        SettingsError: the metric is a loss.
    """
    if chance and metric_kind(metric).loss:
        raise SettingsError(
            f"chance does not apply to metric '{metric}', which is no share of right answers; remove it"
        )
