"""Two optimizers that behave as one."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from doubles import small_architecture, small_denoiser, word_tokenizer

from dlm.models import Denoiser, make_denoiser
from dlm.settings import MDLM, Muon, Recipe
from dlm.training.optimizer import ExactMuon, MuonWithAdamW, make_optimizer, orthogonalised

PLAIN = Recipe(objective=MDLM(), loss_on="all", max_length=8, steps=4, batch_size=2, learning_rate=0.001)
RECIPE = dataclasses.replace(PLAIN, muon=Muon(learning_rate=0.02))


def one_step(denoiser: Denoiser, optimizer: torch.optim.Optimizer) -> None:
    tokens = torch.arange(4, 12)[None]
    loss = torch.nn.functional.cross_entropy(denoiser(tokens, None, tokens > 0), tokens[0])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def test_every_weight_is_in_one_part_and_the_ends_are_adamws() -> None:
    denoiser = small_denoiser()
    optimizer = make_optimizer(denoiser, RECIPE)
    assert isinstance(optimizer, MuonWithAdamW)
    muon, adamw = ({id(w) for group in part.param_groups for w in group["params"]} for part in optimizer.parts)
    assert not muon & adamw
    assert muon | adamw == {id(weight) for weight in denoiser.parameters()}
    assert id(denoiser.model.get_input_embeddings().weight) in adamw
    assert id(denoiser.model.get_output_embeddings().weight) in adamw


def test_tied_embeddings_stay_with_adamw() -> None:
    tied = make_denoiser(small_architecture(tie_embeddings=True), word_tokenizer(), causal=False, shift=False, seed=0)
    optimizer = make_optimizer(tied, RECIPE)
    assert optimizer is not None
    assert all(weight.shape != (24, 32) for weight in optimizer.parts[0].param_groups[0]["params"])


def test_a_step_moves_every_weight() -> None:
    denoiser = small_denoiser(sharpness=0.05)
    before = {name: weight.clone() for name, weight in denoiser.named_parameters()}
    one_step(denoiser, make_optimizer(denoiser, RECIPE))
    assert all(not torch.equal(before[name], weight) for name, weight in denoiser.named_parameters())


def test_a_schedule_moves_both_learning_rates() -> None:
    optimizer = make_optimizer(small_denoiser(), RECIPE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (step + 1))
    optimizer.step()
    schedule.step()
    assert [part.param_groups[0]["lr"] for part in optimizer.parts] == [0.01, 0.0005]


def test_a_restored_state_continues_bit_for_bit() -> None:
    first, second = small_denoiser(sharpness=0.05), small_denoiser(sharpness=0.05)
    one, two = make_optimizer(first, RECIPE), make_optimizer(second, RECIPE)
    one_step(first, one)
    second.load_state_dict(first.state_dict())
    two.load_state_dict(copy.deepcopy(one.state_dict()))
    torch.optim.lr_scheduler.LambdaLR(two, lambda step: 0.5)
    torch.optim.lr_scheduler.LambdaLR(one, lambda step: 0.5)
    one_step(first, one)
    one_step(second, two)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_without_muon_the_trainer_chooses() -> None:
    assert make_optimizer(small_denoiser(), PLAIN) is None


@pytest.mark.parametrize("shape", [(32, 80), (80, 32), (8, 300)])
def test_an_orthogonalised_matrix_keeps_its_singular_vectors_and_has_values_near_one(shape: tuple[int, int]) -> None:
    matrix_RC = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    left, _, right = torch.linalg.svd(matrix_RC, full_matrices=False)
    found = left.T @ orthogonalised(matrix_RC) @ right.T
    assert float(found.diag().min()) > 0.67 and float(found.diag().max()) < 1.21
    assert float((found - found.diag().diag()).abs().max()) < 1e-4


def test_zeros_stay_zeros() -> None:
    assert not orthogonalised(torch.zeros(3, 5)).any()


@pytest.mark.parametrize("shape", [(32, 80), (80, 32), (24, 24)])
def test_updates_are_torchs_but_for_bfloat16(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(*shape, generator=generator)
    matrices = [torch.nn.Parameter(start.clone()) for _ in range(2)]
    options: dict[str, float] = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.2}
    both = [kind([matrix], **options) for kind, matrix in zip((ExactMuon, torch.optim.Muon), matrices, strict=True)]
    for _ in range(3):
        grad = torch.randn(*shape, generator=generator)
        for matrix, optimizer in zip(matrices, both, strict=True):
            matrix.grad = grad.clone()
            optimizer.step()
    ours, torchs = (matrix.detach() - start for matrix in matrices)
    assert float((ours - torchs).norm() / torchs.norm()) < 0.02
    assert not torch.equal(ours, torchs)


@pytest.mark.parametrize(("precision", "kind"), [("fp32", ExactMuon), ("bf16", torch.optim.Muon)])
def test_the_iterations_are_in_the_recipes_precision(precision: str, kind: type) -> None:
    optimizer = make_optimizer(small_denoiser(), dataclasses.replace(RECIPE, precision=precision))
    assert isinstance(optimizer, MuonWithAdamW)
    assert type(optimizer.parts[0]) is kind
