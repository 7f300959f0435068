"""Cross-entropy by chunks: the numbers and gradients of the plain way."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from doubles import small_denoiser
from torch import nn

from dlm.diffusion import TakesTargets, mdlm_loss, normalise
from dlm.models import heads, projection
from dlm.models.heads import output_head, project
from dlm.settings import MDLM


class Headed(nn.Module):
    """Only what the projection looks at: a head with or without a transform and a bias."""

    def __init__(self, bias: bool, encoder: bool) -> None:
        super().__init__()
        if encoder:
            self.head, self.decoder = nn.Linear(6, 6), nn.Linear(6, 40, bias=bias)
        else:
            self.lm_head = nn.Linear(6, 40, bias=bias)


@pytest.mark.parametrize(("bias", "encoder"), [(False, False), (True, False), (True, True)])
def test_a_large_vocabulary_is_projected_to_by_pieces(
    bias: bool, encoder: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "_TILE", 16)  # 40 tokens: two pieces and a half
    monkeypatch.setattr(heads, "_LARGE", 40)
    torch.manual_seed(0)
    model, hidden = Headed(bias, encoder), torch.randn(5, 6)
    with torch.inference_mode():
        torch.testing.assert_close(project(model, hidden), output_head(model)(hidden), rtol=1e-6, atol=1e-6)
    wanted = hidden.requires_grad_()
    assert project(model, wanted).requires_grad


@pytest.fixture
def chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "_WHOLE_LOGITS", 0)
    monkeypatch.setattr(projection, "_CHUNK_LOGITS", {"cpu": 40 * 4})


@pytest.mark.parametrize("weights", ["right", "wrong", "zero", None])
@pytest.mark.parametrize(("bias", "encoder"), [(False, False), (True, False), (True, True)])
def test_chunks_give_the_loss_and_gradients_of_all_logits(
    chunks: None, bias: bool, encoder: bool, weights: str | None
) -> None:
    torch.manual_seed(0)
    model, hidden = Headed(bias, encoder), torch.randn(11, 6, requires_grad=True)
    targets, weight = torch.randint(0, 40, (11,)), torch.rand(11) + 0.1
    told = {"right": 3 * weight, "wrong": weight.flip(0), "zero": torch.zeros(11), None: None}[weights]
    grown = (*model.parameters(), hidden)
    plain = F.cross_entropy(output_head(model)(hidden), targets, reduction="none")
    made = projection.cross_entropy(model, hidden, targets, told)
    torch.testing.assert_close(made, plain, rtol=1e-6, atol=1e-6)
    expected = torch.autograd.grad((plain * weight).sum() / 7, grown)
    for one, other in zip(torch.autograd.grad((made * weight).sum() / 7, grown), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_a_right_hint_saves_the_second_look(chunks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    exponentials = projection._exponentials

    def counted(hidden: torch.Tensor, *rest: Any) -> Any:
        looks.append(len(hidden))
        return exponentials(hidden, *rest)

    monkeypatch.setattr(projection, "_exponentials", counted)
    model, hidden, weight = Headed(False, False), torch.randn(11, 6), torch.rand(11)
    for told, expected in ((weight, 11), (weight.flip(0), 22)):
        looks.clear()
        (projection.cross_entropy(model, hidden, torch.arange(11), told) * weight * 0.3).sum().backward()
        assert sum(looks) == expected


def test_who_goes_backward_twice_gets_the_same_gradients(chunks: None) -> None:
    model, hidden, weight = Headed(True, False), torch.randn(11, 6, requires_grad=True), torch.rand(11)
    grown = (*model.parameters(), hidden)
    loss = (projection.cross_entropy(model, hidden, torch.arange(11), weight) * weight * 0.3).sum()
    first = torch.autograd.grad(loss, grown, retain_graph=True)
    kept = [one.clone() for one in first]
    second = torch.autograd.grad(loss, grown)
    for one, other, copy in zip(first, second, kept, strict=True):
        assert torch.equal(one, copy), "the first were given away for good"
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_a_frozen_head_and_a_measurement_need_no_gradient(chunks: None) -> None:
    model, hidden = Headed(True, False).requires_grad_(False), torch.randn(5, 6, requires_grad=True)
    targets = torch.arange(5)
    expected = torch.autograd.grad(F.cross_entropy(model.lm_head(hidden), targets), hidden)[0]
    made = projection.cross_entropy(model, hidden, targets).mean()
    torch.testing.assert_close(torch.autograd.grad(made, hidden)[0], expected, rtol=1e-5, atol=1e-6)
    with torch.inference_mode():
        assert not projection.cross_entropy(model, hidden, targets).requires_grad


def test_bf16_follows_the_plain_way(chunks: None) -> None:
    model, hidden, targets = Headed(False, False), torch.randn(9, 6, requires_grad=True), torch.arange(9)
    with torch.autocast("cpu", torch.bfloat16):
        plain = F.cross_entropy(output_head(model)(hidden).float(), targets, reduction="none")
        made = projection.cross_entropy(model, hidden, targets)
    torch.testing.assert_close(made, plain, rtol=1e-5, atol=1e-5)
    grown = (model.lm_head.weight, hidden)
    for one, other in zip(torch.autograd.grad(made.sum(), grown), torch.autograd.grad(plain.sum(), grown), strict=True):
        assert one.dtype == other.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("rule", ["token", "sequence"])
def test_a_model_that_takes_targets_trains_as_one_that_gives_scores(monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    denoiser = small_denoiser(sharpness=0.05).train()
    tokens = torch.arange(4, 20).view(2, 8)
    trainable = torch.ones_like(tokens, dtype=torch.bool)
    trainable[1, :5] = False
    noise = {"settings": MDLM(), "mask_token_id": 1, "seed": 0, "streams_B": torch.arange(2), "step": 0}

    def gradients(denoise: Any) -> list[torch.Tensor]:
        loss = normalise(mdlm_loss(denoise, tokens, trainable, None, **noise), trainable, rule)  # type: ignore[arg-type]
        return [loss.detach(), *torch.autograd.grad(loss, list(denoiser.parameters()))]

    plain = gradients(denoiser)
    assert all(torch.equal(a, b) for a, b in zip(gradients(TakesTargets(denoiser)), plain, strict=True))
    monkeypatch.setattr(projection, "_WHOLE_LOGITS", 0)
    monkeypatch.setattr(projection, "_CHUNK_LOGITS", {"cpu": 72})
    for one, other in zip(gradients(TakesTargets(denoiser)), plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
