"""Two optimizers that behave as one."""

from __future__ import annotations

import copy
import dataclasses

import torch
from doubles import small_architecture, small_denoiser, word_tokenizer

from dlm.models import Denoiser, make_denoiser
from dlm.settings import MDLM, Muon, Recipe
from dlm.training.optimizer import MuonWithAdamW, make_optimizer

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
