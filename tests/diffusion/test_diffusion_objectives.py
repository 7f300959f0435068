"""Schedules, masking and losses, against values that can be worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from doubles import small_denoiser

from dlm.diffusion import (
    SCHEDULES,
    Batch,
    Corrupted,
    autoregressive_loss,
    bd3lm_loss,
    bd3lm_nll,
    cart_weights,
    corrupt,
    draw_noise,
    draw_times,
    hide,
    loss_weight,
    mdlm_loss,
    mdlm_nll,
    normalise,
    prepend_bos,
    schedule,
    token_weights,
)
from dlm.errors import SettingsError
from dlm.models import use_flex_attention
from dlm.settings import BD3LM, MDLM, MLM

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
    drawn = torch.rand(400, 100, generator=torch.Generator().manual_seed(0))
    noised = corrupt(tokens, trainable, torch.full((400, 1), 0.3), drawn, schedule("linear"), MASK)
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
    return lambda tokens, attention, at, positions=None: row.expand(int(at.sum()), vocabulary)


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


class Square:
    """alpha(t) = 1 - t^2: a schedule of one's own."""

    def alpha(self, time: torch.Tensor) -> torch.Tensor:
        return 1 - time**2

    def slope(self, time: torch.Tensor) -> torch.Tensor:
        return -2 * time


def test_a_new_schedule_is_two_functions_and_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCHEDULES, "square", Square())
    test_a_schedule_goes_from_one_to_zero_with_the_slope_it_states("square")
    test_the_weighted_loss_is_an_unbiased_bound("square")


def noised_rows(rows: int = 2, length: int = 12) -> tuple[torch.Tensor, Corrupted]:
    """Rows of letters with every third token hidden; what hides them is token 1."""
    tokens = torch.arange(rows * length).reshape(rows, length) % 16 + 4
    masked = torch.arange(length).expand(rows, -1) % 3 == 1
    return tokens, Corrupted(hide(tokens, masked, 1), masked, torch.full((rows, 1), 0.5))


@pytest.mark.parametrize("shift", [False, True])
def test_one_block_is_masked_diffusion(shift: bool) -> None:
    denoiser = small_denoiser(shift=shift)
    tokens, noised = noised_rows()
    torch.testing.assert_close(
        bd3lm_nll(denoiser, tokens, noised, 12), mdlm_nll(denoiser, tokens, noised, None), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("model_type", ["llama", "qwen2"])
def test_each_block_is_scored_as_if_alone_after_its_clean_past(model_type: str) -> None:
    denoiser = small_denoiser(model_type)
    tokens, noised = noised_rows()
    together = bd3lm_nll(denoiser, tokens, noised, 4)
    for begin in range(0, 12, 4):
        end = begin + 4
        canvas = torch.cat([tokens[:, :begin], noised.tokens_BL[:, begin:end]], dim=1)
        at = torch.zeros_like(canvas, dtype=torch.bool)
        at[:, begin:] = noised.masked_BL[:, begin:end]
        column = torch.arange(end)
        block_causal = (column[:, None] // 4 >= column[None, :] // 4).expand(2, -1, -1)
        logits = denoiser(canvas, block_causal, at)
        alone = torch.nn.functional.cross_entropy(logits, tokens[:, :end][at], reduction="none")
        torch.testing.assert_close(together[:, begin:end][noised.masked_BL[:, begin:end]], alone, rtol=1e-4, atol=1e-4)


def test_the_time_of_a_row_or_of_each_block() -> None:
    tokens = torch.ones(500, 10, dtype=torch.int64)
    options = {"mask_token_id": MASK, "seed": 1, "streams_B": torch.arange(500), "step": 0}
    trainable = torch.ones_like(tokens, dtype=torch.bool)
    of_row = draw_noise(tokens, trainable, BD3LM(block_size=4), **options)
    of_block = draw_noise(tokens, trainable, BD3LM(block_size=4, time="block"), **options)
    assert of_row.time_BL.shape == (500, 1)
    assert of_block.time_BL.shape == (500, 10)
    for block in (slice(0, 4), slice(4, 8), slice(8, 10)):
        assert torch.equal(
            of_block.time_BL[:, block], of_block.time_BL[:, block][:, :1].expand(-1, block.stop - block.start)
        )
    assert torch.corrcoef(of_block.time_BL[:, [0, 4, 8]].T).fill_diagonal_(0).abs().max() < 0.2


@pytest.mark.parametrize("time", ["sequence", "block"])
def test_the_weighted_block_loss_is_an_unbiased_bound_too(time: str) -> None:
    tokens = torch.ones(6000, 8, dtype=torch.int64)
    losses = (
        bd3lm_loss(
            constant_denoiser(),
            tokens,
            torch.ones_like(tokens, dtype=torch.bool),
            settings=BD3LM(block_size=4, time=time),  # type: ignore[arg-type]
            mask_token_id=MASK,
            seed=1,
            streams_B=torch.arange(6000),
            step=0,
        ).sum(1)
        / 8
    )
    assert losses.mean().item() == pytest.approx(math.log(2), abs=4 * losses.std().item() / math.sqrt(6000))


def test_context_adaptive_weights_by_hand() -> None:
    masked = torch.tensor([[False, True, True, False]])
    # p/2 at distance 1, p(1-p)/2 at 2, p(1-p)^2/2 at 3; p = 0.5
    expected = torch.tensor([[0.0625, 0.25 + 0.125, 0.125 + 0.25, 0.0625]])
    torch.testing.assert_close(cart_weights(masked, 0.5), expected)
    noised = Corrupted(masked.long(), masked, torch.tensor([[0.3]]))
    torch.testing.assert_close(token_weights(noised, MDLM(weight="cart[geo_p:0.5]")), expected)
    nearest = torch.tensor([[0.0, 0.5, 0.5, 0.0]])
    torch.testing.assert_close(token_weights(noised, MDLM(weight="cart[geo_p:1]")), nearest)


@pytest.mark.parametrize("weight", ["cart", "cart[geo_p:0]", "cart[geo_p:1.5]", "schedule"])
def test_an_unknown_weight_is_refused(weight: str) -> None:
    with pytest.raises(SettingsError, match="weight: unknown"):
        MDLM(weight=weight)


def test_bos_is_prepended_unless_every_row_begins_untrained() -> None:
    tokens = torch.tensor([[5, 6], [7, 8]])
    trainable = torch.tensor([[False, True], [True, True]])
    attention = torch.tensor([[True, True], [True, False]])
    tokens_out, trainable_out, attention_out = prepend_bos(Batch(tokens, trainable, attention), 3)
    assert tokens_out.tolist() == [[3, 5, 6], [3, 7, 8]]
    assert trainable_out.tolist() == [[False, False, True], [False, True, True]]
    assert attention_out is not None and attention_out.tolist() == [[True, True, True], [True, True, False]]
    untrained = Batch(tokens, torch.tensor([[False, True], [False, True]]), None)
    assert prepend_bos(untrained, 3) is untrained


@pytest.mark.slow
@torch.no_grad()
def test_flex_attention_gives_the_same_loss_forward() -> None:
    """On a CPU, where it has no backward pass: what is compared is the mask that it is given.

    Of rows that fill its tiles of 16: behind others torch 2.13 reads memory that nobody wrote, which may hold NaN.
    """
    denoiser = small_denoiser()
    tokens, noised = noised_rows(length=16)
    dense = bd3lm_nll(denoiser, tokens, noised, 4)
    denoiser.model.set_attn_implementation("flex_attention")
    torch.testing.assert_close(bd3lm_nll(denoiser, tokens, noised, 4, flex=True), dense, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="FlexAttention's backward pass needs a GPU")
def test_flex_attention_gives_the_same_loss_and_gradients_on_a_gpu() -> None:
    gradients = []
    for flex in (False, True):
        denoiser = small_denoiser().to("cuda")
        assert not flex or use_flex_attention(denoiser, torch.device("cuda"))
        tokens, noised = noised_rows()
        on_gpu = Corrupted(*(part.to("cuda") for part in noised))
        bd3lm_nll(denoiser, tokens.to("cuda"), on_gpu, 4, flex=flex).sum().backward()
        gradients.append(denoiser.model.get_input_embeddings().weight.grad)
    torch.testing.assert_close(*gradients, rtol=1e-2, atol=1e-2)


def test_masked_language_modelling_hides_one_share_and_averages_over_it() -> None:
    tokens = torch.zeros(64, 128, dtype=torch.int64)
    trainable = torch.ones_like(tokens, dtype=torch.bool)
    options: dict[str, Any] = {"mask_token_id": 9, "seed": 3, "streams_B": torch.arange(64), "step": 5}
    noised = draw_noise(tokens, trainable, MLM(mask_rate=0.3), **options)
    assert abs(noised.masked_BL.float().mean() - 0.3) < 0.02
    assert noised.masked_BL.float().mean(1).std() < 0.06, "no row has a time of its own"
    loss = mdlm_loss(
        lambda _, __, at: torch.zeros(int(at.sum()), 10), tokens, trainable, None, settings=MLM(), **options
    )
    assert float(normalise(loss, trainable, "token")) == pytest.approx(math.log(10), rel=0.05)
