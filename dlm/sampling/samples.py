"""What comes out of the sampler, and what its order of decoding tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dlm import ordering
from dlm.errors import SettingsError


@dataclass(frozen=True)
class Sample:
    """One answer."""

    tokens: tuple[int, ...]
    """Every answer position up to the end of the last block that was sampled, end-of-text filler included, or up to
    where a stop text ended the answer; of an infilled text all of it."""
    text: str
    """The answer up to its first stop token, special tokens removed, not cut at stop texts; of an infilled text all."""
    stopped: bool
    """Whether the answer holds a stop token or a stop text; False: it was cut off by its length, or infilled."""
    forward_passes: int
    """Evaluations of the model that this answer took part in; with guidance, one evaluates two canvases."""
    seconds: float
    """The answer's share of the seconds that its batches took."""
    steps: tuple[int, ...] | None = None
    """Of each token the forward pass that committed it, counted from 0; -1: given, or left open. None: not recorded."""
    confidences: tuple[float, ...] | None = None
    """Of each token the model's probability when it was committed; NaN: given, or left open. None: not recorded."""


Outcome = Sample | str
"""An answer, or why there is none."""


class PromptError(SettingsError):
    """Some prompts could not be answered; the others were.

    Args:
        problems: what is wrong, by the index of the prompt.
        samples: the answers to the others, by index.
    """

    def __init__(self, problems: Mapping[int, str], samples: Mapping[int, Sample]) -> None:
        self.problems, self.samples = dict(sorted(problems.items())), dict(sorted(samples.items()))
        told = list(self.problems.values())
        more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
        rest = f"; {len(samples)} others were answered" if samples else ""
        super().__init__(told[0] + more + rest)


def tokens_per_pass(sample: Sample) -> float:
    """Return how many tokens a forward pass committed on average.

    Raises:
        SettingsError: the sample holds no record.
    """
    return ordering.tokens_per_pass(_steps(sample), sample.forward_passes)


def order_tau(sample: Sample) -> float | None:
    """Return how far the order is from left to right: :func:`dlm.ordering.order_tau`.

    Raises:
        SettingsError: the sample holds no record.
    """
    return ordering.order_tau(_steps(sample))


def _steps(sample: Sample) -> tuple[int, ...]:
    if sample.steps is None:
        raise SettingsError("the sample holds no commit steps; sample with record_order=True")
    return sample.steps
