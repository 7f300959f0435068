"""Schedules, masking and losses, against values that can be worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from dlm.diffusion import (
    SCHEDULES,
    autoregressive_loss,
    corrupt,
    draw_times,
    loss_weight,
    mdlm_loss,
    normalise,
    schedule,
)
from dlm.errors import SettingsError
from dlm.settings import MDLM

MASK = 9


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_a_schedule_goes_from_one_to_zero_with_the_slope_it_states(name: str) -> None:
    chosen, time = schedule(name), torch.linspace(0, 1, 101, dtype=torch.float64)
    alpha = chosen.alpha(time)
    assert alpha[0] == pytest.approx(1) and alpha[-1] == pytest.approx(0, abs=1e-9)
    step = 1e-6
    numeric = (chosen.alpha(time[1:-1] + step) - chosen.alpha(time[1:-1] - step)) / (2 * step)
    torch.testing.assert_close(chosen.slope(time[1:-1]), numeric, rtol=1e-6, atol=1e-6)


def test_the_linear_weight_is_one_over_t() -> None:
    time = torch.tensor([0.25, 0.5, 1.0])
    torch.testing.assert_close(loss_weight(schedule("linear"), time), 1 / time, rtol=1e-5, atol=0)


def test_an_unknown_schedule_is_refused_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean 'linear'"):
        schedule("liner")


def test_masking_hides_the_stated_share_and_only_trainable_positions() -> None:
    tokens = torch.zeros(400, 100, dtype=torch.int64)
    trainable = torch.ones_like(tokens, dtype=torch.bool)
    trainable[:, :50] = False
    noised = corrupt(tokens, trainable, torch.full((400,), 0.3), torch.rand(400, 100), schedule("linear"), MASK)
    assert not noised.masked_BL[:, :50].any()
    assert torch.equal(noised.tokens_BL == MASK, noised.masked_BL)
    share = noised.masked_BL[:, 50:].double().mean().item()
    assert share == pytest.approx(0.3, abs=4 * math.sqrt(0.3 * 0.7 / 20000))


def test_times_fill_the_range() -> None:
    times = draw_times(0, torch.arange(4000), 5, 0.1)
    assert times.min() >= 0.1 and times.max() < 1
    assert times.mean().item() == pytest.approx(0.55, abs=0.02)


def constant_denoiser(vocabulary: int = 4):
    """Scores token 1 with probability 1/2 everywhere: its cross-entropy is log 2 whatever is masked."""
    row = torch.log(torch.tensor([1 / 6, 1 / 2, 1 / 6, 1 / 6]))
    return lambda tokens, attention, at: row.expand(int(at.sum()), vocabulary)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_the_weighted_loss_is_an_unbiased_bound(name: str) -> None:
    """E[weight x masked cross-entropy] is the cross-entropy of every token: here log 2 a token."""
    tokens = torch.ones(6000, 8, dtype=torch.int64)
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    losses = (
        mdlm_loss(
            constant_denoiser(),
            tokens,
            everywhere,
            None,
            settings=MDLM(schedule=name),
            mask_token_id=MASK,
            seed=1,  # type: ignore[arg-type]
            streams_B=torch.arange(6000),
            step=0,
        ).sum(1)
        / 8
    )
    error = losses.std().item() / math.sqrt(6000)
    assert losses.mean().item() == pytest.approx(math.log(2), abs=4 * error)


def test_uniform_weight_counts_each_masked_token_once() -> None:
    tokens = torch.ones(50, 8, dtype=torch.int64)
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    losses = mdlm_loss(
        constant_denoiser(),
        tokens,
        everywhere,
        None,
        settings=MDLM(weight="uniform"),
        mask_token_id=MASK,
        seed=1,
        streams_B=torch.arange(50),
        step=0,
    )
    torch.testing.assert_close(losses[losses > 0], torch.full_like(losses[losses > 0], math.log(2)))


def test_a_rows_noise_does_not_depend_on_the_batch() -> None:
    tokens = torch.ones(4, 8, dtype=torch.int64)
    everywhere = torch.ones_like(tokens, dtype=torch.bool)

    def run(rows: list[int]) -> torch.Tensor:
        return mdlm_loss(
            constant_denoiser(),
            tokens[: len(rows)],
            everywhere[: len(rows)],
            None,
            settings=MDLM(),
            mask_token_id=MASK,
            seed=1,
            streams_B=torch.tensor(rows),
            step=3,
        )

    assert torch.equal(run([5, 8, 2, 9])[2], run([2])[0])


def test_the_autoregressive_loss_skips_the_first_position() -> None:
    tokens = torch.ones(2, 3, dtype=torch.int64)
    losses = autoregressive_loss(constant_denoiser(), tokens, torch.ones_like(tokens, dtype=torch.bool), None)
    torch.testing.assert_close(losses, torch.tensor([[0, math.log(2), math.log(2)]] * 2))


def test_normalisations_by_hand() -> None:
    losses = torch.tensor([[1.0, 2.0, 3.0], [4.0, 0.0, 0.0]])
    trainable = torch.tensor([[True, True, True], [True, False, False]])
    assert normalise(losses, trainable, "token").item() == pytest.approx(10 / 4)
    assert normalise(losses, trainable, "sequence").item() == pytest.approx((6 / 3 + 4 / 1) / 2)
    assert normalise(losses, trainable, "batch").item() == pytest.approx(10 / 2)
    with pytest.raises(SettingsError, match="unknown normalisation"):
        normalise(losses, trainable, "none")
