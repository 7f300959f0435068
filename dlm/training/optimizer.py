"""Muon for the hidden matrices, AdamW for everything else, as one optimizer.

Both are torch's; in fp32 recipes Muon's iterations are in float32 too. Narrow networks trained for minutes learn
several times more per update with it (Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024).

Shapes: R rows, C columns of a matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer

from dlm.models import Denoiser
from dlm.settings import Recipe

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic whose slope at zero is largest (Jordan et al.)
_ITERATIONS = 5


def orthogonalised(matrix_RC: Tensor) -> Tensor:
    """Return about U Vᵀ of the matrix U S Vᵀ, by Newton-Schulz iterations in the matrix's own precision.

    Singular values end between 0.68 and 1.2, those far below the largest excepted, which is as near as Muon needs
    (Jordan et al.; torch's ``Muon`` does the same in bfloat16).

    Args:
        matrix_RC: floating [R, C]; zeros stay zeros.
    """
    a, b, c = _COEFFICIENTS
    wide = matrix_RC if matrix_RC.shape[0] <= matrix_RC.shape[1] else matrix_RC.T
    wide = wide / wide.norm().clamp(min=1e-7)  # no singular value above 1
    for _ in range(_ITERATIONS):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return wide if wide.shape == matrix_RC.shape else wide.T


class ExactMuon(Muon):
    """torch's Muon with its iterations in the weights' precision.

    torch's are in bfloat16, for which most CPUs have no instructions (benchmarks/muon.py).
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient; no closure is supported."""
        for group in self.param_groups:
            for matrix_RC in group["params"]:
                if matrix_RC.grad is not None:
                    self._update(matrix_RC, group["lr"], group["momentum"], group["weight_decay"])

    def _update(self, matrix_RC: Tensor, lr: float, momentum: float, weight_decay: float) -> None:
        state, grad_RC = self.state[matrix_RC], matrix_RC.grad
        assert grad_RC is not None
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(grad_RC)
        mean_RC = state["momentum_buffer"].lerp_(grad_RC, 1 - momentum)
        ahead_RC = grad_RC.lerp(mean_RC, momentum)  # Nesterov's
        rows, columns = matrix_RC.shape
        matrix_RC.mul_(1 - lr * weight_decay)
        matrix_RC.add_(orthogonalised(ahead_RC), alpha=-lr * max(1, rows / columns) ** 0.5)


class MuonWithAdamW(Optimizer):
    """Two optimizers that step together; a learning-rate schedule sees the groups of both.

    Args:
        matrices: two-dimensional weights of the hidden layers.
        others: embeddings, output projection, norms and biases.
        recipe: its ``muon`` part is not None.
    """

    def __init__(self, matrices: list[nn.Parameter], others: list[nn.Parameter], recipe: Recipe) -> None:
        assert recipe.muon is not None
        muon = Muon if recipe.precision == "bf16" else ExactMuon
        self.parts: list[Optimizer] = [
            muon(
                matrices,
                lr=recipe.muon.learning_rate,
                momentum=recipe.muon.momentum,
                weight_decay=recipe.weight_decay,
            ),
            AdamW(others, lr=recipe.learning_rate, betas=(0.9, recipe.adam_beta2), weight_decay=recipe.weight_decay),
        ]
        super().__init__([*matrices, *others], {})
        self._link()

    def _link(self) -> None:
        """Share the parts' groups, so that a schedule which sets a group's learning rate sets the part's."""
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every weight; no closure is supported."""
        for part in self.parts:
            part.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """Return the states of both parts."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._link()


def make_optimizer(denoiser: Denoiser, recipe: Recipe) -> Optimizer | None:
    """Return the recipe's optimizer over the trainable weights; None leaves AdamW to the Trainer."""
    if recipe.muon is None:
        return None
    trained = [weight for weight in denoiser.parameters() if weight.requires_grad]
    ends = {id(layer.weight) for layer in _ends(denoiser.model)}
    matrices = [weight for weight in trained if weight.dim() == 2 and id(weight) not in ends]
    chosen = {id(weight) for weight in matrices}
    return MuonWithAdamW(matrices, [weight for weight in trained if id(weight) not in chosen], recipe)


def _ends(model: Any) -> list[torch.nn.Module]:
    return [model.get_input_embeddings(), model.get_output_embeddings()]
