"""Counter-based noise: uniform, independent, and a function of its counters only."""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats

from dlm.diffusion import gumbel, uniform


def test_numbers_are_uniform() -> None:
    values = uniform(3, torch.arange(50), 2000, 7).numpy()
    assert stats.kstest(values.ravel(), "uniform").pvalue > 1e-3
    assert values.min() > 0 and values.max() < 1


def test_neighbouring_streams_steps_and_seeds_are_independent() -> None:
    rows = [
        uniform(seed, torch.tensor([stream]), 4000, step)[0] for seed in (0, 1) for stream in (0, 1) for step in (0, 1)
    ]
    correlation = np.corrcoef(torch.stack(rows).numpy()) - np.eye(len(rows))
    assert np.abs(correlation).max() < 5 / np.sqrt(4000)


def test_a_row_does_not_depend_on_its_company() -> None:
    together = uniform(5, torch.tensor([9, 2, 7]), 16, 3)
    assert torch.equal(together[1], uniform(5, torch.tensor([2]), 16, 3)[0])


def test_a_number_does_not_depend_on_the_length() -> None:
    assert torch.equal(uniform(5, torch.tensor([4]), 32)[:, :8], uniform(5, torch.tensor([4]), 8))


def test_counters_may_differ_by_row() -> None:
    both = uniform(1, torch.tensor([3, 3]), 4, torch.tensor([0, 1]))
    assert torch.equal(both[0], uniform(1, torch.tensor([3]), 4, 0)[0])
    assert torch.equal(both[1], uniform(1, torch.tensor([3]), 4, 1)[0])


def test_the_stream_of_numbers_is_frozen() -> None:
    """Results recorded with one version must be reproduced by the next."""
    drawn = uniform(2024, torch.tensor([1, 2]), 2, 3)
    expected = [[0.9091602789715617, 0.6962227871086343], [0.24504077670439084, 0.7970040126208563]]
    assert drawn.tolist() == expected


def test_any_whole_number_is_a_seed() -> None:
    streams = torch.tensor([0])
    drawn = [float(uniform(seed, streams, 1)[0, 0]) for seed in (0, -1, 2**40, 2**63, 2**64 + 5)]
    assert len(set(drawn)) == len(drawn)


def test_gumbel_has_the_gumbel_distribution() -> None:
    assert stats.kstest(gumbel(0, torch.arange(20), 1000).numpy().ravel(), "gumbel_r").pvalue > 1e-3
